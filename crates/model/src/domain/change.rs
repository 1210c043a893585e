//! Single devices, given as XML, put into a definition, found in it, replaced
//! or taken out.

use super::Domain;
use super::devices::Devices;
use super::disk::Disk;
use super::info::DeviceInfo;
use super::interface::Interface;
use super::memory_device::MemoryDevice;
use crate::xml::{Element, XmlError, XmlErrorKind, parse_document, root};

/// One device as XML. The kinds of devices that can be found again by what
/// identifies them are told apart; the others only by their alias.
struct Fragment {
    devices: Devices,
}

impl Fragment {
    fn parse(xml: &str) -> Result<Self, XmlError> {
        let document = parse_document(xml)?;
        let root = root(&document);
        let mut devices = Devices::default();
        if !devices.take_child(root)? || devices.emulator.is_some() {
            return Err(root.error(
                XmlErrorKind::Unsupported,
                format!(
                    "unsupported configuration: unknown device type '{}'",
                    root.name()
                ),
            ));
        }
        Ok(Self { devices })
    }

    /// The alias it names, if it names one.
    fn alias(&self) -> Option<String> {
        let mut alias = None;
        self.devices
            .each_info(&mut |info| alias = info.alias.clone());
        alias
    }
}

/// Moves the devices of every list; each list of one fragment holds at most one.
macro_rules! move_lists {
    ($from:ident, $to:ident, $($field:ident)*) => {
        $($to.$field.extend($from.$field);)*
    };
}

/// Removes, from every list, the device with an alias.
macro_rules! remove_alias {
    ($devices:ident, $alias:ident, $($field:ident)*) => {
        $($devices.$field.retain(|d| d.info.alias.as_deref() != Some($alias));)*
    };
}

impl Domain {
    /// Puts a device into the definition; [`Domain::complete`] then finds its
    /// place. A target, address or singleton that is taken is refused.
    ///
    /// # Errors
    /// What is wrong with the XML, or what stands in the way.
    pub fn attach_device(&mut self, xml: &str) -> Result<(), XmlError> {
        let new = Fragment::parse(xml)?.devices;
        if let Some(disk) = new.disks.first() {
            let target = disk.target_dev();
            if self.devices.disks.iter().any(|d| d.target_dev() == target) {
                return Err(XmlError::invalid(format!("target {target} already exists")));
            }
        }
        let to = &mut self.devices;
        for (taken, given, what) in [
            (
                to.memballoon.is_some(),
                new.memballoon.is_some(),
                "memballoon",
            ),
            (to.vsock.is_some(), new.vsock.is_some(), "vsock"),
            (to.iommu.is_some(), new.iommu.is_some(), "iommu"),
        ] {
            if taken && given {
                return Err(XmlError::invalid(format!(
                    "domain already has a {what} device"
                )));
            }
        }
        to.memballoon = to.memballoon.take().or(new.memballoon);
        to.vsock = to.vsock.take().or(new.vsock);
        to.iommu = to.iommu.take().or(new.iommu);
        move_lists!(new, to, disks controllers leases filesystems interfaces smartcards serials
            parallels consoles channels inputs tpms graphics sounds audios videos hostdevs
            redirdevs hubs watchdogs rngs panics shmems memories cryptos);
        Ok(())
    }

    /// Finds the device a piece of XML means: by its alias, a disk by its
    /// target, an interface by its address, a controller by type and index,
    /// anything else by being the only one of its kind.
    ///
    /// # Errors
    /// What is wrong with the XML, or that there is no such device.
    pub fn find_device(&self, xml: &str) -> Result<DeviceKey, XmlError> {
        let wanted = Fragment::parse(xml)?;
        match wanted.alias() {
            Some(alias) => self.find_alias(&alias),
            None => self.find_by_kind(&wanted.devices),
        }
    }

    /// The device with this alias.
    pub fn find_alias(&self, alias: &str) -> Result<DeviceKey, XmlError> {
        let mut found = false;
        self.devices
            .each_info(&mut |info| found |= info.alias.as_deref() == Some(alias));
        match found {
            true => Ok(DeviceKey::Alias(alias.to_owned())),
            false => Err(missing(alias)),
        }
    }

