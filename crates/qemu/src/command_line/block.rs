//! Block nodes: where a disk's bytes come from, and their format.
//!
//! A disk has a storage node (the file) and, unless it is raw, a format node on top. What an
//! image is based on QEMU finds in the image itself, except where the definition spells the
//! chain out. Nodes are named as libvirt names them, for scripts which address them through the
//! monitor.

use model::domain::disk::{DetectZeroes, Discard, Disk, DiskBus, DiskCache, DiskDevice, DiskIo};
use model::domain::storage::{
    BackingStore, Encryption, EncryptionEngine, EncryptionFormat, HostTransport, ImageFormat,
    NetworkProtocol, SecretRef, StorageSource, StorageType,
};
use model::xml::OnOff;
use serde_json::{Value, json};

use super::boot::format_name;
use super::builder::{Builder, Result};
use super::launch::{DescriptorPurpose, FileAccess, FileMode, FileRole, Unsupported};
use super::props::{List, Props};

/// The settings which hold for all nodes of a disk.
#[derive(Debug, Clone, Copy)]
struct Settings {
    cache: DiskCache,
    io: DiskIo,
    discard: Discard,
    detect_zeroes: DetectZeroes,
    no_unref: Option<bool>,
    readonly: bool,
    shared: bool,
    cdrom: bool,
}

/// The name of the node a device uses, and the nodes to make for it, lowest first.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskNodes {
    /// The node on top.
    pub top: String,
    /// The nodes, in the order in which they are to be made.
    pub nodes: Vec<Props>,
    /// The files QEMU accesses for them.
    pub files: Vec<FileAccess>,
    /// The secrets they need, which are to be there before them.
    pub secrets: Vec<NodeSecret>,
    /// Places of the nodes whose images are given as groups of descriptors, with the groups' names.
    pub groups: Vec<(usize, String)>,
}

/// A secret that a block node opens its image with.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSecret {
    /// The object's name in QEMU.
    pub id: String,
    /// Which secret it is.
    pub reference: SecretRef,
}

impl NodeSecret {
    /// The object in QEMU, without its value.
    pub(super) fn object(&self) -> Props {
        Props::new("qom-type", "secret").with("id", self.id.as_str())
    }
}

/// The name of the object that holds the secret of an encrypted image's node.
pub fn secret_id(node: &str) -> String {
    format!("{node}-encryption-secret0")
}

/// The first of the sets of descriptors that images are; those of other files are numbered below.
const GROUP_SET_FIRST: u32 = 1 << 20;

impl Builder<'_> {
    /// Makes the nodes of a disk and returns the name of the one on top; nothing for a drive
    /// without a medium.
    pub(super) fn disk_nodes(&mut self, position: usize) -> Result<Option<String>> {
        let disks = &self.domain.devices.disks;
        let disk = &disks[position];
        // Counted from the last disk, as libvirt does.
        let after: u32 = disks[position + 1..].iter().map(Disk::image_count).sum();
        let default = after + 1;
        let index = disk
            .source
            .as_ref()
            .and_then(|source| source.index)
            .unwrap_or(default);
        let Some(nodes) = disk_nodes(disk, index)? else {
            return Ok(None);
        };
        for secret in nodes.secrets {
            // Its value is read from a descriptor: whoever lists processes sees a number.
            let object = secret.object();
            let number = self.descriptor(DescriptorPurpose::Secret(secret));
            let object = object.with("file", format!("/dev/fd/{number}"));
            self.option("-object", object.to_json());
        }
        let mut made = nodes.nodes;
        for (position, group) in nodes.groups {
            self.given_image(&mut made[position], &group);
        }
        for node in &made {
            self.blockdev(node);
        }
        self.files.extend(nodes.files);
        Ok(Some(nodes.top))
    }

    /// Has a node use the descriptors of a group in place of a file. Where there is only one, the
    /// node is what the descriptor lets it be.
    fn given_image(&mut self, node: &mut Props, group: &str) {
        let set = GROUP_SET_FIRST + self.groups;
        self.groups += 1;
        let given = self.context.fd_groups.get(group);
        let writable = given.cloned().unwrap_or_default();
        for index in 0..writable.len() {
            let number = self.descriptor(DescriptorPurpose::Given {
                group: group.to_owned(),
                index,
            });
            let mut list = List::default();
            list.set("set", set).set("fd", number);
            self.option("-add-fd", list.finish());
        }
        node.set("filename", format!("/dev/fdset/{set}"));
        if let [writable] = writable[..] {
            node.remove("auto-read-only");
            node.set("read-only", !writable);
        }
    }
}

