//! Pools that are directories, and the volumes in them: libvirt's XML of both.

use crate::xml::{Node, XmlError, XmlErrorKind, XmlFlags, XmlWriter, expect_root, parse_document};
use uuid::Uuid;

/// A pool as a person defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolDefinition {
    /// Its name.
    pub name: String,
    /// Its uuid; chosen by whoever stores it if not given.
    pub uuid: Option<Uuid>,
    /// The directory.
    pub path: String,
}

/// Who owns a file or directory, and who may do what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions {
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
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

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeDefinition {
    /// Its name: a file's, without a directory.
    pub name: String,
    /// The size a guest sees, in bytes.
    pub capacity: u64,
    /// `raw`, `qcow2`, ….
    pub format: String,
    /// The image it builds upon, and that one's format.
    pub backing: Option<(String, Option<String>)>,
}

/// A volume as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// The image's format.
    pub format: String,
    /// The size a guest sees, in bytes.
    pub capacity: u64,
    /// What it takes on the disk, in bytes.
    pub allocation: u64,
    /// The file's length, in bytes.
    pub physical: u64,
    /// The image it builds upon.
    pub backing: Option<String>,
    /// Whose it is.
    pub permissions: Permissions,
}

impl PoolDefinition {
    /// Reads libvirt's XML. Pools of other kinds than `dir` are refused by name.
    pub fn parse(text: &str) -> Result<PoolDefinition, XmlError> {
        let document = parse_document(text)?;
        let root = expect_root(&document, "pool")?;
        let kind = root.attribute("type").unwrap_or("dir");
        if kind != "dir" {
            let message = format!("unsupported configuration: storage pools of type '{kind}'");
            return Err(root.attribute_error("type", XmlErrorKind::Unsupported, message));
        }
        let target = root
            .child("target")
            .ok_or_else(|| root.missing_child("target"))?;
        let path = target
            .child("path")
            .ok_or_else(|| target.missing_child("path"))?;
        let text = path.text();
        if !text.starts_with('/') {
            let message = format!("the pool's path '{text}' must be absolute");
            return Err(path.error(XmlErrorKind::Invalid, message));
        }
        let name = root
            .child("name")
            .ok_or_else(|| root.missing_child("name"))?;
        if name.text().is_empty() || name.text().contains('/') {
            let message = format!("'{}' is no name for a pool", name.text());
            return Err(name.error(XmlErrorKind::Invalid, message));
        }
        let uuid = root.child("uuid").map(|node| {
            Uuid::parse_str(&node.text())
                .map_err(|_| node.error(XmlErrorKind::Invalid, "malformed uuid element"))
        });
        Ok(PoolDefinition {
            name: name.text(),
            uuid: uuid.transpose()?,
            path: text.trim_end_matches('/').to_owned(),
        })
    }

    /// Writes libvirt's XML.
    pub fn to_xml(&self, sizes: PoolSizes, permissions: Option<Permissions>) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("pool");
        w.attr_str("type", "dir");
        w.leaf("name", &self.name);
        if let Some(uuid) = self.uuid {
            w.leaf("uuid", &uuid.to_string());
        }
        size(&mut w, "capacity", sizes.capacity);
        size(&mut w, "allocation", sizes.allocation);
        size(&mut w, "available", sizes.available);
        // libvirt writes the element open and empty.
        w.line("<source>");
        w.line("</source>");
        w.begin("target");
        w.leaf("path", &self.path);
        if let Some(permissions) = permissions {
            permissions.write(&mut w);
        }
        w.end("target");
        w.end("pool");
        w.finish()
    }
}

impl Permissions {
    fn write(&self, w: &mut XmlWriter) {
        w.begin("permissions");
        w.leaf("mode", &format!("{:04o}", self.mode & 0o7777));
        w.leaf("owner", &self.uid.to_string());
        w.leaf("group", &self.gid.to_string());
        w.end("permissions");
    }
}

fn size(w: &mut XmlWriter, name: &str, bytes: u64) {
    w.begin(name);
    w.attr_str("unit", "bytes");
    w.text(&bytes.to_string());
    w.end(name);
}