    fn find_by_kind(&self, wanted: &Devices) -> Result<DeviceKey, XmlError> {
        let have = &self.devices;
        if let Some(disk) = wanted.disks.first() {
            let target = disk.target_dev();
            let index = have.disks.iter().position(|d| d.target_dev() == target);
            return index
                .map(DeviceKey::Disk)
                .ok_or_else(|| XmlError::invalid(format!("disk {target} not found")));
        }
        if let Some(interface) = wanted.interfaces.first() {
            let mac = interface.mac.as_ref().map(|mac| mac.address);
            let matching: Vec<usize> = have
                .interfaces
                .iter()
                .enumerate()
                .filter(|(_, i)| mac.is_none() || i.mac.as_ref().map(|m| m.address) == mac)
                .map(|(index, _)| index)
                .collect();
            return match (matching.as_slice(), mac) {
                ([index], _) => Ok(DeviceKey::Interface(*index)),
                ([], Some(mac)) => Err(missing(&format!("interface with address {mac}"))),
                ([], None) => Err(missing("interface")),
                _ => Err(XmlError::invalid("multiple matching interfaces found")),
            };
        }
        if let Some(controller) = wanted.controllers.first() {
            let index = have
                .controllers
                .iter()
                .position(|c| c.kind == controller.kind && c.index() == controller.index());
            return index
                .map(DeviceKey::Controller)
                .ok_or_else(|| missing("controller"));
        }
        let only = |count: usize, key, what: &str| match count {
            1 => Ok(key),
            0 => Err(missing(what)),
            _ => Err(XmlError::invalid(format!(
                "several devices match; name the {what} by its alias"
            ))),
        };
        match () {
            () if !wanted.rngs.is_empty() => only(have.rngs.len(), DeviceKey::Rng, "rng"),
            () if !wanted.watchdogs.is_empty() => {
                only(have.watchdogs.len(), DeviceKey::Watchdog, "watchdog")
            }
            () if wanted.memballoon.is_some() => only(
                usize::from(have.memballoon.is_some()),
                DeviceKey::MemBalloon,
                "memballoon",
            ),
            () => Err(XmlError::unsupported(
                "finding a device of this kind needs its alias: give it one with <alias name='ua-…'/>",
            )),
        }
    }

    /// Takes a device out.
    pub fn remove_device(&mut self, key: &DeviceKey) {
        let devices = &mut self.devices;
        match key {
            DeviceKey::Disk(index) => drop(devices.disks.remove(*index)),
            DeviceKey::Interface(index) => drop(devices.interfaces.remove(*index)),
            DeviceKey::Controller(index) => drop(devices.controllers.remove(*index)),
            DeviceKey::Rng => devices.rngs.clear(),
            DeviceKey::Watchdog => devices.watchdogs.clear(),
            DeviceKey::MemBalloon => devices.memballoon = None,
            DeviceKey::Alias(alias) => self.remove_by_alias(alias),
        }
    }

    fn remove_by_alias(&mut self, alias: &str) {
        let devices = &mut self.devices;
        remove_alias!(devices, alias, disks controllers filesystems interfaces smartcards serials
            parallels consoles channels inputs tpms graphics sounds videos hostdevs redirdevs hubs
            watchdogs rngs panics shmems memories cryptos);
        if devices
            .memballoon
            .as_ref()
            .is_some_and(|d| d.info.alias.as_deref() == Some(alias))
        {
            devices.memballoon = None;
        }
        if devices
            .vsock
            .as_ref()
            .is_some_and(|d| d.info.alias.as_deref() == Some(alias))
        {
            devices.vsock = None;
        }
    }

    /// The alias of a device of a running machine.
    pub fn device_alias(&self, key: &DeviceKey) -> Option<String> {
        let devices = &self.devices;
        let info: &DeviceInfo = match key {
            DeviceKey::Disk(index) => &devices.disks.get(*index)?.info,
            DeviceKey::Interface(index) => &devices.interfaces.get(*index)?.info,
            DeviceKey::Controller(index) => &devices.controllers.get(*index)?.info,
            DeviceKey::Rng => &devices.rngs.first()?.info,
            DeviceKey::Watchdog => &devices.watchdogs.first()?.info,
            DeviceKey::MemBalloon => &devices.memballoon.as_ref()?.info,
            DeviceKey::Alias(alias) => return Some(alias.clone()),
        };
        info.alias.clone()
    }

