//! Processors compared, and the processor that several have in common: sets of features, taken
//! from what QEMU says of its models.

use std::collections::BTreeSet;

use model::described_cpu::DescribedCpu;
use model::domain::cpu::{
    Cpu, CpuFallback, CpuFeature, CpuMatch, CpuMode, CpuModel, FeaturePolicy,
};
use thiserror::Error;

use crate::caps::{AccelCaps, CpuTable, CpuVendor, is_version};

/// Features that a machine cannot take along to another host.
const NOT_MIGRATABLE: [&str; 2] = ["invtsc", "xsaves-state"];

/// A processor as its features.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureSet {
    /// Who makes it.
    pub vendor: Option<CpuVendor>,
    /// All its features, by libvirt's names.
    pub features: BTreeSet<String>,
}

impl FeatureSet {
    /// What a hypervisor gives, as far as its nearest named model says; nothing where none is.
    #[must_use]
    pub fn of_hypervisor(accelerator: &AccelCaps, table: &CpuTable) -> Option<Self> {
        let host = accelerator.host_model.as_ref()?;
        let mut features = table.features(&host.model)?;
        features.extend(host.require.iter().cloned());
        features.retain(|feature| !host.disable.contains(feature));
        Some(Self {
            vendor: host.vendor,
            features,
        })
    }
}

/// How a processor relates to the one that is to provide it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// It cannot be provided; the reason in libvirt's words.
    Incompatible(String),
    /// It is the same.
    Identical,
    /// More than it could be provided.
    Superset,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CpuError {
    /// QEMU has no such model.
    #[error("Unknown CPU model {0}")]
    UnknownModel(String),
    /// QEMU has no such feature.
    #[error("Unknown CPU feature {0}")]
    UnknownFeature(String),
    /// No processors were given.
    #[error("no CPUs given")]
    None,
    /// One of several processors names no model.
    #[error("no CPU model specified at index {0}")]
    NoModel(usize),
    /// They are of several vendors.
    #[error("CPU vendors do not match")]
    Vendors,
    /// The vendor is not the named model's.
    #[error("CPU vendor {of} of model {model} differs from vendor {given}")]
    Vendor {
        /// The model's vendor.
        of: &'static str,
        /// The model.
        model: String,
        /// The vendor that was given.
        given: String,
    },
    /// It is one that a machine asks for, where a host's own was to be told.
    #[error("Attribute mode is only allowed for guest CPU")]
    NotAHosts,
    /// Nobody makes processors under that name.
    #[error("Unknown CPU vendor {0}")]
    UnknownVendor(String),
    /// They have nothing in common.
    #[error("CPUs are incompatible")]
    Incompatible,
    /// No named model comes near to what they have in common.
    #[error("Cannot find suitable CPU model for given data")]
    NoSuitable,
}

/// Compares `cpu` with the one that is to provide it.
///
/// # Errors
/// If QEMU does not know what `cpu` is made of.
pub fn compare(
    table: &CpuTable,
    provider: &FeatureSet,
    cpu: &DescribedCpu,
) -> Result<Comparison, CpuError> {
    // Whatever the host has will do.
    if cpu.model.is_none() {
        return Ok(Comparison::Superset);
    }
    let provider_vendor = provider.vendor.map(CpuVendor::name);
    if let Some(vendor) = cpu
        .vendor
        .as_deref()
        .filter(|v| Some(*v) != provider_vendor)
    {
        return Ok(Comparison::Incompatible(format!(
            "host CPU vendor does not match required CPU vendor {vendor}"
        )));
    }
    let asked = features_of(table, cpu)?;
    let has = |name: &String| provider.features.contains(name);
    let forbidden: Vec<_> = with_policy(cpu, FeaturePolicy::Forbid)
        .filter(|n| has(n))
        .collect();
    if !forbidden.is_empty() {
        return Ok(Comparison::Incompatible(format!(
            "Host CPU provides forbidden features: {}",
            joined(&forbidden)
        )));
    }
    let missing: Vec<_> = asked.iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        return Ok(Comparison::Incompatible(format!(
            "Host CPU does not provide required features: {}",
            joined(&missing)
        )));
    }
    let mentioned = |name: &&String| {
        asked.contains(*name) || cpu.features.iter().any(|feature| feature.name == **name)
    };
    let extra: Vec<_> = provider
        .features
        .iter()
        .filter(|name| !mentioned(name))
        .collect();
    if extra.is_empty() {
        return Ok(Comparison::Identical);
    }
    if cpu.match_ == Some(CpuMatch::Strict) && !cpu.is_host() {
        return Ok(Comparison::Incompatible(format!(
            "Host CPU does not strictly match guest CPU: Extra features: {}",
            joined(&extra)
        )));
    }
    Ok(Comparison::Superset)
}