/// The nodes of a disk; nothing for a drive without a medium. `index` is the number of the
/// disk's image, which goes into the nodes' names.
///
/// # Errors
/// If the disk's source, format or settings are not supported.
pub fn disk_nodes(disk: &Disk, index: u32) -> Result<Option<DiskNodes>> {
    if disk.is_empty() {
        return Ok(None);
    }
    let empty = StorageSource::default();
    let source = disk.source.as_deref().unwrap_or(&empty);
    let driver = disk.driver.clone().unwrap_or_default();
    let settings = Settings {
        cache: disk_cache(disk),
        io: driver.io.unwrap_or_default(),
        discard: driver.discard.unwrap_or_default(),
        detect_zeroes: driver.detect_zeroes.unwrap_or_default(),
        no_unref: driver.discard_no_unref.map(OnOff::is_on),
        readonly: disk.readonly || disk.device == DiskDevice::Cdrom,
        shared: disk.shareable,
        cdrom: disk.device == DiskDevice::Cdrom,
    };
    refuse_extras(disk, source)?;
    let mut chain = Chain {
        settings,
        nodes: Vec::new(),
        files: Vec::new(),
        secrets: Vec::new(),
        groups: Vec::new(),
    };
    let backing = match &disk.backing_store {
        None => Backing::Automatic,
        Some(store) if store.is_terminator() => Backing::Nothing,
        Some(store) => Backing::Node(chain.backing(store, index + 1)?),
    };
    let size = driver
        .metadata_cache
        .as_ref()
        .and_then(|cache| cache.max_size);
    let own = Image {
        kind: disk.kind,
        source,
        format: disk.format(),
        encryption: source.encryption.as_ref().or(disk.encryption.as_ref()),
        index,
        metadata_cache: size.map(|s| s.0),
    };
    let mut top = chain.image(&own, backing)?;
    if driver.copy_on_read.is_some_and(OnOff::is_on) {
        let name = format!("libvirt-CoR-{}", disk.target_dev());
        let node = Props::device("copy-on-read")
            .with("node-name", name.as_str())
            .with("file", top);
        chain.nodes.push(node);
        top = name;
    }
    Ok(Some(DiskNodes {
        top,
        nodes: chain.nodes,
        files: chain.files,
        secrets: chain.secrets,
        groups: chain.groups,
    }))
}

fn refuse_extras(disk: &Disk, source: &StorageSource) -> Result<()> {
    let refuse = |what: &str| {
        Err(Unsupported::new(format!(
            "{what} is not supported for disk '{}'",
            disk.target_dev()
        )))
    };
    if disk.auth.is_some() || source.auth.is_some() {
        return refuse("authentication");
    }
    if disk.transient.is_some() {
        return refuse("transient");
    }
    if disk.mirror.is_some() {
        return refuse("a mirror");
    }
    if source.reservations.is_some() {
        return refuse("persistent reservations");
    }
    if source.tls.is_some_and(model::xml::YesNo::is_yes) {
        return refuse("TLS");
    }
    Ok(())
}

/// What an image is based on.
enum Backing {
    /// What the image itself says.
    Automatic,
    /// Nothing.
    Nothing,
    /// A node.
    Node(String),
}

struct Chain {
    settings: Settings,
    nodes: Vec<Props>,
    files: Vec<FileAccess>,
    secrets: Vec<NodeSecret>,
    /// Places of the nodes whose images are given as groups of descriptors.
    groups: Vec<(usize, String)>,
}

/// One image of a chain.
struct Image<'a> {
    kind: StorageType,
    source: &'a StorageSource,
    format: ImageFormat,
    encryption: Option<&'a Encryption>,
    index: u32,
    metadata_cache: Option<u64>,
}

