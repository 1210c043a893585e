//! Connection, run state and questions about the QEMU process.

use serde_json::Value;

use crate::qmp::reply::{
    AddedFd, ChardevInfo, CpuFast, CurrentMachine, IoThread, KvmInfo, NameInfo, StatusInfo,
    VersionInfo,
};
use crate::qmp::{Command, Done};

/// Leaves capability negotiation; must come first on a connection.
#[must_use]
pub fn qmp_capabilities() -> Command<Done> {
    Command::new("qmp_capabilities")
}

/// Asks for QEMU's version.
#[must_use]
pub fn query_version() -> Command<VersionInfo> {
    Command::new("query-version")
}

/// Asks for the run state.
#[must_use]
pub fn query_status() -> Command<StatusInfo> {
    Command::new("query-status")
}

/// Asks for the name given with `-name`.
#[must_use]
pub fn query_name() -> Command<NameInfo> {
    Command::new("query-name")
}

/// Asks whether KVM is there and in use.
#[must_use]
pub fn query_kvm() -> Command<KvmInfo> {
    Command::new("query-kvm")
}

/// Asks for the running machine type.
#[must_use]
pub fn query_current_machine() -> Command<CurrentMachine> {
    Command::new("query-current-machine")
}

/// Runs or resumes the guest.
#[must_use]
pub fn cont() -> Command<Done> {
    Command::new("cont")
}

/// Pauses the guest.
#[must_use]
pub fn stop() -> Command<Done> {
    Command::new("stop")
}

/// Ends the QEMU process at once.
#[must_use]
pub fn quit() -> Command<Done> {
    Command::new("quit")
}

/// Presses the guest's ACPI power button.
#[must_use]
pub fn system_powerdown() -> Command<Done> {
    Command::new("system_powerdown")
}

/// Presses the guest's reset button.
#[must_use]
pub fn system_reset() -> Command<Done> {
    Command::new("system_reset")
}

/// Wakes the guest from suspend to memory.
#[must_use]
pub fn system_wakeup() -> Command<Done> {
    Command::new("system_wakeup")
}

/// What QEMU does when the guest reboots, shuts down, panics, or its watchdog fires. The values
/// are QEMU's: `reset` or `shutdown`; `poweroff` or `pause`; `pause`, `shutdown`, `exit-failure`
/// or `none`; and `reset`, `shutdown`, `poweroff`, `pause`, `debug`, `none` or `inject-nmi`.
#[must_use]
pub fn set_action(
    reboot: Option<&str>,
    shutdown: Option<&str>,
    panic: Option<&str>,
    watchdog: Option<&str>,
) -> Command<Done> {
    Command::new("set-action")
        .maybe("reboot", reboot)
        .maybe("shutdown", shutdown)
        .maybe("panic", panic)
        .maybe("watchdog", watchdog)
}

/// Asks for the character devices and what they ended up connected to.
#[must_use]
pub fn query_chardev() -> Command<Vec<ChardevInfo>> {
    Command::new("query-chardev")
}

/// Asks for the virtual processors' threads, without disturbing them.
#[must_use]
pub fn query_cpus_fast() -> Command<Vec<CpuFast>> {
    Command::new("query-cpus-fast")
}

/// Asks for the I/O threads.
#[must_use]
pub fn query_iothreads() -> Command<Vec<IoThread>> {
    Command::new("query-iothreads")
}

/// Asks for the machine's slots for virtual processors.
#[must_use]
pub fn query_hotpluggable_cpus() -> Command<Value> {
    Command::new("query-hotpluggable-cpus")
}

/// Asks for the base memory and what is plugged on top, in bytes.
#[must_use]
pub fn query_memory_size_summary() -> Command<Value> {
    Command::new("query-memory-size-summary")
}

/// Runs a command line of the human monitor; the reply is its text.
#[must_use]
pub fn human_monitor_command(line: &str) -> Command<String> {
    Command::new("human-monitor-command").arg("command-line", line)
}

/// Hands QEMU the descriptor sent along, under a name which commands may refer to.
#[must_use]
pub fn getfd(name: &str) -> Command<Done> {
    Command::new("getfd").arg("fdname", name)
}

/// Takes back a descriptor given with [`getfd`].
#[must_use]
pub fn closefd(name: &str) -> Command<Done> {
    Command::new("closefd").arg("fdname", name)
}

/// Makes a set of the descriptor sent along, which `/dev/fdset/N` refers to; QEMU chooses its number.
#[must_use]
pub fn add_fd() -> Command<AddedFd> {
    Command::new("add-fd")
}

/// Removes a set of descriptors.
#[must_use]
pub fn remove_fd(fdset: u32) -> Command<Done> {
    Command::new("remove-fd").arg("fdset-id", fdset)
}

/// Reads one property of an object.
#[must_use]
pub fn qom_get(path: &str, property: &str) -> Command<Value> {
    Command::new("qom-get")
        .arg("path", path)
        .arg("property", property)
}

/// Sets one property of an object.
#[must_use]
pub fn qom_set(path: &str, property: &str, value: Value) -> Command<Done> {
    Command::new("qom-set")
        .arg("path", path)
        .arg("property", property)
        .arg("value", value)
}

/// Lists the members of an object.
#[must_use]
pub fn qom_list(path: &str) -> Command<Value> {
    Command::new("qom-list").arg("path", path)
}

/// Creates an object (a secret, an I/O thread, a memory backend, …).
#[must_use]
pub fn object_add(
    kind: &str,
    id: &str,
    properties: serde_json::Map<String, Value>,
) -> Command<Done> {
    Command::new("object-add")
        .args(properties)
        .arg("qom-type", kind)
        .arg("id", id)
}

/// Deletes an object.
#[must_use]
pub fn object_del(id: &str) -> Command<Done> {
    Command::new("object-del").arg("id", id)
}

/// Writes the guest's memory to `protocol` (`file:PATH` or `fd:NAME`).
#[must_use]
pub fn dump_guest_memory(protocol: &str, format: &str, detach: bool) -> Command<Done> {
    Command::new("dump-guest-memory")
        .arg("paging", false)
        .arg("protocol", protocol)
        .arg("format", format)
        .arg("detach", detach)
}

/// How far a dump in the background has come.
#[must_use]
pub fn query_dump() -> Command<Value> {
    Command::new("query-dump")
}

/// Writes a piece of the guest's memory to a file; `cpu` says whose virtual addresses are meant,
/// without it they are physical.
#[must_use]
pub fn memory_save(address: u64, size: u64, path: &str, cpu: Option<u32>) -> Command<Done> {
    let name = if cpu.is_some() { "memsave" } else { "pmemsave" };
    Command::new(name)
        .arg("val", address)
        .arg("size", size)
        .arg("filename", path)
        .maybe("cpu-index", cpu)
}

/// Makes the socket given with [`getfd`] under the name `descriptor` a client of the VNC or SPICE
/// server; `protocol` is `vnc` or `spice`.
#[must_use]
pub fn add_client(protocol: &str, descriptor: &str, skip_auth: bool) -> Command<Done> {
    Command::new("add_client")
        .arg("protocol", protocol)
        .arg("fdname", descriptor)
        .arg("skipauth", skip_auth)
}
