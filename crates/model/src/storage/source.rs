//! Where a pool's storage comes from.

use super::kind::Takes;
use super::{PoolKind, clean_path, xml_error};
use crate::domain::address::PciAddress;
use crate::domain::storage::{Initiator, SecretRef};
use crate::xml::{Element, Node, XmlError, XmlErrorKind, XmlFlags, XmlWriter, YesNo};
use crate::xml::{element, keyword};

/// Where a pool's storage comes from; which parts mean something depends on its kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoolSource {
    /// Servers.
    pub hosts: Vec<SourceHost>,
    /// Devices, or an iSCSI target.
    pub devices: Vec<SourceDevice>,
    /// A directory of a server.
    pub dir: Option<String>,
    /// A host bus adapter.
    pub adapter: Option<Adapter>,
    /// The name of a volume group, of a pool of a cluster, ….
    pub name: Option<String>,
    /// Who an iSCSI client says it is.
    pub initiator: Option<Initiator>,
    /// The format: of the file system, of the partition table, ….
    pub format: Option<String>,
    /// Who to log in as.
    pub auth: Option<PoolAuth>,
    /// The version of the protocol.
    pub protocol_version: Option<String>,
    /// The maker.
    pub vendor: Option<String>,
    /// The model.
    pub product: Option<String>,
}

element! {
    /// A server.
    pub struct SourceHost {
        req name: String = "name",
        attr port: Option<u16> = "port",
    }
}

/// A device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceDevice {
    /// Its path, or the name of an iSCSI target.
    pub path: String,
    /// Whether a `p` stands between its name and a partition's number.
    pub part_separator: Option<YesNo>,
    /// Parts nothing is on yet, in bytes: start and end.
    pub free_extents: Vec<(u64, u64)>,
}

element! {
    /// Who to log in as.
    pub struct PoolAuth {
        req kind: String = "type",
        req username: String = "username",
        child secret: Option<SecretRef> = "secret",
    }
}

keyword! {
    /// Kinds of adapters.
    pub enum AdapterKind {
        ScsiHost = "scsi_host",
        FcHost = "fc_host",
    }
}

element! {
    /// Where the device is that an adapter belongs to.
    pub struct ParentAddress {
        attr unique_id: Option<u32> = "unique_id",
        child address: Option<PciAddress> = "address",
    }
}

element! {
    /// A host bus adapter.
    pub struct Adapter {
        always kind: AdapterKind = "type",
        attr name: Option<String> = "name",
        attr parent: Option<String> = "parent",
        attr parent_wwnn: Option<String> = "parent_wwnn",
        attr parent_wwpn: Option<String> = "parent_wwpn",
        attr parent_fabric_wwn: Option<String> = "parent_fabric_wwn",
        attr managed: Option<YesNo> = "managed",
        attr wwnn: Option<String> = "wwnn",
        attr wwpn: Option<String> = "wwpn",
        child parentaddr: Option<ParentAddress> = "parentaddr",
    }
}

impl Adapter {
    /// Without a type, world wide names tell which it is.
    fn read(node: Node<'_, '_>) -> Result<Adapter, XmlError> {
        let mut adapter = Adapter::parse(node)?;
        if node.attribute("type").is_none() && adapter.wwnn.is_some() {
            adapter.kind = AdapterKind::FcHost;
        }
        let complaint = match adapter.kind {
            AdapterKind::FcHost if adapter.wwnn.is_none() || adapter.wwpn.is_none() => {
                "'wwnn' and 'wwpn' must be specified for adapter type 'fc_host'"
            }
            AdapterKind::ScsiHost if adapter.name.is_none() && adapter.parentaddr.is_none() => {
                "Either 'name' or 'parent' must be specified for the 'scsi_host' adapter"
            }
            _ => return Ok(adapter),
        };
        Err(xml_error(&node, complaint))
    }
}

impl SourceDevice {
    fn read(node: Node<'_, '_>) -> Result<SourceDevice, XmlError> {
        let path = node.attribute("path");
        let path =
            path.ok_or_else(|| xml_error(&node, "missing storage pool source device path"))?;
        let separator = node.attribute("part_separator");
        let separator = separator.map(|value| node.scalar("part_separator", value));
        Ok(SourceDevice {
            path: path.to_owned(),
            part_separator: separator.transpose()?,
            // What is free is learned from the device, not from a definition.
            free_extents: Vec::new(),
        })
    }

    fn write(&self, w: &mut XmlWriter) {
        w.begin("device");
        w.attr_str("path", &self.path);
        if let Some(separator) = &self.part_separator {
            w.attr("part_separator", separator);
        }
        for (start, end) in &self.free_extents {
            w.begin("freeExtent");
            w.attr("start", start);
            w.attr("end", end);
            w.end("freeExtent");
        }
        w.end("device");
    }
}

