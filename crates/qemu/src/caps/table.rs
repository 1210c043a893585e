//! What each named model of processor consists of.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cpu::{CpuVendor, Expansion};

/// The named models of processors, taken apart into features by libvirt's names. It is kept for as
/// long as the daemon runs, so features are words of one line and not strings of their own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuTable {
    /// All features this QEMU knows.
    known: String,
    models: BTreeMap<String, NamedCpu>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NamedCpu {
    /// Family and model number.
    signature: (u64, u64),
    features: String,
}

impl CpuTable {
    /// The table of models that were asked about.
    pub(super) fn new(known: &BTreeSet<String>, models: &[Expansion]) -> Self {
        let named = |model: &Expansion| {
            let cpu = NamedCpu {
                signature: model.signature,
                features: join(&model.features),
            };
            (model.name.clone(), cpu)
        };
        Self {
            known: join(known),
            models: models.iter().map(named).collect(),
        }
    }

    /// A model's features; nothing where there is no such model.
    #[must_use]
    pub fn features(&self, model: &str) -> Option<BTreeSet<String>> {
        let cpu = self.models.get(model)?;
        Some(
            cpu.features
                .split(' ')
                .filter(filled)
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Whether there is a feature of that name.
    #[must_use]
    pub fn knows(&self, feature: &str) -> bool {
        self.known.split(' ').any(|known| known == feature)
    }

    /// The models' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// The named model that comes nearest to a processor and has no feature the processor lacks:
    /// first one of the same family and model number, then the one with most features.
    #[must_use]
    pub fn contained_in(
        &self,
        vendor: Option<CpuVendor>,
        signature: (u64, u64),
        features: &BTreeSet<String>,
    ) -> Option<&str> {
        self.models
            .iter()
            .filter(|(name, _)| {
                let of = CpuVendor::of_model(name);
                of.is_none() || of == vendor
            })
            .filter(|(_, cpu)| cpu.words().all(|word| features.contains(word)))
            .max_by_key(|(name, cpu)| {
                let unversioned = !name
                    .rsplit_once("-v")
                    .is_some_and(|(_, tail)| is_number(tail));
                (cpu.signature == signature, cpu.words().count(), unversioned)
            })
            .map(|(name, _)| name.as_str())
    }
}

impl NamedCpu {
    fn words(&self) -> impl Iterator<Item = &str> {
        self.features.split(' ').filter(filled)
    }
}

fn filled(word: &&str) -> bool {
    !word.is_empty()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn join(words: &BTreeSet<String>) -> String {
    words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}
