//! A volume: as a person asks for it, and as it is shown.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Permissions, PoolKind, VolumeKind, child_text, unsupported, write_bytes, xml_error};
use crate::domain::memory_size::scale;
use crate::domain::storage::Encryption;
use crate::xml::{Element, Node, Scalar, XmlError, XmlErrorKind, XmlFlags, XmlWriter};
use crate::xml::{expect_root, keyword, parse_document};

/// A volume.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VolumeDefinition {
    /// What it is to the system.
    pub kind: VolumeKind,
    /// Its name.
    pub name: String,
    /// What no other volume has; the path of a file.
    pub key: Option<String>,
    /// The parts of devices it is on: the device, start and end in bytes.
    pub extents: Vec<(String, u64, u64)>,
    /// The size a guest sees, in bytes.
    pub capacity: u64,
    /// What it takes, in bytes; none where a person left it open.
    pub allocation: Option<u64>,
    /// How long the file is, in bytes; only known of a volume that is there.
    pub physical: Option<u64>,
    /// The image.
    pub target: VolumeTarget,
    /// The image it builds upon.
    pub backing: Option<VolumeBacking>,
}

/// An image file or device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VolumeTarget {
    /// Where it is.
    pub path: Option<String>,
    /// Its format; none where its kind of pool knows none.
    pub format: Option<String>,
    /// Whose it is.
    pub permissions: Permissions,
    /// When it was read, changed and made.
    pub timestamps: Option<Timestamps>,
    /// How it is encrypted.
    pub encryption: Option<Encryption>,
    /// The oldest version of qemu-img's qcow2 it is for.
    pub compat: Option<String>,
    /// Whether a btrfs is to write it in place.
    pub nocow: bool,
    /// The bytes of a cluster.
    pub cluster_size: Option<u64>,
    /// What else its format can do; none where nobody asked.
    pub features: Option<BTreeSet<VolumeFeature>>,
}

/// The image another builds upon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VolumeBacking {
    /// Where it is.
    pub path: String,
    /// Its format.
    pub format: Option<String>,
    /// Whose it is.
    pub permissions: Permissions,
    /// When it was read, changed and made.
    pub timestamps: Option<Timestamps>,
}

keyword! {
    /// What a qcow2 image can do beside the usual.
    pub enum VolumeFeature {
        LazyRefcounts = "lazy_refcounts",
        ExtendedL2 = "extended_l2",
        DataFile = "data_file",
    }
}

/// A moment: seconds since 1970 and nanoseconds.
pub type Timestamp = (i64, u32);

/// When a file was read, changed and made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// Last read.
    pub accessed: Timestamp,
    /// Content last changed.
    pub modified: Timestamp,
    /// Content or owner last changed.
    pub changed: Timestamp,
    /// Made, where the file system knows.
    pub born: Option<Timestamp>,
}

/// Whether a size must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// Yes.
    Required,
    /// Not if the volume builds upon another.
    OfBacking,
    /// No: the size is that of the volume it is made from.
    OfSource,
}

impl VolumeDefinition {
    /// Reads libvirt's XML of a volume in a kind of pool.
    pub fn parse(
        text: &str,
        pool: PoolKind,
        capacity: Capacity,
    ) -> Result<VolumeDefinition, XmlError> {
        let document = parse_document(text)?;
        let root = expect_root(&document, "volume")?;
        let mut volume = VolumeDefinition {
            name: child_text(&root, "name")
                .ok_or_else(|| xml_error(&root, "missing volume name element"))?,
            ..VolumeDefinition::default()
        };
        if let Some(word) = root.attribute("type") {
            volume.kind = VolumeKind::parse(word)
                .ok_or_else(|| unsupported(&root, format_args!("unknown volume type '{word}'")))?;
        }
        let mut size = None;
        for child in root.children() {
            match child.name() {
                "name" | "physical" => {}
                "source" => check_source(&child)?,
                "key" => volume.key = Some(child.text()),
                "capacity" => size = bytes(&child)?,
                "allocation" => volume.allocation = bytes(&child)?,
                "target" => volume.target = VolumeTarget::read(&child, pool)?,
                "backingStore" => volume.backing = VolumeBacking::read(&child, pool)?,
                _ => return Err(child.unknown_element()),
            }
        }
        let may_miss = match capacity {
            Capacity::Required => false,
            Capacity::OfBacking => volume.backing.is_some(),
            Capacity::OfSource => true,
        };
        if size.is_none() && !may_miss {
            let missing = "XML error: missing capacity element";
            return Err(root.error(XmlErrorKind::Missing, missing));
        }
        volume.capacity = size.unwrap_or(0);
        if volume.target.format.is_none() {
            volume.target.format = pool.volume_formats().map(|(_, usual)| usual.to_owned());
        }
        Ok(volume)
    }

