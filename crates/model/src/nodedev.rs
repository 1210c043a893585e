//! The devices of a host as libvirt describes them: `<device>` with what it
//! can do in `<capability>`s.
//!
//! One table holds what every kind of capability may say, in an order that is
//! each kind's own; which of it belongs together is the business of whoever
//! looks at a host ([`Capability::of`] begins one of a kind).

use crate::xml::{
    Element, XmlError, XmlFlags, XmlWriter, element, expect_root, keyword, parse_document,
};
use uuid::Uuid;

keyword! {
    /// What a device is or can do.
    pub enum CapabilityKind {
        System = "system",
        Pci = "pci",
        Usb = "usb",
        UsbDevice = "usb_device",
        Net = "net",
        ScsiHost = "scsi_host",
        ScsiTarget = "scsi_target",
        Scsi = "scsi",
        Storage = "storage",
        FcHost = "fc_host",
        Vports = "vports",
        VportOps = "vport_ops",
        ScsiGeneric = "scsi_generic",
        Drm = "drm",
        MdevTypes = "mdev_types",
        Mdev = "mdev",
        Ccw = "ccw",
        Css = "css",
        Vdpa = "vdpa",
        ApCard = "ap_card",
        ApQueue = "ap_queue",
        ApMatrix = "ap_matrix",
        Vpd = "vpd",
        CcwGroup = "ccwgroup",
        Ethernet = "80203",
        Wireless = "80211",
        PhysFunction = "phys_function",
        VirtFunctions = "virt_functions",
        PciBridge = "pci-bridge",
        CardbusBridge = "cardbus-bridge",
        Removable = "removable",
        Hotpluggable = "hotpluggable",
        FcRemotePort = "fc_remote_port",
        QethGeneric = "qeth_generic",
    }
}

element! {
    /// A number of a registry and the name it stands for.
    pub struct Identified {
        attr id: Option<String> = "id",
        text name: Option<String>,
    }
}

element! {
    /// Where a PCI device is, or a network card's address as text.
    pub struct Address {
        attr domain: Option<String> = "domain",
        attr bus: Option<String> = "bus",
        attr slot: Option<String> = "slot",
        attr function: Option<String> = "function",
        text text: Option<String>,
    }
}

element! {
    /// The devices that can only be given away together.
    pub struct IommuGroup {
        req number: u32 = "number",
        list addresses: Vec<Address> = "address",
    }
}

element! {
    /// The NUMA node a device is next to.
    pub struct NumaNode {
        req node: i32 = "node",
    }
}

element! {
    /// A link: of a PCI Express port, or of a network card.
    pub struct Link {
        attr validity: Option<String> = "validity",
        attr port: Option<u32> = "port",
        attr speed: Option<String> = "speed",
        attr width: Option<u32> = "width",
        attr state: Option<String> = "state",
    }
}

element! {
    /// A PCI Express port: what its link can do, what it does.
    pub struct PciExpress {
        list links: Vec<Link> = "link",
    }
}

element! {
    /// A feature of a network card.
    pub struct Feature {
        req name: String = "name",
    }
}

element! {
    /// A kind: of SCSI device or display as text, of mediated device in parts.
    pub struct Kind {
        attr id: Option<String> = "id",
        text text: Option<String>,
        leaf name: Option<String> = "name",
        leaf device_api: Option<String> = "deviceAPI",
        leaf available: Option<u32> = "availableInstances",
    }
}

element! {
    /// An attribute of a mediated device.
    pub struct Attribute {
        req name: String = "name",
        req value: String = "value",
    }
}

element! {
    /// The make of a computer.
    pub struct Hardware {
        leaf vendor: Option<String> = "vendor",
        leaf version: Option<String> = "version",
        leaf serial: Option<String> = "serial",
        leaf uuid: Option<Uuid> = "uuid",
    }
}

