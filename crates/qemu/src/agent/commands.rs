//! Builders of guest agent commands.

use serde_json::Value;

use super::reply::{
    AgentInfo, ExecStarted, ExecStatus, FileSystem, HostName, NetworkInterface, OsInfo, TimeZone,
    User, Vcpu,
};
use crate::qmp::{Command, Done};

/// How the guest is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Halt without cutting the power.
    Halt,
    /// Power off.
    Powerdown,
    /// Restart.
    Reboot,
}

/// Asks whether the agent is there.
#[must_use]
pub fn ping() -> Command<Done> {
    Command::new("guest-ping")
}

/// Asks for the agent's version and commands.
#[must_use]
pub fn info() -> Command<AgentInfo> {
    Command::new("guest-info")
}

/// Ends the guest. The agent answers only if it fails; see [`expects_reply`].
#[must_use]
pub fn shutdown(mode: ShutdownMode) -> Command<Done> {
    let mode = match mode {
        ShutdownMode::Halt => "halt",
        ShutdownMode::Powerdown => "powerdown",
        ShutdownMode::Reboot => "reboot",
    };
    Command::new("guest-shutdown").arg("mode", mode)
}

/// Suspends the guest to memory, to disk, or both; the agent answers only if it fails.
#[must_use]
pub fn suspend(target: SuspendTarget) -> Command<Done> {
    Command::new(match target {
        SuspendTarget::Memory => "guest-suspend-ram",
        SuspendTarget::Disk => "guest-suspend-disk",
        SuspendTarget::Hybrid => "guest-suspend-hybrid",
    })
}

/// Where a guest puts its state when it suspends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspendTarget {
    /// Stays in memory.
    Memory,
    /// Goes to the guest's disk.
    Disk,
    /// Both.
    Hybrid,
}

/// Whether the agent answers a command that succeeds. Those that end or suspend the guest are
/// answered only when they fail.
#[must_use]
pub fn expects_reply<R>(command: &Command<R>) -> bool {
    let name = command.name();
    name != "guest-shutdown" && !name.starts_with("guest-suspend-")
}

/// Asks for the guest's network interfaces and addresses.
#[must_use]
pub fn network_interfaces() -> Command<Vec<NetworkInterface>> {
    Command::new("guest-network-get-interfaces")
}

/// Asks which operating system runs.
#[must_use]
pub fn os_info() -> Command<OsInfo> {
    Command::new("guest-get-osinfo")
}

/// Asks for the guest's host name.
#[must_use]
pub fn host_name() -> Command<HostName> {
    Command::new("guest-get-host-name")
}

/// Asks for the mounted file systems.
#[must_use]
pub fn file_systems() -> Command<Vec<FileSystem>> {
    Command::new("guest-get-fsinfo")
}

/// Freezes the file systems, all or the given mount points; the reply is how many.
#[must_use]
pub fn freeze(mount_points: Option<Vec<String>>) -> Command<i64> {
    match mount_points {
        None => Command::new("guest-fsfreeze-freeze"),
        Some(points) => Command::new("guest-fsfreeze-freeze-list").arg("mountpoints", points),
    }
}

/// Thaws the file systems; the reply is how many.
#[must_use]
pub fn thaw() -> Command<i64> {
    Command::new("guest-fsfreeze-thaw")
}

/// Asks whether file systems are frozen: `frozen` or `thawed`.
#[must_use]
pub fn freeze_status() -> Command<String> {
    Command::new("guest-fsfreeze-status")
}

/// Discards unused blocks of all mounted file systems.
#[must_use]
pub fn trim(minimum_bytes: Option<u64>) -> Command<Value> {
    Command::new("guest-fstrim").maybe("minimum", minimum_bytes)
}

/// Asks for the guest's clock, in nanoseconds since the epoch.
#[must_use]
pub fn time() -> Command<i64> {
    Command::new("guest-get-time")
}

/// Sets the guest's clock, in nanoseconds since the epoch; without a time, from its hardware
/// clock.
#[must_use]
pub fn set_time(nanoseconds: Option<i64>) -> Command<Done> {
    Command::new("guest-set-time").maybe("time", nanoseconds)
}

/// Sets a user's password. It goes over the channel in base64, which the caller makes; `crypted`
/// if it is already a hash.
#[must_use]
pub fn set_user_password(user: &str, password_base64: &str, crypted: bool) -> Command<Done> {
    Command::new("guest-set-user-password")
        .arg("username", user)
        .arg("password", password_base64)
        .arg("crypted", crypted)
}

/// Asks for the guest's view of its processors.
#[must_use]
pub fn vcpus() -> Command<Vec<Vcpu>> {
    Command::new("guest-get-vcpus")
}

/// Turns processors on or off inside the guest; the reply is how many were changed.
#[must_use]
pub fn set_vcpus(vcpus: &[(u64, bool)]) -> Command<u64> {
    let list: Vec<Value> = vcpus
        .iter()
        .map(|(number, online)| serde_json::json!({"logical-id": number, "online": online}))
        .collect();
    Command::new("guest-set-vcpus").arg("vcpus", list)
}

/// Asks who is logged in.
#[must_use]
pub fn users() -> Command<Vec<User>> {
    Command::new("guest-get-users")
}

/// Asks for the guest's time zone.
#[must_use]
pub fn time_zone() -> Command<TimeZone> {
    Command::new("guest-get-timezone")
}

/// Runs a program in the guest.
#[must_use]
pub fn exec(path: &str, arguments: &[String], capture_output: bool) -> Command<ExecStarted> {
    Command::new("guest-exec")
        .arg("path", path)
        .arg("arg", arguments.to_vec())
        .arg("capture-output", capture_output)
}

/// Asks how a program started with [`exec`] is doing.
#[must_use]
pub fn exec_status(pid: i64) -> Command<ExecStatus> {
    Command::new("guest-exec-status").arg("pid", pid)
}

/// Reads the keys that may log in as a user over SSH.
#[must_use]
pub fn ssh_keys(user: &str) -> Command<Value> {
    Command::new("guest-ssh-get-authorized-keys").arg("username", user)
}

/// Adds keys that may log in as a user over SSH, or with `reset` replaces them.
#[must_use]
pub fn add_ssh_keys(user: &str, keys: Vec<String>, reset: bool) -> Command<Done> {
    Command::new("guest-ssh-add-authorized-keys")
        .arg("username", user)
        .arg("keys", keys)
        .arg("reset", reset)
}

/// Removes keys that may log in as a user over SSH.
#[must_use]
pub fn remove_ssh_keys(user: &str, keys: Vec<String>) -> Command<Done> {
    Command::new("guest-ssh-remove-authorized-keys")
        .arg("username", user)
        .arg("keys", keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_end_the_guest_have_no_reply() {
        assert!(!expects_reply(&shutdown(ShutdownMode::Powerdown)));
        assert!(!expects_reply(&suspend(SuspendTarget::Disk)));
        assert!(expects_reply(&ping()));
    }

    #[test]
    fn a_freeze_may_name_mount_points() {
        assert_eq!(freeze(None).name(), "guest-fsfreeze-freeze");
        let some = freeze(Some(vec!["/".into()]));
        assert_eq!(some.name(), "guest-fsfreeze-freeze-list");
        assert_eq!(some.arguments()["mountpoints"], serde_json::json!(["/"]));
    }
}
