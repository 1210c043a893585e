//! Name, machine, memory, processors, boot order, clock, life cycle.

use std::collections::BTreeSet;

use super::DefineContext;
use crate::domain::Domain;
use crate::domain::clock::{ClockBasis, ClockOffset, LifecycleAction, TickPolicy, TimerName};
use crate::domain::features::{HypervMode, Ioapic, IoapicDriver};
use crate::domain::memory_size::Kib;
use crate::domain::os::{BootDevice, OsBoot};
use crate::domain::resources::{IothreadId, MEMORY_UNLIMITED_KIB, NumaMode, Placement};
use crate::domain::seclabel::SecLabelType;
use crate::xml::{OnOff, XmlError, XmlErrorKind, YesNo};

pub(super) fn xml_error(message: impl Into<String>) -> XmlError {
    XmlError::new(
        XmlErrorKind::Invalid,
        format!("XML error: {}", message.into()),
    )
}

/// Settles who the domain is and which QEMU and machine run it.
pub(super) fn identify(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    check_name(&domain.name)?;
    if domain.uuid.is_none() {
        domain.uuid = Some(context.uuid.ok_or_else(|| {
            XmlError::new(
                XmlErrorKind::Missing,
                "internal error: no UUID for the domain",
            )
        })?);
    }
    if let Some(gen_id) = &mut domain.gen_id {
        gen_id.uuid = gen_id.uuid.or(context.gen_id);
    }
    let kind = domain.os.kind.get_or_insert_default();
    match kind.kind.as_deref().map(str::trim) {
        Some("hvm") => kind.kind = Some("hvm".to_owned()),
        Some("") | None => {
            return Err(XmlError::new(
                XmlErrorKind::Missing,
                "XML error: an os <type> must be specified",
            ));
        }
        Some(other) => {
            return Err(XmlError::unsupported(format!(
                "OS type '{other}' is not supported"
            )));
        }
    }
    let arch = kind
        .arch
        .get_or_insert_with(|| context.arch.clone())
        .clone();
    if domain.devices.emulator.is_none() {
        let emulator = context
            .emulators
            .get(&arch)
            .ok_or_else(|| XmlError::unsupported(format!("No emulator found for arch '{arch}'")))?;
        domain.devices.emulator = Some(emulator.clone());
    }
    let machine = match kind
        .machine
        .take()
        .or_else(|| context.default_machine.clone())
    {
        Some(machine) => machine,
        None => {
            return Err(XmlError::invalid(
                "could not get preferred machine for the domain",
            ));
        }
    };
    kind.machine = Some(
        context
            .machine_aliases
            .get(&machine)
            .cloned()
            .unwrap_or(machine),
    );
    Ok(())
}

fn check_name(name: &str) -> Result<(), XmlError> {
    if name.is_empty() {
        return Err(XmlError::new(
            XmlErrorKind::Missing,
            "XML error: name cannot be empty",
        ));
    }
    if name.contains('/') {
        return Err(xml_error(format!("name {name} cannot contain '/'")));
    }
    if name.contains('\n') {
        return Err(xml_error("name must not contain a new line"));
    }
    if name.trim().is_empty() {
        return Err(xml_error(
            "name must contain at least one non-whitespace character",
        ));
    }
    Ok(())
}

