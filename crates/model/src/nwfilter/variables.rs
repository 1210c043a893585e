//! Variables of filters: where rules name them, and what is given for them.

use std::collections::BTreeMap;
use std::fmt;

use crate::domain::interface::{FilterParameter, FilterRef};

/// Most ways of walking through lists in one rule.
pub const ITERATORS_MAX: u32 = 1000;

/// A variable as a rule names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// Its name.
    pub name: String,
    /// Which of its values.
    pub which: Which,
}

/// Which values of a list a rule is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// Each; those with one number are walked through together.
    Each(u32),
    /// One, from 0.
    Element(u32),
}

impl Access {
    /// Reads `NAME`, `NAME[3]` or `NAME[@1]`.
    pub fn parse(text: &str) -> Option<Access> {
        let (name, which) = match text.trim_end().split_once('[') {
            None => (text, Which::Each(0)),
            Some((name, rest)) => {
                let inside = rest.strip_suffix(']')?.trim();
                let digits = |text: &str| text.trim().parse::<u32>().ok();
                let which = match inside.strip_prefix('@') {
                    Some(number) => Which::Each(digits(number).filter(|n| *n <= ITERATORS_MAX)?),
                    None => Which::Element(digits(inside)?),
                };
                (name, which)
            }
        };
        is_variable(name).then(|| Access {
            name: name.to_owned(),
            which,
        })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.which {
            Which::Each(0) => f.write_str(name),
            Which::Each(number) => write!(f, "{name}[@{number}]"),
            Which::Element(index) => write!(f, "{name}[{index}]"),
        }
    }
}

/// Whether a word may name a variable.
pub fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a word may be given for a variable.
pub fn is_variable_value(value: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.:".contains(&b);
    !value.is_empty() && value.bytes().all(fits)
}

/// What is given for variables: each a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables(pub BTreeMap<String, Vec<String>>);

impl Variables {
    /// Those a `<filterref>` gives.
    pub fn of(reference: &FilterRef) -> Variables {
        let mut variables = Variables::default();
        for FilterParameter { name, value } in &reference.parameters {
            variables
                .0
                .entry(name.clone())
                .or_default()
                .push(value.clone());
        }
        variables
    }

    /// These, with those of `inner` in the place of such as have the same name.
    pub fn with(&self, inner: &Variables) -> Variables {
        let mut all = self.clone();
        all.0.extend(inner.0.clone());
        all
    }

    /// Gives one, unless it is there.
    pub fn or_give(&mut self, name: &str, values: Vec<String>) {
        self.0.entry(name.to_owned()).or_insert(values);
    }

    /// What a variable holds.
    pub fn get(&self, name: &str) -> Option<&[String]> {
        self.0.get(name).map(Vec::as_slice)
    }
}
