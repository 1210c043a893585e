//! Collects the command line while the parts of a definition are gone through.

use std::collections::BTreeSet;
use std::path::PathBuf;

use model::domain::Domain;
use model::domain::controller::{ControllerModel, ControllerType};
use model::domain::info::DeviceInfo;
use serde_json::Value;

use super::launch::{
    DESCRIPTOR_FIRST, Descriptor, DescriptorPurpose, FileAccess, FileMode, FileRole, LaunchContext,
    Unsupported, VariableStore,
};
use super::props::Props;
use crate::caps::{Accelerator, QemuCaps};
use crate::qmp::Command;

/// A result whose error is something that is not supported.
pub(super) type Result<T> = std::result::Result<T, Unsupported>;

/// The command line in the making.
pub(super) struct Builder<'a> {
    pub(super) domain: &'a Domain,
    pub(super) caps: &'a QemuCaps,
    pub(super) context: &'a LaunchContext,
    pub(super) arguments: Vec<String>,
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) files: Vec<FileAccess>,
    pub(super) variables: Option<VariableStore>,
    pub(super) setup: Vec<Command>,
    /// How many files are handed over as sets of descriptors.
    pub(super) outputs: u32,
    /// How many images are groups of descriptors.
    pub(super) groups: u32,
    /// The groups of limits that are made.
    pub(super) throttle_ids: BTreeSet<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(domain: &'a Domain, caps: &'a QemuCaps, context: &'a LaunchContext) -> Self {
        Self {
            domain,
            caps,
            context,
            arguments: Vec::with_capacity(128),
            descriptors: Vec::new(),
            files: Vec::new(),
            variables: None,
            setup: Vec::new(),
            outputs: 0,
            groups: 0,
            throttle_ids: BTreeSet::new(),
        }
    }

    /// Appends an option with its value.
    pub(super) fn option(&mut self, name: &str, value: impl Into<String>) {
        self.arguments.push(name.to_owned());
        self.arguments.push(value.into());
    }

    /// Appends an option without a value.
    pub(super) fn flag(&mut self, name: &str) {
        self.arguments.push(name.to_owned());
    }

    /// Appends an object.
    pub(super) fn object(&mut self, props: &Props) {
        self.option("-object", props.to_json());
    }

    /// Appends a block node.
    pub(super) fn blockdev(&mut self, props: &Props) {
        self.option("-blockdev", props.to_json());
    }

    /// Appends a device, after checking that this QEMU has it and with what the definition
    /// overrides by name.
    pub(super) fn device(&mut self, mut props: Props) -> Result<()> {
        if let Some(driver) = props.get("driver").and_then(Value::as_str) {
            self.require(driver)?;
        }
        self.apply_overrides(&mut props);
        self.option("-device", props.to_json());
        Ok(())
    }

    /// Refuses a kind of device this QEMU does not have.
    pub(super) fn require(&self, driver: &str) -> Result<()> {
        if self.caps.has_type(driver) {
            return Ok(());
        }
        Err(Unsupported::new(format!(
            "this QEMU has no device '{driver}'"
        )))
    }

    fn apply_overrides(&self, props: &mut Props) {
        let Some(id) = props.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return;
        };
        let Some(overrides) = &self.domain.qemu.overrides else {
            return;
        };
        let devices = overrides.devices.iter().filter(|device| device.alias == id);
        for property in devices
            .filter_map(|d| d.frontend.as_ref())
            .flat_map(|f| &f.properties)
        {
            let text = property.value.as_deref().unwrap_or_default();
            match property.kind.as_str() {
                "remove" => props.remove(&property.name),
                "bool" => props.set(&property.name, text == "true"),
                "signed" => props.set_some(&property.name, text.parse::<i64>().ok()),
                "unsigned" => props.set_some(&property.name, text.parse::<u64>().ok()),
                _ => props.set(&property.name, text),
            }
        }
    }

    /// Notes a file QEMU accesses.
    pub(super) fn file(&mut self, path: impl Into<PathBuf>, mode: FileMode, role: FileRole) {
        let shared = mode == FileMode::Read || role == FileRole::SharedDevice;
        self.files.push(FileAccess {
            path: path.into(),
            mode,
            role,
            shared,
        });
    }

    /// Asks for a descriptor and returns its number in QEMU.
    pub(super) fn descriptor(&mut self, purpose: DescriptorPurpose) -> i32 {
        let taken = i32::try_from(self.descriptors.len()).unwrap_or(i32::MAX - DESCRIPTOR_FIRST);
        let number = DESCRIPTOR_FIRST + taken;
        self.descriptors.push(Descriptor { number, purpose });
        number
    }

    /// Whether KVM runs the guest.
    pub(super) fn kvm(&self) -> bool {
        self.context.accelerator == Accelerator::Kvm
    }

    /// Whether what only KVM has is to be left out, see [`LaunchContext::without_kvm`].
    pub(super) fn lacks_kvm(&self) -> bool {
        self.context.without_kvm && !self.kvm()
    }

    /// Whether the machine's first bus is PCI Express.
    pub(super) fn is_q35(&self) -> bool {
        let machine = self.domain.os.machine();
        machine == "q35" || machine.starts_with("pc-q35-")
    }

    /// Whether the machine has the chipset of a PC with plain PCI.
    pub(super) fn is_i440fx(&self) -> bool {
        let machine = self.domain.os.machine();
        machine == "pc"
            || machine.starts_with("pc-i440fx-")
            || machine.starts_with("pc-0.")
            || machine.starts_with("pc-1.")
    }

    /// The id of the controller of a kind with an index.
    pub(super) fn controller_id(&self, kind: ControllerType, index: u32) -> String {
        let controllers = &self.domain.devices.controllers;
        let found = controllers
            .iter()
            .find(|c| c.kind == kind && c.index() == index && !is_uhci_companion(c.model));
        match found.and_then(|controller| controller.info.alias.clone()) {
            Some(alias) => alias,
            None if kind == ControllerType::Usb && index == 0 => "usb".to_owned(),
            None => format!("{}{index}", kind.as_str()),
        }
    }
}

/// The companions of a USB 2 controller have no bus of their own.
pub(super) fn is_uhci_companion(model: Option<ControllerModel>) -> bool {
    matches!(
        model,
        Some(ControllerModel::Ich9Uhci1 | ControllerModel::Ich9Uhci2 | ControllerModel::Ich9Uhci3)
    )
}

/// The id of a device. Every device of a machine that starts has one.
pub(super) fn alias(info: &DeviceInfo) -> Result<&str> {
    info.alias
        .as_deref()
        .ok_or_else(|| Unsupported::new("a device has no alias; aliases are given at start"))
}