    /// Writes libvirt's XML.
    pub fn to_xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("volume");
        w.attr("type", &self.kind);
        w.leaf("name", &self.name);
        if let Some(key) = &self.key {
            w.leaf("key", key);
        }
        self.write_extents(&mut w);
        write_bytes(&mut w, "capacity", "bytes", self.capacity);
        let allocation = self.allocation.unwrap_or(self.capacity);
        write_bytes(&mut w, "allocation", "bytes", allocation);
        if let Some(physical) = self.physical.filter(|bytes| *bytes > 0) {
            write_bytes(&mut w, "physical", "bytes", physical);
        }
        self.target.write(&mut w);
        if let Some(backing) = &self.backing {
            w.begin("backingStore");
            w.leaf("path", &backing.path);
            write_format(&mut w, &backing.format);
            backing.permissions.write(&mut w);
            if let Some(timestamps) = &backing.timestamps {
                timestamps.write(&mut w);
            }
            w.end("backingStore");
        }
        w.end("volume");
        w.finish()
    }

    fn write_extents(&self, w: &mut XmlWriter) {
        if self.extents.is_empty() {
            return;
        }
        w.begin("source");
        for on_one in self.extents.chunk_by(|a, b| a.0 == b.0) {
            w.begin("device");
            w.attr_str("path", &on_one[0].0);
            for (_, start, end) in on_one {
                w.begin("extent");
                w.attr("start", start);
                w.attr("end", end);
                w.end("extent");
            }
            w.end("device");
        }
        w.end("source");
    }
}

/// Where a volume lies is chosen by its pool: what a description says of it is not taken over.
fn check_source(node: &Node<'_, '_>) -> Result<(), XmlError> {
    let strange = node.children().find(|child| child.name() != "device");
    strange.map_or(Ok(()), |child| Err(child.unknown_element()))
}

impl VolumeTarget {
    fn read(node: &Node<'_, '_>, pool: PoolKind) -> Result<VolumeTarget, XmlError> {
        let mut target = VolumeTarget {
            permissions: Permissions::of_child(node)?,
            ..VolumeTarget::default()
        };
        for child in node.children() {
            match child.name() {
                "permissions" | "timestamps" => {}
                "path" => target.path = Some(child.text()),
                "format" => target.format = format(&child, pool)?,
                "encryption" => target.encryption = Some(Encryption::parse(child)?),
                "compat" => target.compat = Some(compat(&child)?),
                "nocow" => target.nocow = true,
                "clusterSize" => target.cluster_size = bytes(&child)?,
                "features" => target.features = Some(features(&child)?),
                _ => return Err(child.unknown_element()),
            }
        }
        if target.features.is_some() && target.compat.is_none() {
            target.compat = Some("1.1".to_owned());
        }
        Ok(target)
    }

    fn write(&self, w: &mut XmlWriter) {
        w.begin("target");
        w.open_body();
        if let Some(path) = &self.path {
            w.leaf("path", path);
        }
        write_format(w, &self.format);
        self.permissions.write(w);
        if let Some(timestamps) = &self.timestamps {
            timestamps.write(w);
        }
        if let Some(encryption) = &self.encryption {
            w.begin("encryption");
            encryption.write_attributes(w);
            // libvirt writes an empty one with an end tag.
            w.open_body();
            encryption.write_children(w);
            w.end("encryption");
        }
        if let Some(compat) = &self.compat {
            w.leaf("compat", compat);
        }
        if let Some(bytes) = self.cluster_size.filter(|bytes| *bytes > 0) {
            write_bytes(w, "clusterSize", "B", bytes);
        }
        if let Some(features) = &self.features {
            w.begin("features");
            features.iter().for_each(|f| w.empty(f.as_str()));
            w.end("features");
        }
        w.end("target");
    }
}

impl VolumeBacking {
    fn read(node: &Node<'_, '_>, pool: PoolKind) -> Result<Option<VolumeBacking>, XmlError> {
        const KNOWN: [&str; 4] = ["path", "format", "permissions", "timestamps"];
        let strange = node.children().find(|c| !KNOWN.contains(&c.name()));
        if let Some(child) = strange {
            return Err(child.unknown_element());
        }
        let Some(path) = child_text(node, "path") else {
            return Ok(None);
        };
        let usual = pool.volume_formats().map(|(_, usual)| usual.to_owned());
        let format = match node.child("format") {
            Some(child) => format(&child, pool)?,
            None => usual,
        };
        Ok(Some(VolumeBacking {
            path,
            format,
            permissions: Permissions::of_child(node)?,
            timestamps: None,
        }))
    }
}

impl Timestamps {
    fn write(&self, w: &mut XmlWriter) {
        let all = [
            ("atime", Some(self.accessed)),
            ("mtime", Some(self.modified)),
            ("ctime", Some(self.changed)),
            ("btime", self.born),
        ];
        w.begin("timestamps");
        for (name, moment) in all {
            if let Some((seconds, nanoseconds)) = moment {
                let mut text = seconds.to_string();
                if nanoseconds > 0 {
                    // Writing to a string cannot fail.
                    let _ = write!(text, ".{nanoseconds:09}");
                }
                w.leaf(name, &text);
            }
        }
        w.end("timestamps");
    }
}

