//! Processor models, and which of them comes nearest to the host.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::names::feature_from_qemu;

/// Who makes a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CpuVendor {
    /// AMD.
    Amd,
    /// Hygon.
    Hygon,
    /// Intel.
    Intel,
    /// Zhaoxin.
    Zhaoxin,
}

impl CpuVendor {
    /// libvirt's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd => "AMD",
            Self::Hygon => "Hygon",
            Self::Intel => "Intel",
            Self::Zhaoxin => "Zhaoxin",
        }
    }

    /// The vendor by libvirt's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Amd, Self::Hygon, Self::Intel, Self::Zhaoxin]
            .into_iter()
            .find(|vendor| vendor.name() == name)
    }

    /// The vendor by the twelve letters the processor itself gives.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        match id {
            "AuthenticAMD" => Some(Self::Amd),
            "HygonGenuine" => Some(Self::Hygon),
            "GenuineIntel" => Some(Self::Intel),
            "  Shanghai  " | "CentaurHauls" => Some(Self::Zhaoxin),
            _ => None,
        }
    }

    /// The vendor of one of QEMU's models; none for generic models.
    #[must_use]
    pub fn of_model(model: &str) -> Option<Self> {
        const GENERIC: [&str; 6] = ["base", "host", "kvm", "max", "pentium", "qemu"];
        let family = model.split(['-', '_']).next().unwrap_or(model);
        let family = family.trim_end_matches(|c: char| c.is_ascii_digit());
        match family {
            "EPYC" | "Opteron" | "athlon" | "phenom" => Some(Self::Amd),
            "Dhyana" => Some(Self::Hygon),
            "YongFeng" => Some(Self::Zhaoxin),
            "" => None,
            other if GENERIC.contains(&other) => None,
            _ => Some(Self::Intel),
        }
    }
}

/// One of QEMU's processor models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuModel {
    /// Its name.
    pub name: String,
    /// The versioned model it stands for.
    pub canonical: Option<String>,
    /// The features it needs and the accelerator lacks, by libvirt's names.
    pub blockers: BTreeSet<String>,
    /// QEMU advises against it.
    pub deprecated: bool,
}

impl CpuModel {
    /// Whether a guest can have it, whole.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.blockers.is_empty()
    }
}

/// The named model nearest to what the accelerator offers, and how it differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostModel {
    /// The model.
    pub model: String,
    /// Its vendor.
    pub vendor: Option<CpuVendor>,
    /// Features on top of the model's, by libvirt's names.
    pub require: BTreeSet<String>,
    /// Features of the model that are missing, by libvirt's names.
    pub disable: BTreeSet<String>,
}

/// What depends on the accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccelCaps {
    /// The processor models, by name.
    pub cpus: Vec<CpuModel>,
    /// The named model nearest to the host.
    pub host_model: Option<HostModel>,
}

impl AccelCaps {
    /// The model with a name.
    #[must_use]
    pub fn cpu(&self, name: &str) -> Option<&CpuModel> {
        self.cpus.iter().find(|cpu| cpu.name == name)
    }
}

/// A model taken apart into its features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expansion {
    pub(super) name: String,
    pub(super) vendor: String,
    /// Family and model number.
    pub(super) signature: (u64, u64),
    pub(super) features: BTreeSet<String>,
    /// Whether it tells the guest that it is one.
    pub(super) tells_of_hypervisor: bool,
}

impl Expansion {
    /// Reads the properties of a reply to `query-cpu-model-expansion`.
    pub(super) fn new(name: &str, props: &Map<String, Value>) -> Self {
        let number = |key| props.get(key).and_then(Value::as_u64).unwrap_or(0);
        let features = props
            .iter()
            .filter(|(name, value)| value.as_bool() == Some(true) && is_feature(name))
            .map(|(name, _)| feature_from_qemu(name).to_owned())
            .collect();
        Self {
            name: name.to_owned(),
            vendor: props
                .get("vendor")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            signature: (number("family"), number("model")),
            features,
            tells_of_hypervisor: props.get(HYPERVISOR) == Some(&Value::Bool(true)),
        }
    }
}

/// The feature every model is given for being a guest's; libvirt's models are without it.
const HYPERVISOR: &str = "hypervisor";