fn joined(names: &[&String]) -> String {
    names
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn with_policy(cpu: &DescribedCpu, policy: FeaturePolicy) -> impl Iterator<Item = &String> {
    let features = cpu
        .features
        .iter()
        .filter(move |feature| feature.policy == policy);
    features.map(|feature| &feature.name)
}

/// The features a processor cannot be without.
fn features_of(table: &CpuTable, cpu: &DescribedCpu) -> Result<BTreeSet<String>, CpuError> {
    let model = cpu.model.clone().unwrap_or_default();
    let mut all = table
        .features(&model)
        .ok_or(CpuError::UnknownModel(model))?;
    for feature in &cpu.features {
        // A host may tell of features that QEMU has no name for.
        if !cpu.is_host() && !table.knows(&feature.name) {
            return Err(CpuError::UnknownFeature(feature.name.clone()));
        }
        match feature.policy {
            FeaturePolicy::Require => all.insert(feature.name.clone()),
            _ => all.remove(&feature.name),
        };
    }
    Ok(all)
}

/// What the processor in common is to be like.
#[derive(Debug, Clone, Copy, Default)]
pub struct BaselineWishes<'a> {
    /// Write out the model's own features too.
    pub expand: bool,
    /// Leave out what cannot be taken along to another host.
    pub migratable: bool,
    /// Only what this hypervisor gives.
    pub within: Option<&'a FeatureSet>,
}

/// The richest processor that all of `cpus` can provide.
///
/// # Errors
/// If there is none, or QEMU does not know what they are made of.
pub fn baseline(
    table: &CpuTable,
    cpus: &[DescribedCpu],
    wishes: BaselineWishes,
) -> Result<Cpu, CpuError> {
    let Some(first) = cpus.first() else {
        return Err(CpuError::None);
    };
    if let Some(index) = cpus.iter().position(|cpu| cpu.model.is_none()) {
        return Err(CpuError::NoModel(index));
    }
    let machines = wishes.within.is_some();
    if !machines && cpus.iter().any(|cpu| cpu.mode.is_some()) {
        return Err(CpuError::NotAHosts);
    }
    let vendor = common_vendor(cpus)?;
    let mut common = features_of(table, first)?;
    for cpu in &cpus[1..] {
        let other = features_of(table, cpu)?;
        common.retain(|feature| other.contains(feature));
    }
    if let Some(within) = wishes.within {
        common.retain(|feature| within.features.contains(feature));
    }
    if wishes.migratable {
        common.retain(|feature| !NOT_MIGRATABLE.contains(&feature.as_str()));
    }
    if common.is_empty() {
        return Err(CpuError::Incompatible);
    }
    let same = cpus.iter().all(|cpu| cpu.model == first.model);
    let preferred = first
        .model
        .as_deref()
        .filter(|name| same && !is_version(name));
    let model = match preferred {
        Some(model) => model,
        None => table.nearest(vendor, &common).ok_or(CpuError::NoSuitable)?,
    };
    let own = table.features(model).unwrap_or_default();
    let told = cpus.iter().all(|cpu| cpu.vendor.is_some());
    Ok(Cpu {
        mode: Some(CpuMode::Custom),
        match_: Some(CpuMatch::Exact),
        model: Some(CpuModel {
            fallback: Some(match machines || preferred.is_some() {
                true => CpuFallback::Forbid,
                false => CpuFallback::Allow,
            }),
            name: Some(model.to_owned()),
            ..CpuModel::default()
        }),
        vendor: vendor
            .filter(|_| told)
            .map(|vendor| vendor.name().to_owned()),
        features: differences(&own, &common, wishes.expand),
        ..Cpu::default()
    })
}

