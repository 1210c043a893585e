//! A pool as a person defines it.

use uuid::Uuid;

use super::source::PoolSource;
use super::{Permissions, PoolKind, child_text, clean_path, unsupported, write_bytes, xml_error};
use crate::xml::{Node, Scalar, XmlError, XmlErrorKind, XmlFlags, XmlWriter};
use crate::xml::{expect_root, keyword, parse_document};

/// The namespace of a mounted pool's own mount options.
const FS_NAMESPACE: &str = "http://libvirt.org/schemas/storagepool/fs/1.0";
/// The namespace of a Ceph pool's own options.
const RBD_NAMESPACE: &str = "http://libvirt.org/schemas/storagepool/rbd/1.0";

/// A pool as a person defines it.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolDefinition {
    /// Its kind.
    pub kind: PoolKind,
    /// Its name.
    pub name: String,
    /// Its uuid; chosen by whoever stores it if not given.
    pub uuid: Option<Uuid>,
    /// Whether a btrfs copies what is written.
    pub cow: Option<CowFeature>,
    /// Where its storage comes from.
    pub source: PoolSource,
    /// The directory, or where its devices appear; none for pools of the network.
    pub path: Option<String>,
    /// Whose the directory is to be.
    pub permissions: Permissions,
    /// How the space that volumes take is found out.
    pub refresh: Option<RefreshAllocation>,
    /// Mount options that are passed on as they are.
    pub mount_options: Vec<String>,
    /// Options of a Ceph client that are passed on as they are: names and values.
    pub config_options: Vec<(String, String)>,
}

keyword! {
    /// Whether a btrfs copies what is written.
    pub enum CowFeature {
        Yes = "yes",
        No = "no",
    }
}

keyword! {
    /// How the space that volumes take is found out.
    pub enum RefreshAllocation {
        Default = "default",
        Capacity = "capacity",
    }
}

/// Sizes of a pool, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolSizes {
    /// All there is.
    pub capacity: u64,
    /// What is taken.
    pub allocation: u64,
    /// What is left.
    pub available: u64,
}

impl PoolDefinition {
    /// A directory that is there.
    pub fn directory(name: &str, path: &str) -> Self {
        Self {
            kind: PoolKind::Dir,
            name: name.to_owned(),
            uuid: None,
            cow: None,
            source: PoolSource::default(),
            path: Some(path.to_owned()),
            permissions: Permissions::default(),
            refresh: None,
            mount_options: Vec::new(),
            config_options: Vec::new(),
        }
    }

    /// Reads libvirt's XML.
    pub fn parse(text: &str) -> Result<PoolDefinition, XmlError> {
        let document = parse_document(text)?;
        let root = expect_root(&document, "pool")?;
        let word = root.attribute("type");
        let word = word.ok_or_else(|| root.missing_attribute("type"))?;
        let kind = root.scalar("type", word)?;
        check_children(&root)?;
        let mut source = PoolSource::read(root.child("source"), kind)?;
        let takes = kind.takes();
        let name = child_text(&root, "name")
            .or_else(|| source.name.clone().filter(|_| takes.name))
            .ok_or_else(|| xml_error(&root, "missing pool source name element"))?;
        if name.contains('/') {
            let complaint = format!("name {name} cannot contain '/'");
            return Err(xml_error(&root, complaint));
        }
        if takes.name && source.name.is_none() {
            source.name = Some(name.clone());
        }
        source.check(&root, kind)?;
        let path = target_path(&root, kind, &source)?;
        let target = root.child("target");
        let permissions = target
            .filter(|_| kind.has_target())
            .map(|node| Permissions::of_child(&node));
        let (mount_options, config_options) = own_options(&root)?;
        Ok(PoolDefinition {
            kind,
            name,
            uuid: uuid(&root)?,
            cow: cow(&root, kind)?,
            source,
            path,
            permissions: permissions.transpose()?.unwrap_or_default(),
            refresh: refresh(&root)?,
            mount_options,
            config_options,
        })
    }