/// Whether a property is a feature of processors rather than a setting of QEMU's or one which
/// follows from the accelerator or from being a guest at all.
fn is_feature(name: &str) -> bool {
    name != HYPERVISOR
        && !["kvm", "hv-", "vmx-", "x-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// All features that a reply to `query-cpu-model-expansion` speaks of, by libvirt's names.
pub(super) fn features_named(props: &Map<String, Value>) -> BTreeSet<String> {
    props
        .iter()
        .filter(|(_, value)| value.is_boolean())
        .map(|(name, _)| feature_from_qemu(name).to_owned())
        .collect()
}

/// How far a model is from a processor that lacks some of its features and has others besides:
/// first of all by how much is to be told, then by how much of that is missing.
///
/// Each further feature that is missing weighs one more, as libvirt weighs them. libvirt begins
/// with 2 and its own, poorer models; QEMU's of old processors have more, and would win too often.
#[must_use]
pub(crate) fn distance(lacking: usize, extra: usize) -> (usize, usize) {
    let weight: usize = (1..=lacking).sum();
    (weight + extra, lacking)
}

/// Whether a name is that of one version of a model ("EPYC-v2"). Guests are told the plain names.
#[must_use]
pub(crate) fn is_version(name: &str) -> bool {
    name.rsplit_once("-v").is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Chooses among `candidates` the model that differs least from `host`. With `by_signature` a
/// model of the same family and model number comes first.
pub(super) fn nearest(
    host: &Expansion,
    candidates: &[Expansion],
    by_signature: bool,
) -> Option<HostModel> {
    let difference = |candidate: &Expansion| {
        let other_kind = by_signature && candidate.signature != host.signature;
        let lacking = candidate.features.difference(&host.features).count();
        let extra = host.features.difference(&candidate.features).count();
        (other_kind, distance(lacking, extra))
    };
    let best = candidates
        .iter()
        .filter(|candidate| candidate.vendor == host.vendor)
        .min_by_key(|candidate| difference(candidate))?;
    let extra = host.features.difference(&best.features).cloned();
    let told = host.tells_of_hypervisor.then(|| HYPERVISOR.to_owned());
    Some(HostModel {
        model: best.name.clone(),
        vendor: CpuVendor::from_id(&host.vendor),
        require: extra.chain(told).collect(),
        disable: best.features.difference(&host.features).cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expansion(name: &str, family: u64, features: &[&str]) -> Expansion {
        let mut props = Map::new();
        props.insert("vendor".into(), json!("AuthenticAMD"));
        props.insert("family".into(), json!(family));
        props.insert("kvm".into(), json!(true));
        props.insert("vme".into(), json!(false));
        for feature in features {
            props.insert((*feature).to_owned(), json!(true));
        }
        Expansion::new(name, &props)
    }

    #[test]
    fn the_nearest_model_differs_least() {
        let host = expansion("max", 0, &["avx", "aes", "fxsr-opt"]);
        let near = expansion("Near", 1, &["avx", "sse4a"]);
        let far = expansion("Far", 0, &["pku", "sha-ni"]);
        let found = nearest(&host, &[far.clone(), near.clone()], false).unwrap();
        assert_eq!(found.model, "Near");
        assert_eq!(
            found.require,
            ["aes".to_owned(), "fxsr_opt".to_owned()].into()
        );
        assert_eq!(found.disable, ["sse4a".to_owned()].into());
        assert_eq!(nearest(&host, &[far, near], true).unwrap().model, "Far");
    }

    #[test]
    fn each_feature_that_is_missing_weighs_more_than_the_one_before() {
        assert_eq!(distance(0, 9), (9, 0));
        assert_eq!(distance(3, 2), (8, 3));
        // Of equally far ones the one that lacks less.
        assert!(distance(1, 5) < distance(3, 0));
    }

    #[test]
    fn plain_names_are_told_from_versions() {
        assert!(is_version("EPYC-v2"));
        assert!(is_version("Skylake-Client-noTSX-IBRS-v10"));
        for plain in ["EPYC", "EPYC-Milan", "Opteron_G3", "core-v", "x-v1a"] {
            assert!(!is_version(plain), "{plain}");
        }
    }

    #[test]
    fn models_have_vendors() {
        for (model, vendor) in [
            ("EPYC-Milan-v2", Some(CpuVendor::Amd)),
            ("Opteron_G3", Some(CpuVendor::Amd)),
            ("Dhyana-v1", Some(CpuVendor::Hygon)),
            ("YongFeng", Some(CpuVendor::Zhaoxin)),
            ("Skylake-Client-noTSX-IBRS", Some(CpuVendor::Intel)),
            ("n270", Some(CpuVendor::Intel)),
            ("core2duo-v1", Some(CpuVendor::Intel)),
            ("486-v1", None),
            ("pentium3-v1", None),
            ("kvm64", None),
            ("qemu32-v1", None),
        ] {
            assert_eq!(CpuVendor::of_model(model), vendor, "{model}");
        }
    }
}
