//! Numbers out of their range, and things that may be there once given twice.

use super::super::basics::xml_error;
use super::internal;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::complete::DefineContext;
use crate::domain::input::{InputBus, InputType};
use crate::domain::misc_devices::WatchdogModel;
use crate::domain::resources::CpuTune;
use crate::domain::video::VideoType;
use crate::xml::{OnOff, XmlError, YesNo};
use std::collections::BTreeSet;
use std::fmt::Display;

/// The first context identifier a guest may have; those below have meanings of their own.
const VSOCK_CID_MIN: u32 = 3;
/// Entries of KVM's ring of written pages.
const DIRTY_RING_MIN: u32 = 1024;
const DIRTY_RING_MAX: u32 = 65_536;
/// Periods and quotas of CPU time in microseconds, as the kernel takes them.
const PERIOD_MIN: u64 = 1000;
const PERIOD_MAX: u64 = 1_000_000;
const QUOTA_MIN: i64 = 1000;
const QUOTA_MAX: i64 = 17_592_186_044_415;

pub(super) fn check(domain: &Domain, context: &DefineContext) -> Result<(), XmlError> {
    check_vcpus(domain, context)?;
    check_zeros(domain)?;
    check_places(domain)?;
    check_vsock(domain)?;
    check_dirty_ring(domain)?;
    check_cells(domain)?;
    check_audio(domain)?;
    check_iothreads(domain)?;
    check_single_devices(domain)?;
    check_inputs(domain)?;
    check_videos(domain)?;
    check_serials(domain)?;
    match &domain.cputune {
        Some(tune) => check_cpu_time(tune),
        None => Ok(()),
    }
}

fn zero(attribute: &str, element: &str) -> XmlError {
    xml_error(format!(
        "Invalid value for attribute '{attribute}' in element '{element}': Zero is not permitted"
    ))
}

/// Numbers that count from one.
fn check_zeros(domain: &Domain) -> Result<(), XmlError> {
    let mut boot_at_zero = false;
    domain
        .devices
        .each_info(&mut |info| boot_at_zero |= info.boot_order() == Some(0));
    if boot_at_zero {
        return Err(zero("order", "boot"));
    }
    if domain.devices.audios.iter().any(|audio| audio.id == 0) {
        return Err(zero("id", "audio"));
    }
    let threads = domain.iothread_ids.iter().flat_map(|ids| &ids.iothreads);
    match threads.into_iter().any(|thread| thread.id == 0) {
        true => Err(zero("id", "iothread")),
        false => Ok(()),
    }
}

/// No address of a kind that only machines of other processors have.
fn check_places(domain: &Domain) -> Result<(), XmlError> {
    let machine = domain.os.machine();
    if !domain.is_x86() {
        return Ok(());
    }
    let (mut zpci, mut ccw) = (false, false);
    domain.devices.each_info(&mut |info| match &info.address {
        Some(Address::Pci(pci)) => zpci |= pci.zpci.is_some(),
        Some(Address::Ccw(_)) => ccw = true,
        _ => {}
    });
    if zpci {
        return Err(XmlError::unsupported(
            "This QEMU binary doesn't support zPCI",
        ));
    }
    if ccw {
        return Err(XmlError::unsupported(format!(
            "CCW addresses are not supported by machine type '{machine}'"
        )));
    }
    Ok(())
}

/// No more virtual processors than the machine type takes.
fn check_vcpus(domain: &Domain, context: &DefineContext) -> Result<(), XmlError> {
    match context.machine_vcpus.get(domain.os.machine()) {
        Some(limit) if domain.vcpu.count() > *limit => Err(XmlError::unsupported(format!(
            "Maximum CPUs greater than specified machine type limit {limit}"
        ))),
        _ => Ok(()),
    }
}

fn check_vsock(domain: &Domain) -> Result<(), XmlError> {
    let cid = domain.devices.vsock.as_ref().and_then(|v| v.cid.as_ref());
    match cid.and_then(|cid| cid.address) {
        Some(0) => Err(zero("address", "cid")),
        Some(address) if address < VSOCK_CID_MIN => Err(XmlError::unsupported(format!(
            "guest CIDs must be >= {VSOCK_CID_MIN}"
        ))),
        _ => Ok(()),
    }
}