impl PoolSource {
    /// Reads the element `source` of a pool, which may be missing.
    pub(super) fn read(node: Option<Node<'_, '_>>, kind: PoolKind) -> Result<PoolSource, XmlError> {
        let mut source = PoolSource::default();
        if let Some(node) = node {
            for child in node.children() {
                source.take(child)?;
            }
            source.check_words(&node, kind)?;
        }
        if let (Some((_, default)), None) = (kind.source_formats(), &source.format) {
            source.format = Some(default.to_owned());
        }
        if kind == PoolKind::Gluster && source.dir.is_none() {
            source.dir = Some("/".to_owned());
        }
        Ok(source)
    }

    fn take(&mut self, child: Node<'_, '_>) -> Result<(), XmlError> {
        let attribute = |name| child.attribute(name).map(str::to_owned);
        match child.name() {
            "host" => self.hosts.push(SourceHost::parse(child)?),
            "device" => self.devices.push(SourceDevice::read(child)?),
            "dir" => self.dir = child.attribute("path").map(clean_path),
            "adapter" => self.adapter = Some(Adapter::read(child)?),
            "name" => self.name = Some(child.text()).filter(|name| !name.is_empty()),
            "initiator" => self.initiator = Some(Initiator::parse(child)?),
            "format" => self.format = attribute("type"),
            "auth" => self.auth = Some(PoolAuth::parse(child)?),
            "protocol" => self.protocol_version = attribute("ver"),
            "vendor" => self.vendor = attribute("name"),
            "product" => self.product = attribute("name"),
            _ => return Err(child.unknown_element()),
        }
        Ok(())
    }

    fn check_words(&self, node: &Node<'_, '_>, kind: PoolKind) -> Result<(), XmlError> {
        if let (Some(format), Some((formats, _))) = (&self.format, kind.source_formats())
            && !formats.contains(&format.as_str())
        {
            let complaint = format_args!("unknown pool format type {format}").to_string();
            return Err(super::unsupported(node, complaint));
        }
        if let Some(version) = &self.protocol_version
            && (version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        {
            let complaint = format!("storage pool protocol ver '{version}' is malformed");
            return Err(xml_error(node, complaint));
        }
        if kind == PoolKind::Rbd && self.name.is_none() {
            return Err(xml_error(node, "element 'name' is mandatory for RBD pool"));
        }
        Ok(())
    }

    /// Refuses a source that lacks what its kind cannot do without.
    pub(super) fn check(&self, root: &Node<'_, '_>, kind: PoolKind) -> Result<(), XmlError> {
        let takes = kind.takes();
        let only_device = Takes {
            device: true,
            ..Takes::default()
        };
        let missing = [
            (
                takes.host && self.hosts.is_empty(),
                "missing storage pool source host name",
            ),
            (
                takes.dir && self.dir.is_none(),
                "missing storage pool source path",
            ),
            (
                takes.adapter && self.adapter.is_none(),
                "missing storage pool source adapter",
            ),
            (
                takes == only_device && self.devices.is_empty(),
                "missing storage pool source device name",
            ),
        ];
        match missing.iter().find(|(is_missing, _)| *is_missing) {
            Some((_, complaint)) => {
                Err(root.error(XmlErrorKind::Missing, format!("XML error: {complaint}")))
            }
            None => Ok(()),
        }
    }

    /// Writes the element with the parts that mean something for the kind.
    pub(super) fn write(&self, kind: PoolKind, w: &mut XmlWriter) {
        let takes = kind.takes();
        w.begin("source");
        // libvirt writes an empty one with an end tag.
        w.open_body();
        if takes.host {
            self.hosts.iter().for_each(|host| host.write("host", w));
        }
        if takes.device {
            self.devices.iter().for_each(|device| device.write(w));
        }
        if takes.dir {
            write_named(w, "dir", "path", &self.dir);
        }
        if let (true, Some(adapter)) = (takes.adapter, &self.adapter) {
            adapter.write("adapter", w);
        }
        if let (true, Some(name)) = (takes.name, &self.name) {
            w.leaf("name", name);
        }
        if let (true, Some(initiator)) = (takes.iqn, &self.initiator) {
            initiator.write("initiator", w);
        }
        if kind.source_formats().is_some() {
            write_named(w, "format", "type", &self.format);
        }
        if let Some(auth) = &self.auth {
            auth.write("auth", w);
        }
        write_named(w, "protocol", "ver", &self.protocol_version);
        write_named(w, "vendor", "name", &self.vendor);
        write_named(w, "product", "name", &self.product);
        w.end("source");
    }
}

fn write_named(w: &mut XmlWriter, element: &str, attribute: &str, value: &Option<String>) {
    if let Some(value) = value {
        w.begin(element);
        w.attr_str(attribute, value);
        w.end(element);
    }
}

/// The sources a host offers for a kind of pool, as a list.
pub fn sources_xml(kind: PoolKind, sources: &[PoolSource]) -> String {
    let mut w = XmlWriter::new(XmlFlags::default());
    w.begin("sources");
    w.open_body();
    sources.iter().for_each(|source| source.write(kind, &mut w));
    w.end("sources");
    w.finish()
}