    /// Replaces what can be changed of a device: the medium of a disk, the
    /// link and filter of an interface, the password of a display.
    ///
    /// # Errors
    /// What is wrong with the XML, or that there is no such device.
    pub fn update_device(&mut self, xml: &str) -> Result<(), XmlError> {
        let new = Fragment::parse(xml)?.devices;
        if let Some(display) = new.graphics.into_iter().next() {
            let found = self
                .devices
                .graphics
                .iter_mut()
                .find(|g| g.kind == display.kind);
            let found = found.ok_or_else(|| missing("graphics device"))?;
            found.password = display.password;
            return Ok(());
        }
        if let Some(module) = new.memories.into_iter().next() {
            return self.update_memory(&module);
        }
        let wanted = Fragment::parse(xml)?;
        let key = match self.find_device(xml)? {
            DeviceKey::Alias(alias) => self.place_of(&alias),
            key => Some(key),
        };
        match key {
            Some(DeviceKey::Disk(index)) => {
                if let Some(disk) = wanted.devices.disks.into_iter().next() {
                    update_disk(&mut self.devices.disks[index], disk);
                }
            }
            Some(DeviceKey::Interface(index)) => {
                if let Some(interface) = wanted.devices.interfaces.into_iter().next() {
                    update_interface(&mut self.devices.interfaces[index], interface)?;
                }
            }
            _ => {
                return Err(XmlError::unsupported(
                    "only disks, interfaces, displays and memory modules can be changed in place",
                ));
            }
        }
        Ok(())
    }

    /// Where among disks or interfaces the device with this alias is.
    fn place_of(&self, alias: &str) -> Option<DeviceKey> {
        let devices = &self.devices;
        let is_named = |info: &DeviceInfo| info.alias.as_deref() == Some(alias);
        let disk = devices.disks.iter().position(|disk| is_named(&disk.info));
        let mut interfaces = devices.interfaces.iter();
        let mut interface = || interfaces.position(|card| is_named(&card.info));
        disk.map(DeviceKey::Disk)
            .or_else(|| interface().map(DeviceKey::Interface))
    }
}

impl Domain {
    /// Only how much of a module is asked for can change.
    fn update_memory(&mut self, new: &MemoryDevice) -> Result<(), XmlError> {
        let alias = new.info.alias.as_deref();
        let modules = &mut self.devices.memories;
        let named = modules
            .iter()
            .position(|module| alias.is_some() && module.info.alias.as_deref() == alias);
        let mut alike = (0..modules.len()).filter(|index| modules[*index].is_same(new));
        let index = match (named, alike.next(), alike.next()) {
            (Some(index), ..) | (None, Some(index), None) => index,
            (None, None, _) => return Err(missing("memory device")),
            (None, Some(_), Some(_)) => {
                let message = "several memory devices match; name one by its alias";
                return Err(XmlError::invalid(message));
            }
        };
        let module = &mut modules[index];
        if !module.is_same(new) {
            return Err(XmlError::unsupported(
                "only the requested size of a memory device can be modified",
            ));
        }
        let target = new.target.as_ref();
        let requested = target.and_then(|target| target.requested);
        module.request(requested.unwrap_or_default())
    }
}

/// What of a card can be another while it is there: where it is plugged in,
/// its cable, its limits.
fn update_interface(have: &mut Interface, new: Interface) -> Result<(), XmlError> {
    if let (Some(old), Some(new)) = (have.model_name(), new.model_name())
        && old != new
    {
        return Err(XmlError::unsupported(format!(
            "cannot modify network device model from {old} to {new}"
        )));
    }
    have.link = new.link;
    have.filterref = new.filterref;
    have.bandwidth = new.bandwidth;
    have.vlan = new.vlan;
    have.virtualport = new.virtualport;
    have.isolation = new.isolation;
    have.trust_guest_rx_filters = new.trust_guest_rx_filters;
    let Some(mut source) = new.source else {
        return Ok(());
    };
    have.kind = new.kind;
    if let Some(old) = have
        .source
        .as_deref()
        .filter(|old| old.network == source.network)
    {
        source.portid = old.portid;
    }
    have.source = Some(source);
    Ok(())
}