fn check_dirty_ring(domain: &Domain) -> Result<(), XmlError> {
    let kvm = domain.features.as_ref().and_then(|f| f.kvm.as_ref());
    let Some(ring) = kvm.and_then(|kvm| kvm.dirty_ring.as_ref()) else {
        return Ok(());
    };
    if ring.state != Some(OnOff::On) {
        return Ok(());
    }
    let Some(size) = ring.size else {
        return Err(xml_error(
            "Missing required attribute 'size' in element 'dirty-ring'",
        ));
    };
    let fits = size.is_power_of_two() && (DIRTY_RING_MIN..=DIRTY_RING_MAX).contains(&size);
    if fits {
        return Ok(());
    }
    Err(xml_error(format!(
        "dirty ring must be power of 2 and ranges [{DIRTY_RING_MIN}, {DIRTY_RING_MAX}]"
    )))
}

/// The cells' processors are among those the machine has.
fn check_cells(domain: &Domain) -> Result<(), XmlError> {
    let Some(cpu) = &domain.cpu else {
        return Ok(());
    };
    let count = domain.vcpu.count();
    let sets = || {
        cpu.numa_cells()
            .iter()
            .filter_map(|cell| cell.cpus.as_ref())
    };
    let all: usize = sets().map(|set| set.0.len()).sum();
    if all > count as usize {
        return Err(internal(
            "Number of CPUs in <numa> exceeds the <vcpu> count",
        ));
    }
    let last = sets().filter_map(|set| set.0.iter().next_back()).max();
    match last {
        Some(last) if *last >= count => Err(internal("CPU IDs in <numa> exceed the <vcpu> count")),
        _ => Ok(()),
    }
}

/// The first that is there twice.
fn twice<T: Ord + Copy>(all: impl IntoIterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    all.into_iter().find(|one| !seen.insert(*one))
}

fn check_audio(domain: &Domain) -> Result<(), XmlError> {
    let devices = &domain.devices;
    if let Some(id) = twice(devices.audios.iter().map(|audio| audio.id)) {
        return Err(xml_error(format!("audio ID {id} is used multiple times")));
    }
    let known = |id: &u32| devices.audios.iter().any(|audio| audio.id == *id);
    let wanted = devices
        .sounds
        .iter()
        .filter_map(|sound| sound.audio.as_ref());
    match wanted.map(|audio| audio.id).find(|id| !known(id)) {
        Some(id) => Err(xml_error(format!("no audio device with ID {id}"))),
        None => Ok(()),
    }
}

fn check_iothreads(domain: &Domain) -> Result<(), XmlError> {
    let threads = domain.iothread_ids.iter().flat_map(|ids| &ids.iothreads);
    match twice(threads.map(|thread| thread.id)) {
        Some(id) => Err(xml_error(format!("duplicate iothread id '{id}' found"))),
        None => Ok(()),
    }
}

fn check_single_devices(domain: &Domain) -> Result<(), XmlError> {
    let devices = &domain.devices;
    if devices.tpms.len() > 1 {
        return Err(XmlError::unsupported(
            "only a single TPM non-proxy device is supported",
        ));
    }
    if devices.smartcards.len() > 1 {
        return Err(XmlError::unsupported(
            "this QEMU binary lacks multiple smartcard support",
        ));
    }
    let is_itco = |model: &WatchdogModel| *model == WatchdogModel::Itco;
    let models = devices.watchdogs.iter().map(|watchdog| watchdog.model);
    if models.filter(is_itco).count() > 1 {
        return Err(XmlError::unsupported(
            "domain can only have one watchdog with model 'itco'",
        ));
    }
    Ok(())
}

fn check_inputs(domain: &Domain) -> Result<(), XmlError> {
    for input in &domain.devices.inputs {
        let fits = matches!(input.kind, InputType::Mouse | InputType::Keyboard);
        if input.bus == Some(InputBus::Ps2) && !fits {
            return Err(internal(format!(
                "ps2 bus does not support {} input device",
                input.kind
            )));
        }
    }
    Ok(())
}

fn check_videos(domain: &Domain) -> Result<(), XmlError> {
    let mut primaries = 0;
    for video in &domain.devices.videos {
        let Some(model) = &video.model else { continue };
        let heads = model.heads.unwrap_or(1);
        if heads != 1 && !matches!(model.kind, VideoType::Qxl | VideoType::Virtio) {
            return Err(XmlError::unsupported(format!(
                "video type '{}' doesn't support multiple 'heads'",
                model.kind
            )));
        }
        if model.kind != VideoType::Qxl {
            let memories = [("ram", model.ram), ("vram64", model.vram64)];
            if let Some((name, _)) = memories.iter().find(|(_, given)| given.is_some()) {
                return Err(XmlError::unsupported(format!(
                    "{name} attribute only supported for video type qxl"
                )));
            }
        }
        primaries += usize::from(model.primary.is_some_and(YesNo::is_yes));
    }
    if primaries > 1 {
        return Err(XmlError::unsupported(
            "Only one primary video device is supported",
        ));
    }
    Ok(())
}

