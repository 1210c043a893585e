//! What the machine boots: firmware and its variables, kernel, boot menu, SMBIOS, ACPI tables.

use std::path::{Path, PathBuf};

use model::domain::disk::DiskDevice;
use model::domain::os::{
    AcpiTableType, BootDevice, Firmware, LoaderType, SmbiosMode, Sysinfo, SysinfoTable, SysinfoType,
};
use model::domain::storage::ImageFormat;
use model::xml::YesNo;
use serde_json::Value;

use super::builder::{Builder, Result};
use super::launch::{FileMode, FileRole, Unsupported, VariableStore};
use super::props::{List, Props, on_off};

/// The parts of flash a firmware is mapped to.
struct Flash {
    code: PathBuf,
    code_format: String,
    code_readonly: bool,
    secure: bool,
    variables: Option<(PathBuf, String)>,
    template: Option<PathBuf>,
}

impl Builder<'_> {
    /// The block nodes of the firmware. Returns their names in the order of the flash units.
    pub(super) fn firmware(&mut self) -> Result<Vec<String>> {
        let Some(flash) = self.flash()? else {
            return Ok(Vec::new());
        };
        let code_mode = if flash.code_readonly {
            FileMode::Read
        } else {
            FileMode::ReadWrite
        };
        let role = if flash.code_readonly {
            FileRole::Firmware
        } else {
            FileRole::Variables
        };
        self.file(&flash.code, code_mode, role);
        let code = self.flash_node(0, &flash.code, &flash.code_format, flash.code_readonly);
        let mut nodes = vec![code];
        if let Some((path, format)) = &flash.variables {
            self.file(path, FileMode::ReadWrite, FileRole::Variables);
            nodes.push(self.flash_node(1, path, format, false));
            self.variables = Some(VariableStore {
                path: path.clone(),
                template: flash.template,
            });
        }
        if flash.secure {
            self.option("-global", "driver=cfi.pflash01,property=secure,value=on");
        }
        Ok(nodes)
    }

    /// The firmware in flash, chosen when the definition was completed.
    fn flash(&self) -> Result<Option<Flash>> {
        let os = &self.domain.os;
        let loader = os.loader.clone().unwrap_or_default();
        let Some(code) = loader.path.clone().map(PathBuf::from) else {
            if os.firmware == Some(Firmware::Efi) {
                return Err(Unsupported::new(
                    "no UEFI firmware was chosen for this machine",
                ));
            }
            return Ok(None);
        };
        if loader.kind != Some(LoaderType::Pflash) {
            return Ok(None);
        }
        let nvram = os.nvram.clone().unwrap_or_default();
        let path = nvram
            .path
            .or_else(|| nvram.source.and_then(|source| source.file));
        let format = |format: Option<ImageFormat>| format.unwrap_or_default().as_str().to_owned();
        let stateless = loader.stateless.is_some_and(YesNo::is_yes);
        let variables = path.filter(|_| !stateless).map(PathBuf::from);
        Ok(Some(Flash {
            code,
            code_format: format(loader.format),
            code_readonly: loader.readonly.is_some_and(YesNo::is_yes),
            secure: loader.secure.is_some_and(YesNo::is_yes),
            variables: variables.map(|path| (path, format(nvram.format))),
            template: nvram.template.map(PathBuf::from),
        }))
    }

    /// The node of one part of flash: the program with its format on top, raw variables alone.
    fn flash_node(&mut self, unit: u8, path: &Path, format: &str, readonly: bool) -> String {
        let storage = format!("libvirt-pflash{unit}-storage");
        let mut file = Props::device("file")
            .with("filename", path.to_string_lossy())
            .with("node-name", storage.as_str());
        if unit > 0 && format == "raw" {
            file.set("read-only", readonly);
            self.blockdev(&file);
            return storage;
        }
        file.set("auto-read-only", true);
        file.set("discard", "unmap");
        self.blockdev(&file);
        let node = format!("libvirt-pflash{unit}-format");
        let mut image = Props::new("node-name", &node)
            .with("read-only", readonly)
            .with("driver", format)
            .with("file", storage);
        if format != "raw" {
            image.set("backing", Value::Null);
        }
        self.blockdev(&image);
        node
    }

    /// `-bios`, `-kernel` and its companions.
    pub(super) fn kernel(&mut self) -> Result<()> {
        let os = self.domain.os.clone();
        if let Some(loader) = &os.loader
            && loader.kind.is_none_or(|kind| kind == LoaderType::Rom)
            && let Some(path) = &loader.path
        {
            self.option("-bios", path);
            self.file(path, FileMode::Read, FileRole::Firmware);
        }
        for (option, path) in [
            ("-kernel", &os.kernel),
            ("-initrd", &os.initrd),
            ("-dtb", &os.dtb),
            ("-shim", &os.shim),
        ] {
            if let Some(path) = path {
                self.option(option, path);
                self.file(path, FileMode::Read, FileRole::Boot);
            }
        }
        if let Some(cmdline) = &os.cmdline {
            self.option("-append", cmdline);
        }
        for table in os.acpi.iter().flat_map(|acpi| &acpi.tables) {
            let Some(path) = &table.path else { continue };
            let mut list = List::default();
            match table.kind {
                AcpiTableType::Slic => {
                    list.set("sig", "SLIC");
                }
                AcpiTableType::Msdm => {
                    list.set("sig", "MSDM");
                }
                AcpiTableType::Raw | AcpiTableType::Rawset => {}
            }
            self.option("-acpitable", list.set("file", path).finish());
            self.file(path, FileMode::Read, FileRole::Firmware);
        }
        Ok(())
    }

    /// `-boot`: the menu, and that nothing is booted which is not in the boot order.
    pub(super) fn boot(&mut self) {
        let mut list = List::default();
        if let Some(menu) = &self.domain.os.bootmenu
            && let Some(enable) = menu.enable
        {
            list.set("menu", on_off(enable.is_yes()));
            list.set_some("splash-time", menu.timeout.filter(|_| enable.is_yes()));
        }
        if let Some(bios) = &self.domain.os.bios {
            list.set_some("reboot-timeout", bios.reboot_timeout);
        }
        self.option("-boot", list.set("strict", "on").finish());
    }

    /// The place in the boot order which `<os>` gives to the first device of a kind, or nothing.
    pub(super) fn os_boot_index(&self, kind: BootDevice) -> Option<u32> {
        let position = self
            .domain
            .os
            .boot
            .iter()
            .position(|boot| boot.dev == kind)?;
        u32::try_from(position).ok().map(|position| position + 1)
    }

    /// The place of a disk in the boot order: its own, or that of `<os>` if it is the first of
    /// its kind.
    pub(super) fn disk_boot_index(&self, position: usize) -> Option<u32> {
        let disks = &self.domain.devices.disks;
        let disk = &disks[position];
        if let Some(order) = disk.info.boot_order() {
            return Some(order);
        }
        let kind = boot_kind(disk.device);
        let first = disks
            .iter()
            .position(|other| boot_kind(other.device) == kind)?;
        (first == position)
            .then(|| self.os_boot_index(kind))
            .flatten()
    }

    /// SMBIOS strings and configuration for the firmware.
    pub(super) fn system_information(&mut self) -> Result<()> {
        let mode = self.domain.os.smbios.as_ref().map(|smbios| smbios.mode);
        for sysinfo in self.domain.sysinfos.clone() {
            match sysinfo.kind {
                SysinfoType::Smbios if mode == Some(SmbiosMode::Sysinfo) => self.smbios(&sysinfo),
                SysinfoType::Smbios => {}
                SysinfoType::Fwcfg => self.firmware_configuration(&sysinfo),
            }
        }
        if mode == Some(SmbiosMode::Host) {
            return Err(Unsupported::new("SMBIOS mode 'host' is not supported"));
        }
        Ok(())
    }

    fn smbios(&mut self, sysinfo: &Sysinfo) {
        const BIOS: [(&str, &str); 4] = [
            ("vendor", "vendor"),
            ("version", "version"),
            ("date", "date"),
            ("release", "release"),
        ];
        const SYSTEM: [(&str, &str); 7] = [
            ("manufacturer", "manufacturer"),
            ("product", "product"),
            ("version", "version"),
            ("serial", "serial"),
            ("uuid", "uuid"),
            ("sku", "sku"),
            ("family", "family"),
        ];
        const BOARD: [(&str, &str); 6] = [
            ("manufacturer", "manufacturer"),
            ("product", "product"),
            ("version", "version"),
            ("serial", "serial"),
            ("asset", "asset"),
            ("location", "location"),
        ];
        const CHASSIS: [(&str, &str); 5] = [
            ("manufacturer", "manufacturer"),
            ("version", "version"),
            ("serial", "serial"),
            ("asset", "asset"),
            ("sku", "sku"),
        ];
        self.smbios_table(0, &BIOS, sysinfo.bios.as_ref());
        self.smbios_table(1, &SYSTEM, sysinfo.system.as_ref());
        for board in &sysinfo.base_boards {
            self.smbios_table(2, &BOARD, Some(board));
        }
        self.smbios_table(3, &CHASSIS, sysinfo.chassis.as_ref());
        if let Some(strings) = &sysinfo.oem_strings {
            let mut list = List::default();
            list.set("type", 11);
            for entry in &strings.entries {
                list.set("value", entry.value.as_deref().unwrap_or_default());
            }
            self.option("-smbios", list.finish());
        }
    }

    fn smbios_table(&mut self, kind: u8, keys: &[(&str, &str)], table: Option<&SysinfoTable>) {
        let Some(table) = table else { return };
        let mut list = List::default();
        list.set("type", kind);
        for (name, key) in keys {
            let entry = table
                .entries
                .iter()
                .find(|entry| entry.name.as_deref() == Some(*name));
            list.set_some(key, entry.and_then(|entry| entry.value.as_deref()));
        }
        self.option("-smbios", list.finish());
    }

    fn firmware_configuration(&mut self, sysinfo: &Sysinfo) {
        for entry in &sysinfo.entries {
            let mut list = List::default();
            list.set("name", entry.name.as_deref().unwrap_or_default());
            match &entry.file {
                Some(file) => {
                    list.set("file", file);
                    self.file(file, FileMode::Read, FileRole::Boot);
                }
                None => {
                    list.set("string", entry.value.as_deref().unwrap_or_default());
                }
            }
            self.option("-fw_cfg", list.finish());
        }
    }
}

fn boot_kind(device: DiskDevice) -> BootDevice {
    match device {
        DiskDevice::Disk | DiskDevice::Lun => BootDevice::Hd,
        DiskDevice::Cdrom => BootDevice::Cdrom,
        DiskDevice::Floppy => BootDevice::Floppy,
    }
}

/// Whether an image format is one QEMU may be told to open.
pub(super) fn format_name(format: ImageFormat) -> Result<&'static str> {
    match format {
        ImageFormat::Iso => Ok("raw"),
        ImageFormat::Vhd => Ok("vpc"),
        ImageFormat::Auto | ImageFormat::Fat | ImageFormat::Dir | ImageFormat::Aio => Err(
            Unsupported::new(format!("unsupported disk driver type '{format}'")),
        ),
        other => Ok(other.as_str()),
    }
}