impl Chain {
    /// The nodes of what an image is based on, as the definition spells it out.
    fn backing(&mut self, store: &BackingStore, index: u32) -> Result<String> {
        let below = match store.backing_store.as_deref() {
            None => Backing::Automatic,
            Some(next) if next.is_terminator() => Backing::Nothing,
            Some(next) => Backing::Node(self.backing(next, index + 1)?),
        };
        let format = store
            .format
            .as_ref()
            .map(|format| format.kind)
            .unwrap_or_default();
        let kind = store.kind.unwrap_or_default();
        let cache = store
            .format
            .as_ref()
            .and_then(|format| format.metadata_cache.as_ref());
        let cache = cache.and_then(|cache| cache.max_size).map(|size| size.0);
        let empty = StorageSource::default();
        let source = store.source.as_deref().unwrap_or(&empty);
        let index = store.index.or(source.index).unwrap_or(index);
        let was = self.settings;
        self.settings = Settings {
            readonly: true,
            discard: Discard::Default,
            detect_zeroes: DetectZeroes::Default,
            no_unref: None,
            ..was
        };
        let image = Image {
            kind,
            source,
            format,
            encryption: source.encryption.as_ref(),
            index,
            metadata_cache: cache,
        };
        let node = self.image(&image, below);
        self.settings = was;
        node
    }

    /// The secret an encrypted image is opened with: its object's name.
    fn secret(&mut self, encryption: &Encryption, node: &str) -> Result<String> {
        let qemu_decrypts = encryption.engine.unwrap_or(EncryptionEngine::Qemu);
        if encryption.format != EncryptionFormat::Luks || qemu_decrypts != EncryptionEngine::Qemu {
            return Err(Unsupported::new(format!(
                "images are decrypted if they are encrypted as 'luks', not as '{}'",
                encryption.format
            )));
        }
        let [reference] = &encryption.secrets[..] else {
            let what = "an encrypted image needs one <secret>";
            return Err(Unsupported::new(what));
        };
        let id = secret_id(node);
        self.secrets.push(NodeSecret {
            id: id.clone(),
            reference: reference.clone(),
        });
        Ok(id)
    }

    fn image(&mut self, image: &Image<'_>, backing: Backing) -> Result<String> {
        let &Image {
            kind,
            source,
            format,
            encryption,
            index,
            metadata_cache,
        } = image;
        if format == ImageFormat::Dir || format == ImageFormat::Fat || kind == StorageType::Dir {
            return self.directory(source, index);
        }
        let format = format_name(format)?;
        let storage = format!("libvirt-{index}-storage");
        let slice = source
            .slices
            .as_ref()
            .and_then(|slices| slices.slices.first());
        let is_plain = format == "raw" && encryption.is_none();
        // What a descriptor lets its node do may be more than the disk is to.
        let guarded = source.fdgroup.is_some() && self.settings.readonly;
        let raw_alone = is_plain && slice.is_none() && !guarded;
        let mut node = self.storage(kind, source)?;
        node.set("node-name", storage.as_str());
        if raw_alone {
            self.top_settings(&mut node);
            self.nodes.push(node);
            return Ok(storage);
        }
        node.set("auto-read-only", true);
        node.set("discard", "unmap");
        self.cache(&mut node);
        self.nodes.push(node);
        let mut file = storage;
        if let Some(slice) = slice {
            let name = format!("libvirt-{index}-slice-sto");
            let mut node = Props::device("raw")
                .with("file", file)
                .with("offset", slice.offset)
                .with("size", slice.size)
                .with("node-name", name.as_str());
            if is_plain {
                self.top_settings(&mut node);
                self.nodes.push(node);
                return Ok(name);
            }
            node.set("auto-read-only", true);
            node.set("discard", "unmap");
            self.cache(&mut node);
            self.nodes.push(node);
            file = name;
        }
        let name = format!("libvirt-{index}-format");
        let mut node = Props::new("node-name", &name);
        self.top_settings(&mut node);
        match (encryption, format) {
            (None, _) => node.set("driver", format),
            (Some(encryption), "raw") => {
                node.set("driver", "luks");
                node.set("key-secret", self.secret(encryption, &name)?);
            }
            (Some(encryption), "qcow2") => {
                node.set("driver", format);
                let key = self.secret(encryption, &name)?;
                node.set("encrypt", json!({"format": "luks", "key-secret": key}));
            }
            (Some(_), _) => {
                let what = format!("images of format '{format}' cannot be encrypted");
                return Err(Unsupported::new(what));
            }
        }
        node.set_some("cache-size", metadata_cache);
        node.set_some(
            "discard-no-unref",
            self.settings.no_unref.filter(|_| format == "qcow2"),
        );
        node.set("file", file);
        match backing {
            Backing::Automatic => {}
            Backing::Nothing if format == "raw" => {}
            Backing::Nothing => node.set("backing", Value::Null),
            Backing::Node(below) => node.set("backing", below),
        }
        self.nodes.push(node);
        Ok(name)
    }

