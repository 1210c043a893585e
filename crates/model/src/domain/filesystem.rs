//! Directories of the host shown to the guest.

use super::disk::VirtioModel;
use super::info::{DeviceInfo, VirtioOptions};
use super::memory_size::Kib;
use super::resources::IdMap;
use crate::xml::{OnOff, element, keyword};

keyword! {
    /// Kinds of file systems.
    pub enum FilesystemType {
        Mount = "mount",
        Block = "block",
        File = "file",
        Template = "template",
        Ram = "ram",
        Bind = "bind",
        Volume = "volume",
    }
}

keyword! {
    /// How ownership is translated.
    pub enum AccessMode {
        Passthrough = "passthrough",
        Mapped = "mapped",
        Squash = "squash",
    }
}

keyword! {
    /// What to do with several devices below one directory.
    pub enum Multidevs {
        Default = "default",
        Remap = "remap",
        Forbid = "forbid",
        Warn = "warn",
    }
}

keyword! {
    /// Drivers of file systems.
    pub enum FilesystemDriverType {
        Default = "default",
        Path = "path",
        Handle = "handle",
        Loop = "loop",
        Nbd = "nbd",
        Ploop = "ploop",
        Virtiofs = "virtiofs",
        Mtp = "mtp",
    }
}

element! {
    /// How a file system is served.
    pub struct FilesystemDriver {
        attr kind: Option<FilesystemDriverType> = "type",
        attr format: Option<String> = "format",
        attr write_policy: Option<String> = "wrpolicy",
        attr queue: Option<u32> = "queue",
        flat virtio: VirtioOptions,
    }
}

element! {
    /// The cache mode of virtiofsd.
    pub struct CacheMode {
        req mode: String = "mode",
    }
}

element! {
    /// How virtiofsd confines itself.
    pub struct Sandbox {
        req mode: String = "mode",
    }
}

element! {
    /// The threads of virtiofsd.
    pub struct ThreadPool {
        req size: u32 = "size",
    }
}

element! {
    /// The locks virtiofsd passes on.
    pub struct FilesystemLock {
        attr posix: Option<OnOff> = "posix",
        attr flock: Option<OnOff> = "flock",
    }
}

element! {
    /// How many files virtiofsd may open.
    pub struct OpenFiles {
        req max: u64 = "max",
    }
}

element! {
    /// The program that serves a virtiofs file system.
    pub struct FilesystemBinary {
        attr path: Option<String> = "path",
        attr xattr: Option<OnOff> = "xattr",
        child cache: Option<CacheMode> = "cache",
        child sandbox: Option<Sandbox> = "sandbox",
        child lock: Option<FilesystemLock> = "lock",
        child thread_pool: Option<ThreadPool> = "thread_pool",
        child open_files: Option<OpenFiles> = "openfiles",
    }
}

element! {
    /// The host's side. Which attribute is meant depends on the type.
    pub struct FilesystemSource {
        attr dir: Option<String> = "dir",
        attr dev: Option<String> = "dev",
        attr file: Option<String> = "file",
        attr name: Option<String> = "name",
        attr socket: Option<String> = "socket",
        attr usage: Option<u64> = "usage",
        attr units: Option<String> = "units",
        attr pool: Option<String> = "pool",
        attr volume: Option<String> = "volume",
    }
}

element! {
    /// The guest's side.
    pub struct FilesystemTarget {
        req dir: String = "dir",
    }
}

element! {
    /// A directory of the host shown to the guest.
    pub struct Filesystem {
        always kind: FilesystemType = "type",
        attr access_mode: Option<AccessMode> = "accessmode",
        attr model: Option<VirtioModel> = "model",
        attr multidevs: Option<Multidevs> = "multidevs",
        attr fmode: Option<String> = "fmode",
        attr dmode: Option<String> = "dmode",
        child driver: Option<FilesystemDriver> = "driver",
        child binary: Option<FilesystemBinary> = "binary",
        child idmap: Option<IdMap> = "idmap",
        child source: Option<FilesystemSource> = "source",
        child target: Option<FilesystemTarget> = "target",
        flag readonly: bool = "readonly",
        child space_hard_limit: Option<Kib> = "space_hard_limit",
        child space_soft_limit: Option<Kib> = "space_soft_limit",
        flat info: DeviceInfo,
    }
}
