//! A filter and all it refers to, as one list of rules.

use std::fmt;

use model::nwfilter::rule::Rule;
use model::nwfilter::variables::Variables;
use model::nwfilter::{Entry, Filter};

/// Deepest that filters refer to filters.
pub const REFERENCES_DEPTH_MAX: usize = 32;
/// Most rules that one device's filter comes to.
pub const RULES_MAX: usize = 65_536;

/// Why a filter cannot be made into rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterError {
    /// A filter that does not exist is referred to.
    Missing(String),
    /// A filter refers to itself, by way of others.
    Loop(String),
    /// Variables nobody gave a value, or too few.
    Unresolved(Vec<String>),
    /// A variable's value is none for where it stands.
    Value {
        /// The attribute.
        attribute: String,
        /// What it was to be.
        value: String,
    },
    /// Lists that are walked through together have different lengths.
    Cardinality(Vec<String>),
    /// What this platform does not do.
    Unsupported(String),
    /// More rules than a device may have.
    TooMany,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::Missing(name) => write!(f, "referenced filter '{name}' is missing"),
            FilterError::Loop(name) => {
                write!(
                    f,
                    "filter would introduce a loop: '{name}' refers to itself"
                )
            }
            FilterError::Unresolved(names) => write!(
                f,
                "Cannot instantiate filter due to unresolvable variables or unavailable list \
                 elements: {}",
                names.join(", ")
            ),
            FilterError::Value { attribute, value } => {
                write!(
                    f,
                    "'{value}' is no value for '{attribute}' of a filter's rule"
                )
            }
            FilterError::Cardinality(names) => write!(
                f,
                "Cardinality of list items must be the same for processing them in parallel: {}",
                names.join(", ")
            ),
            FilterError::Unsupported(what) => write!(f, "{what}"),
            FilterError::TooMany => {
                write!(
                    f,
                    "the filter comes to more than {RULES_MAX} rules for one device"
                )
            }
        }
    }
}

/// A rule, where it belongs, and what its variables hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The chain its filter is for.
    pub chain: String,
    /// That chain's place.
    pub chain_priority: i32,
    /// The rule.
    pub rule: Rule,
    /// What is given for variables.
    pub variables: Variables,
}

/// Every rule of the filter `name`, which `find` knows, in the order they are written.
pub fn expand<'a>(
    name: &str,
    find: &dyn Fn(&str) -> Option<&'a Filter>,
    variables: &Variables,
) -> Result<Vec<Placed>, FilterError> {
    let mut rules = Vec::new();
    let mut above = Vec::new();
    visit(name, find, variables, &mut above, &mut rules)?;
    Ok(rules)
}

fn visit<'a>(
    name: &str,
    find: &dyn Fn(&str) -> Option<&'a Filter>,
    variables: &Variables,
    above: &mut Vec<String>,
    rules: &mut Vec<Placed>,
) -> Result<(), FilterError> {
    if above.iter().any(|other| other == name) || above.len() >= REFERENCES_DEPTH_MAX {
        return Err(FilterError::Loop(name.to_owned()));
    }
    let filter = find(name).ok_or_else(|| FilterError::Missing(name.to_owned()))?;
    above.push(name.to_owned());
    for entry in &filter.entries {
        match entry {
            Entry::Rule(rule) if rules.len() < RULES_MAX => rules.push(Placed {
                chain: filter.chain.clone(),
                chain_priority: filter.priority,
                rule: rule.clone(),
                variables: variables.clone(),
            }),
            Entry::Rule(_) => return Err(FilterError::TooMany),
            Entry::Reference(reference) => {
                let inner = variables.with(&Variables::of(reference));
                visit(&reference.filter, find, &inner, above, rules)?;
            }
        }
    }
    above.pop();
    Ok(())
}
