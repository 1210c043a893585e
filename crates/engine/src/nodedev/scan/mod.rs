//! From sysfs to devices: each bus and class that libvirt shows, each device
//! with the facts its directory tells, and the device it is on.

mod disks;
mod pci;

use super::COMPUTER;
use super::ids::Names;
use disks::{block, scsi};
use model::nodedev::{
    Address, Capability, CapabilityKind, DeviceFile, Driver, Feature, Firmware, Hardware,
    Identified, Kind, Link, NodeDevice,
};
use pci::pci;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Most devices shown of one bus or class.
const DEVICES_MAX: usize = 16_384;

/// What is found in one directory of sysfs.
struct Found {
    directory: PathBuf,
    name: String,
    files: Vec<DeviceFile>,
    capability: Capability,
}

/// Every device of the host whose sysfs is at `sysfs`, by name.
pub(super) fn devices(sysfs: &Path) -> Vec<NodeDevice> {
    let mut found = pci(sysfs);
    found.extend(usb(sysfs));
    found.extend(net(sysfs));
    found.extend(scsi(sysfs));
    found.extend(block(sysfs));
    found.extend(class(sysfs, "drm", drm));
    found.extend(class(sysfs, "scsi_generic", scsi_generic));
    let names: BTreeMap<PathBuf, String> = found
        .iter()
        .map(|found| (found.directory.clone(), found.name.clone()))
        .collect();
    let mut devices = vec![computer(sysfs)];
    devices.extend(found.into_iter().map(|found| NodeDevice {
        path: Some(kernel_path(sysfs, &found.directory)),
        parent: Some(parent(&names, &found.directory)),
        driver: driver(&found.directory),
        name: found.name,
        files: found.files,
        capability: found.capability,
    }));
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

/// The path as the kernel has it, wherever sysfs is read from.
fn kernel_path(sysfs: &Path, directory: &Path) -> String {
    let root = fs::canonicalize(sysfs).unwrap_or_else(|_| sysfs.to_owned());
    let inside = directory.strip_prefix(&root).unwrap_or(directory);
    Path::new("/sys")
        .join(inside)
        .to_string_lossy()
        .into_owned()
}

/// The nearest device that one is on.
fn parent(names: &BTreeMap<PathBuf, String>, directory: &Path) -> String {
    let above = directory.ancestors().skip(1);
    let named = above.filter_map(|path| names.get(path)).next();
    named.cloned().unwrap_or_else(|| COMPUTER.to_owned())
}

fn driver(directory: &Path) -> Option<Driver> {
    let name = last_of_link(&directory.join("driver"))?;
    Some(Driver { name: Some(name) })
}

fn last_of_link(path: &Path) -> Option<String> {
    let link = fs::read_link(path).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

/// The directories of a bus's or a class's devices, by their own names.
fn directories(parent: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries
        .take(DEVICES_MAX)
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.to_owned();
            Some((name, fs::canonicalize(entry.path()).ok()?))
        })
        .collect();
    all.sort();
    all
}

