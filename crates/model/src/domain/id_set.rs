//! Sets of small numbers: CPUs, NUMA nodes, threads.

use std::collections::BTreeSet;
use std::fmt;

use crate::xml::{Scalar, XmlWriter};

/// One more than the largest number a set may hold (libvirt's CPU mask).
pub const ID_SET_MAX: u32 = 16_384;

/// A set of numbers written as `0-3,7`; `^2` takes one out again on reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdSet(pub BTreeSet<u32>);

impl IdSet {
    /// The numbers from `first` to `last`.
    pub fn range(first: u32, last: u32) -> Self {
        IdSet((first..=last).collect())
    }

    /// Whether two sets have a number in common.
    pub fn overlaps(&self, other: &IdSet) -> bool {
        self.0.iter().any(|id| other.0.contains(id))
    }
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n < ID_SET_MAX)
}

impl Scalar for IdSet {
    fn complaint(text: &str) -> Option<String> {
        Some(format!("invalid argument: Failed to parse bitmap '{text}'"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut set = BTreeSet::new();
        for item in text.split(',') {
            let item = item.trim();
            if let Some(excluded) = item.strip_prefix('^') {
                set.remove(&number(excluded)?);
            } else if let Some((first, last)) = item.split_once('-') {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return None;
                }
                set.extend(first..=last);
            } else {
                set.insert(number(item)?);
            }
        }
        Some(IdSet(set))
    }

    fn put(&self, out: &mut XmlWriter) {
        use fmt::Write as _;
        let _ = write!(out, "{self}");
    }
}

impl fmt::Display for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ids = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = ids.next() {
            let mut last = first;
            while ids.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_ranges() {
        let shown = |text| IdSet::parse(text).map(|s| s.to_string());
        assert_eq!(shown("3,1-2,^2,8").as_deref(), Some("1,3,8"));
        assert_eq!(shown("0-1,2").as_deref(), Some("0-2"));
        for bad in ["", "a", "3-1", "1,,2", "99999", "-1", "1-"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}
