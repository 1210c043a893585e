//! The kinds of pools and volumes, and what belongs to each.

use crate::xml::keyword;

keyword! {
    /// Kinds of pools.
    pub enum PoolKind {
        Dir = "dir",
        Fs = "fs",
        Netfs = "netfs",
        Logical = "logical",
        Disk = "disk",
        Iscsi = "iscsi",
        IscsiDirect = "iscsi-direct",
        Scsi = "scsi",
        Mpath = "mpath",
        Rbd = "rbd",
        Sheepdog = "sheepdog",
        Gluster = "gluster",
        Zfs = "zfs",
        Vstorage = "vstorage",
    }
}

keyword! {
    /// Kinds of volumes.
    pub enum VolumeKind {
        File = "file",
        Block = "block",
        Dir = "dir",
        Network = "network",
        Netdir = "netdir",
        Ploop = "ploop",
    }
}

/// Formats of image files, in libvirt's order; the first means that there is none.
pub const VOLUME_FORMATS: &[&str] = &[
    "none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop",
    "cow", "qcow", "qcow2", "qed", "vmdk",
];

/// What stands in partitions.
const PARTITION_FORMATS: &[&str] = &[
    "none",
    "linux",
    "fat16",
    "fat32",
    "linux-swap",
    "linux-lvm",
    "linux-raid",
    "extended",
];

const FILE_SYSTEMS: &[&str] = &[
    "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs",
    "ocfs2", "vmfs",
];
const NETWORK_FILE_SYSTEMS: &[&str] = &["auto", "nfs", "glusterfs", "cifs"];
const PARTITION_TABLES: &[&str] = &[
    "unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2",
];
const LOGICAL_FORMATS: &[&str] = &["unknown", "lvm2"];

/// What the source of a kind of pool consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Takes {
    pub(super) host: bool,
    pub(super) device: bool,
    pub(super) dir: bool,
    pub(super) adapter: bool,
    pub(super) name: bool,
    pub(super) iqn: bool,
    /// It is reached over the network by QEMU itself: nothing of it is on this host.
    pub(super) network: bool,
}

/// Words and which of them is meant where none is given.
pub(super) type Formats = (&'static [&'static str], &'static str);

impl PoolKind {
    pub(super) fn takes(self) -> Takes {
        use PoolKind::*;
        let network = matches!(self, IscsiDirect | Rbd | Sheepdog | Gluster);
        Takes {
            host: network || matches!(self, Netfs | Iscsi),
            device: matches!(self, Logical | Fs | Iscsi | IscsiDirect | Disk | Zfs),
            dir: matches!(self, Netfs | Gluster),
            adapter: self == Scsi,
            name: matches!(self, Logical | Rbd | Sheepdog | Gluster | Zfs | Vstorage),
            iqn: matches!(self, Iscsi | IscsiDirect),
            network,
        }
    }

    /// Whether the pool has a place on this host.
    pub fn has_target(self) -> bool {
        !self.takes().network
    }

    /// The formats of its source, and the usual one.
    pub(super) fn source_formats(self) -> Option<Formats> {
        match self {
            PoolKind::Logical => Some((LOGICAL_FORMATS, "lvm2")),
            PoolKind::Fs => Some((FILE_SYSTEMS, "auto")),
            PoolKind::Netfs => Some((NETWORK_FILE_SYSTEMS, "auto")),
            PoolKind::Disk => Some((PARTITION_TABLES, "unknown")),
            _ => None,
        }
    }

    /// The formats of its volumes, and the usual one.
    pub(super) fn volume_formats(self) -> Option<Formats> {
        use PoolKind::*;
        match self {
            // libvirt lists no formats for Ceph and takes them all the same.
            Dir | Fs | Netfs | Rbd | Gluster | Vstorage => Some((VOLUME_FORMATS, "raw")),
            Disk => Some((PARTITION_FORMATS, "none")),
            _ => None,
        }
    }

    /// Whether its volumes are files in a directory of this host.
    pub fn is_directory(self) -> bool {
        matches!(self, PoolKind::Dir | PoolKind::Fs | PoolKind::Netfs)
    }
}