/// Sums up the NUMA cells and memory modules where no total is given.
pub(super) fn complete_memory(
    domain: &mut Domain,
    context: &DefineContext,
) -> Result<(), XmlError> {
    let modules = domain.devices.memories.iter().map(|m| m.size().0);
    let modules = modules.fold(0, u64::saturating_add);
    let cells = domain.cpu.iter().flat_map(|c| c.numa_cells());
    let cells = cells.fold(0, |sum: u64, c| sum.saturating_add(c.memory_kib()));
    if cells > 0 && (domain.memory.size.0 == 0 || context.abi_update) {
        domain.memory.size = Kib(cells.saturating_add(modules));
    } else if modules > domain.memory.size.0 {
        return Err(xml_error(
            "Total size of memory devices exceeds the total memory size",
        ));
    }
    if domain.memory.size.0 <= modules {
        return Err(xml_error(
            "Memory size must be specified via <memory> or in the <numa> configuration",
        ));
    }
    let total = domain.memory.size;
    match domain.current_memory {
        Some(current) if current.0 > 0 && current <= total => {}
        _ => domain.current_memory = Some(total),
    }
    if let Some(max) = &mut domain.max_memory {
        if max.size.0 == 0 && max.slots.is_some_and(|s| s > 0) {
            return Err(xml_error(
                "maximum memory size must be specified when specifying number of memory slots",
            ));
        }
        if max.size < total {
            return Err(xml_error(
                "maximum memory size must be equal or greater than the actual memory size",
            ));
        }
    }
    Ok(())
}

/// Everything that follows from the devices being known.
pub(super) fn complete_rest(domain: &mut Domain) -> Result<(), XmlError> {
    if domain.clock.offset == ClockOffset::Variable {
        domain
            .clock
            .adjustment
            .get_or_insert_with(|| "0".to_owned());
        domain.clock.basis.get_or_insert(ClockBasis::Utc);
    }
    complete_vcpus(domain)?;
    complete_placement(domain);
    complete_features(domain);
    complete_memory_backing(domain);
    complete_boot_order(domain)?;
    check_timers(domain)?;
    complete_tuning(domain);
    drop_empty(domain);
    domain.on_poweroff.get_or_insert(LifecycleAction::Destroy);
    domain.on_reboot.get_or_insert(LifecycleAction::Restart);
    domain.on_crash.get_or_insert(LifecycleAction::Destroy);
    if domain.pm.as_ref().is_some_and(|p| *p == Default::default()) {
        domain.pm = None;
    }
    if domain
        .features
        .as_ref()
        .is_some_and(|f| *f == Default::default())
    {
        domain.features = None;
    }
    Ok(())
}

/// What says nothing is not part of the definition.
fn drop_empty(domain: &mut Domain) {
    let os = &mut domain.os;
    os.init = None;
    for text in [
        &mut domain.title,
        &mut domain.description,
        &mut os.kernel,
        &mut os.initrd,
        &mut os.cmdline,
    ] {
        *text = text.take().filter(|t| !t.is_empty());
    }
    domain.blkiotune = domain
        .blkiotune
        .take()
        .filter(|t| **t != Default::default());
    domain.numatune = domain.numatune.take().filter(|t| *t != Default::default());
    if let Some(pm) = &mut domain.pm {
        pm.suspend_to_mem = pm.suspend_to_mem.take().filter(|s| s.enabled.is_some());
        pm.suspend_to_disk = pm.suspend_to_disk.take().filter(|s| s.enabled.is_some());
    }
    for timer in &mut domain.clock.timers {
        timer.catchup = timer.catchup.take().filter(|c| *c != Default::default());
    }
    for label in &mut domain.seclabels {
        if label.kind == Some(SecLabelType::Dynamic) && label.model.is_some() {
            label.relabel.get_or_insert(YesNo::Yes);
        }
    }
}

fn complete_vcpus(domain: &mut Domain) -> Result<(), XmlError> {
    let enabled = domain.vcpus.as_ref().map(|v| {
        let on = v
            .vcpus
            .iter()
            .filter(|c| c.enabled.is_none_or(YesNo::is_yes));
        on.count() as u32
    });
    let vcpu = &mut domain.vcpu;
    vcpu.current = enabled.or(vcpu.current);
    let count = *vcpu.count_given.get_or_insert(1);
    if count == 0 {
        return Err(xml_error("invalid domain maximum vCPUs 0"));
    }
    match vcpu.current {
        Some(0) => return Err(xml_error("invalid current vcpus count 0")),
        Some(current) if current > count => {
            return Err(xml_error(format!(
                "maxvcpus must not be less than current vcpus ({count} < {current})"
            )));
        }
        Some(current) if current == count => vcpu.current = None,
        _ => {}
    }
    complete_iothreads(domain);
    Ok(())
}

