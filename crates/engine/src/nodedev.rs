//! The host's devices, read from sysfs when they are asked for: nothing is
//! kept, so nothing can be out of date.

pub(crate) mod bind;
mod ids;
mod scan;
mod watch;

use crate::error::{EngineError, ErrorKind, Result};
pub use model::nodedev::{CapabilityKind, NodeDevice};
use std::path::Path;
pub(crate) use watch::NodeDeviceHub;
pub use watch::{DeviceListener, NodeDeviceHappening};

/// Where the kernel shows devices.
const SYSFS: &str = "/sys";

/// The computer itself: the device all others are on.
const COMPUTER: &str = "computer";

/// Every device, in the order of their names.
pub fn all() -> Vec<NodeDevice> {
    scan::devices(Path::new(SYSFS))
}

/// The device with this name.
pub fn by_name(name: &str) -> Result<NodeDevice> {
    let found = all().into_iter().find(|device| device.name == name);
    found.ok_or_else(|| {
        EngineError::new(
            ErrorKind::NoNodeDevice,
            format!("no node device with matching name '{name}'"),
        )
    })
}

/// The fibre channel host with these names.
pub fn scsi_host(wwnn: &str, wwpn: &str) -> Result<NodeDevice> {
    let is_it = |device: &NodeDevice| {
        let capabilities = device.capability.capabilities.iter();
        capabilities
            .filter(|capability| capability.kind == CapabilityKind::FcHost)
            .any(|host| host.wwnn.as_deref() == Some(wwnn) && host.wwpn.as_deref() == Some(wwpn))
    };
    all().into_iter().find(is_it).ok_or_else(|| {
        EngineError::new(
            ErrorKind::NoNodeDevice,
            format!("no node device with WWNN '{wwnn}' and WWPN '{wwpn}'"),
        )
    })
}

/// What is to be done with a device that exists only because somebody asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// To make one of a description.
    Create,
    /// To keep a description.
    Define,
}

/// Makes a device, or keeps its description: only some kinds can be made, and none of these here.
pub fn make(xml: &str, what: Making) -> Result<NodeDevice> {
    let device = NodeDevice::parse_new(xml).map_err(crate::engine::xml_error)?;
    Err(not_made(&device, what == Making::Create))
}

/// Changes, ends or forgets a device that was made: there are none of these here.
pub fn unmake(name: &str) -> Result<()> {
    Err(not_made(&by_name(name)?, true))
}

/// Makes a device whose description is kept: all there are have been made.
pub fn start(name: &str) -> Result<()> {
    by_name(name)?;
    Err(EngineError::invalid("Device is already active"))
}

/// Has a device made with the host's start.
pub fn set_autostart(name: &str) -> Result<()> {
    by_name(name)?;
    Err(EngineError::new(
        ErrorKind::Unsupported,
        "Unsupported device type",
    ))
}

/// Why a device is not made; `ports` says whether virtual ports are of a kind that could be.
fn not_made(device: &NodeDevice, ports: bool) -> EngineError {
    let message = match device.capability.kind {
        CapabilityKind::Mdev => {
            "Stead does not make mediated devices; make them with the program mdevctl"
        }
        CapabilityKind::ScsiHost if ports => {
            "Stead does not make virtual ports of fibre channel hosts; write to \
             /sys/class/fc_host/HOST/vport_create instead"
        }
        _ => "Unsupported device type",
    };
    EngineError::new(ErrorKind::ConfigUnsupported, message)
}

/// Takes a PCI device from its driver and gives it to the one that hands
/// devices to machines: `vfio-pci` unless another is named.
pub fn detach(name: &str, driver: Option<&str>) -> Result<()> {
    let driver = match driver {
        None | Some("vfio") => "vfio-pci",
        Some("kvm" | "xen") => {
            return Err(EngineError::new(
                ErrorKind::InvalidArgument,
                "only the driver 'vfio' hands devices to machines here",
            ));
        }
        Some(other) => other,
    };
    bind::detach(Path::new(SYSFS), &pci_address(name)?, driver)
}

/// Gives a PCI device back to the driver the kernel chooses for it.
pub fn reattach(name: &str) -> Result<()> {
    bind::reattach(Path::new(SYSFS), &pci_address(name)?)
}

/// Resets a PCI device.
pub fn reset(name: &str) -> Result<()> {
    bind::reset(Path::new(SYSFS), &pci_address(name)?)
}

/// The kernel's name for the PCI device: `0000:00:19.0`.
fn pci_address(name: &str) -> Result<String> {
    let device = by_name(name)?;
    let capability = &device.capability;
    let not_pci = || {
        EngineError::new(
            ErrorKind::InvalidArgument,
            format!("Device {name} is not a PCI device"),
        )
    };
    if capability.kind != CapabilityKind::Pci {
        return Err(not_pci());
    }
    let path = device.path.as_deref().map(Path::new);
    let address = path
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    address.map(str::to_owned).ok_or_else(not_pci)
}
