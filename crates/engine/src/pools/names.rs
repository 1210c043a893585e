//! The names and paths of a pool's volumes, side by side in memory.
//!
//! A list of thousands of volumes is mostly a walk through memory: a record each, and its name and
//! path elsewhere. Whoever lists wants no more than these two, so they are kept together.

use std::sync::Arc;

use crate::volumes::Volume;

/// Names and paths, in the order of the names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VolumeNames {
    text: String,
    /// Where in `text` each volume's name and path end.
    ends: Vec<(usize, usize)>,
}

impl VolumeNames {
    /// Of these volumes.
    pub(super) fn of<'a>(volumes: impl Iterator<Item = &'a Arc<Volume>>) -> VolumeNames {
        let mut names = VolumeNames::default();
        for volume in volumes {
            names.push(volume.name(), volume.path());
        }
        names.text.shrink_to_fit();
        names.ends.shrink_to_fit();
        names
    }

    fn push(&mut self, name: &str, path: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(path);
        self.ends.push((name_end, self.text.len()));
    }

    /// How many volumes there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How long all names and paths are together.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Each volume's name and path.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.ends.len()).map(|at| {
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before].1);
            let (name_end, end) = self.ends[at];
            (&self.text[start..name_end], &self.text[name_end..end])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_come_out_as_they_went_in() {
        let mut names = VolumeNames::default();
        assert!(names.is_empty() && names.iter().next().is_none());
        let volumes = [("a", "/p/a"), ("ä", "/p/ä"), ("c", "")];
        for (name, path) in volumes {
            names.push(name, path);
        }
        assert_eq!(names.iter().collect::<Vec<_>>(), volumes);
        assert_eq!((names.len(), names.text_bytes()), (3, 13));
    }
}