/// The most I/O threads of a machine.
const IOTHREADS_MAX: u32 = 4096;

/// `<iothreads>` and `<iothreadids>` describe the same threads.
fn complete_iothreads(domain: &mut Domain) {
    let listed = domain
        .iothread_ids
        .as_ref()
        .map_or(0, |ids| ids.iothreads.len()) as u32;
    if listed > 0 && domain.iothreads.unwrap_or(0) < listed {
        domain.iothreads = Some(listed);
    }
    if let Some(ids) = &mut domain.iothread_ids {
        let total = domain.iothreads.unwrap_or(0);
        let used: BTreeSet<u32> = ids.iothreads.iter().map(|t| t.id).collect();
        let free = (1..=IOTHREADS_MAX).filter(|id| !used.contains(id));
        let missing = total.saturating_sub(listed) as usize;
        ids.iothreads
            .extend(free.take(missing).map(|id| IothreadId {
                id,
                ..IothreadId::default()
            }));
    }
    if domain.iothreads == Some(0) {
        domain.iothreads = None;
    }
}

fn complete_memory_backing(domain: &mut Domain) {
    if domain
        .memory_backing
        .as_ref()
        .is_some_and(|m| *m == Default::default())
    {
        domain.memory_backing = None;
    }
    let has_numa = domain
        .cpu
        .as_ref()
        .is_some_and(|c| !c.numa_cells().is_empty());
    let pages = domain
        .memory_backing
        .iter_mut()
        .filter_map(|m| m.huge_pages.as_mut());
    for page in pages.flat_map(|h| &mut h.pages) {
        page.show_in_kib();
        if !has_numa && page.nodeset.as_ref().is_some_and(|n| n.0.is_empty()) {
            page.nodeset = None;
        }
    }
}

fn complete_boot_order(domain: &mut Domain) -> Result<(), XmlError> {
    let mut seen = BTreeSet::new();
    let mut aliases = BTreeSet::new();
    let mut same_alias = None;
    domain.devices.each_info(&mut |info| {
        if info.has_user_alias() && !aliases.insert(&info.alias) {
            same_alias = info.alias.clone();
        }
    });
    if let Some(alias) = same_alias {
        return Err(XmlError::unsupported(format!(
            "non unique alias detected: {alias}"
        )));
    }
    let mut twice = None;
    domain.devices.each_info(&mut |info| {
        if let Some(order) = info.boot_order()
            && !seen.insert(order)
        {
            twice = Some(order);
        }
    });
    if let Some(order) = twice {
        return Err(XmlError::unsupported(format!(
            "boot order '{order}' used for more than one device"
        )));
    }
    let os = &mut domain.os;
    if !seen.is_empty() && !os.boot.is_empty() {
        return Err(XmlError::unsupported(
            "per-device boot elements cannot be used together with os/boot elements",
        ));
    }
    if seen.is_empty() && os.boot.is_empty() {
        os.boot.push(OsBoot {
            dev: BootDevice::Hd,
        });
    }
    if let Some(menu) = &mut os.bootmenu
        && menu.enable.is_none()
    {
        os.bootmenu = None;
    }
    Ok(())
}

fn check_timers(domain: &Domain) -> Result<(), XmlError> {
    for timer in &domain.clock.timers {
        let name = timer.name;
        let refuse = |what: &str| {
            Err(XmlError::unsupported(format!(
                "timer {name} doesn't support setting of timer {what}"
            )))
        };
        if matches!(name, TimerName::Kvmclock | TimerName::Hypervclock)
            && timer.tickpolicy.is_some()
        {
            return refuse("tickpolicy");
        }
        if timer.tickpolicy != Some(TickPolicy::Catchup) && timer.catchup.is_some() {
            return Err(xml_error(
                "setting of timer catchup policies is only supported with tickpolicy='catchup'",
            ));
        }
        if name != TimerName::Tsc && timer.frequency.is_some() {
            return refuse("frequency");
        }
        if name != TimerName::Tsc && timer.mode.is_some() {
            return refuse("mode");
        }
        if !matches!(name, TimerName::Platform | TimerName::Rtc) && timer.track.is_some() {
            return refuse("track");
        }
    }
    Ok(())
}

