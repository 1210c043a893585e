//! Replies of the guest agent. What a guest says about itself is not to be trusted.

use serde::Deserialize;

/// The agent's version and commands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentInfo {
    /// The agent's version.
    pub version: String,
    /// What it can do.
    #[serde(default)]
    pub supported_commands: Vec<AgentCommand>,
}

/// A command of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentCommand {
    /// Its name.
    pub name: String,
    /// It is allowed.
    pub enabled: bool,
}

/// A network interface in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkInterface {
    /// Its name in the guest.
    pub name: String,
    /// Its hardware address.
    #[serde(default)]
    pub hardware_address: Option<String>,
    /// Its addresses.
    #[serde(default)]
    pub ip_addresses: Vec<IpAddress>,
}

/// An address of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IpAddress {
    /// The address.
    pub ip_address: String,
    /// `ipv4` or `ipv6`.
    pub ip_address_type: String,
    /// Length of the network part in bits.
    pub prefix: u32,
}

/// Which operating system runs, after the guest's `os-release`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct OsInfo {
    /// Short name.
    pub id: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Name with version.
    pub pretty_name: Option<String>,
    /// Version with its code name.
    pub version: Option<String>,
    /// Version.
    pub version_id: Option<String>,
    /// Kernel release.
    pub kernel_release: Option<String>,
    /// Kernel version.
    pub kernel_version: Option<String>,
    /// Architecture.
    pub machine: Option<String>,
    /// Variant.
    pub variant: Option<String>,
    /// Variant's short name.
    pub variant_id: Option<String>,
}

/// The guest's host name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HostName {
    /// The name.
    #[serde(rename = "host-name")]
    pub host_name: String,
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileSystem {
    /// The device's name in the guest.
    pub name: String,
    /// Where it is mounted.
    pub mountpoint: String,
    /// The file system's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes in use.
    #[serde(default)]
    pub used_bytes: Option<u64>,
    /// Bytes in all.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// The disks it lies on.
    #[serde(default)]
    pub disk: Vec<GuestDisk>,
}

/// A disk as the guest addresses it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestDisk {
    /// `virtio`, `scsi`, `sata`, `ide`, `usb`, …
    pub bus_type: String,
    /// Bus number.
    pub bus: i64,
    /// Target number.
    pub target: i64,
    /// Unit number.
    pub unit: i64,
    /// Its controller on the PCI bus.
    #[serde(rename = "pci-controller", default)]
    pub pci: Option<GuestPci>,
    /// Its serial number.
    #[serde(default)]
    pub serial: Option<String>,
    /// Its device node in the guest.
    #[serde(default)]
    pub dev: Option<String>,
}

/// A PCI address in the guest; -1 where the guest does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct GuestPci {
    /// Domain.
    pub domain: i64,
    /// Bus.
    pub bus: i64,
    /// Slot.
    pub slot: i64,
    /// Function.
    pub function: i64,
}

/// A processor as the guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vcpu {
    /// Its number in the guest.
    pub logical_id: u64,
    /// It is in use.
    pub online: bool,
    /// It can be taken out of use.
    #[serde(default)]
    pub can_offline: bool,
}

/// A user who is logged in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct User {
    /// The name.
    pub user: String,
    /// The domain on Windows.
    #[serde(default)]
    pub domain: Option<String>,
    /// Since when, in seconds since the epoch.
    pub login_time: f64,
}

/// The guest's time zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TimeZone {
    /// Its name.
    #[serde(default)]
    pub zone: Option<String>,
    /// Seconds east of UTC.
    pub offset: i64,
}

/// A program was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ExecStarted {
    /// Its process id in the guest.
    pub pid: i64,
}

/// How a program is doing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExecStatus {
    /// It has ended.
    pub exited: bool,
    /// Its exit status.
    #[serde(default, alias = "exitcode")]
    pub exit_code: Option<i64>,
    /// The signal it ended by.
    #[serde(default)]
    pub signal: Option<i64>,
    /// What it wrote, in base64.
    #[serde(default)]
    pub out_data: Option<String>,
    /// What it wrote to its error output, in base64.
    #[serde(default)]
    pub err_data: Option<String>,
}
