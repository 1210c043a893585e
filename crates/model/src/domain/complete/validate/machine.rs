//! The machine as a whole: type, firmware, features, processors.

use super::super::basics::xml_error;
use super::super::machine::MachineFamily;
use super::plain;
use crate::domain::cpu::{Cpu, CpuCacheMode, CpuMode, MaxPhysAddrMode};
use crate::domain::input::InputBus;
use crate::domain::os::{Firmware, LoaderType, SysinfoTable};
use crate::domain::resources::CpuTune;
use crate::domain::{Domain, DomainType};
use crate::xml::{XmlError, YesNo};

pub(super) fn check(domain: &Domain) -> Result<(), XmlError> {
    if domain.kind == DomainType::Hvf {
        let emulator = domain.devices.emulator.as_deref().unwrap_or("");
        return Err(XmlError::unsupported(format!(
            "Emulator '{emulator}' does not support virt type 'hvf'"
        )));
    }
    if domain.title.as_ref().is_some_and(|t| t.contains('\n')) {
        return Err(xml_error("Domain title can't contain newlines"));
    }
    check_firmware(domain)?;
    check_ps2(domain)?;
    check_enlightenments(domain)?;
    check_system_uuid(domain)?;
    check_bios_strings(domain)?;
    if let Some(cpu) = &domain.cpu {
        check_cpu(cpu)?;
        check_topology(domain, cpu)?;
    }
    match &domain.cputune {
        Some(tune) => check_schedulers(domain, tune),
        None => Ok(()),
    }
}

fn has_acpi(domain: &Domain) -> bool {
    domain.features.as_ref().is_some_and(|f| f.acpi)
}

fn check_firmware(domain: &Domain) -> Result<(), XmlError> {
    let os = &domain.os;
    let pflash = os.loader.as_ref().and_then(|l| l.kind) == Some(LoaderType::Pflash);
    let efi = os.firmware == Some(Firmware::Efi) || pflash;
    if efi && domain.is_x86() && !has_acpi(domain) {
        return Err(XmlError::unsupported(
            "UEFI requires ACPI on this architecture",
        ));
    }
    let secure = os.loader.as_ref().and_then(|l| l.secure) == Some(YesNo::Yes);
    if secure && domain.is_x86() && !is_q35(domain) {
        return Err(XmlError::unsupported(
            "Secure boot is supported with q35 machine types only",
        ));
    }
    let on_serial = os.bios.as_ref().and_then(|b| b.use_serial) == Some(YesNo::Yes);
    if on_serial && domain.devices.serials.is_empty() {
        return Err(xml_error(
            "need at least one serial port to use BIOS serial output",
        ));
    }
    if os.kernel.is_none() && (os.initrd.is_some() || os.cmdline.is_some()) {
        return Err(XmlError::unsupported(
            "initrd and cmdline can only be used together with a kernel",
        ));
    }
    Ok(())
}

fn check_ps2(domain: &Domain) -> Result<(), XmlError> {
    let features = domain.features.as_ref();
    let off = features
        .and_then(|f| f.ps2.as_ref())
        .is_some_and(|ps2| !ps2.is_on());
    if !off {
        return Ok(());
    }
    if features
        .and_then(|f| f.vmport.as_ref())
        .is_some_and(|v| v.is_on())
    {
        return Err(XmlError::unsupported(
            "vmport feature requires the ps2 feature not to be disabled",
        ));
    }
    if domain
        .devices
        .inputs
        .iter()
        .any(|i| i.bus == Some(InputBus::Ps2))
    {
        return Err(XmlError::unsupported(
            "ps2 bus inputs require the ps2 feature not to be disabled",
        ));
    }
    Ok(())
}

/// The fewest retries Hyper-V takes.
const SPINLOCK_RETRIES_MIN: u32 = 4095;

fn check_enlightenments(domain: &Domain) -> Result<(), XmlError> {
    let hyperv = domain.features.as_ref().and_then(|f| f.hyperv.as_ref());
    let retries = hyperv
        .and_then(|h| h.spinlocks.as_ref())
        .and_then(|s| s.retries);
    if retries.is_some_and(|r| r < SPINLOCK_RETRIES_MIN) {
        return Err(xml_error(
            "HyperV spinlock retry count must be at least 4095",
        ));
    }
    Ok(())
}

