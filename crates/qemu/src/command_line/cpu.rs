//! `-cpu`: the model of processor, its features, Hyper-V and KVM.

use model::domain::clock::{TickPolicy, TimerMode, TimerName};
use model::domain::cpu::{Cpu, CpuCacheMode, CpuCheck, CpuMode, FeaturePolicy, MaxPhysAddrMode};
use model::domain::features::{Enlightenment, Features, Hyperv, HypervMode, KvmFeatures, Switch};
use model::domain::misc_devices::PanicModel;
use model::xml::{OnOff, YesNo};

use super::builder::{Builder, Result};
use super::launch::Unsupported;
use super::props::{List, on_off};
use crate::caps::{HostModel, feature_to_qemu};

impl Builder<'_> {
    /// `-cpu`.
    pub(super) fn cpu(&mut self) -> Result<()> {
        let cpu = self.domain.cpu.clone().unwrap_or_default();
        let mut list = self.cpu_model(&cpu)?;
        for feature in &cpu.features {
            let on = match feature.policy {
                FeaturePolicy::Require | FeaturePolicy::Force => true,
                FeaturePolicy::Disable | FeaturePolicy::Forbid => false,
                FeaturePolicy::Optional => continue,
            };
            list.set(feature_to_qemu(&feature.name), on_off(on));
        }
        self.cpu_addresses(&mut list, &cpu);
        self.cpu_timers(&mut list);
        let features = self.domain.features.clone().unwrap_or_default();
        self.cpu_kvm(&mut list, &features);
        // QEMU 7.2 asks the kernel for enlightenments even where it does not run the guest.
        if let Some(hyperv) = features.hyperv.as_ref().filter(|_| !self.lacks_kvm()) {
            hyperv_features(&mut list, hyperv);
        }
        if self
            .domain
            .devices
            .panics
            .iter()
            .any(|p| p.model == Some(PanicModel::Hyperv))
        {
            list.set("hv-crash", "on");
        }
        list.switch(
            "pmu",
            features
                .pmu
                .as_ref()
                .and_then(|pmu| pmu.state)
                .map(OnOff::is_on),
        );
        cpu_cache(&mut list, &cpu);
        if cpu.check == Some(CpuCheck::Full) && !self.lacks_kvm() {
            list.set("enforce", "on");
        }
        self.option("-cpu", list.finish());
        Ok(())
    }

    fn cpu_model(&self, cpu: &Cpu) -> Result<List> {
        let migratable = cpu.migratable.map(OnOff::is_on);
        match cpu.mode.unwrap_or_default() {
            // What comes nearest to the host's processor without it.
            CpuMode::HostPassthrough if self.lacks_kvm() => Ok(List::new("max")),
            CpuMode::HostPassthrough if !self.kvm() => Err(Unsupported::new(
                "CPU mode 'host-passthrough' is only supported with kvm",
            )),
            CpuMode::HostPassthrough => {
                let mut list = List::new("host");
                list.set("migratable", on_off(migratable.unwrap_or(true)));
                Ok(list)
            }
            CpuMode::Maximum => {
                let mut list = List::new("max");
                list.switch("migratable", migratable);
                Ok(list)
            }
            CpuMode::HostModel => self.host_model(),
            CpuMode::Custom => {
                let mut list = List::new(&self.named_model(cpu)?);
                let vendor = cpu
                    .model
                    .as_ref()
                    .and_then(|model| model.vendor_id.as_deref());
                list.set_some("vendor", vendor);
                Ok(list)
            }
        }
    }

    fn named_model(&self, cpu: &Cpu) -> Result<String> {
        let Some(name) = cpu.model_name() else {
            let machine = self.caps.machine(self.domain.os.machine());
            let default = machine.and_then(|machine| machine.default_cpu.clone());
            return Ok(default.unwrap_or_else(|| "qemu64".to_owned()));
        };
        let known = self.caps.accelerator(self.context.accelerator).or_else(|| {
            // The list of models is the same whatever runs them.
            self.caps.accelerators.values().next()
        });
        if known.is_some_and(|known| known.cpu(name).is_none()) {
            return Err(Unsupported::new(format!(
                "CPU model '{name}' is not supported by hypervisor"
            )));
        }
        Ok(name.to_owned())
    }

    fn host_model(&self) -> Result<List> {
        let accelerator = self.caps.accelerator(self.context.accelerator);
        let Some(model) = accelerator.and_then(|accelerator| accelerator.host_model.as_ref())
        else {
            return Err(Unsupported::new(
                "CPU mode 'host-model' is not supported on this host",
            ));
        };
        let HostModel {
            model,
            require,
            disable,
            ..
        } = model;
        let mut list = List::new(model);
        for feature in require {
            list.set(feature_to_qemu(feature), "on");
        }
        for feature in disable {
            list.set(feature_to_qemu(feature), "off");
        }
        Ok(list)
    }

    fn cpu_addresses(&self, list: &mut List, cpu: &Cpu) {
        let Some(width) = cpu.max_phys_addr.as_ref().filter(|_| !self.lacks_kvm()) else {
            return;
        };
        match width.mode {
            MaxPhysAddrMode::Passthrough => {
                list.set("host-phys-bits", "on");
                list.set_some("host-phys-bits-limit", width.limit);
            }
            MaxPhysAddrMode::Emulate => match width.bits {
                Some(bits) => {
                    list.set("phys-bits", bits);
                }
                None => {
                    list.set("host-phys-bits", "off");
                }
            },
        }
    }

    fn cpu_timers(&self, list: &mut List) {
        for timer in &self.domain.clock.timers {
            match timer.name {
                TimerName::Kvmclock => {
                    list.switch("kvmclock", timer.present.map(YesNo::is_yes));
                }
                TimerName::Hypervclock if timer.present == Some(YesNo::Yes) => {
                    list.set("hv-time", "on");
                }
                TimerName::Tsc => {
                    if timer.mode == Some(TimerMode::Native)
                        || timer.tickpolicy == Some(TickPolicy::Catchup)
                    {
                        list.set("invtsc", "on");
                    }
                    list.set_some("tsc-frequency", timer.frequency);
                }
                _ => {}
            }
        }
    }

    fn cpu_kvm(&self, list: &mut List, features: &Features) {
        if let Some(apic) = &features.apic {
            list.switch("kvm-pv-eoi", apic.eoi.map(OnOff::is_on));
        }
        list.switch(
            "kvm-pv-unhalt",
            features
                .pvspinlock
                .as_ref()
                .and_then(|s| s.state)
                .map(OnOff::is_on),
        );
        let Some(KvmFeatures {
            hidden,
            hint_dedicated,
            poll_control,
            pv_ipi,
            ..
        }) = &features.kvm
        else {
            return;
        };
        let is_on = |switch: &Option<Switch>| switch.as_ref().is_some_and(Switch::is_on);
        if is_on(hidden) {
            list.set("kvm", "off");
        }
        if is_on(hint_dedicated) {
            list.set("kvm-hint-dedicated", "on");
        }
        if is_on(poll_control) {
            list.set("kvm-poll-control", "on");
        }
        if pv_ipi
            .as_ref()
            .is_some_and(|switch| switch.state == Some(OnOff::Off))
        {
            list.set("kvm-pv-ipi", "off");
        }
    }
}