element! {
    /// The firmware of a computer.
    pub struct Firmware {
        leaf vendor: Option<String> = "vendor",
        leaf version: Option<String> = "version",
        leaf release_date: Option<String> = "release_date",
    }
}

element! {
    /// A member of a group of channel devices.
    pub struct GroupMember {
        req reference: String = "ref",
        text name: Option<String>,
    }
}

element! {
    /// The members of a group of channel devices.
    pub struct GroupMembers {
        list devices: Vec<GroupMember> = "ccw_device",
    }
}

element! {
    /// The address of a channel subsystem's device.
    pub struct ChannelAddress {
        leaf cssid: Option<String> = "cssid",
        leaf ssid: Option<String> = "ssid",
        leaf devno: Option<String> = "devno",
    }
}

element! {
    /// What a device is or can do.
    pub struct Capability {
        req kind: CapabilityKind = "type",
        attr max_count: Option<u32> = "maxCount",
        leaf adapter: Option<String> = "ap-adapter",
        leaf ap_domain: Option<String> = "ap-domain",
        leaf state: Option<String> = "state",
        leaf cssid: Option<String> = "cssid",
        leaf ssid: Option<String> = "ssid",
        leaf devno: Option<String> = "devno",
        child channel_address: Option<ChannelAddress> = "channel_dev_addr",
        child members: Option<GroupMembers> = "members",
        leaf card_type: Option<String> = "card_type",
        leaf channel_path: Option<String> = "chpid",
        leaf number: Option<u32> = "number",
        leaf class: Option<String> = "class",
        leaf subclass: Option<u32> = "subclass",
        leaf protocol: Option<u32> = "protocol",
        leaf description: Option<String> = "description",
        leaf domain: Option<u32> = "domain",
        leaf block: Option<String> = "block",
        leaf host: Option<u32> = "host",
        leaf unique_id: Option<i32> = "unique_id",
        leaf wwnn: Option<String> = "wwnn",
        leaf rport: Option<String> = "rport",
        leaf wwpn: Option<String> = "wwpn",
        leaf fabric_wwn: Option<String> = "fabric_wwn",
        leaf max_vports: Option<u32> = "max_vports",
        leaf vports: Option<u32> = "vports",
        leaf bus: Option<String> = "bus",
        leaf slot: Option<u32> = "slot",
        leaf function: Option<u32> = "function",
        leaf device: Option<u32> = "device",
        leaf target: Option<String> = "target",
        leaf lun: Option<u32> = "lun",
        list types: Vec<Kind> = "type",
        leaf uuid: Option<Uuid> = "uuid",
        leaf drive_type: Option<String> = "drive_type",
        leaf model: Option<String> = "model",
        child product: Option<Identified> = "product",
        child vendor: Option<Identified> = "vendor",
        leaf serial: Option<String> = "serial",
        child hardware: Option<Hardware> = "hardware",
        child firmware: Option<Firmware> = "firmware",
        leaf size: Option<u64> = "size",
        leaf interface: Option<String> = "interface",
        list addresses: Vec<Address> = "address",
        child link: Option<Link> = "link",
        list features: Vec<Feature> = "feature",
        leaf character: Option<String> = "char",
        leaf chardev: Option<String> = "chardev",
        list capabilities: Vec<Capability> = "capability",
        leaf media_available: Option<u32> = "media_available",
        leaf media_size: Option<u64> = "media_size",
        leaf media_label: Option<String> = "media_label",
        leaf block_size: Option<u64> = "logical_block_size",
        leaf blocks: Option<u64> = "num_blocks",
        child iommu_group: Option<IommuGroup> = "iommuGroup",
        list attributes: Vec<Attribute> = "attr",
        child numa: Option<NumaNode> = "numa",
        child express: Option<PciExpress> = "pci-express",
    }
}

element! {
    /// The driver of a device.
    pub struct Driver {
        leaf name: Option<String> = "name",
    }
}

element! {
    /// A file that stands for the device: the node itself, or a link to it.
    pub struct DeviceFile {
        req kind: String = "type",
        text path: Option<String>,
    }
}