    /// Writes libvirt's XML.
    pub fn to_xml(&self, sizes: PoolSizes) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("pool");
        w.attr("type", &self.kind);
        if !self.mount_options.is_empty() {
            w.attr_str("xmlns:fs", FS_NAMESPACE);
        }
        if !self.config_options.is_empty() {
            w.attr_str("xmlns:rbd", RBD_NAMESPACE);
        }
        w.leaf("name", &self.name);
        if let Some(uuid) = &self.uuid {
            w.leaf("uuid", uuid);
        }
        write_bytes(&mut w, "capacity", "bytes", sizes.capacity);
        write_bytes(&mut w, "allocation", "bytes", sizes.allocation);
        write_bytes(&mut w, "available", "bytes", sizes.available);
        if let Some(cow) = &self.cow {
            w.begin("features");
            w.begin("cow");
            w.attr("state", cow);
            w.end("cow");
            w.end("features");
        }
        self.source.write(self.kind, &mut w);
        if let Some(path) = &self.path {
            w.begin("target");
            w.leaf("path", path);
            self.permissions.write(&mut w);
            w.end("target");
        }
        if let Some(allocation) = &self.refresh {
            w.begin("refresh");
            w.begin("volume");
            w.attr("allocation", allocation);
            w.end("volume");
            w.end("refresh");
        }
        self.write_options(&mut w);
        w.end("pool");
        w.finish()
    }

    fn write_options(&self, w: &mut XmlWriter) {
        if !self.mount_options.is_empty() {
            w.begin("fs:mount_opts");
            for name in &self.mount_options {
                w.begin("fs:option");
                w.attr_str("name", name);
                w.end("fs:option");
            }
            w.end("fs:mount_opts");
        }
        if !self.config_options.is_empty() {
            w.begin("rbd:config_opts");
            for (name, value) in &self.config_options {
                w.begin("rbd:option");
                w.attr_str("name", name);
                w.attr_str("value", value);
                w.end("rbd:option");
            }
            w.end("rbd:config_opts");
        }
    }
}

fn check_children(root: &Node<'_, '_>) -> Result<(), XmlError> {
    const KNOWN: [&str; 9] = [
        "name",
        "uuid",
        "capacity",
        "allocation",
        "available",
        "features",
        "source",
        "target",
        "refresh",
    ];
    let strange = root
        .children()
        .find(|child| child.namespace().is_none() && !KNOWN.contains(&child.name()));
    strange.map_or(Ok(()), |child| Err(child.unknown_element()))
}

fn uuid(root: &Node<'_, '_>) -> Result<Option<Uuid>, XmlError> {
    let Some(node) = root.child("uuid") else {
        return Ok(None);
    };
    let uuid = <Uuid as Scalar>::parse(&node.text());
    let complaint = || xml_error(&node, "malformed uuid element");
    uuid.map(Some).ok_or_else(complaint)
}

fn target_path(
    root: &Node<'_, '_>,
    kind: PoolKind,
    source: &PoolSource,
) -> Result<Option<String>, XmlError> {
    let name = source.name.as_deref().unwrap_or_default();
    match kind {
        _ if !kind.has_target() => Ok(None),
        PoolKind::Logical => Ok(Some(format!("/dev/{name}"))),
        PoolKind::Zfs => Ok(Some(format!("/dev/zvol/{name}"))),
        _ => {
            let target = root.child("target");
            let path = target.and_then(|target| child_text(&target, "path"));
            let missing = || {
                root.error(
                    XmlErrorKind::Missing,
                    "XML error: missing storage pool target path",
                )
            };
            path.map(|path| Some(clean_path(&path))).ok_or_else(missing)
        }
    }
}

fn cow(root: &Node<'_, '_>, kind: PoolKind) -> Result<Option<CowFeature>, XmlError> {
    let Some(features) = root.child("features") else {
        return Ok(None);
    };
    let mut found = None;
    for node in features.children() {
        match (node.name(), node.attribute("state")) {
            ("cow", Some(state)) => found = Some(node.scalar("state", state)?),
            ("cow", None) => {}
            _ => return Err(node.unknown_element()),
        }
    }
    if found.is_some() && !matches!(kind, PoolKind::Fs | PoolKind::Dir) {
        let complaint = "cow feature may only be used for 'fs' and 'dir' pools";
        return Err(unsupported(&features, complaint));
    }
    Ok(found)
}

fn refresh(root: &Node<'_, '_>) -> Result<Option<RefreshAllocation>, XmlError> {
    let node = root.child("refresh").and_then(|node| node.child("volume"));
    let Some(node) = node else { return Ok(None) };
    let word = node.attribute("allocation");
    let complaint = "unknown storage pool volume refresh allocation type";
    word.map(|word| super::known_word(&node, word, complaint))
        .transpose()
}