/// The format given; none where the kind of pool knows none.
fn format(node: &Node<'_, '_>, pool: PoolKind) -> Result<Option<String>, XmlError> {
    let (Some(word), Some((formats, _))) = (node.attribute("type"), pool.volume_formats()) else {
        return Ok(None);
    };
    // A file without a format is a directory entry, not a volume.
    let is_known = formats.contains(&word) && !(word == "none" && pool != PoolKind::Disk);
    match is_known {
        true => Ok(Some(word.to_owned())),
        false => Err(unsupported(
            node,
            format_args!("unknown volume format type {word}"),
        )),
    }
}

fn write_format(w: &mut XmlWriter, format: &Option<String>) {
    if let Some(format) = format {
        w.begin("format");
        w.attr_str("type", format);
        w.end("format");
    }
}

fn compat(node: &Node<'_, '_>) -> Result<String, XmlError> {
    let text = node.text();
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    match text.split_once('.') {
        Some((major, minor)) if is_number(major) && is_number(minor) => Ok(text),
        _ => {
            let complaint = "forbidden characters in 'compat' attribute";
            Err(xml_error(node, complaint))
        }
    }
}

fn features(node: &Node<'_, '_>) -> Result<BTreeSet<VolumeFeature>, XmlError> {
    let each = node.children().map(|child| {
        let name = child.name();
        VolumeFeature::parse(name)
            .ok_or_else(|| unsupported(&child, format_args!("unsupported feature {name}")))
    });
    each.collect()
}

/// A size with its unit, in bytes; an empty element is none. A file cannot be longer than 2⁶³ bytes.
fn bytes(node: &Node<'_, '_>) -> Result<Option<u64>, XmlError> {
    let text = node.text();
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.trim().parse::<u64>();
    let number =
        number.map_err(|_| xml_error(node, format_args!("malformed {} element", node.name())))?;
    let unit = node.attribute("unit").filter(|unit| !unit.is_empty());
    let unit = unit.unwrap_or("bytes");
    if crate::domain::memory_size::unit_bytes(unit).is_none() {
        let complaint = format!("invalid argument: unknown suffix '{unit}'");
        return Err(node.attribute_error("unit", XmlErrorKind::Invalid, complaint));
    }
    let size = scale(number, unit).filter(|bytes| i64::try_from(*bytes).is_ok());
    size.map(Some).ok_or_else(|| {
        let complaint = format!("numerical overflow: value too large: {number}{unit}");
        node.error(XmlErrorKind::Invalid, complaint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<VolumeDefinition, XmlError> {
        VolumeDefinition::parse(text, PoolKind::Dir, Capacity::OfBacking)
    }

    #[test]
    fn sizes_have_units() {
        let sized = |unit: &str| {
            parse(&format!(
                "<volume><name>v</name><capacity unit='{unit}'>2</capacity></volume>"
            ))
        };
        assert_eq!(sized("KiB").unwrap().capacity, 2048);
        assert_eq!(sized("GB").unwrap().capacity, 2_000_000_000);
        assert_eq!(sized("").unwrap().capacity, 2);
        assert!(
            sized("x")
                .unwrap_err()
                .message
                .contains("unknown suffix 'x'")
        );
        let no_allocation =
            "<volume><name>v</name><capacity>2</capacity><allocation></allocation></volume>";
        assert_eq!(parse(no_allocation).unwrap().allocation, None);
        let huge = "<volume><name>v</name><capacity unit='EiB'>8</capacity></volume>";
        assert!(parse(huge).unwrap_err().message.contains("too large"));
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        for (text, words) in [
            (
                "<volume><capacity>1</capacity></volume>",
                "missing volume name",
            ),
            ("<volume><name>v</name></volume>", "missing capacity"),
            (
                "<volume><name>v</name><capacity>1</capacity><target><format type='odd'/></target></volume>",
                "unknown volume format type odd",
            ),
            (
                "<volume><name>v</name><capacity>1</capacity><target><features><odd/></features></target></volume>",
                "unsupported feature odd",
            ),
            (
                "<volume><name>v</name><capacity>1</capacity><shape/></volume>",
                "<shape>",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(words), "{text}: {}", error.message);
        }
    }

    #[test]
    fn a_backing_image_stands_in_for_the_size() {
        let text = "<volume><name>v</name><backingStore><path>/b</path></backingStore></volume>";
        let volume = parse(text).unwrap();
        assert_eq!(volume.backing.unwrap().format.as_deref(), Some("raw"));
        assert!(VolumeDefinition::parse(text, PoolKind::Dir, Capacity::Required).is_err());
    }
}