element! {
    /// A device of a host.
    pub struct NodeDevice {
        must name: String = "name",
        leaf path: Option<String> = "path",
        list files: Vec<DeviceFile> = "devnode",
        leaf parent: Option<String> = "parent",
        child driver: Option<Driver> = "driver",
        part capability: Capability = "capability",
    }
}

impl Capability {
    /// A capability that says nothing yet.
    pub fn of(kind: CapabilityKind) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    /// Its kind and those of the ones in it.
    pub fn kinds(&self) -> Vec<CapabilityKind> {
        let inner = self.capabilities.iter().flat_map(Capability::kinds);
        std::iter::once(self.kind).chain(inner).collect()
    }
}

impl NodeDevice {
    /// Reads a description.
    pub fn parse(text: &str) -> Result<Self, XmlError> {
        let document = parse_document(text)?;
        Element::parse(expect_root(&document, "device")?)
    }

    /// Reads the description of a device that is to be made, and that needs no name yet.
    pub fn parse_new(text: &str) -> Result<Self, XmlError> {
        let document = parse_document(text)?;
        let root = expect_root(&document, "device")?;
        let first = root
            .raw()
            .first_child()
            .filter(|_| root.child("name").is_none());
        match first.map(|first| first.range().start) {
            Some(at) => Self::parse(&format!("{}<name/>{}", &text[..at], &text[at..])),
            None => Element::parse(root),
        }
    }

    /// Writes the description as libvirt does.
    pub fn to_xml(&self) -> String {
        let mut writer = XmlWriter::new(XmlFlags::default());
        self.write("device", &mut writer);
        // libvirt opens the firmware of a computer that tells nothing of it.
        let text = writer.finish();
        text.replace("    <firmware/>\n", "    <firmware>\n    </firmware>\n")
    }

    /// What it is and can do, in libvirt's words, the chief one first.
    pub fn capability_names(&self) -> Vec<&'static str> {
        let chief = &self.capability;
        let mut names = vec![chief.kind.as_str()];
        // The others are those that libvirt lists by themselves.
        let own = chief.capabilities.iter().filter_map(|inner| {
            let listed = inner.kind < CapabilityKind::Ethernet;
            listed.then(|| inner.kind.as_str())
        });
        names.extend(own);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_shown_as_libvirt_shows_it() {
        let text = "<device>
  <name>pci_0000_00_19_0</name>
  <path>/sys/devices/pci0000:00/0000:00:19.0</path>
  <parent>computer</parent>
  <driver>
    <name>e1000e</name>
  </driver>
  <capability type='pci'>
    <class>0x020000</class>
    <domain>0</domain>
    <bus>0</bus>
    <slot>25</slot>
    <function>0</function>
    <product id='0x1502'>82579LM Gigabit Network Connection</product>
    <vendor id='0x8086'>Intel Corporation</vendor>
    <capability type='virt_functions' maxCount='7'/>
    <iommuGroup number='3'>
      <address domain='0x0000' bus='0x00' slot='0x19' function='0x0'/>
    </iommuGroup>
    <numa node='-1'/>
  </capability>
</device>
";
        let device = NodeDevice::parse(text).expect("it is well formed");
        assert_eq!(device.to_xml(), text);
        assert_eq!(device.capability_names(), ["pci"]);
    }

    #[test]
    fn a_device_that_is_to_be_made_needs_no_name() {
        let text = "<device><parent>computer</parent><capability type='mdev'/></device>";
        let device = NodeDevice::parse_new(text).expect("read");
        assert_eq!(
            (device.name.as_str(), device.capability.kind),
            ("", CapabilityKind::Mdev)
        );
        assert!(NodeDevice::parse(text).is_err() && NodeDevice::parse_new("<device/>").is_err());
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let error = NodeDevice::parse("<device><name>x</name><warp/></device>");
        assert!(error.expect_err("refused").to_string().contains("warp"));
    }
}