fn common_vendor(cpus: &[DescribedCpu]) -> Result<Option<CpuVendor>, CpuError> {
    let mut common = None;
    for cpu in cpus {
        let model = cpu.model.clone().unwrap_or_default();
        let of = CpuVendor::of_model(&model);
        let given = match &cpu.vendor {
            None => None,
            Some(name) => Some(
                CpuVendor::from_name(name).ok_or_else(|| CpuError::UnknownVendor(name.clone()))?,
            ),
        };
        if let (Some(of), Some(given)) = (of, given)
            && of != given
        {
            let (of, given) = (of.name(), given.name().to_owned());
            return Err(CpuError::Vendor { of, model, given });
        }
        match (common, given.or(of)) {
            (Some(one), Some(other)) if one != other => return Err(CpuError::Vendors),
            (None, Some(one)) => common = Some(one),
            _ => {}
        }
    }
    Ok(common)
}

fn differences(own: &BTreeSet<String>, wanted: &BTreeSet<String>, expand: bool) -> Vec<CpuFeature> {
    let feature = |policy, name: &String| CpuFeature {
        policy,
        name: name.clone(),
    };
    let require = wanted
        .iter()
        .filter(|name| expand || !own.contains(*name))
        .map(|name| feature(FeaturePolicy::Require, name));
    let disable = own
        .difference(wanted)
        .map(|name| feature(FeaturePolicy::Disable, name));
    require.chain(disable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::{Accelerator, QemuCaps};
    use proptest::prelude::*;

    fn caps() -> QemuCaps {
        QemuCaps::from_json(include_str!("../tests/data/caps-10.0.json")).unwrap()
    }

    fn cpu(text: &str) -> DescribedCpu {
        DescribedCpu::parse(text).unwrap()
    }

    fn provider(table: &CpuTable, model: &str) -> FeatureSet {
        FeatureSet {
            vendor: CpuVendor::of_model(model),
            features: table.features(model).unwrap(),
        }
    }

    #[test]
    fn a_processor_is_like_itself_and_more_than_a_part_of_it() {
        let table = caps().cpu_table;
        let host = provider(&table, "EPYC");
        let told = |text: &str| compare(&table, &host, &cpu(text)).unwrap();
        let like = |rest: &str| told(&format!("<cpu><model>EPYC</model>{rest}</cpu>"));
        assert_eq!(like(""), Comparison::Identical);
        assert_eq!(
            like("<feature policy='optional' name='avx512f'/>"),
            Comparison::Identical
        );
        let strict = "<cpu match='strict'><model>qemu64</model></cpu>";
        assert!(matches!(told(strict), Comparison::Incompatible(_)));
        let without = "<feature policy='disable' name='avx2'/>";
        assert_eq!(like(without), Comparison::Identical);
        let small = "<cpu><model>486</model></cpu>";
        assert_eq!(told(small), Comparison::Superset);
        assert_eq!(told("<cpu mode='host-model'/>"), Comparison::Superset);
    }

    #[test]
    fn what_is_missing_or_forbidden_is_named() {
        let table = caps().cpu_table;
        let host = provider(&table, "EPYC");
        let reason = |text: &str| match compare(&table, &host, &cpu(text)).unwrap() {
            Comparison::Incompatible(reason) => reason,
            other => panic!("{other:?}"),
        };
        let with = |rest: &str| format!("<cpu><model>EPYC</model>{rest}</cpu>");
        assert_eq!(
            reason(&with("<feature policy='require' name='avx512f'/>")),
            "Host CPU does not provide required features: avx512f"
        );
        assert_eq!(
            reason(&with("<feature policy='forbid' name='avx2'/>")),
            "Host CPU provides forbidden features: avx2"
        );
        assert_eq!(
            reason(&with("<vendor>Intel</vendor>")),
            "host CPU vendor does not match required CPU vendor Intel"
        );
        let unknown = compare(&table, &host, &cpu("<cpu><model>Pentagon</model></cpu>"));
        assert_eq!(
            unknown.unwrap_err().to_string(),
            "Unknown CPU model Pentagon"
        );
    }

    #[test]
    fn what_several_have_in_common() {
        let caps = caps();
        let table = &caps.cpu_table;
        let cpus = [
            cpu("<cpu><arch>x86_64</arch><model>EPYC-Rome</model><vendor>AMD</vendor></cpu>"),
            cpu("<cpu><model>EPYC</model><vendor>AMD</vendor></cpu>"),
        ];
        let found = baseline(table, &cpus, BaselineWishes::default()).unwrap();
        assert_eq!(found.model_name(), Some("EPYC"));
        assert_eq!(
            (found.vendor.as_deref(), found.features.len()),
            (Some("AMD"), 0)
        );
        let expand = BaselineWishes {
            expand: true,
            ..BaselineWishes::default()
        };
        let expanded = baseline(table, &cpus, expand).unwrap();
        assert!(
            expanded
                .features
                .iter()
                .any(|feature| feature.name == "avx2")
        );
        let mixed = [cpus[0].clone(), cpu("<cpu><model>Haswell</model></cpu>")];
        assert_eq!(baseline(table, &mixed, expand), Err(CpuError::Vendors));
        assert_eq!(baseline(table, &[], expand), Err(CpuError::None));
    }

    #[test]
    fn a_model_that_lacks_little_is_preferred_to_one_that_has_more() {
        let caps = caps();
        let table = &caps.cpu_table;
        let features = table.features("EPYC-Rome").unwrap();
        let own = table.features("EPYC").unwrap();
        // A processor with all of the small model and half of what the large one has besides.
        let more: Vec<_> = features.difference(&own).step_by(2).cloned().collect();
        let told = |name: &String| format!("<feature name='{name}'/>");
        let cpu = cpu(&format!(
            "<cpu><arch>x86_64</arch><model>EPYC-v1</model><vendor>AMD</vendor>{}</cpu>",
            more.iter().map(told).collect::<String>()
        ));
        let found = baseline(table, &[cpu], BaselineWishes::default()).unwrap();
        assert!(!is_version(found.model_name().unwrap()), "{found:?}");
        let off = |f: &&CpuFeature| f.policy == FeaturePolicy::Disable;
        assert!(found.features.iter().filter(off).count() < 4, "{found:?}");
        let fallback = found.model.unwrap().fallback;
        assert_eq!(fallback, Some(CpuFallback::Allow));
    }

    #[test]
    fn a_hypervisor_bounds_what_is_found() {
        let caps = caps();
        let tcg = caps.accelerator(Accelerator::Tcg).unwrap();
        let within = FeatureSet::of_hypervisor(tcg, &caps.cpu_table).unwrap();
        let wishes = BaselineWishes {
            within: Some(&within),
            ..BaselineWishes::default()
        };
        let found = baseline(
            &caps.cpu_table,
            &[cpu("<cpu><model>EPYC</model></cpu>")],
            wishes,
        );
        let found = found.unwrap();
        assert_eq!(found.model_name(), Some("EPYC"));
        let off = |feature: &&CpuFeature| feature.policy == FeaturePolicy::Disable;
        let off: Vec<_> = found
            .features
            .iter()
            .filter(off)
            .map(|f| f.name.as_str())
            .collect();
        assert!(off.contains(&"fxsr_opt"), "{off:?}");
    }

    proptest! {
        #[test]
        fn what_is_in_common_can_be_provided_by_each(one in 0..12usize, other in 0..12usize) {
            let caps = caps();
            let table = &caps.cpu_table;
            let names: Vec<_> = table.names().collect();
            let pair = [names[one], names[other]];
            let cpus = pair.map(|name| cpu(&format!("<cpu><model>{name}</model></cpu>")));
            if let Ok(found) = baseline(table, &cpus, BaselineWishes::default()) {
                let text = model::described_cpu::cpu_to_xml(&found);
                for name in pair {
                    let verdict = compare(table, &provider(table, name), &cpu(&text)).unwrap();
                    prop_assert!(!matches!(verdict, Comparison::Incompatible(_)), "{verdict:?}");
                }
            }
        }
    }
}
