//! Devices that others imply: controllers under them, the console beside a
//! serial port, a graphics card behind a display.

use super::{DefineContext, chardev_defaults, device_defaults, order};
use crate::domain::Domain;
use crate::domain::address::{Address, CcidAddress};
use crate::domain::controller::{Controller, ControllerModel, ControllerType};
use crate::domain::disk::DiskBus;
use crate::domain::hostdev::HostdevType;
use crate::domain::serial::{
    ChannelTargetType, Console, ConsoleTarget, ConsoleTargetType, Serial, SerialTargetType,
};
use crate::domain::video::{Video, VideoType};
use crate::xml::{XmlError, YesNo};

use super::addresses;

/// Adds them, in libvirt's order.
pub(super) fn add(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    addresses::assign_drives(domain)?;
    pair_console(domain);
    add_controllers(domain);
    for controller in &mut domain.devices.controllers {
        if controller.kind == ControllerType::Scsi && controller.model.is_none() {
            controller.model = Some(match context.has_device("lsi53c895a") {
                true => ControllerModel::Lsilogic,
                false => ControllerModel::VirtioScsi,
            });
        }
    }
    add_video(domain, context);
    Ok(())
}

/// The first console of a PC is its first serial port; where only one of the
/// two is given, the other is made from it.
fn pair_console(domain: &mut Domain) {
    let devices = &mut domain.devices;
    let first = devices.consoles.first().filter(|c| is_serial(c));
    if let Some(console) = first
        && devices.serials.is_empty()
    {
        devices.serials.push(Serial {
            chardev: console.chardev.clone(),
            target: None,
            info: console.info.clone(),
        });
        chardev_defaults::complete_serial(&mut devices.serials, 0);
    } else if first.is_none()
        && let Some(serial) = devices.serials.first()
        && shows_console(serial)
    {
        devices.consoles.insert(0, mirror(serial));
    }
    for (port, console) in (0..).zip(&mut devices.consoles) {
        if let Some(target) = &mut console.target {
            target.port = Some(port);
        }
    }
}

fn is_serial(console: &Console) -> bool {
    let kind = console.target.as_ref().and_then(|t| t.kind);
    matches!(kind, None | Some(ConsoleTargetType::Serial))
}

/// Whether a guest would put its console on this port.
fn shows_console(serial: &Serial) -> bool {
    let kind = serial.target.as_ref().and_then(|t| t.kind);
    matches!(
        kind,
        Some(SerialTargetType::Isa | SerialTargetType::SpaprVio | SerialTargetType::System)
    )
}

/// The console that is the same device as `serial`.
fn mirror(serial: &Serial) -> Console {
    Console {
        chardev: serial.chardev.clone(),
        target: Some(ConsoleTarget {
            kind: Some(ConsoleTargetType::Serial),
            port: serial.target.as_ref().and_then(|t| t.port),
        }),
        info: serial.info.clone(),
    }
}

/// Shows each console that is a serial port with what that port has.
pub(in crate::domain) fn mirror_consoles(domain: &mut Domain) {
    let devices = &mut domain.devices;
    for (console, serial) in devices.consoles.iter_mut().zip(&devices.serials) {
        if is_serial(console) {
            *console = mirror(serial);
        }
    }
}

fn add_controllers(domain: &mut Domain) {
    add_for_disks(domain, ControllerType::Scsi, DiskBus::Scsi);
    add_for_disks(domain, ControllerType::Fdc, DiskBus::Fdc);
    add_for_disks(domain, ControllerType::Ide, DiskBus::Ide);
    add_for_disks(domain, ControllerType::Sata, DiskBus::Sata);
    add_virtio_serial(domain);
    add_ccid(domain);
}

/// Adds a controller unless there is one of that kind and number.
pub(super) fn maybe_add(
    controllers: &mut Vec<Controller>,
    kind: ControllerType,
    index: u32,
    model: Option<ControllerModel>,
) {
    if !controllers
        .iter()
        .any(|c| c.kind == kind && c.index() == index)
    {
        order::insert_controller(controllers, Controller::new(kind, index, model));
    }
}