fn update_disk(have: &mut Disk, new: Disk) {
    have.kind = new.kind;
    have.source = new.source;
    have.readonly |= new.readonly;
    if new.driver.is_some() {
        have.driver = new.driver;
    }
}

fn missing(what: &str) -> XmlError {
    XmlError::new(
        XmlErrorKind::Missing,
        format!("device not found: no matching {what}"),
    )
}

/// Which device of a definition. It is good until the definition changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKey {
    /// The disk at this place of the list.
    Disk(usize),
    /// The interface at this place of the list.
    Interface(usize),
    /// The controller at this place of the list.
    Controller(usize),
    /// The only random-number source.
    Rng,
    /// The only watchdog.
    Watchdog,
    /// The balloon.
    MemBalloon,
    /// The device with this alias.
    Alias(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::XmlFlags;

    fn domain() -> Domain {
        Domain::parse(
            "<domain type='qemu'><name>a</name><memory>1024</memory><devices>\
             <disk type='file' device='cdrom'><source file='/a.iso'/><target dev='sda' bus='sata'/></disk>\
             <interface type='user'><mac address='52:54:00:00:00:01'/></interface>\
             </devices></domain>",
        )
        .expect("a domain")
    }

    const DISK: &str =
        "<disk type='file'><source file='/b'/><target dev='vdb' bus='virtio'/></disk>";

    #[test]
    fn a_card_is_changed_by_its_alias() {
        let xml = domain().to_xml(XmlFlags::default());
        let mac = "<mac address='52:54:00:00:00:01'/>";
        let mut named = Domain::parse(&xml).expect("a domain");
        named.devices.interfaces[0].info.alias = Some("net0".to_owned());
        let down = format!(
            "<interface type='user'>{mac}<link state='down'/><alias name='net0'/></interface>"
        );
        named.update_device(&down).expect("change");
        assert!(named.devices.interfaces[0].link.is_some());
    }

    #[test]
    fn a_disk_comes_and_goes_by_its_target() {
        let mut domain = domain();
        domain.attach_device(DISK).expect("attach");
        let twice = domain.attach_device(DISK).expect_err("the target is taken");
        assert!(
            twice.message.contains("target vdb already exists"),
            "{twice}"
        );
        let key = domain.find_device(DISK).expect("find");
        assert_eq!(key, DeviceKey::Disk(1));
        domain.remove_device(&key);
        assert!(domain.find_device(DISK).is_err());
    }

    #[test]
    fn an_interface_is_found_by_its_address_or_by_being_alone() {
        let mut domain = domain();
        let alone = domain
            .find_device("<interface type='user'/>")
            .expect("the only one");
        assert_eq!(alone, DeviceKey::Interface(0));
        domain
            .attach_device("<interface type='user'><mac address='52:54:00:00:00:02'/></interface>")
            .expect("attach");
        assert!(domain.find_device("<interface type='user'/>").is_err());
        let second = "<interface type='user'><mac address='52:54:00:00:00:02'/></interface>";
        assert_eq!(
            domain.find_device(second).expect("by address"),
            DeviceKey::Interface(1)
        );
    }

    #[test]
    fn a_medium_is_changed_and_ejected() {
        let mut domain = domain();
        let other = "<disk type='file' device='cdrom'><source file='/c.iso'/><target dev='sda' bus='sata'/></disk>";
        domain.update_device(other).expect("change");
        assert!(domain.to_xml(XmlFlags::default()).contains("/c.iso"));
        domain
            .update_device("<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>")
            .expect("eject");
        assert_eq!(domain.devices.disks[0].source_path(), None);
    }

    #[test]
    fn what_is_no_device_is_refused_by_name() {
        let error = domain().attach_device("<gadget/>").expect_err("no device");
        assert!(error.message.contains("gadget"), "{error}");
        assert!(domain().attach_device("<disk").is_err());
    }
}
