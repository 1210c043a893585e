//! Processors compared with the host's and with what QEMU gives, and what several have in common.

use crate::capabilities::MachineQuestion;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use model::described_cpu::{DescribedCpu, cpu_to_xml};
use qemu::caps::QemuCaps;
use qemu::cpu_match::{BaselineWishes, Comparison, CpuError, FeatureSet, baseline, compare};
use qemu::hostcaps::host_features;
use std::sync::Arc;

/// libvirt's names of architectures.
const ARCHITECTURES: &str = "alpha armv6l armv7l armv7b aarch64 cris i686 ia64 lm32 loongarch64 \
    m68k microblaze microblazeel mips mipsel mips64 mips64el or32 parisc parisc64 ppc ppcle ppc64 \
    ppc64le ppcemb riscv32 riscv64 s390 s390x sh4 sh4eb sparc sparc64 unicore32 x86_64 xtensa \
    xtensaeb";

/// How the processor in common is to be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommonCpu {
    /// With the features the named model has anyway.
    pub expand: bool,
    /// Without features that cannot be taken along to another host.
    pub migratable: bool,
}

/// What to do with a processor that cannot be provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incompatible {
    /// Say so.
    IsAnAnswer,
    /// Fail, with the reason.
    IsAFailure,
}

/// How a processor relates to the one that is to provide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuRelation {
    /// It cannot be provided.
    Incompatible,
    /// It is the same.
    Identical,
    /// More than it could be provided.
    Superset,
}

impl Engine {
    /// The processor models that can be named for machines of an architecture; none where no such
    /// machines can be run.
    pub async fn cpu_model_names(&self, arch: &str) -> Result<Vec<String>> {
        let caps = self
            .binaries()
            .caps(&self.binaries().default_emulator()?)
            .await?;
        if !ARCHITECTURES.split(' ').any(|known| known == arch) {
            let message = format!("cannot find architecture {arch}");
            return Err(EngineError::new(ErrorKind::InvalidArgument, message));
        }
        let ours = arch == caps.arch || (arch == "i686" && caps.arch == "x86_64");
        let names = caps.cpu_table.names().filter(|_| ours);
        Ok(names.map(str::to_owned).collect())
    }

    /// Compares a processor with the host's.
    pub async fn compare_cpu(&self, xml: &str, otherwise: Incompatible) -> Result<CpuRelation> {
        let caps = self
            .binaries()
            .caps(&self.binaries().default_emulator()?)
            .await?;
        let host = host_features(&caps, &self.host_facts()?);
        relation(&caps, &host, xml, otherwise)
    }

    /// Compares a processor with what a QEMU gives its machines on this host.
    pub async fn compare_hypervisor_cpu(
        &self,
        question: &MachineQuestion,
        xml: &str,
        otherwise: Incompatible,
    ) -> Result<CpuRelation> {
        let (caps, provider) = self.hypervisor_cpu(question).await?;
        relation(&caps, &provider, xml, otherwise)
    }

    /// The richest processor that several hosts have in common, as XML for machines.
    pub async fn baseline_cpu(&self, xml: &[String], how: CommonCpu) -> Result<String> {
        let caps = self
            .binaries()
            .caps(&self.binaries().default_emulator()?)
            .await?;
        common(&caps, xml, how, None)
    }

    /// The richest processor that a QEMU of this host gives and that several hosts have in common.
    pub async fn baseline_hypervisor_cpu(
        &self,
        question: &MachineQuestion,
        xml: &[String],
        how: CommonCpu,
    ) -> Result<String> {
        let (caps, provider) = self.hypervisor_cpu(question).await?;
        common(&caps, xml, how, Some(&provider))
    }

    async fn hypervisor_cpu(
        &self,
        question: &MachineQuestion,
    ) -> Result<(Arc<QemuCaps>, FeatureSet)> {
        let (emulator, caps, accelerator) = self.emulator_asked_for(question).await?;
        // The same refusals as for the rest of what such a machine can have.
        self.domain_capabilities(question).await?;
        let provider = caps
            .accelerator(accelerator)
            .and_then(|abilities| FeatureSet::of_hypervisor(abilities, &caps.cpu_table));
        let provider = provider.ok_or_else(|| {
            let message = format!(
                "QEMU '{}' does not support reporting CPU model for accelerator '{}'",
                emulator.display(),
                accelerator.name()
            );
            EngineError::new(ErrorKind::OperationInvalid, message)
        })?;
        Ok((caps, provider))
    }
}

fn described(xml: &str) -> Result<DescribedCpu> {
    DescribedCpu::parse(xml).map_err(crate::engine::xml_error)
}

fn relation(
    caps: &QemuCaps,
    provider: &FeatureSet,
    xml: &str,
    otherwise: Incompatible,
) -> Result<CpuRelation> {
    let cpu = described(xml)?;
    match compare(&caps.cpu_table, provider, &cpu).map_err(refused)? {
        Comparison::Identical => Ok(CpuRelation::Identical),
        Comparison::Superset => Ok(CpuRelation::Superset),
        Comparison::Incompatible(_) if otherwise == Incompatible::IsAnAnswer => {
            Ok(CpuRelation::Incompatible)
        }
        Comparison::Incompatible(why) => Err(EngineError::new(ErrorKind::CpuIncompatible, why)),
    }
}

fn common(
    caps: &QemuCaps,
    xml: &[String],
    how: CommonCpu,
    within: Option<&FeatureSet>,
) -> Result<String> {
    let cpus: Vec<_> = xml
        .iter()
        .map(|text| described(text))
        .collect::<Result<_>>()?;
    let wishes = BaselineWishes {
        expand: how.expand,
        migratable: how.migratable,
        within,
    };
    let found = baseline(&caps.cpu_table, &cpus, wishes).map_err(refused)?;
    Ok(cpu_to_xml(&found))
}

fn refused(error: CpuError) -> EngineError {
    let kind = match &error {
        CpuError::None | CpuError::NoModel(_) => ErrorKind::InvalidArgument,
        CpuError::NotAHosts => ErrorKind::ConfigUnsupported,
        CpuError::UnknownModel(_) | CpuError::UnknownFeature(_) | CpuError::NoSuitable => {
            ErrorKind::Internal
        }
        CpuError::Vendors
        | CpuError::Vendor { .. }
        | CpuError::UnknownVendor(_)
        | CpuError::Incompatible => ErrorKind::OperationFailed,
    };
    EngineError::new(kind, error.to_string())
}
