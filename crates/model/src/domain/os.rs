//! What a machine boots: its type, firmware, kernel and boot order.

use super::storage::{ImageFormat, StorageSource, StorageType};
use crate::xml::{YesNo, element, keyword};

element! {
    /// The kind of machine.
    pub struct OsType {
        attr arch: Option<String> = "arch",
        attr machine: Option<String> = "machine",
        text kind: Option<String>,
    }
}

keyword! {
    /// Firmware that is chosen by itself.
    pub enum Firmware {
        Bios = "bios",
        Efi = "efi",
    }
}

element! {
    /// A feature the firmware must or must not have.
    pub struct FirmwareFeature {
        req enabled: YesNo = "enabled",
        req name: String = "name",
    }
}

element! {
    /// What the firmware must offer.
    pub struct FirmwareFeatures {
        list features: Vec<FirmwareFeature> = "feature",
    }
}

keyword! {
    /// How the loader is mapped.
    pub enum LoaderType {
        Rom = "rom",
        Pflash = "pflash",
        None = "none",
    }
}

element! {
    /// The firmware image.
    pub struct Loader {
        attr readonly: Option<YesNo> = "readonly",
        attr secure: Option<YesNo> = "secure",
        attr kind: Option<LoaderType> = "type",
        attr stateless: Option<YesNo> = "stateless",
        attr format: Option<ImageFormat> = "format",
        text path: Option<String>,
    }
}

element! {
    /// The firmware's variables.
    pub struct OsNvram {
        attr template: Option<String> = "template",
        attr template_format: Option<ImageFormat> = "templateFormat",
        attr kind: Option<StorageType> = "type",
        attr format: Option<ImageFormat> = "format",
        child source: Option<Box<StorageSource>> = "source",
        text path: Option<String>,
    }
}

keyword! {
    /// Kinds of boot devices.
    pub enum BootDevice {
        Floppy = "fd",
        Hd = "hd",
        Cdrom = "cdrom",
        Network = "network",
    }
}

element! {
    /// One step of the boot order.
    pub struct OsBoot {
        req dev: BootDevice = "dev",
    }
}

element! {
    /// The firmware's boot menu; the timeout is in milliseconds.
    pub struct BootMenu {
        attr enable: Option<YesNo> = "enable",
        attr timeout: Option<u32> = "timeout",
    }
}

element! {
    /// Whether the BIOS shows itself on the serial port, and when it gives up.
    pub struct OsBios {
        attr use_serial: Option<YesNo> = "useserial",
        attr reboot_timeout: Option<i32> = "rebootTimeout",
    }
}

keyword! {
    /// Where the machine's SMBIOS strings come from.
    pub enum SmbiosMode {
        Emulate = "emulate",
        Host = "host",
        Sysinfo = "sysinfo",
    }
}

element! {
    /// Where the machine's SMBIOS strings come from.
    pub struct Smbios {
        req mode: SmbiosMode = "mode",
    }
}

keyword! {
    /// Kinds of ACPI tables.
    pub enum AcpiTableType {
        Raw = "raw",
        Rawset = "rawset",
        Slic = "slic",
        Msdm = "msdm",
    }
}

element! {
    /// An ACPI table of a file.
    pub struct AcpiTable {
        req kind: AcpiTableType = "type",
        text path: Option<String>,
    }
}

element! {
    /// ACPI tables of files.
    pub struct AcpiTables {
        list tables: Vec<AcpiTable> = "table",
    }
}

element! {
    /// What a machine boots.
    pub struct Os {
        attr firmware: Option<Firmware> = "firmware",
        child kind: Option<OsType> = "type",
        child firmware_features: Option<FirmwareFeatures> = "firmware",
        leaf init: Option<String> = "init",
        child loader: Option<Loader> = "loader",
        child nvram: Option<OsNvram> = "nvram",
        leaf kernel: Option<String> = "kernel",
        leaf initrd: Option<String> = "initrd",
        leaf cmdline: Option<String> = "cmdline",
        leaf shim: Option<String> = "shim",
        leaf dtb: Option<String> = "dtb",
        leaf root: Option<String> = "root",
        child acpi: Option<AcpiTables> = "acpi",
        list boot: Vec<OsBoot> = "boot",
        child bootmenu: Option<BootMenu> = "bootmenu",
        child smbios: Option<Smbios> = "smbios",
        child bios: Option<OsBios> = "bios",
    }
}

impl Os {
    /// The guest's architecture (`x86_64`), empty until completed.
    pub fn arch(&self) -> &str {
        self.kind
            .as_ref()
            .and_then(|k| k.arch.as_deref())
            .unwrap_or("")
    }

    /// The machine type (`pc-q35-10.0`), empty until completed.
    pub fn machine(&self) -> &str {
        self.kind
            .as_ref()
            .and_then(|k| k.machine.as_deref())
            .unwrap_or("")
    }
}

element! {
    /// An entry of a table of strings; in `fwcfg`, of a file.
    pub struct SysinfoEntry {
        attr name: Option<String> = "name",
        attr file: Option<String> = "file",
        text value: Option<String>,
    }
}

element! {
    /// A table of strings.
    pub struct SysinfoTable {
        list entries: Vec<SysinfoEntry> = "entry",
    }
}

keyword! {
    /// Ways to pass strings to the guest.
    pub enum SysinfoType {
        Smbios = "smbios",
        Fwcfg = "fwcfg",
    }
}

element! {
    /// Strings passed to the guest through its firmware.
    pub struct Sysinfo {
        req kind: SysinfoType = "type",
        list entries: Vec<SysinfoEntry> = "entry",
        child bios: Option<SysinfoTable> = "bios",
        child system: Option<SysinfoTable> = "system",
        list base_boards: Vec<SysinfoTable> = "baseBoard",
        child chassis: Option<SysinfoTable> = "chassis",
        list processors: Vec<SysinfoTable> = "processor",
        list memory_devices: Vec<SysinfoTable> = "memory_device",
        child oem_strings: Option<SysinfoTable> = "oemStrings",
    }
}
