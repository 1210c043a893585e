//! Disks: hard disks, CD-ROM drives, floppies and LUNs.

use super::info::{DeviceInfo, Numbered, VirtioOptions};
use super::storage::{
    BackingStore, Encryption, FormatElement, ImageFormat, MetadataCache, StorageAuth,
    StorageSource, StorageType,
};
use crate::xml::{OnOff, YesNo, element, keyword};

keyword! {
    /// What the guest sees.
    pub enum DiskDevice {
        Disk = "disk",
        Cdrom = "cdrom",
        Floppy = "floppy",
        Lun = "lun",
    }
}

keyword! {
    /// The bus a disk sits on.
    pub enum DiskBus {
        Ide = "ide",
        Fdc = "fdc",
        Scsi = "scsi",
        Virtio = "virtio",
        Xen = "xen",
        Usb = "usb",
        Uml = "uml",
        Sata = "sata",
        Sd = "sd",
        Nvme = "nvme",
    }
}

keyword! {
    /// Variants of the virtio block device.
    pub enum VirtioModel {
        Virtio = "virtio",
        Transitional = "virtio-transitional",
        NonTransitional = "virtio-non-transitional",
    }
}

keyword! {
    /// How a disk takes part in snapshots of the domain.
    pub enum SnapshotMode {
        Internal = "internal",
        External = "external",
        No = "no",
        Manual = "manual",
    }
}

keyword! {
    /// Host cache modes.
    pub enum DiskCache {
        Default = "default",
        None = "none",
        Writethrough = "writethrough",
        Writeback = "writeback",
        Directsync = "directsync",
        Unsafe = "unsafe",
    }
}

keyword! {
    /// What happens on an I/O error.
    pub enum ErrorPolicy {
        Default = "default",
        Stop = "stop",
        Report = "report",
        Ignore = "ignore",
        Enospace = "enospace",
    }
}

keyword! {
    /// How requests are submitted.
    pub enum DiskIo {
        Default = "default",
        Native = "native",
        Threads = "threads",
        IoUring = "io_uring",
    }
}

keyword! {
    /// Whether discard requests reach the host.
    pub enum Discard {
        Default = "default",
        Unmap = "unmap",
        Ignore = "ignore",
    }
}

keyword! {
    /// What is made of writes of zeroes.
    pub enum DetectZeroes {
        Default = "default",
        Off = "off",
        On = "on",
        Unmap = "unmap",
    }
}

keyword! {
    /// State of a drive's tray.
    pub enum Tray {
        Closed = "closed",
        Open = "open",
    }
}

keyword! {
    /// Translation of a disk's geometry.
    pub enum GeometryTranslation {
        Default = "default",
        None = "none",
        Auto = "auto",
        Lba = "lba",
    }
}

keyword! {
    /// Whether unprivileged SCSI commands are filtered.
    pub enum Sgio {
        Default = "default",
        Filtered = "filtered",
        Unfiltered = "unfiltered",
    }
}

element! {
    /// An I/O thread and the queues it serves.
    pub struct QueueMapping {
        req id: u32 = "id",
        list queues: Vec<Numbered> = "queue",
    }
}

element! {
    /// The I/O threads a device is spread over.
    pub struct QueueMappings {
        list iothreads: Vec<QueueMapping> = "iothread",
    }
}

element! {
    /// How QEMU handles a disk.
    pub struct DiskDriver {
        attr name: Option<String> = "name",
        attr format: Option<ImageFormat> = "type",
        attr cache: Option<DiskCache> = "cache",
        attr error_policy: Option<ErrorPolicy> = "error_policy",
        attr rerror_policy: Option<ErrorPolicy> = "rerror_policy",
        attr io: Option<DiskIo> = "io",
        attr ioeventfd: Option<OnOff> = "ioeventfd",
        attr event_idx: Option<OnOff> = "event_idx",
        attr copy_on_read: Option<OnOff> = "copy_on_read",
        attr discard: Option<Discard> = "discard",
        attr iothread: Option<u32> = "iothread",
        attr detect_zeroes: Option<DetectZeroes> = "detect_zeroes",
        attr discard_no_unref: Option<OnOff> = "discard_no_unref",
        attr queues: Option<u32> = "queues",
        attr queue_size: Option<u32> = "queue_size",
        flat virtio: VirtioOptions,
        child iothreads: Option<QueueMappings> = "iothreads",
        child metadata_cache: Option<MetadataCache> = "metadata_cache",
    }
}

element! {
    /// Where the guest sees the disk.
    pub struct DiskTarget {
        req dev: String = "dev",
        attr bus: Option<DiskBus> = "bus",
        attr tray: Option<Tray> = "tray",
        attr removable: Option<OnOff> = "removable",
        attr rotation_rate: Option<u32> = "rotation_rate",
    }
}

element! {
    /// The geometry shown to the guest.
    pub struct Geometry {
        req cylinders: u32 = "cyls",
        req heads: u32 = "heads",
        req sectors: u32 = "secs",
        attr translation: Option<GeometryTranslation> = "trans",
    }
}

element! {
    /// Sizes of blocks, in bytes.
    pub struct BlockIo {
        attr logical_block_size: Option<u32> = "logical_block_size",
        attr physical_block_size: Option<u32> = "physical_block_size",
        attr discard_granularity: Option<u32> = "discard_granularity",
    }
}

