//! What an image file is, read from its own header.
//!
//! Headers are written by guests and strangers: every number is checked against a limit before it
//! is used, at most a few short pieces of the file are asked for, and nothing a header names is
//! opened here.

mod luks;
mod qcow;
mod qed;
mod vdi;
mod vhdx;
mod vmdk;
mod vpc;

use std::collections::BTreeSet;

use model::storage::VolumeFeature;

use crate::limits::{CAPACITY_MAX_BYTES, HEAD_BYTES};

/// The bytes of a file, as far as they are asked for.
pub trait Source {
    /// How long the file is, in bytes.
    fn length(&self) -> u64;

    /// Up to `length` bytes from `at` on; fewer at the file's end, none where it cannot be read.
    fn read(&mut self, at: u64, length: usize) -> Vec<u8>;
}

/// Bytes in memory are a file too.
impl Source for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read(&mut self, at: u64, length: usize) -> Vec<u8> {
        let start = usize::try_from(at).map_or(self.len(), |at| at.min(self.len()));
        let end = start.saturating_add(length).min(self.len());
        self[start..end].to_vec()
    }
}

/// What an image is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Its format, in libvirt's words (and `vhdx`, which libvirt has no word for).
    pub format: &'static str,
    /// The size a guest sees, in bytes; none where it is the file's own length.
    pub capacity: Option<u64>,
    /// The image it builds upon.
    pub backing: Option<Backing>,
    /// `1.1` for a qcow2 image that older versions of QEMU cannot read.
    pub compat: Option<&'static str>,
    /// The bytes of a cluster.
    pub cluster_bytes: Option<u64>,
    /// What else a qcow2 image can do.
    pub features: Option<BTreeSet<VolumeFeature>>,
    /// The file that holds the data, where it is another.
    pub data_file: Option<String>,
    /// How it is encrypted: `luks` or `qcow`.
    pub encryption: Option<&'static str>,
    /// Snapshots inside it.
    pub snapshots: u32,
    /// Why QEMU will not open it.
    pub damage: Option<String>,
}

/// The image another builds upon, as its header names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backing {
    /// A path, from the image's own directory on, or an address.
    pub name: String,
    /// Its format, where the header tells.
    pub format: Option<String>,
}

impl Image {
    fn of(format: &'static str, capacity: u64) -> Image {
        Image {
            format,
            ..Image::default()
        }
        .with_capacity(capacity)
    }

    fn with_capacity(mut self, bytes: u64) -> Image {
        match bytes <= CAPACITY_MAX_BYTES {
            true => self.capacity = Some(bytes),
            false => self.damage = Some(format!("its header says it is {bytes} bytes large")),
        }
        self
    }

    fn damaged(format: &'static str, why: impl Into<String>) -> Image {
        Image {
            format,
            capacity: Some(0),
            damage: Some(why.into()),
            ..Image::default()
        }
    }
}

/// Tells what a file is. What has no known header is `raw`.
pub fn inspect(source: &mut dyn Source) -> Image {
    let head = source.read(0, HEAD_BYTES);
    if let Some(image) = by_magic(&head, source) {
        return image;
    }
    /// Where the name of the file system of a CD stands.
    const ISO_MAGIC_AT: u64 = 32_769;
    let is_iso = source.length() > ISO_MAGIC_AT && source.read(ISO_MAGIC_AT, 5) == b"CD001";
    Image {
        format: if is_iso { "iso" } else { "raw" },
        ..Image::default()
    }
}

fn by_magic(head: &[u8], source: &mut dyn Source) -> Option<Image> {
    const CLOOP: &[u8] = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660";
    let plain = |format, capacity_at| Some(Image::of(format, le64(head, capacity_at)?));
    match head {
        [b'Q', b'F', b'I', 0xfb, ..] => Some(qcow::read(head, source)),
        [b'Q', b'E', b'D', 0, ..] => Some(qed::read(head, source)),
        [b'K', b'D', b'M', b'V', ..] => Some(vmdk::read_sparse(head, source)),
        _ if vmdk::is_descriptor(head) => Some(vmdk::read_descriptor(source)),
        _ if vdi::is(head) => Some(vdi::read(head)),
        _ if head.starts_with(b"conectix") => Some(vpc::read(head)),
        _ if head.starts_with(b"vhdxfile") => Some(vhdx::read(source)),
        _ if head.starts_with(b"LUKS\xba\xbe") => Some(luks::read(head, source.length())),
        _ if head.starts_with(b"WithoutFreeSpace") => sectors(head, 36, "ploop"),
        _ if head.starts_with(b"WithouFreSpacExt") => sectors(head, 36, "ploop"),
        _ if head.starts_with(b"Bochs Virtual HD Image") => plain("bochs", 32 + 16 * 3),
        _ if head.starts_with(CLOOP) => Some(Image {
            format: "cloop",
            ..Image::default()
        }),
        _ if head.starts_with(b"OOOM") => Some(Image::of("cow", be64(head, 1040)?)),
        _ => None,
    }
}

fn sectors(head: &[u8], at: usize, format: &'static str) -> Option<Image> {
    Some(Image::of(format, le64(head, at)?.saturating_mul(512)))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).map(u16::from_be_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_be_bytes)
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_be_bytes)
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_le_bytes)
}

/// A name that a header places somewhere in the file.
fn name_at(head: &[u8], source: &mut dyn Source, at: u64, length: usize) -> Option<String> {
    let start = usize::try_from(at).ok()?;
    let bytes = match head.get(start..start.checked_add(length)?) {
        Some(bytes) => bytes.to_vec(),
        None => source.read(at, length),
    };
    let is_whole = bytes.len() == length && !bytes.contains(&0);
    String::from_utf8(bytes).ok().filter(|_| is_whole)
}

impl Backing {
    /// The path of a backing file, for the image at `image`; none where it is no plain file.
    pub fn path(&self, image: &str) -> Option<String> {
        let name = self.name.strip_prefix("file:").unwrap_or(&self.name);
        // A colon before any slash makes it an address, as QEMU reads it.
        let first = name.split('/').next().unwrap_or_default();
        if name.is_empty() || first.contains(':') {
            return None;
        }
        if name.starts_with('/') {
            return Some(name.to_owned());
        }
        let (directory, _) = image.rsplit_once('/')?;
        Some(format!("{directory}/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_backing_files_become_paths() {
        let path = |name: &str| {
            let backing = Backing {
                name: name.to_owned(),
                format: None,
            };
            backing.path("/srv/p/top.qcow2")
        };
        assert_eq!(path("base.img").as_deref(), Some("/srv/p/base.img"));
        assert_eq!(path("/b").as_deref(), Some("/b"));
        assert_eq!(path("file:/b").as_deref(), Some("/b"));
        assert_eq!(path("./a:b").as_deref(), Some("/srv/p/./a:b"));
        for address in ["nbd://host/x", "json:{}", ""] {
            assert_eq!(path(address), None, "{address}");
        }
    }

    #[test]
    fn what_has_no_header_is_raw() {
        assert_eq!(inspect(&mut &b""[..]).format, "raw");
        assert_eq!(inspect(&mut &[0u8; 5000][..]).format, "raw");
        let mut iso = vec![0; 33_000];
        iso[32_769..32_774].copy_from_slice(b"CD001");
        assert_eq!(inspect(&mut &iso[..]).format, "iso");
    }
}
