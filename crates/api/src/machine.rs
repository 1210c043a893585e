//! Machines made from images, templates and media.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What a network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A network of the host, by name.
    Network(String),
    /// A bridge of the host.
    Bridge(String),
    /// QEMU's own: outwards only.
    User,
}

/// A server for viewers of a machine's screen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Graphics {
    /// Whether it is SPICE rather than VNC.
    pub spice: bool,
    /// The address it listens at.
    pub listen: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The password viewers must know.
    pub password: Option<String>,
}

/// What a machine is told at its first boot (cloud-init).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CloudInit {
    /// The account; without a name the image's own first one.
    pub user: Option<String>,
    /// Its password as crypt(3) keeps it: `$6$…`.
    pub password_hash: Option<String>,
    /// Lines of `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// Packages to install.
    pub packages: Vec<String>,
    /// Addresses with their prefix, one for each card from the first on; DHCP without.
    pub ips: Vec<String>,
    /// The way out; the network's first address without.
    pub gateway: Option<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// cloud-init's own document in place of account and packages.
    pub user_data: Option<String>,
}

/// A machine to be made from an image of the library; the answer is a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineCreate {
    /// Its name, and its host name.
    pub name: String,
    /// The image.
    pub image: String,
    /// Memory.
    pub memory_kib: u64,
    /// Processors.
    pub vcpus: u32,
    /// The size of its disk; the image's without.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
    /// Whether UEFI starts it.
    #[serde(default)]
    pub uefi: bool,
    /// Its network cards.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Its screen; none without.
    #[serde(default)]
    pub graphics: Option<Graphics>,
    /// What it is told at its first boot.
    #[serde(default)]
    pub cloud_init: CloudInit,
    /// Whether it is started.
    #[serde(default)]
    pub start: bool,
}

/// Clones to be made of a machine; the answer is a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineClone {
    /// The names of the clones.
    pub names: Vec<String>,
    /// Whether each gets whole disks instead of what differs.
    #[serde(default)]
    pub full: bool,
    /// Whether they are started.
    #[serde(default)]
    pub start: bool,
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Template {
    /// The machine's name.
    pub name: String,
    /// Its uuid.
    pub uuid: String,
    /// The machines that build upon its disks, and images that belong to none.
    pub clones: Vec<String>,
}

/// How much of a console's kept output is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleLog {
    /// The console, by its device's alias; the first one without.
    pub device: Option<String>,
    /// No more than these lines of what is kept.
    pub lines: Option<usize>,
    /// Also what comes after it, until the machine ends.
    pub follow: bool,
}
