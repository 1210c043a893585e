//! The machine itself: its type, accelerator, processors and their topology.

use model::domain::features::Features;
use model::xml::OnOff;

use super::builder::{Builder, Result};
use super::cells::describes_speed;
use super::launch::{FileMode, FileRole, Unsupported};
use super::props::{List, on_off};

impl Builder<'_> {
    /// `-machine` and `-accel`. `flash` are the block nodes of the firmware and its variables;
    /// `memory` is the back end of the whole memory, unless it lies in NUMA cells.
    pub(super) fn machine(&mut self, flash: &[String], memory: Option<&str>) -> Result<()> {
        let machine = self.domain.os.machine();
        if self.caps.machine(machine).is_none() {
            return Err(Unsupported::new(format!(
                "Emulator '{}' does not support machine type '{machine}'",
                self.domain.devices.emulator.as_deref().unwrap_or_default()
            )));
        }
        let mut list = List::new(machine);
        list.set("usb", "off");
        let features = self.domain.features.clone().unwrap_or_default();
        self.machine_features(&mut list, &features);
        let dump = self.domain.memory.dump_core.is_some_and(OnOff::is_on);
        list.set("dump-guest-core", on_off(dump));
        if self
            .domain
            .memory_backing
            .as_ref()
            .is_some_and(|backing| backing.no_share_pages)
        {
            list.set("mem-merge", "off");
        }
        self.machine_memory(&mut list, memory);
        for (unit, node) in flash.iter().enumerate() {
            list.set(&format!("pflash{unit}"), node);
        }
        if let Some(present) = self.hpet() {
            list.set("hpet", on_off(present));
        }
        list.set("acpi", on_off(features.acpi));
        self.option("-machine", list.finish());
        if let Some(tseg) = features.smm.as_ref().and_then(|smm| smm.tseg.as_ref()) {
            const MIB: u64 = 1024 * 1024;
            self.option(
                "-global",
                format!("mch.extended-tseg-mbytes={}", tseg.bytes / MIB),
            );
        }
        self.accelerator(&features)
    }

    fn machine_features(&self, list: &mut List, features: &Features) {
        let switch = |value: Option<OnOff>| value.map(OnOff::is_on);
        list.switch(
            "vmport",
            features.vmport.as_ref().and_then(|s| switch(s.state)),
        );
        list.switch("smm", features.smm.as_ref().and_then(|s| switch(s.state)));
        list.switch("i8042", features.ps2.as_ref().and_then(|s| switch(s.state)));
        if let Some(ioapic) = features.ioapic.as_ref().filter(|_| !self.lacks_kvm()) {
            use model::domain::features::IoapicDriver;
            list.set(
                "kernel_irqchip",
                match ioapic.driver {
                    IoapicDriver::Kvm => "on",
                    IoapicDriver::Qemu => "split",
                },
            );
        }
    }

    fn machine_memory(&self, list: &mut List, memory: Option<&str>) {
        let devices = &self.domain.devices;
        use model::domain::memory_device::MemoryModel;
        if devices
            .memories
            .iter()
            .any(|module| module.model == MemoryModel::Nvdimm)
        {
            list.set("nvdimm", "on");
        }
        let numa = self.domain.cpu.as_ref().and_then(|cpu| cpu.numa.as_ref());
        if numa.is_some_and(describes_speed) {
            list.set("hmat", "on");
        }
        list.set_some("memory-backend", memory);
    }

    fn accelerator(&mut self, features: &Features) -> Result<()> {
        let mut list = List::new(self.context.accelerator.name());
        if let Some(ring) = features
            .kvm
            .as_ref()
            .and_then(|kvm| kvm.dirty_ring.as_ref())
            && ring.state.is_some_and(OnOff::is_on)
            && !self.lacks_kvm()
        {
            if !self.kvm() {
                return Err(Unsupported::new("dirty ring needs KVM"));
            }
            list.set_some("dirty-ring-size", ring.size);
        }
        if self.kvm() {
            self.file("/dev/kvm", FileMode::ReadWrite, FileRole::SharedDevice);
        }
        self.option("-accel", list.finish());
        Ok(())
    }

    /// `-smp`: how many processors there are at the start and at most, and how they are grouped.
    pub(super) fn processors(&mut self) -> Result<()> {
        let vcpu = &self.domain.vcpu;
        let later = u32::try_from(self.domain.plugged_vcpus().len()).unwrap_or(0);
        let (most, now) = (vcpu.count(), vcpu.current().saturating_sub(later).max(1));
        if let Some(machine) = self.caps.machine(self.domain.os.machine())
            && most > machine.cpus_max
        {
            return Err(Unsupported::new(format!(
                "Maximum CPUs greater than specified machine type limit {}",
                machine.cpus_max
            )));
        }
        let mut list = List::new(&now.to_string());
        if most > now {
            list.set("maxcpus", most);
        }
        match self
            .domain
            .cpu
            .as_ref()
            .and_then(|cpu| cpu.topology.as_ref())
        {
            Some(topology) => {
                list.set("sockets", topology.sockets);
                // QEMU 7.2 knows no clusters on PCs.
                let pc_knows_clusters = self.caps.version_number() >= 9_000_000;
                list.set("dies", topology.dies.unwrap_or(1));
                match topology.clusters {
                    Some(count) if count > 1 || pc_knows_clusters => {
                        list.set("clusters", count);
                    }
                    None if pc_knows_clusters => {
                        list.set("clusters", 1);
                    }
                    _ => {}
                }
                list.set("cores", topology.cores)
                    .set("threads", topology.threads);
            }
            None => {
                list.set("sockets", most).set("cores", 1).set("threads", 1);
            }
        }
        self.option("-smp", list.finish());
        Ok(())
    }
}