/// A machine whose memory is placed by itself has its CPUs placed likewise,
/// and the other way round.
fn complete_placement(domain: &mut Domain) {
    let memory = domain.numatune.as_ref().and_then(|n| n.memory.as_ref());
    let memory_auto = memory.is_some_and(|m| m.placement == Some(Placement::Auto));
    let vcpu = &mut domain.vcpu;
    let tune = domain.cputune.as_ref();
    let pinned = tune.is_some_and(|t| {
        !t.vcpu_pins.is_empty() || t.emulator_pin.is_some() || !t.iothread_pins.is_empty()
    });
    let auto = memory_auto && vcpu.cpuset.is_none() && !pinned;
    if auto {
        vcpu.placement = Some(Placement::Auto);
    }
    let placement = *vcpu.placement.get_or_insert(Placement::Static);
    if placement == Placement::Auto {
        vcpu.cpuset = None;
        let tune = domain.numatune.get_or_insert_default();
        let memory = tune.memory.get_or_insert_default();
        memory.mode.get_or_insert(NumaMode::Strict);
        if memory.nodeset.is_none() {
            memory.placement.get_or_insert(Placement::Auto);
        }
    }
    if let Some(memory) = domain.numatune.as_mut().and_then(|n| n.memory.as_mut()) {
        memory.mode.get_or_insert(NumaMode::Strict);
        if memory.nodeset.is_some() && memory.placement == Some(Placement::Static) {
            memory.placement = None;
        }
    }
}

/// A feature that is named is on unless it says otherwise.
fn complete_features(domain: &mut Domain) {
    let Some(features) = &mut domain.features else {
        return;
    };
    let switches = [
        &mut features.hap,
        &mut features.pvspinlock,
        &mut features.pmu,
        &mut features.vmport,
        &mut features.vmcoreinfo,
        &mut features.ps2,
    ];
    for switch in switches.into_iter().flatten() {
        switch.state.get_or_insert(OnOff::On);
    }
    if let Some(smm) = &mut features.smm {
        smm.state.get_or_insert(OnOff::On);
    }
    if let Some(hyperv) = &mut features.hyperv {
        hyperv.mode.get_or_insert(HypervMode::Custom);
    }
    let iommu = domain
        .devices
        .iommu
        .as_ref()
        .and_then(|i| i.driver.as_ref());
    if iommu.is_some_and(|d| d.intremap == Some(OnOff::On)) {
        // Interrupt remapping needs the I/O APIC in QEMU.
        features.ioapic.get_or_insert(Ioapic {
            driver: IoapicDriver::Qemu,
        });
    }
}

fn complete_tuning(domain: &mut Domain) {
    if let Some(tune) = &mut domain.cputune {
        let count = domain.vcpu.count_given.unwrap_or(1);
        tune.vcpu_pins.retain(|p| p.vcpu < count);
        tune.vcpu_pins.sort_by_key(|p| p.vcpu);
        tune.iothread_pins.sort_by_key(|p| p.iothread);
        tune.split_schedulers();
    }
    if let Some(tune) = &mut domain.memtune {
        for limit in [
            &mut tune.hard_limit,
            &mut tune.soft_limit,
            &mut tune.min_guarantee,
            &mut tune.swap_hard_limit,
        ] {
            *limit = limit.filter(|l| l.0 < MEMORY_UNLIMITED_KIB);
        }
        if **tune == Default::default() {
            domain.memtune = None;
        }
    }
    let empty = domain
        .cputune
        .as_ref()
        .is_some_and(|t| **t == Default::default());
    if empty {
        domain.cputune = None;
    }
}
