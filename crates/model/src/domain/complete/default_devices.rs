//! Devices a machine has although nobody wrote them down.

use super::basics::xml_error;
use super::machine::MachineFamily;
use super::{DefineContext, order};
use crate::domain::Domain;
use crate::domain::controller::{Controller, ControllerModel, ControllerType};
use crate::domain::graphics::GraphicsType;
use crate::domain::input::{Input, InputBus, InputType};
use crate::domain::misc_devices::{
    BalloonModel, MemBalloon, Watchdog, WatchdogAction, WatchdogModel,
};
use crate::domain::sound::{Audio, AudioType};
use crate::xml::{OnOff, XmlError};

/// Adds them, in libvirt's order.
pub(super) fn add(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    let family = domain.machine_family();
    if domain.is_x86() && has_ps2(domain, family) {
        add_input(domain, InputType::Mouse);
        add_input(domain, InputType::Keyboard);
    }
    if domain.is_x86() && !matches!(family, MachineFamily::Isapc | MachineFamily::Microvm) {
        add_usb(domain, family, context);
        if family == MachineFamily::Q35 {
            add_controller(domain, ControllerType::Sata, None);
        }
        add_pci_root(domain, family)?;
        add_memballoon(domain);
        if family == MachineFamily::Q35 {
            add_itco_watchdog(domain);
        }
    }
    add_audio(domain);
    Ok(())
}

/// Whether the machine's keyboard controller is there.
fn has_ps2(domain: &Domain, family: MachineFamily) -> bool {
    let switched_off = domain
        .features
        .as_ref()
        .and_then(|f| f.ps2.as_ref())
        .is_some_and(|ps2| ps2.state == Some(OnOff::Off));
    !switched_off && family != MachineFamily::Microvm
}

fn add_input(domain: &mut Domain, kind: InputType) {
    let inputs = &mut domain.devices.inputs;
    // One whose bus is still open does not count, as in libvirt.
    if !inputs
        .iter()
        .any(|i| i.kind == kind && i.bus == Some(InputBus::Ps2))
    {
        inputs.push(Input {
            kind,
            bus: Some(InputBus::Ps2),
            ..Input::default()
        });
    }
}

fn add_usb(domain: &mut Domain, family: MachineFamily, context: &DefineContext) {
    let controllers = &mut domain.devices.controllers;
    if controllers
        .iter()
        .any(|c| c.kind == ControllerType::Usb && c.index() == 0)
    {
        return;
    }
    let model = if family == MachineFamily::Q35 {
        // USB 3, then USB 2; a machine without either gets none.
        if context.has_device("qemu-xhci") {
            ControllerModel::QemuXhci
        } else if context.has_device("nec-usb-xhci") {
            ControllerModel::NecXhci
        } else {
            return;
        }
    } else if context.has_device("piix3-usb-uhci") {
        ControllerModel::Piix3Uhci
    } else {
        return;
    };
    let controller = Controller::new(ControllerType::Usb, 0, Some(model));
    order::insert_controller(controllers, controller);
}

/// Adds controller 0 of `kind` unless there is one.
fn add_controller(domain: &mut Domain, kind: ControllerType, model: Option<ControllerModel>) {
    let controllers = &mut domain.devices.controllers;
    if !controllers.iter().any(|c| c.kind == kind && c.index() == 0) {
        order::insert_controller(controllers, Controller::new(kind, 0, model));
    }
}

fn add_pci_root(domain: &mut Domain, family: MachineFamily) -> Result<(), XmlError> {
    let model = match family {
        MachineFamily::Q35 => ControllerModel::PcieRoot,
        MachineFamily::I440fx => ControllerModel::PciRoot,
        _ => return Ok(()),
    };
    let controllers = &domain.devices.controllers;
    let root = controllers
        .iter()
        .find(|c| c.kind == ControllerType::Pci && c.index() == 0);
    if let Some(root) = root
        && root.model != Some(model)
    {
        let found = root.model.map_or("", ControllerModel::as_str);
        return Err(xml_error(format!(
            "The PCI controller with index='0' must be model='{model}' for this machine type, \
             but model='{found}' was found instead"
        )));
    }
    add_controller(domain, ControllerType::Pci, Some(model));
    Ok(())
}

fn add_memballoon(domain: &mut Domain) {
    domain.devices.memballoon.get_or_insert_with(|| MemBalloon {
        model: BalloonModel::Virtio,
        ..MemBalloon::default()
    });
}

fn add_itco_watchdog(domain: &mut Domain) {
    let watchdogs = &mut domain.devices.watchdogs;
    if !watchdogs.iter().any(|w| w.model == WatchdogModel::Itco) {
        let action = watchdogs
            .first()
            .map_or(WatchdogAction::Reset, |w| w.action);
        watchdogs.push(Watchdog {
            model: WatchdogModel::Itco,
            action,
            ..Watchdog::default()
        });
    }
}

/// A machine has a sound back end, if only one that is silent; the displays
/// that carry no sound leave the choice to QEMU.
fn add_audio(domain: &mut Domain) {
    let devices = &mut domain.devices;
    if !devices.audios.is_empty() {
        return;
    }
    let has = |kind| devices.graphics.iter().any(|g| g.kind == kind);
    let kind = if has(GraphicsType::Spice) {
        AudioType::Spice
    } else if devices.graphics.is_empty() || has(GraphicsType::Vnc) {
        AudioType::None
    } else {
        return;
    };
    devices.audios.push(Audio {
        id: 1,
        kind,
        ..Audio::default()
    });
}