/// A file's text; none where it is empty or cannot be read.
fn text(directory: &Path, file: &str) -> Option<String> {
    let text = fs::read(directory.join(file)).ok()?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn number<T: std::str::FromStr>(directory: &Path, file: &str) -> Option<T> {
    text(directory, file)?.parse().ok()
}

fn hex(directory: &Path, file: &str) -> Option<u32> {
    let text = text(directory, file)?;
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// A name as libvirt makes it: only letters, digits and underscores.
fn safe(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}

fn identified(id: u32, name: Option<String>) -> Option<Identified> {
    Some(Identified {
        id: Some(format!("0x{id:04x}")),
        name,
    })
}

fn computer(sysfs: &Path) -> NodeDevice {
    let dmi = sysfs.join("class/dmi/id");
    let uuid = sys::host::Host::new().firmware_uuid();
    let uuid = uuid.map(uuid::Uuid::from_bytes).unwrap_or_default();
    let capability = Capability {
        product: text(&dmi, "product_name").map(|name| Identified {
            id: None,
            name: Some(name),
        }),
        hardware: Some(Hardware {
            vendor: text(&dmi, "sys_vendor"),
            version: text(&dmi, "product_version"),
            serial: text(&dmi, "product_serial"),
            uuid: Some(uuid),
        }),
        firmware: Some(Firmware {
            vendor: text(&dmi, "bios_vendor"),
            version: text(&dmi, "bios_version"),
            release_date: text(&dmi, "bios_date"),
        }),
        ..Capability::of(CapabilityKind::System)
    };
    NodeDevice {
        name: COMPUTER.to_owned(),
        capability,
        ..NodeDevice::default()
    }
}

fn usb(sysfs: &Path) -> Vec<Found> {
    let mut names = Names::usb();
    let all = directories(&sysfs.join("bus/usb/devices")).into_iter();
    all.filter_map(|(name, directory)| {
        let capability = match name.contains(':') {
            true => usb_interface(&directory)?,
            false => usb_device(&directory, &mut names)?,
        };
        let files = match (&capability.bus, capability.device) {
            (Some(bus), Some(device)) => {
                let bus: u32 = bus.parse().ok()?;
                vec![node(format!("/dev/bus/usb/{bus:03}/{device:03}"))]
            }
            _ => Vec::new(),
        };
        Some(Found {
            name: format!("usb_{}", safe(&name)),
            files,
            directory,
            capability,
        })
    })
    .collect()
}

fn usb_interface(directory: &Path) -> Option<Capability> {
    Some(Capability {
        number: Some(hex(directory, "bInterfaceNumber")?),
        class: Some(hex(directory, "bInterfaceClass")?.to_string()),
        subclass: Some(hex(directory, "bInterfaceSubClass")?),
        protocol: Some(hex(directory, "bInterfaceProtocol")?),
        description: text(directory, "interface"),
        ..Capability::of(CapabilityKind::Usb)
    })
}

fn usb_device(directory: &Path, names: &mut Names) -> Option<Capability> {
    let (vendor, product) = (hex(directory, "idVendor")?, hex(directory, "idProduct")?);
    let (vendor_name, product_name) = names.of_device(vendor as u16, product as u16);
    Some(Capability {
        bus: Some(number::<u32>(directory, "busnum")?.to_string()),
        device: Some(number(directory, "devnum")?),
        product: identified(product, text(directory, "product").or(product_name)),
        vendor: identified(vendor, text(directory, "manufacturer").or(vendor_name)),
        ..Capability::of(CapabilityKind::UsbDevice)
    })
}

fn node(path: String) -> DeviceFile {
    DeviceFile {
        kind: "dev".to_owned(),
        path: Some(path),
    }
}

fn net(sysfs: &Path) -> Vec<Found> {
    /// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`: what libvirt shows.
    const SHOWN: [u32; 2] = [1, 772];
    let all = directories(&sysfs.join("class/net")).into_iter();
    all.filter(|(_, directory)| number(directory, "type").is_some_and(|t| SHOWN.contains(&t)))
        .map(|(name, directory)| {
            let address = text(&directory, "address");
            let wireless = directory.join("phy80211").exists();
            let kind = match wireless {
                true => CapabilityKind::Wireless,
                false => CapabilityKind::Ethernet,
            };
            let capability = Capability {
                interface: Some(name.clone()),
                addresses: vec![Address {
                    text: address.clone(),
                    ..Address::default()
                }],
                link: link(&directory),
                features: features(&name),
                capabilities: vec![Capability::of(kind)],
                ..Capability::of(CapabilityKind::Net)
            };
            let address = address.map(|address| format!("_{}", safe(&address)));
            Found {
                name: format!("net_{}{}", safe(&name), address.unwrap_or_default()),
                files: Vec::new(),
                directory,
                capability,
            }
        })
        .collect()
}

fn link(directory: &Path) -> Option<Link> {
    let state = text(directory, "operstate")?;
    // The kernel tells the speed of a link that is up, as a signed number.
    let speed = number::<i64>(directory, "speed").filter(|_| state == "up");
    Some(Link {
        speed: speed.map(|speed| (speed as u32).to_string()),
        state: Some(state),
        ..Link::default()
    })
}

fn features(interface: &str) -> Vec<Feature> {
    let names = sys::ethtool::features(interface).unwrap_or_default();
    let feature = |name: &str| Feature {
        name: name.to_owned(),
    };
    names.into_iter().map(feature).collect()
}

fn class(
    sysfs: &Path,
    class: &str,
    read: impl Fn(&str) -> Option<(Capability, String)>,
) -> Vec<Found> {
    let all = directories(&sysfs.join("class").join(class)).into_iter();
    all.filter_map(|(name, directory)| {
        let (capability, path) = read(&name)?;
        Some(Found {
            name: format!("{class}_{}", safe(&name)),
            files: vec![node(path)],
            directory,
            capability,
        })
    })
    .collect()
}

fn drm(name: &str) -> Option<(Capability, String)> {
    // Connectors are shown beside cards with names like card0-DP-1.
    let kind = match name {
        name if name.contains('-') => return None,
        name if name.starts_with("card") => "primary",
        name if name.starts_with("renderD") => "render",
        name if name.starts_with("controlD") => "control",
        _ => return None,
    };
    let capability = Capability {
        types: vec![Kind {
            text: Some(kind.to_owned()),
            ..Kind::default()
        }],
        ..Capability::of(CapabilityKind::Drm)
    };
    Some((capability, format!("/dev/dri/{name}")))
}

fn scsi_generic(name: &str) -> Option<(Capability, String)> {
    let path = format!("/dev/{name}");
    let capability = Capability {
        character: Some(path.clone()),
        ..Capability::of(CapabilityKind::ScsiGeneric)
    };
    Some((capability, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Makes a device's directory with its files, and the link by which its bus or class shows it.
    fn device(sysfs: &Path, shown: &str, path: &str, files: &[(&str, &str)]) {
        let directory = sysfs.join("devices").join(path);
        fs::create_dir_all(&directory).expect("made");
        for (file, text) in files {
            let file = directory.join(file);
            fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            fs::write(file, format!("{text}\n")).expect("written");
        }
        let link = sysfs.join(shown);
        fs::create_dir_all(link.parent().expect("a parent")).expect("made");
        symlink(directory, link).expect("linked");
    }

    #[test]
    fn devices_are_on_the_nearest_one_that_is_shown() {
        let root = tempfile::tempdir().expect("directory");
        let sysfs = fs::canonicalize(root.path()).expect("it is there");
        let card = "pci0000:00/0000:00:03.0";
        let ids = [
            ("vendor", "0x1af4"),
            ("device", "0x1041"),
            ("class", "0x020000"),
        ];
        device(&sysfs, "bus/pci/devices/0000:00:03.0", card, &ids);
        device(
            &sysfs,
            "class/net/nosuchcard0",
            &format!("{card}/virtio0/net/nosuchcard0"),
            &[
                ("type", "1"),
                ("address", "02:fc:00:00:00:01"),
                ("operstate", "down"),
            ],
        );
        device(
            &sysfs,
            "class/block/sda",
            &format!("{card}/host0/block/sda"),
            &[("size", "2048"), ("device/model", "X"), ("serial", "S-1")],
        );
        device(
            &sysfs,
            "class/block/sda1",
            &format!("{card}/host0/block/sda/sda1"),
            &[("size", "1024"), ("partition", "1")],
        );
        device(
            &sysfs,
            "class/block/loop0",
            "virtual/block/loop0",
            &[("size", "0")],
        );
        let shown = devices(&sysfs);
        let tree: Vec<_> = shown
            .iter()
            .map(|d| (d.name.as_str(), d.parent.as_deref()))
            .collect();
        assert_eq!(
            tree,
            [
                ("block_sda_S_1", Some("pci_0000_00_03_0")),
                ("computer", None),
                (
                    "net_nosuchcard0_02_fc_00_00_00_01",
                    Some("pci_0000_00_03_0")
                ),
                ("pci_0000_00_03_0", Some("computer")),
            ]
        );
        let path = shown[3].path.as_deref();
        assert_eq!(path, Some("/sys/devices/pci0000:00/0000:00:03.0"));
        assert_eq!(shown[0].capability.size, Some(1 << 20));
    }
}
