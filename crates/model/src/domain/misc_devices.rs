//! Small devices: watchdogs, balloons, panic notifiers, hubs, vsock, leases.

use super::disk::VirtioModel;
use super::info::{DeviceInfo, VirtioDriver};
use crate::xml::{Decimal, OnOff, YesNo, element, keyword};

keyword! {
    /// Models of watchdogs.
    pub enum WatchdogModel {
        I6300esb = "i6300esb",
        Ib700 = "ib700",
        Diag288 = "diag288",
        Itco = "itco",
    }
}

keyword! {
    /// What happens when a watchdog is not fed.
    pub enum WatchdogAction {
        Reset = "reset",
        Shutdown = "shutdown",
        Poweroff = "poweroff",
        Pause = "pause",
        Dump = "dump",
        None = "none",
        InjectNmi = "inject-nmi",
    }
}

element! {
    /// A watchdog.
    pub struct Watchdog {
        req model: WatchdogModel = "model",
        always action: WatchdogAction = "action",
        flat info: DeviceInfo,
    }
}

keyword! {
    /// Models of memory balloons.
    pub enum BalloonModel {
        Virtio = "virtio",
        VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional",
        Xen = "xen",
        None = "none",
    }
}

element! {
    /// How often statistics are collected, in seconds.
    pub struct BalloonStats {
        req period: u32 = "period",
    }
}

element! {
    /// The memory balloon.
    pub struct MemBalloon {
        req model: BalloonModel = "model",
        attr autodeflate: Option<OnOff> = "autodeflate",
        attr free_page_reporting: Option<OnOff> = "freePageReporting",
        child stats: Option<BalloonStats> = "stats",
        flat info: DeviceInfo,
        child driver: Option<VirtioDriver> = "driver",
    }
}

keyword! {
    /// Models of panic notifiers.
    pub enum PanicModel {
        Isa = "isa",
        Pseries = "pseries",
        Hyperv = "hyperv",
        S390 = "s390",
        Pvpanic = "pvpanic",
    }
}

element! {
    /// A device that tells the host of a crash of the guest's kernel.
    pub struct Panic {
        attr model: Option<PanicModel> = "model",
        flat info: DeviceInfo,
    }
}

keyword! {
    /// Kinds of hubs.
    pub enum HubType {
        Usb = "usb",
    }
}

element! {
    /// A hub.
    pub struct Hub {
        req kind: HubType = "type",
        flat info: DeviceInfo,
    }
}

element! {
    /// The context identifier of a vsock device.
    pub struct VsockCid {
        attr auto: Option<YesNo> = "auto",
        attr address: Option<u32> = "address",
    }
}

element! {
    /// A socket between guest and host.
    pub struct Vsock {
        attr model: Option<VirtioModel> = "model",
        child cid: Option<VsockCid> = "cid",
        flat info: DeviceInfo,
        child driver: Option<VirtioDriver> = "driver",
    }
}

element! {
    /// The place of a lease.
    pub struct LeaseTarget {
        req path: String = "path",
        attr offset: Option<u64> = "offset",
    }
}

element! {
    /// A lease held while the machine runs.
    pub struct Lease {
        leaf lockspace: Option<String> = "lockspace",
        leaf key: Option<String> = "key",
        child target: Option<LeaseTarget> = "target",
    }
}

element! {
    /// The variables of the firmware of a POWER guest.
    pub struct Nvram {
        flat info: DeviceInfo,
    }
}

keyword! {
    /// Models of crypto devices.
    pub enum CryptoModel {
        Virtio = "virtio",
    }
}

keyword! {
    /// Kinds of crypto devices.
    pub enum CryptoType {
        Qemu = "qemu",
    }
}

keyword! {
    /// Who computes for a crypto device.
    pub enum CryptoBackendModel {
        Builtin = "builtin",
        Lkcf = "lkcf",
    }
}

element! {
    /// Who computes for a crypto device.
    pub struct CryptoBackend {
        req model: CryptoBackendModel = "model",
        attr queues: Option<u32> = "queues",
    }
}

element! {
    /// A crypto device.
    pub struct Crypto {
        req model: CryptoModel = "model",
        req kind: CryptoType = "type",
        child backend: Option<CryptoBackend> = "backend",
        flat info: DeviceInfo,
        child driver: Option<VirtioDriver> = "driver",
    }
}

keyword! {
    /// Kinds of persistent stores for crash records.
    pub enum PstoreBackend {
        AcpiErst = "acpi-erst",
    }
}

element! {
    /// A persistent store for crash records of the guest.
    pub struct Pstore {
        req backend: PstoreBackend = "backend",
        leaf path: Option<String> = "path",
        child size: Option<super::memory_size::Kib> = "size",
        flat info: DeviceInfo,
    }
}

keyword! {
    /// Models of IOMMUs.
    pub enum IommuModel {
        Intel = "intel",
        Smmuv3 = "smmuv3",
        Virtio = "virtio",
        Amd = "amd",
    }
}

element! {
    /// Settings of an IOMMU.
    pub struct IommuDriver {
        attr intremap: Option<OnOff> = "intremap",
        attr caching_mode: Option<OnOff> = "caching_mode",
        attr eim: Option<OnOff> = "eim",
        attr iotlb: Option<OnOff> = "iotlb",
        attr aw_bits: Option<u32> = "aw_bits",
        attr dma_translation: Option<OnOff> = "dma_translation",
        attr passthrough: Option<OnOff> = "passthrough",
        attr xtsup: Option<OnOff> = "xtsup",
    }
}

element! {
    /// An IOMMU.
    pub struct Iommu {
        req model: IommuModel = "model",
        child driver: Option<IommuDriver> = "driver",
        flat info: DeviceInfo,
    }
}

keyword! {
    /// Models of shared memory.
    pub enum ShmemModelType {
        Ivshmem = "ivshmem",
        Plain = "ivshmem-plain",
        Doorbell = "ivshmem-doorbell",
    }
}

element! {
    /// The `<model>` of shared memory.
    pub struct ShmemModel {
        req kind: ShmemModelType = "type",
    }
}

keyword! {
    /// Which side migrates the memory.
    pub enum ShmemRole {
        Master = "master",
        Peer = "peer",
    }
}

element! {
    /// The server of shared memory.
    pub struct ShmemServer {
        attr path: Option<String> = "path",
    }
}

element! {
    /// Interrupts of shared memory.
    pub struct ShmemMsi {
        attr enabled: Option<YesNo> = "enabled",
        attr vectors: Option<Decimal> = "vectors",
        attr ioeventfd: Option<OnOff> = "ioeventfd",
    }
}

element! {
    /// Memory shared with the host and other guests.
    pub struct Shmem {
        req name: String = "name",
        attr role: Option<ShmemRole> = "role",
        child model: Option<ShmemModel> = "model",
        child size: Option<super::memory_size::Mib> = "size",
        child server: Option<ShmemServer> = "server",
        child msi: Option<ShmemMsi> = "msi",
        flat info: DeviceInfo,
    }
}