    fn top_settings(&self, node: &mut Props) {
        let Settings {
            discard,
            detect_zeroes,
            readonly,
            ..
        } = self.settings;
        node.set("read-only", readonly);
        match discard {
            Discard::Default => {}
            Discard::Unmap => node.set("discard", "unmap"),
            Discard::Ignore => node.set("discard", "ignore"),
        }
        match detect_zeroes {
            DetectZeroes::Default => {}
            // QEMU refuses to unmap where requests to discard are ignored.
            DetectZeroes::Unmap if discard != Discard::Unmap => node.set("detect-zeroes", "on"),
            other => node.set("detect-zeroes", other.as_str()),
        }
        self.cache(node);
    }

    fn cache(&self, node: &mut Props) {
        let (direct, no_flush) = match self.settings.cache {
            DiskCache::Default => return,
            DiskCache::None | DiskCache::Directsync => (true, false),
            DiskCache::Writethrough | DiskCache::Writeback => (false, false),
            DiskCache::Unsafe => (false, true),
        };
        node.set("cache", json!({"direct": direct, "no-flush": no_flush}));
    }

    fn storage(&mut self, kind: StorageType, source: &StorageSource) -> Result<Props> {
        match kind {
            StorageType::File if source.fdgroup.is_some() => {
                let group = source.fdgroup.clone().unwrap_or_default();
                self.groups.push((self.nodes.len(), group));
                Ok(self.aio(Props::device("file")))
            }
            StorageType::File => {
                let path = source.file.as_deref().unwrap_or_default();
                let node = Props::device("file").with("filename", path);
                self.file(path, FileRole::Image);
                Ok(self.aio(node))
            }
            StorageType::Block => {
                let path = source.dev.as_deref().unwrap_or_default();
                let driver = match self.settings.cdrom && is_host_cdrom(path) {
                    true => "host_cdrom",
                    false => "host_device",
                };
                self.file(path, FileRole::Device);
                Ok(self.aio(Props::device(driver).with("filename", path)))
            }
            StorageType::Network => network(source),
            other => Err(Unsupported::new(format!(
                "disk type '{other}' is not supported"
            ))),
        }
    }

    fn aio(&self, node: Props) -> Props {
        let io = match self.settings.io {
            DiskIo::Default => None,
            other => Some(other.as_str()),
        };
        node.maybe("aio", io)
    }

    /// A directory shown as a floppy disk; QEMU makes up the file system.
    fn directory(&mut self, source: &StorageSource, index: u32) -> Result<String> {
        let path = source
            .dir
            .as_deref()
            .or(source.file.as_deref())
            .unwrap_or_default();
        let storage = format!("libvirt-{index}-storage");
        self.file(path, FileRole::Directory);
        let node = Props::device("vvfat")
            .with("dir", path)
            .with("floppy", true)
            .with("rw", false)
            .with("node-name", storage.as_str())
            .with("auto-read-only", true)
            .with("discard", "unmap");
        self.nodes.push(node);
        let name = format!("libvirt-{index}-format");
        let node = Props::new("node-name", &name)
            .with("read-only", true)
            .with("driver", "raw")
            .with("file", storage);
        self.nodes.push(node);
        Ok(name)
    }

    fn file(&mut self, path: &str, role: FileRole) {
        let mode = if self.settings.readonly {
            FileMode::Read
        } else {
            FileMode::ReadWrite
        };
        let shared = self.settings.readonly || self.settings.shared;
        self.files.push(FileAccess {
            path: path.into(),
            mode,
            role,
            shared,
        });
    }
}

