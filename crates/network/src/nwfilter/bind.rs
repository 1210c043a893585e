//! A rule's variables replaced by what they hold: one rule for each.

use std::collections::BTreeMap;

use model::nwfilter::attributes::{Kind, Protocol};
use model::nwfilter::rule::Rule;
use model::nwfilter::value::Value;
use model::nwfilter::variables::{Access, Variables, Which};

use super::expand::{FilterError, RULES_MAX};

/// The variable whose value is found by watching the machine, where none is given.
pub const LEARNT: &str = "IP";

/// What an attribute is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A value.
    Value(Value),
    /// The addresses found so far.
    Learnt,
}

/// An attribute of a rule without variables.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// What it is compared with.
    pub operand: Operand,
    /// Whether it must be another.
    pub negated: bool,
}

/// What a rule without variables looks for.
pub type Terms = BTreeMap<&'static str, Bound>;

/// The variables that `rules` name and nobody gave a value.
pub fn unresolved<'a>(
    rules: impl Iterator<Item = (&'a Rule, &'a Variables)>,
) -> std::collections::BTreeSet<String> {
    let mut missing = std::collections::BTreeSet::new();
    for (rule, variables) in rules {
        for access in rule.variables() {
            let length = variables.get(&access.name).map_or(0, <[String]>::len);
            let enough = match access.which {
                Which::Each(_) => length > 0,
                Which::Element(index) => (index as usize) < length,
            };
            if !enough {
                missing.insert(match access.which {
                    Which::Element(_) if length > 0 => access.to_string(),
                    _ => access.name.clone(),
                });
            }
        }
    }
    missing
}

/// The rule once for every combination of what its variables hold. With
/// `learning`, the machine's address is looked up where none is given.
pub fn bind(rule: &Rule, variables: &Variables, learning: bool) -> Result<Vec<Terms>, FilterError> {
    let learnt =
        |access: &Access| learning && access.name == LEARNT && variables.get(LEARNT).is_none();
    let walks = walks(rule, variables, &learnt)?;
    let total = walks
        .values()
        .try_fold(1usize, |all, length| all.checked_mul(*length));
    let total = total
        .filter(|total| *total <= RULES_MAX)
        .ok_or(FilterError::TooMany)?;
    let mut bound: Vec<Terms> = Vec::new();
    for number in 0..total {
        let mut rest = number;
        let at: BTreeMap<u32, usize> = walks
            .iter()
            .map(|(walk, length)| {
                let index = rest % length;
                rest /= length;
                (*walk, index)
            })
            .collect();
        let terms = terms(rule, variables, &learnt, &at)?;
        // Lists may hold a value twice.
        if !bound.contains(&terms) {
            bound.push(terms);
        }
    }
    Ok(bound)
}

/// How long each walk through lists is.
fn walks(
    rule: &Rule,
    variables: &Variables,
    learnt: &dyn Fn(&Access) -> bool,
) -> Result<BTreeMap<u32, usize>, FilterError> {
    let mut walks = BTreeMap::new();
    for access in rule.variables().filter(|access| !learnt(access)) {
        let Which::Each(walk) = access.which else {
            continue;
        };
        let length = variables.get(&access.name).map_or(0, <[String]>::len);
        if length == 0 {
            return Err(FilterError::Unresolved(vec![access.name.clone()]));
        }
        if *walks.entry(walk).or_insert(length) != length {
            let names = rule.variables().map(|access| access.name.clone()).collect();
            return Err(FilterError::Cardinality(names));
        }
    }
    Ok(walks)
}

fn terms(
    rule: &Rule,
    variables: &Variables,
    learnt: &dyn Fn(&Access) -> bool,
    at: &BTreeMap<u32, usize>,
) -> Result<Terms, FilterError> {
    let mut terms = Terms::new();
    for (name, item) in &rule.items {
        let operand = match &item.value {
            Value::Variable(access) if learnt(access) => Operand::Learnt,
            Value::Variable(access) => {
                let index = match access.which {
                    Which::Each(walk) => at.get(&walk).copied().unwrap_or_default(),
                    Which::Element(index) => index as usize,
                };
                let held = variables.get(&access.name).and_then(|list| list.get(index));
                let held = held.ok_or_else(|| FilterError::Unresolved(vec![access.to_string()]))?;
                Operand::Value(read(rule.protocol, name, held)?)
            }
            value => Operand::Value(value.clone()),
        };
        terms.insert(
            *name,
            Bound {
                operand,
                negated: item.negated,
            },
        );
    }
    Ok(terms)
}

fn read(protocol: Option<Protocol>, name: &str, text: &str) -> Result<Value, FilterError> {
    let kind = protocol.and_then(|protocol| {
        let mut attributes = protocol.attributes();
        attributes.find(|attribute| attribute.name == name)
    });
    let kind = kind.map_or(Kind::Comment, |attribute| attribute.kind);
    let value = Value::parse(kind, text).filter(|value| !matches!(value, Value::Variable(_)));
    value.ok_or_else(|| FilterError::Value {
        attribute: name.to_owned(),
        value: text.to_owned(),
    })
}
