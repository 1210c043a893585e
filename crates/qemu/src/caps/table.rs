//! What each named model of processor consists of.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cpu::{CpuVendor, Expansion, distance, is_version};

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

    /// The model, by a plain name, from which a processor of this vendor differs least; of equally
    /// near ones the vendor's own, and of these the newest.
    #[must_use]
    pub fn nearest(&self, vendor: Option<CpuVendor>, features: &BTreeSet<String>) -> Option<&str> {
        let fits = |name: &str| {
            let of = CpuVendor::of_model(name);
            !is_version(name) && (of.is_none() || vendor.is_none() || of == vendor)
        };
        let plain = self.models.iter().filter(|(name, _)| fits(name));
        let nearest = plain.min_by_key(|(name, cpu)| {
            let lacking = cpu.words().filter(|word| !features.contains(*word)).count();
            let extra = features.len() + lacking - cpu.words().count();
            let generic = CpuVendor::of_model(name).is_none();
            (distance(lacking, extra), generic, Reverse(cpu.signature))
        });
        nearest.map(|(name, _)| name.as_str())
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
                (
                    cpu.signature == signature,
                    cpu.words().count(),
                    !is_version(name),
                )
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

fn join(words: &BTreeSet<String>) -> String {
    words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}