/// The drive itself can be opened and its medium changed by hand.
fn is_host_cdrom(path: &str) -> bool {
    path.starts_with("/dev/cd") || path.starts_with("/dev/sr") || path.starts_with("/dev/dvd")
}

fn network(source: &StorageSource) -> Result<Props> {
    let protocol = source
        .protocol
        .ok_or_else(|| Unsupported::new("a network disk needs a protocol"))?;
    let name = source.name.as_deref().unwrap_or_default();
    let host = source.hosts.first();
    match protocol {
        NetworkProtocol::Nbd => {
            let mut node = Props::device("nbd");
            let socket = host.and_then(|host| host.socket.as_deref());
            let server = match socket {
                Some(path) => json!({"type": "unix", "path": path}),
                None => {
                    let (name, port) = address(source, 10809);
                    json!({"type": "inet", "host": name, "port": port})
                }
            };
            node.set("server", server);
            node.set_some("export", source.name.as_deref());
            let delay = source
                .reconnect
                .as_ref()
                .and_then(|reconnect| reconnect.delay);
            node.set_some("reconnect-delay", delay);
            Ok(node)
        }
        NetworkProtocol::Http
        | NetworkProtocol::Https
        | NetworkProtocol::Ftp
        | NetworkProtocol::Ftps => Ok(curl(source, protocol)),
        NetworkProtocol::Iscsi => {
            let transport = host.and_then(|host| host.transport).unwrap_or_default();
            if transport != HostTransport::Tcp {
                return Err(Unsupported::new("iSCSI is only supported over TCP"));
            }
            let (host, port) = address(source, 3260);
            let (target, lun) = name.split_once('/').unwrap_or((name, "0"));
            let initiator = source
                .initiator
                .as_ref()
                .and_then(|initiator| initiator.iqn.as_ref());
            Ok(Props::device("iscsi")
                .with("portal", format!("{host}:{port}"))
                .with("target", target)
                .with("lun", lun.parse::<u32>().unwrap_or(0))
                .with("transport", "tcp")
                .maybe("initiator-name", initiator.map(|iqn| iqn.name.as_str())))
        }
        other => Err(Unsupported::new(format!(
            "network disk protocol '{other}' is not supported"
        ))),
    }
}

fn curl(source: &StorageSource, protocol: NetworkProtocol) -> Props {
    let default_port = match protocol {
        NetworkProtocol::Https => 443,
        NetworkProtocol::Ftp => 21,
        NetworkProtocol::Ftps => 990,
        _ => 80,
    };
    let (host, port) = address(source, default_port);
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let path = source
        .name
        .as_deref()
        .unwrap_or_default()
        .trim_start_matches('/');
    let query = source
        .query
        .as_deref()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let mut node = Props::device(protocol.as_str())
        .with("url", format!("{protocol}://{host}:{port}/{path}{query}"));
    if let Some(ssl) = &source.ssl {
        node.set("sslverify", ssl.verify.is_yes());
    }
    node.set_some(
        "readahead",
        source.readahead.as_ref().map(|ahead| ahead.size),
    );
    node.set_some(
        "timeout",
        source.timeout.as_ref().map(|timeout| timeout.seconds),
    );
    node
}

/// Host and port of the first server.
fn address(source: &StorageSource, default_port: u16) -> (String, String) {
    let host = source.hosts.first();
    let name = host.and_then(|host| host.name.clone()).unwrap_or_default();
    let port = host.and_then(|host| host.port.clone());
    (name, port.unwrap_or_else(|| default_port.to_string()))
}

/// How a disk is cached. What several machines write to must not be kept by one of their hosts.
pub(super) fn disk_cache(disk: &Disk) -> DiskCache {
    let cache = disk
        .driver
        .as_ref()
        .and_then(|driver| driver.cache)
        .unwrap_or_default();
    match cache {
        DiskCache::Default if disk.shareable && !disk.readonly => DiskCache::None,
        other => other,
    }
}

/// Whether a disk's buses have a write cache that the guest can turn on and off.
pub(super) fn has_write_cache(bus: DiskBus) -> bool {
    matches!(
        bus,
        DiskBus::Ide
            | DiskBus::Sata
            | DiskBus::Scsi
            | DiskBus::Virtio
            | DiskBus::Usb
            | DiskBus::Fdc
    )
}
