//! Which family a machine type belongs to.

use crate::domain::Domain;

/// Families of machine types that differ in what is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineFamily {
    /// The PC with a PCI root.
    I440fx,
    /// The PC with a PCI Express root.
    Q35,
    /// The PC without PCI.
    Isapc,
    /// The minimal machine with virtio-mmio.
    Microvm,
    /// Any other machine.
    Other,
}

impl MachineFamily {
    /// The family of machine type `name`.
    pub fn of(name: &str) -> Self {
        let prefixed = |prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
        if name == "q35" || prefixed(&["pc-q35-"]) {
            MachineFamily::Q35
        } else if name == "pc" || prefixed(&["pc-0.", "pc-1.", "pc-i440fx-", "rhel"]) {
            MachineFamily::I440fx
        } else if name == "isapc" {
            MachineFamily::Isapc
        } else if name == "microvm" {
            MachineFamily::Microvm
        } else {
            MachineFamily::Other
        }
    }

    /// Whether the machine has a PCI bus of either kind.
    pub fn has_pci(self) -> bool {
        matches!(self, MachineFamily::I440fx | MachineFamily::Q35)
    }
}

impl Domain {
    /// The family of this domain's machine type.
    pub fn machine_family(&self) -> MachineFamily {
        MachineFamily::of(self.os.machine())
    }

    /// Whether the guest is of the x86 family.
    pub fn is_x86(&self) -> bool {
        matches!(self.os.arch(), "x86_64" | "i686")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_name() {
        assert_eq!(MachineFamily::of("pc-q35-10.0"), MachineFamily::Q35);
        assert_eq!(MachineFamily::of("pc-i440fx-4.2"), MachineFamily::I440fx);
        assert_eq!(MachineFamily::of("pc"), MachineFamily::I440fx);
        assert_eq!(MachineFamily::of("microvm"), MachineFamily::Microvm);
        assert_eq!(MachineFamily::of("virt"), MachineFamily::Other);
    }
}