/// The most controllers of one kind that disks can call for.
pub(super) const DISK_CONTROLLERS_MAX: u32 = 256;

fn add_for_disks(domain: &mut Domain, kind: ControllerType, bus: DiskBus) {
    let devices = &mut domain.devices;
    let used = devices
        .disks
        .iter()
        .filter(|d| d.bus() == Some(bus))
        .filter_map(|d| match &d.info.address {
            Some(Address::Drive(drive)) => Some(drive.controller),
            _ => None,
        });
    let Some(highest) = used.max() else { return };
    for index in 0..=highest.min(DISK_CONTROLLERS_MAX) {
        maybe_add(&mut devices.controllers, kind, index, None);
    }
}

fn add_virtio_serial(domain: &mut Domain) {
    let devices = &mut domain.devices;
    let index = |address: &Option<Address>| match address {
        Some(Address::VirtioSerial(a)) => a.controller,
        _ => 0,
    };
    let channels = devices.channels.iter().filter(|c| {
        c.target
            .as_ref()
            .is_some_and(|t| t.kind == ChannelTargetType::Virtio)
    });
    let consoles = devices
        .consoles
        .iter()
        .filter(|c| c.target.as_ref().and_then(|t| t.kind) == Some(ConsoleTargetType::Virtio));
    let wanted: Vec<u32> = channels
        .map(|c| index(&c.info.address))
        .chain(consoles.map(|c| index(&c.info.address)))
        .collect();
    for index in wanted {
        maybe_add(
            &mut devices.controllers,
            ControllerType::VirtioSerial,
            index,
            None,
        );
    }
}

fn add_ccid(domain: &mut Domain) {
    let devices = &mut domain.devices;
    for i in 0..devices.smartcards.len() {
        let slots = devices
            .smartcards
            .iter()
            .filter_map(|s| match &s.info.address {
                Some(Address::Ccid(ccid)) if ccid.controller == 0 => Some(ccid.slot),
                _ => None,
            });
        let next = slots.max().map_or(0, |s| s + 1);
        let address = devices.smartcards[i]
            .info
            .address
            .get_or_insert(Address::Ccid(CcidAddress {
                controller: 0,
                slot: next,
            }));
        if let Address::Ccid(ccid) = address {
            let index = ccid.controller;
            maybe_add(&mut devices.controllers, ControllerType::Ccid, index, None);
        }
    }
}

/// SCSI devices of the host need a controller. It is the first one added.
pub(super) fn add_for_hostdevs(domain: &mut Domain) {
    let devices = &mut domain.devices;
    let used = devices
        .hostdevs
        .iter()
        .filter(|h| h.kind == HostdevType::Scsi);
    let used = used.map(|h| match &h.info.address {
        Some(Address::Drive(drive)) => drive.controller,
        _ => 0,
    });
    let Some(highest) = used.max() else { return };
    // New ones are like the first there is.
    let model = devices
        .controllers
        .iter()
        .find(|c| c.kind == ControllerType::Scsi)
        .and_then(|c| c.model);
    for index in 0..=highest.min(DISK_CONTROLLERS_MAX) {
        maybe_add(&mut devices.controllers, ControllerType::Scsi, index, model);
    }
}

/// A display needs a graphics card; the first card is the primary one.
fn add_video(domain: &mut Domain, context: &DefineContext) {
    let devices = &mut domain.devices;
    if devices.videos.is_empty() && !devices.graphics.is_empty() {
        let mut video = Video::default();
        device_defaults::complete_video(&mut video, context);
        devices.videos.push(video);
    }
    if let Some(video) = devices.videos.first_mut()
        && video.kind() != VideoType::None
        && let Some(model) = &mut video.model
    {
        model.primary = Some(YesNo::Yes);
    }
}
