//! Where a disk's bytes come from: a file, a device, the network, a volume.

use super::address::PciAddress;
use super::memory_size::Bytes;
use super::seclabel::DeviceSecLabel;
use crate::xml::{OnOff, YesNo, element, keyword};

keyword! {
    /// Kinds of storage.
    pub enum StorageType {
        File = "file",
        Block = "block",
        Dir = "dir",
        Network = "network",
        Volume = "volume",
        Nvme = "nvme",
        VhostUser = "vhostuser",
        VhostVdpa = "vhostvdpa",
    }
}

keyword! {
    /// Image formats.
    pub enum ImageFormat {
        Raw = "raw",
        Auto = "auto",
        Dir = "dir",
        Bochs = "bochs",
        Cloop = "cloop",
        Dmg = "dmg",
        Iso = "iso",
        Vpc = "vpc",
        Vdi = "vdi",
        Fat = "fat",
        Vhd = "vhd",
        Ploop = "ploop",
        Cow = "cow",
        Qcow = "qcow",
        Qcow2 = "qcow2",
        Qed = "qed",
        Vmdk = "vmdk",
        Aio = "aio",
    }
}

keyword! {
    /// What to do when the source is missing.
    pub enum StartupPolicy {
        Mandatory = "mandatory",
        Requisite = "requisite",
        Optional = "optional",
    }
}

keyword! {
    /// Protocols of network storage.
    pub enum NetworkProtocol {
        Nbd = "nbd",
        Rbd = "rbd",
        Sheepdog = "sheepdog",
        Gluster = "gluster",
        Iscsi = "iscsi",
        Http = "http",
        Https = "https",
        Ftp = "ftp",
        Ftps = "ftps",
        Tftp = "tftp",
        Ssh = "ssh",
        Vxhs = "vxhs",
        Nfs = "nfs",
    }
}

keyword! {
    /// Transports of network storage.
    pub enum HostTransport {
        Tcp = "tcp",
        Unix = "unix",
        Rdma = "rdma",
    }
}

keyword! {
    /// How a volume of an iSCSI pool is reached.
    pub enum VolumeMode {
        Host = "host",
        Direct = "direct",
    }
}

element! {
    /// A server of network storage.
    pub struct StorageHost {
        attr name: Option<String> = "name",
        attr port: Option<String> = "port",
        attr transport: Option<HostTransport> = "transport",
        attr socket: Option<String> = "socket",
    }
}

element! {
    /// The name of a snapshot inside the storage.
    pub struct SnapshotName {
        req name: String = "name",
    }
}

element! {
    /// A configuration file of the storage client.
    pub struct ConfigFile {
        req file: String = "file",
    }
}

element! {
    /// A reference to a secret.
    pub struct SecretRef {
        attr kind: Option<String> = "type",
        attr uuid: Option<uuid::Uuid> = "uuid",
        attr usage: Option<String> = "usage",
    }
}

element! {
    /// Who to log in as.
    pub struct StorageAuth {
        req username: String = "username",
        child secret: Option<SecretRef> = "secret",
    }
}

element! {
    /// The cipher of an encrypted image.
    pub struct Cipher {
        req name: String = "name",
        attr size: Option<u32> = "size",
        attr mode: Option<String> = "mode",
        attr hash: Option<String> = "hash",
    }
}

element! {
    /// How the initialization vector is made.
    pub struct IvGen {
        req name: String = "name",
        attr hash: Option<String> = "hash",
    }
}

keyword! {
    /// Encryption formats.
    pub enum EncryptionFormat {
        Default = "default",
        Qcow = "qcow",
        Luks = "luks",
        Luks2 = "luks2",
        LuksAny = "luks-any",
    }
}

keyword! {
    /// Who decrypts.
    pub enum EncryptionEngine {
        Qemu = "qemu",
        Librbd = "librbd",
    }
}

element! {
    /// Encryption of an image.
    pub struct Encryption {
        req format: EncryptionFormat = "format",
        attr engine: Option<EncryptionEngine> = "engine",
        list secrets: Vec<SecretRef> = "secret",
        child cipher: Option<Cipher> = "cipher",
        child ivgen: Option<IvGen> = "ivgen",
    }
}

element! {
    /// The helper that manages persistent reservations.
    pub struct ReservationsHelper {
        attr kind: Option<String> = "type",
        attr path: Option<String> = "path",
        attr mode: Option<String> = "mode",
    }
}

element! {
    /// Persistent SCSI reservations.
    pub struct Reservations {
        req managed: YesNo = "managed",
        attr migration: Option<YesNo> = "migration",
        child source: Option<ReservationsHelper> = "source",
    }
}

element! {
    /// An iSCSI qualified name.
    pub struct Iqn {
        req name: String = "name",
    }
}