type OwnOptions = (Vec<String>, Vec<(String, String)>);

fn own_options(root: &Node<'_, '_>) -> Result<OwnOptions, XmlError> {
    let (mut mount, mut config) = OwnOptions::default();
    for node in root.children().filter(|c| c.namespace().is_some()) {
        let is = |uri, name| node.namespace() == Some(uri) && node.name() == name;
        let is_mount = is(FS_NAMESPACE, "mount_opts");
        if !is_mount && !is(RBD_NAMESPACE, "config_opts") {
            return Err(node.unknown_element());
        }
        for option in node.children() {
            let need = |name| {
                let value = option.attribute(name).map(str::to_owned);
                value.ok_or_else(|| option.missing_attribute(name))
            };
            match is_mount {
                true => mount.push(need("name")?),
                false => config.push((need("name")?, need("value")?)),
            }
        }
    }
    Ok((mount, config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let pool = PoolDefinition::parse(text).unwrap();
        pool.to_xml(PoolSizes::default())
    }

    #[test]
    fn a_directory_is_read_and_written_as_libvirt_does() {
        let text = "<pool type='dir'><name>p</name><target><path>/srv//p/</path>\
                    <permissions><mode>0711</mode><owner>-1</owner></permissions></target></pool>";
        let pool = PoolDefinition::parse(text).unwrap();
        let wanted = "\
<pool type='dir'>
  <name>p</name>
  <capacity unit='bytes'>3</capacity>
  <allocation unit='bytes'>1</allocation>
  <available unit='bytes'>2</available>
  <source>
  </source>
  <target>
    <path>/srv/p</path>
    <permissions>
      <mode>0711</mode>
    </permissions>
  </target>
</pool>
";
        let sizes = PoolSizes {
            capacity: 3,
            allocation: 1,
            available: 2,
        };
        assert_eq!(pool.to_xml(sizes), wanted);
    }

    #[test]
    fn options_of_other_namespaces_are_kept() {
        let text = "<pool type='netfs' xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>\
                    <name>n</name><source><host name='h'/><dir path='/x'/></source>\
                    <target><path>/mnt</path></target>\
                    <fs:mount_opts><fs:option name='sync'/></fs:mount_opts></pool>";
        let shown = shown(text);
        let options = "  <fs:mount_opts>\n    <fs:option name='sync'/>\n  </fs:mount_opts>\n";
        assert!(shown.ends_with(&format!("{options}</pool>\n")), "{shown}");
        assert!(shown.contains("xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>"));
    }

    #[test]
    fn adapters_and_initiators_are_kept() {
        let scsi = "<pool type='scsi'><name>s</name><source><adapter name='host0'/></source>\
                    <target><path>/dev/disk/by-path</path></target></pool>";
        assert!(shown(scsi).contains("<adapter type='scsi_host' name='host0'/>"));
        let iscsi = "<pool type='iscsi'><name>i</name><source><host name='h'/>\
                     <device path='d'/><initiator><iqn name='me'/></initiator></source>\
                     <target><path>/dev</path></target></pool>";
        assert!(shown(iscsi).contains("<iqn name='me'/>"));
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        for (text, words) in [
            ("<pool><name>p</name></pool>", "attribute 'type'"),
            ("<pool type='odd'><name>p</name></pool>", "'odd'"),
            (
                "<pool type='dir'><name>p</name></pool>",
                "missing storage pool target path",
            ),
            (
                "<pool type='dir'><target><path>/x</path></target></pool>",
                "missing pool source name",
            ),
            (
                "<pool type='dir'><name>a/b</name><target><path>/x</path></target></pool>",
                "cannot contain '/'",
            ),
            (
                "<pool type='fs'><name>p</name><target><path>/x</path></target></pool>",
                "missing storage pool source device name",
            ),
            (
                "<pool type='fs'><name>p</name><source><device path='/dev/a'/><format type='odd'/></source><target><path>/x</path></target></pool>",
                "unknown pool format type odd",
            ),
            (
                "<pool type='dir'><name>p</name><odd/><target><path>/x</path></target></pool>",
                "<odd>",
            ),
        ] {
            let error = PoolDefinition::parse(text).unwrap_err();
            assert!(error.message.contains(words), "{text}: {}", error.message);
        }
    }
}