fn hyperv_features(list: &mut List, hyperv: &Hyperv) {
    if hyperv.mode == Some(HypervMode::Passthrough) {
        list.set("hv-passthrough", "on");
    }
    let simple = [
        ("hv-relaxed", &hyperv.relaxed),
        ("hv-vapic", &hyperv.vapic),
        ("hv-vpindex", &hyperv.vpindex),
        ("hv-runtime", &hyperv.runtime),
        ("hv-synic", &hyperv.synic),
        ("hv-reset", &hyperv.reset),
        ("hv-frequencies", &hyperv.frequencies),
        ("hv-reenlightenment", &hyperv.reenlightenment),
        ("hv-ipi", &hyperv.ipi),
        ("hv-evmcs", &hyperv.evmcs),
        ("hv-avic", &hyperv.avic),
        ("hv-emsr-bitmap", &hyperv.emsr_bitmap),
        ("hv-xmm-input", &hyperv.xmm_input),
    ];
    for (name, switch) in simple {
        if switch.as_ref().is_some_and(Enlightenment::is_on) {
            list.set(name, "on");
        }
    }
    hyperv_with_values(list, hyperv);
}

fn hyperv_with_values(list: &mut List, hyperv: &Hyperv) {
    let on = |state: Option<OnOff>| state == Some(OnOff::On);
    if let Some(spinlocks) = &hyperv.spinlocks
        && on(spinlocks.state)
    {
        list.set(
            "hv-spinlocks",
            format!("0x{:x}", spinlocks.retries.unwrap_or(0xFFF)),
        );
    }
    if let Some(vendor) = &hyperv.vendor_id
        && on(vendor.state)
    {
        list.set_some("hv-vendor-id", vendor.value.as_deref());
    }
    let is_on = |switch: &Option<Switch>| switch.as_ref().is_some_and(Switch::is_on);
    if let Some(stimer) = &hyperv.stimer
        && on(stimer.state)
    {
        list.set("hv-stimer", "on");
        if is_on(&stimer.direct) {
            list.set("hv-stimer-direct", "on");
        }
    }
    if let Some(flush) = &hyperv.tlbflush
        && on(flush.state)
    {
        list.set("hv-tlbflush", "on");
        if is_on(&flush.direct) {
            list.set("hv-tlbflush-direct", "on");
        }
        if is_on(&flush.extended) {
            list.set("hv-tlbflush-ext", "on");
        }
    }
}

fn cpu_cache(list: &mut List, cpu: &Cpu) {
    let Some(cache) = &cpu.cache else { return };
    match cache.mode {
        CpuCacheMode::Emulate => {
            let host = (cpu.mode == Some(CpuMode::HostPassthrough)).then_some(false);
            list.set("l3-cache", "on").switch("host-cache-info", host);
        }
        CpuCacheMode::Passthrough => {
            list.set("host-cache-info", "on").set("l3-cache", "off");
        }
        CpuCacheMode::Disable => {
            let host = (cpu.mode == Some(CpuMode::HostPassthrough)).then_some(false);
            list.set("l3-cache", "off").switch("host-cache-info", host);
        }
    }
}
