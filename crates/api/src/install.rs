//! Installations.

use crate::machine::{CloudInit, Graphics, Network};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A machine to be installed; the answer is a job that lasts until the
/// installer is done. From its step `installing` on it needs nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MachineInstall {
    /// Its name.
    pub name: String,
    /// Its title.
    #[serde(default)]
    pub title: Option<String>,
    /// Memory; what the system needs without.
    #[serde(default)]
    pub memory_kib: Option<u64>,
    /// Processors; what the system needs without.
    #[serde(default)]
    pub vcpus: Option<u32>,
    /// Its disks.
    #[serde(default)]
    pub disks: Vec<InstallDisk>,
    /// Its network cards.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Its screen; none without.
    #[serde(default)]
    pub graphics: Option<Graphics>,
    /// What it starts from at first.
    pub from: InstallFrom,
    /// Whether UEFI starts it.
    #[serde(default)]
    pub uefi: bool,
    /// The system, as libosinfo's database names it.
    #[serde(default)]
    pub os_variant: Option<String>,
    /// What the installer's kernel is told.
    #[serde(default)]
    pub extra_args: String,
    /// Files put into the installer's initial RAM disk: name and content.
    #[serde(default)]
    pub injected: Vec<(String, String)>,
    /// Answers to the installer's questions: a preseed, a kickstart or an autoinstall document.
    #[serde(default)]
    pub answers: Option<String>,
    /// What it is told by cloud-init.
    #[serde(default)]
    pub cloud_init: CloudInit,
    /// Whether it starts with the host.
    #[serde(default)]
    pub autostart: bool,
    /// Whether it starts again when the installer is done.
    #[serde(default)]
    pub reboot: bool,
}

/// A disk of a machine to be installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstallDisk {
    /// Its file; a new one in the default pool without.
    pub path: Option<String>,
    /// Its size, for a new one.
    pub size_bytes: Option<u64>,
    /// Its format: `qcow2` or `raw`.
    pub format: Option<String>,
}

/// What a machine to be installed starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstallFrom {
    /// A CD image of the host.
    Cdrom(String),
    /// The kernel of a CD image, a directory or a server.
    Location {
        /// A path of the host or a URL.
        location: String,
        /// Where the kernel lies in it.
        kernel: Option<String>,
        /// Where the initial RAM disk lies in it.
        initrd: Option<String>,
    },
    /// The network.
    Pxe,
    /// Its first disk.
    Import,
}

/// What an installation made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Installed {
    /// The machine's name.
    pub name: String,
    /// What a person should know.
    #[serde(default)]
    pub note: Option<String>,
}