element! {
    /// Limits on throughput. Bytes and requests per second; `0` is no limit.
    pub struct IoTune {
        leaf total_bytes_sec: Option<u64> = "total_bytes_sec",
        leaf read_bytes_sec: Option<u64> = "read_bytes_sec",
        leaf write_bytes_sec: Option<u64> = "write_bytes_sec",
        leaf total_iops_sec: Option<u64> = "total_iops_sec",
        leaf read_iops_sec: Option<u64> = "read_iops_sec",
        leaf write_iops_sec: Option<u64> = "write_iops_sec",
        leaf total_bytes_sec_max: Option<u64> = "total_bytes_sec_max",
        leaf read_bytes_sec_max: Option<u64> = "read_bytes_sec_max",
        leaf write_bytes_sec_max: Option<u64> = "write_bytes_sec_max",
        leaf total_iops_sec_max: Option<u64> = "total_iops_sec_max",
        leaf read_iops_sec_max: Option<u64> = "read_iops_sec_max",
        leaf write_iops_sec_max: Option<u64> = "write_iops_sec_max",
        leaf size_iops_sec: Option<u64> = "size_iops_sec",
        leaf group_name: Option<String> = "group_name",
        leaf total_bytes_sec_max_length: Option<u64> = "total_bytes_sec_max_length",
        leaf read_bytes_sec_max_length: Option<u64> = "read_bytes_sec_max_length",
        leaf write_bytes_sec_max_length: Option<u64> = "write_bytes_sec_max_length",
        leaf total_iops_sec_max_length: Option<u64> = "total_iops_sec_max_length",
        leaf read_iops_sec_max_length: Option<u64> = "read_iops_sec_max_length",
        leaf write_iops_sec_max_length: Option<u64> = "write_iops_sec_max_length",
    }
}

element! {
    /// A named group of limits a disk's requests pass through.
    pub struct ThrottleFilter {
        req group: String = "group",
    }
}

element! {
    /// The groups of limits a disk's requests pass through, in order.
    pub struct ThrottleFilters {
        list filters: Vec<ThrottleFilter> = "throttlefilter",
    }
}

keyword! {
    /// Block jobs that mirror a disk.
    pub enum MirrorJob {
        Copy = "copy",
        ActiveCommit = "active-commit",
    }
}

keyword! {
    /// How far a mirror is.
    pub enum MirrorReady {
        Yes = "yes",
        Abort = "abort",
        Pivot = "pivot",
    }
}

element! {
    /// A copy of the disk in the making (only while running).
    pub struct Mirror {
        attr kind: Option<StorageType> = "type",
        attr file: Option<String> = "file",
        attr old_format: Option<ImageFormat> = "format",
        attr job: Option<MirrorJob> = "job",
        attr ready: Option<MirrorReady> = "ready",
        child format: Option<FormatElement> = "format",
        child source: Option<StorageSource> = "source",
        child backing_store: Option<BackingStore> = "backingStore",
    }
}

element! {
    /// The domain that serves the disk.
    pub struct BackendDomain {
        req name: String = "name",
    }
}

element! {
    /// Changes to a disk are thrown away when the machine stops.
    pub struct TransientDisk {
        attr share_backing: Option<YesNo> = "shareBacking",
    }
}

element! {
    /// A disk.
    pub struct Disk {
        always kind: StorageType = "type",
        always device: DiskDevice = "device",
        attr model: Option<VirtioModel> = "model",
        attr rawio: Option<YesNo> = "rawio",
        attr sgio: Option<Sgio> = "sgio",
        attr snapshot: Option<SnapshotMode> = "snapshot",
        child driver: Option<DiskDriver> = "driver",
        child auth: Option<StorageAuth> = "auth",
        child source: Option<Box<StorageSource>> = "source",
        child backing_store: Option<BackingStore> = "backingStore",
        child backend_domain: Option<BackendDomain> = "backenddomain",
        child geometry: Option<Geometry> = "geometry",
        child blockio: Option<BlockIo> = "blockio",
        running mirror: Option<Box<Mirror>> = "mirror",
        child target: Option<DiskTarget> = "target",
        child iotune: Option<Box<IoTune>> = "iotune",
        child throttle_filters: Option<ThrottleFilters> = "throttlefilters",
        flag readonly: bool = "readonly",
        flag shareable: bool = "shareable",
        child transient: Option<TransientDisk> = "transient",
        leaf serial: Option<String> = "serial",
        leaf wwn: Option<String> = "wwn",
        leaf vendor: Option<String> = "vendor",
        leaf product: Option<String> = "product",
        child encryption: Option<Encryption> = "encryption",
        flat info: DeviceInfo,
    }
}

impl Disk {
    /// The name in the guest (`vda`), empty only before completion.
    pub fn target_dev(&self) -> &str {
        self.target.as_ref().map_or("", |t| &t.dev)
    }

    /// The bus, once known.
    pub fn bus(&self) -> Option<DiskBus> {
        self.target.as_ref().and_then(|t| t.bus)
    }

    /// The image format; raw where none was given.
    pub fn format(&self) -> ImageFormat {
        self.driver
            .as_ref()
            .and_then(|d| d.format)
            .unwrap_or_default()
    }

    /// The local path of the source, if it has one (file, block, dir).
    pub fn source_path(&self) -> Option<&str> {
        let source = self.source.as_ref()?;
        match self.kind {
            StorageType::File => source.file.as_deref(),
            StorageType::Block => source.dev.as_deref(),
            StorageType::Dir => source.dir.as_deref(),
            _ => None,
        }
    }

    /// Whether there is no medium in the drive.
    pub fn is_empty(&self) -> bool {
        match self.kind {
            StorageType::File | StorageType::Block | StorageType::Dir => {
                self.source_path().is_none_or(str::is_empty)
                    && self.source.as_ref().is_none_or(|s| s.fdgroup.is_none())
            }
            _ => false,
        }
    }
}