/// A serial number goes onto QEMU's command line.
fn check_serials(domain: &Domain) -> Result<(), XmlError> {
    let unsafe_in = |serial: &&str| serial.contains([',', '=', '"', '\'', '\\', '\n']);
    let serials = domain.devices.disks.iter();
    let mut serials = serials.filter_map(|disk| disk.serial.as_deref());
    match serials.find(unsafe_in) {
        Some(serial) => Err(internal(format!(
            "driver serial '{serial}' contains unsafe characters"
        ))),
        None => Ok(()),
    }
}

fn out_of_range(name: &str, from: impl Display, to: impl Display) -> XmlError {
    XmlError::unsupported(format!(
        "Value of cputune '{name}' must be in range [{from}, {to}]"
    ))
}

fn check_cpu_time(tune: &CpuTune) -> Result<(), XmlError> {
    let periods = [
        ("period", tune.period),
        ("global_period", tune.global_period),
        ("emulator_period", tune.emulator_period),
        ("iothread_period", tune.iothread_period),
    ];
    for (name, period) in periods {
        if period.is_some_and(|period| !(PERIOD_MIN..=PERIOD_MAX).contains(&period)) {
            return Err(out_of_range(name, PERIOD_MIN, PERIOD_MAX));
        }
    }
    let quotas = [
        ("quota", tune.quota),
        ("global_quota", tune.global_quota),
        ("emulator_quota", tune.emulator_quota),
        ("iothread_quota", tune.iothread_quota),
    ];
    for (name, quota) in quotas {
        // A negative quota, or none at all, is no limit.
        let given = quota.filter(|quota| *quota > 0);
        if given.is_some_and(|quota| !(QUOTA_MIN..=QUOTA_MAX).contains(&quota)) {
            return Err(out_of_range(name, QUOTA_MIN, QUOTA_MAX));
        }
    }
    match twice(tune.vcpu_pins.iter().map(|pin| pin.vcpu)) {
        Some(vcpu) => Err(internal(format!("duplicate vcpupin for vcpu '{vcpu}'"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a machine with these parts and devices.
    fn refusal(parts: &str, devices: &str) -> Option<String> {
        let xml = format!(
            "<domain type='qemu'><name>x</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os>{parts}\
             <devices>{devices}</devices></domain>"
        );
        let domain = Domain::parse(&xml).expect("well formed");
        check(&domain, &DefineContext::default())
            .err()
            .map(|error| error.message)
    }

    fn refused(parts: &str, devices: &str) -> String {
        refusal(parts, devices).expect("refused")
    }

    #[test]
    fn numbers_are_in_their_ranges() {
        let disk = |rest| format!("<disk type='file'><target dev='vda'/>{rest}</disk>");
        for (parts, devices, words) in [
            (
                "",
                disk("<boot order='0'/>").as_str(),
                "Zero is not permitted",
            ),
            (
                "",
                disk("<serial>a,b</serial>").as_str(),
                "unsafe characters",
            ),
            ("", "<vsock><cid address='2'/></vsock>", "must be >= 3"),
            (
                "<features><kvm><dirty-ring state='on' size='1000'/></kvm></features>",
                "",
                "power of 2",
            ),
            (
                "<cputune><period>10</period></cputune>",
                "",
                "[1000, 1000000]",
            ),
            (
                "<cpu><numa><cell id='0' cpus='0-5' memory='1'/></numa></cpu>",
                "",
                "exceeds the <vcpu> count",
            ),
            (
                "",
                "<input type='tablet' bus='ps2'/>",
                "ps2 bus does not support tablet",
            ),
            (
                "",
                "<sound model='ich9'><audio id='7'/></sound>",
                "no audio device with ID 7",
            ),
        ] {
            let said = refused(parts, devices);
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(refusal("", "<vsock><cid address='3'/></vsock>"), None);
    }

    #[test]
    fn what_may_be_there_once_is_not_there_twice() {
        let twice = |one: &str| one.repeat(2);
        for (devices, words) in [
            (twice("<audio id='1' type='none'/>"), "used multiple times"),
            (
                twice("<tpm model='tpm-tis'><backend type='emulator'/></tpm>"),
                "only a single TPM",
            ),
            (twice("<watchdog model='itco'/>"), "only have one watchdog"),
            (
                twice("<video><model type='virtio' primary='yes'/></video>"),
                "Only one primary",
            ),
        ] {
            let said = refused("", &devices);
            assert!(said.contains(words), "{said}");
        }
    }
}