element! {
    /// The name under which an iSCSI client presents itself.
    pub struct Initiator {
        child iqn: Option<Iqn> = "iqn",
    }
}

element! {
    /// A part of the storage that is used.
    pub struct Slice {
        req kind: String = "type",
        req offset: u64 = "offset",
        req size: u64 = "size",
    }
}

element! {
    /// The parts of the storage that are used.
    pub struct Slices {
        list slices: Vec<Slice> = "slice",
    }
}

element! {
    /// An HTTP cookie.
    pub struct Cookie {
        req name: String = "name",
        text value: Option<String>,
    }
}

element! {
    /// HTTP cookies.
    pub struct Cookies {
        list cookies: Vec<Cookie> = "cookie",
    }
}

element! {
    /// TLS settings.
    pub struct Ssl {
        req verify: YesNo = "verify",
    }
}

element! {
    /// How much is read ahead, in bytes.
    pub struct ReadAhead {
        req size: u64 = "size",
    }
}

element! {
    /// How long a request may take.
    pub struct RequestTimeout {
        req seconds: u64 = "seconds",
    }
}

element! {
    /// How long to wait for a lost server, in seconds; or a character device's reconnection.
    pub struct Reconnect {
        attr enabled: Option<YesNo> = "enabled",
        attr timeout: Option<u32> = "timeout",
        attr delay: Option<u64> = "delay",
    }
}

element! {
    /// Who one is on the server (SSH, NFS).
    pub struct Identity {
        attr username: Option<String> = "username",
        attr keyfile: Option<String> = "keyfile",
        attr agentsock: Option<String> = "agentsock",
        attr user: Option<String> = "user",
        attr group: Option<String> = "group",
    }
}

element! {
    /// A file with SSH host keys.
    pub struct KnownHosts {
        req path: String = "path",
    }
}

element! {
    /// The place of storage. Which attributes are meant depends on the
    /// [`StorageType`] given beside it.
    pub struct StorageSource {
        attr protocol: Option<NetworkProtocol> = "protocol",
        attr name: Option<String> = "name",
        attr query: Option<String> = "query",
        attr tls: Option<YesNo> = "tls",
        attr tls_hostname: Option<String> = "tlsHostname",
        attr file: Option<String> = "file",
        attr dev: Option<String> = "dev",
        attr dir: Option<String> = "dir",
        attr pool: Option<String> = "pool",
        attr volume: Option<String> = "volume",
        attr mode: Option<VolumeMode> = "mode",
        attr nvme_type: Option<String> = "type",
        attr managed: Option<YesNo> = "managed",
        attr namespace: Option<u64> = "namespace",
        attr path: Option<String> = "path",
        attr fdgroup: Option<String> = "fdgroup",
        attr startup_policy: Option<StartupPolicy> = "startupPolicy",
        live index: Option<u32> = "index",
        attr append: Option<OnOff> = "append",
        list hosts: Vec<StorageHost> = "host",
        child address: Option<PciAddress> = "address",
        child snapshot: Option<SnapshotName> = "snapshot",
        child config: Option<ConfigFile> = "config",
        child ssl: Option<Ssl> = "ssl",
        child cookies: Option<Cookies> = "cookies",
        child readahead: Option<ReadAhead> = "readahead",
        child timeout: Option<RequestTimeout> = "timeout",
        list seclabels: Vec<DeviceSecLabel> = "seclabel",
        child slices: Option<Slices> = "slices",
        child auth: Option<StorageAuth> = "auth",
        child encryption: Option<Encryption> = "encryption",
        child reservations: Option<Reservations> = "reservations",
        child initiator: Option<Initiator> = "initiator",
        child reconnect: Option<Reconnect> = "reconnect",
        child identity: Option<Identity> = "identity",
        child known_hosts: Option<KnownHosts> = "knownHosts",
    }
}

element! {
    /// Size limit of the metadata cache of a qcow2 image.
    pub struct MetadataCache {
        child max_size: Option<Bytes> = "max_size",
    }
}

element! {
    /// The image format of a link of a backing chain.
    pub struct FormatElement {
        req kind: ImageFormat = "type",
        child metadata_cache: Option<MetadataCache> = "metadata_cache",
    }
}

element! {
    /// A link of a backing chain; one without type ends the chain.
    pub struct BackingStore {
        attr kind: Option<StorageType> = "type",
        live index: Option<u32> = "index",
        child format: Option<FormatElement> = "format",
        child source: Option<Box<StorageSource>> = "source",
        child backing_store: Option<Box<BackingStore>> = "backingStore",
    }
}

impl BackingStore {
    /// Whether this is the end of the chain.
    pub fn is_terminator(&self) -> bool {
        self.kind.is_none() && self.source.is_none()
    }
}