impl VolumeDefinition {
    /// Reads libvirt's XML.
    pub fn parse(text: &str) -> Result<VolumeDefinition, XmlError> {
        let document = parse_document(text)?;
        let root = expect_root(&document, "volume")?;
        let name = root
            .child("name")
            .ok_or_else(|| root.missing_child("name"))?;
        let capacity = root.child("capacity").map(bytes).transpose()?;
        let backing = root.child("backingStore").and_then(|backing| {
            let path = backing.child("path")?.text();
            (!path.is_empty()).then(|| (path, format_of(&backing)))
        });
        let file = name.text();
        if file.is_empty() || file.contains('/') || file == "." || file == ".." {
            let message = format!("'{file}' is no name for a volume");
            return Err(name.error(XmlErrorKind::Invalid, message));
        }
        if capacity.is_none() && backing.is_none() {
            return Err(root.missing_child("capacity"));
        }
        Ok(VolumeDefinition {
            name: file,
            capacity: capacity.unwrap_or(0),
            format: root
                .child("target")
                .and_then(|target| format_of(&target))
                .unwrap_or_else(|| "raw".to_owned()),
            backing,
        })
    }
}

fn format_of(node: &Node<'_, '_>) -> Option<String> {
    let format = node.child("format")?;
    format.attribute("type").map(str::to_owned)
}

/// A size with its unit, in bytes.
fn bytes(node: Node<'_, '_>) -> Result<u64, XmlError> {
    let unit = node.attribute("unit").unwrap_or("bytes");
    let text = node.text();
    let number = text.trim().parse::<u64>().ok();
    number
        .zip(unit_bytes(unit))
        .and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| {
            let message = format!("'{text}' {unit} is no size");
            node.error(XmlErrorKind::Invalid, message)
        })
}

fn unit_bytes(unit: &str) -> Option<u64> {
    if ["", "b", "bytes", "byte"].contains(&unit) {
        return Some(1);
    }
    let (prefix, base) = match unit.len() {
        1 => (unit, 1024),
        _ if unit.ends_with("iB") => (unit.trim_end_matches("iB"), 1024),
        _ => (unit.strip_suffix('B')?, 1000u64),
    };
    let power = ["K", "M", "G", "T", "P", "E"]
        .iter()
        .position(|known| prefix.eq_ignore_ascii_case(known))?;
    base.checked_pow(power as u32 + 1)
}

impl Volume {
    /// Writes libvirt's XML.
    pub fn to_xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("volume");
        w.attr_str("type", "file");
        w.leaf("name", &self.name);
        w.leaf("key", &self.path);
        size(&mut w, "capacity", self.capacity);
        size(&mut w, "allocation", self.allocation);
        size(&mut w, "physical", self.physical);
        w.begin("target");
        w.leaf("path", &self.path);
        w.begin("format");
        w.attr_str("type", &self.format);
        w.end("format");
        self.permissions.write(&mut w);
        w.end("target");
        if let Some(backing) = &self.backing {
            w.begin("backingStore");
            w.leaf("path", backing);
            w.end("backingStore");
        }
        w.end("volume");
        w.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_and_written_as_libvirt_does() {
        let text = "<pool type='dir'><name>p</name><target><path>/srv/p/</path></target></pool>";
        let pool = PoolDefinition::parse(text).unwrap();
        assert_eq!((pool.name.as_str(), pool.path.as_str()), ("p", "/srv/p"));
        let permissions = Permissions {
            mode: 0o40711,
            ..Permissions::default()
        };
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
      <owner>0</owner>
      <group>0</group>
    </permissions>
  </target>
</pool>
";
        let sizes = PoolSizes {
            capacity: 3,
            allocation: 1,
            available: 2,
        };
        assert_eq!(pool.to_xml(sizes, Some(permissions)), wanted);
    }

    #[test]
    fn other_kinds_and_bad_names_are_refused() {
        for text in [
            "<pool type='iscsi'><name>p</name></pool>",
            "<pool type='dir'><name>a/b</name><target><path>/x</path></target></pool>",
            "<pool type='dir'><name>p</name><target><path>x</path></target></pool>",
            "<pool type='dir'><name>p</name></pool>",
        ] {
            assert!(PoolDefinition::parse(text).is_err(), "{text}");
        }
        for name in ["../x", "..", ""] {
            let text = format!("<volume><name>{name}</name><capacity>1</capacity></volume>");
            assert!(VolumeDefinition::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (unit, bytes) in [
            ("bytes", Some(1)),
            ("K", Some(1024)),
            ("KB", Some(1000)),
            ("GiB", Some(1 << 30)),
            ("G", Some(1 << 30)),
            ("x", None),
        ] {
            assert_eq!(unit_bytes(unit), bytes, "{unit}");
        }
        let text = "<volume><name>v</name><capacity unit='M'>2</capacity>\
                    <target><format type='qcow2'/></target></volume>";
        let volume = VolumeDefinition::parse(text).unwrap();
        assert_eq!(
            (volume.capacity, volume.format.as_str()),
            (2 << 20, "qcow2")
        );
    }
}