fn check_system_uuid(domain: &Domain) -> Result<(), XmlError> {
    let systems = domain.sysinfos.iter().filter_map(|s| s.system.as_ref());
    for entry in systems.flat_map(|t| &t.entries) {
        if entry.name.as_deref() != Some("uuid") {
            continue;
        }
        let given = entry
            .value
            .as_deref()
            .and_then(|v| uuid::Uuid::try_parse(v.trim()).ok());
        if given.is_none() {
            return Err(plain("malformed <sysinfo> uuid element"));
        }
        if given != domain.uuid {
            return Err(plain("UUID mismatch between <uuid> and <sysinfo>"));
        }
    }
    Ok(())
}

/// The BIOS's date is month/day/year, two digits each, the year also four.
fn check_bios_strings(domain: &Domain) -> Result<(), XmlError> {
    let tables = domain.sysinfos.iter().filter_map(|s| s.bios.as_ref());
    for date in tables.filter_map(|t: &SysinfoTable| {
        t.entries
            .iter()
            .find(|e| e.name.as_deref() == Some("date"))?
            .value
            .as_deref()
    }) {
        let parts: Option<Vec<u32>> = date.split('/').map(|p| p.parse().ok()).collect();
        let valid = match parts.as_deref() {
            Some([month, day, year]) => {
                (1..=12).contains(month)
                    && (1..=31).contains(day)
                    && (*year < 100 || (1900..10_000).contains(year))
            }
            _ => false,
        };
        if !valid {
            return Err(plain("Invalid BIOS 'date' format"));
        }
    }
    Ok(())
}

fn is_host_cpu(cpu: &Cpu) -> bool {
    matches!(cpu.mode, Some(CpuMode::HostPassthrough | CpuMode::Maximum))
}

fn check_cpu(cpu: &Cpu) -> Result<(), XmlError> {
    if let Some(cache) = &cpu.cache {
        let mode = cache.mode;
        match (mode, cache.level) {
            (CpuCacheMode::Emulate, Some(3)) | (_, None) => {}
            (CpuCacheMode::Emulate, _) | (_, Some(_)) => {
                return Err(XmlError::unsupported(format!(
                    "unsupported CPU cache level for mode '{mode}'"
                )));
            }
        }
        if mode == CpuCacheMode::Passthrough && !is_host_cpu(cpu) {
            return Err(XmlError::unsupported(format!(
                "CPU cache mode '{mode}' can only be used with 'host-passthrough' / 'maximum' CPUs"
            )));
        }
    }
    if let Some(width) = &cpu.max_phys_addr
        && width.mode == MaxPhysAddrMode::Passthrough
    {
        if !is_host_cpu(cpu) {
            return Err(XmlError::unsupported(
                "CPU maximum physical address bits mode 'passthrough' can only be used with \
                 'host-passthrough' / 'maximum' CPUs",
            ));
        }
        if width.bits.is_some() {
            return Err(XmlError::unsupported(
                "CPU maximum physical address bits number specification cannot be used with \
                 mode='passthrough'",
            ));
        }
    }
    Ok(())
}

fn check_topology(domain: &Domain, cpu: &Cpu) -> Result<(), XmlError> {
    let Some(topology) = &cpu.topology else {
        return Ok(());
    };
    let parts = [
        topology.sockets,
        topology.dies.unwrap_or(1),
        topology.clusters.unwrap_or(1),
        topology.cores,
        topology.threads,
    ];
    if parts.contains(&0) {
        return Err(xml_error("Invalid CPU topology"));
    }
    let product = parts
        .iter()
        .try_fold(1_u32, |product, part| product.checked_mul(*part));
    if product != Some(domain.vcpu.count()) {
        return Err(XmlError::unsupported(
            "CPU topology doesn't match maximum vcpu count",
        ));
    }
    Ok(())
}

fn check_schedulers(domain: &Domain, tune: &CpuTune) -> Result<(), XmlError> {
    for pair in tune.vcpu_scheds.windows(2) {
        if pair[0].vcpus.overlaps(&pair[1].vcpus) {
            return Err(plain("'vcpusched' attributes 'vcpus' must not overlap"));
        }
    }
    let mut ids = tune.iothread_scheds.iter().flat_map(|s| &s.iothreads.0);
    let missing = ids.find(|id| !domain.has_iothread(**id));
    if let Some(id) = missing {
        return Err(XmlError::unsupported(format!(
            "Cannot find 'iothread' : {id}"
        )));
    }
    Ok(())
}

/// Whether the machine is a Q35, for devices that only it can have.
pub(super) fn is_q35(domain: &Domain) -> bool {
    domain.machine_family() == MachineFamily::Q35
}

pub(super) fn acpi(domain: &Domain) -> bool {
    has_acpi(domain)
}
