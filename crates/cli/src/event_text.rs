//! Events in words.

use client::wire::frame::Packet;
use client::wire::procedure::Event;
use client::wire::remote::{self, RemoteDomain, TypedParam};
use serde_json::{Map, Value};

use crate::domain::show_uuid;

/// The kinds of events, by libvirt's number.
pub(crate) const NAMES: &[&str] = &[
    "lifecycle",
    "reboot",
    "rtc-change",
    "watchdog",
    "io-error",
    "graphics",
    "io-error-reason",
    "control-error",
    "block-job",
    "disk-change",
    "tray-change",
    "pm-wakeup",
    "pm-suspend",
    "balloon-change",
    "pm-suspend-disk",
    "device-removed",
    "block-job-2",
    "tunable",
    "agent-lifecycle",
    "device-added",
    "migration-iteration",
    "job-completed",
    "device-removal-failed",
    "metadata-change",
    "block-threshold",
    "memory-failure",
    "memory-device-size-change",
    "nic-mac-change",
];

/// The kinds of events of storage pools, by libvirt's number.
pub(crate) const POOL_NAMES: &[&str] = &["lifecycle", "refresh"];

/// The kinds of events of the host's devices, by libvirt's number.
pub(crate) const NODE_DEVICE_NAMES: &[&str] = &["lifecycle", "update"];

const NODE_DEVICE_LIFECYCLE: &[&str] = &["Created", "Deleted", "Defined", "Undefined"];
/// The kinds of events of networks, by libvirt's number.
pub(crate) const NETWORK_NAMES: &[&str] = &["lifecycle", "metadata-change"];

const NETWORK_LIFECYCLE: &[&str] = &["Defined", "Undefined", "Started", "Stopped"];

/// The kinds of events of secrets, by libvirt's number.
pub(crate) const SECRET_NAMES: &[&str] = &["lifecycle", "value-changed"];

const SECRET_LIFECYCLE: &[&str] = &["Defined", "Undefined"];

const POOL_LIFECYCLE: &[&str] = &[
    "Defined",
    "Undefined",
    "Started",
    "Stopped",
    "Created",
    "Deleted",
];

const LIFECYCLE: &[(&str, &[&str])] = &[
    ("Defined", &["Added", "Updated", "Renamed", "Snapshot"]),
    ("Undefined", &["Removed", "Renamed"]),
    (
        "Started",
        &["Booted", "Migrated", "Restored", "Snapshot", "Event wakeup"],
    ),
    (
        "Suspended",
        &[
            "Paused",
            "Migrated",
            "I/O Error",
            "Watchdog",
            "Restored",
            "Snapshot",
            "API error",
            "Post-copy",
            "Post-copy Error",
        ],
    ),
    (
        "Resumed",
        &[
            "Unpaused",
            "Migrated",
            "Snapshot",
            "Post-copy",
            "Post-copy Error",
        ],
    ),
    (
        "Stopped",
        &[
            "Shutdown",
            "Destroyed",
            "Crashed",
            "Migrated",
            "Saved",
            "Failed",
            "Snapshot",
        ],
    ),
    (
        "Shutdown",
        &[
            "Finished",
            "Finished after guest request",
            "Finished after host request",
        ],
    ),
    ("PMSuspended", &["Memory", "Disk"]),
    ("Crashed", &["Panicked", "Crashloaded"]),
];

const WATCHDOG: &[&str] = &[
    "none",
    "pause",
    "reset",
    "poweroff",
    "shutdown",
    "debug",
    "inject-nmi",
];
const IO_ERROR: &[&str] = &["none", "pause", "report"];
const GRAPHICS: &[&str] = &["connect", "initialize", "disconnect"];
const FAMILIES: &[&str] = &["IPv4", "IPv6", "unix"];
const BLOCK_JOBS: &[&str] = &[
    "Unknown job",
    "Block Pull",
    "Block Copy",
    "Block Commit",
    "Active Block Commit",
    "Backup",
];
const BLOCK_JOB_STATES: &[&str] = &["completed", "failed", "canceled", "ready"];
const DISK_CHANGES: &[&str] = &["changed", "dropped"];
const TRAY: &[&str] = &["opened", "closed"];
const AGENT: &[&str] = &["unknown", "connected", "disconnected"];
const AGENT_REASONS: &[&str] = &["unknown", "domain started", "channel event"];
const METADATA: &[&str] = &["description", "title", "element"];
const RECIPIENTS: &[&str] = &["hypervisor", "guest"];
const MEMORY_ACTIONS: &[&str] = &["ignore", "inject", "fatal", "reset"];

fn word(table: &[&'static str], number: i32) -> &'static str {
    usize::try_from(number)
        .ok()
        .and_then(|i| table.get(i))
        .copied()
        .unwrap_or("unknown")
}

fn lifecycle(event: i32, detail: i32) -> (&'static str, &'static str) {
    let known = usize::try_from(event).ok().and_then(|i| LIFECYCLE.get(i));
    known.map_or(("unknown", "unknown"), |(name, details)| {
        (name, word(details, detail))
    })
}

fn null(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("<null>")
}

/// One event, for people and for programs.
pub(crate) struct Told {
    /// Its lines.
    pub lines: String,
    /// Which `event` it is, what it is about, and its `details`.
    pub data: Map<String, Value>,
}

impl Told {
    /// An event about a thing of a `kind`, whose lines end with `rest`.
    fn about(event: &str, kind: &str, name: &str, rest: &str) -> Told {
        let shown = match kind {
            "domain" => format!("'{name}'"),
            _ => name.to_owned(),
        };
        let details: Vec<&str> = rest
            .trim_start_matches(':')
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let mut data = Map::new();
        data.insert("event".into(), event.into());
        data.insert(kind.replace(' ', "_"), name.into());
        if !details.is_empty() {
            data.insert("details".into(), details.join("\n").into());
        }
        let end = if rest.ends_with('\n') { "" } else { "\n" };
        let lines = format!("event '{event}' for {kind} {shown}{rest}{end}");
        Told { lines, data }
    }

    fn of_domain(event: &str, dom: &RemoteDomain, rest: &str) -> Told {
        Told::about(event, "domain", &dom.name, rest)
    }

    /// An event that tells values by name.
    fn of_params(event: &str, dom: &RemoteDomain, params: &[TypedParam]) -> Told {
        let line = |p: &TypedParam| format!("\t{}: {}\n", p.field, crate::params::show(&p.value));
        let lines: String = params.iter().map(line).collect();
        let mut told = Told::of_domain(event, dom, &format!(":\n{lines}"));
        let values = params.iter();
        let values = values.map(|p| (p.field.clone(), crate::params::json(&p.value)));
        told.data.insert("details".into(), values.collect());
        told
    }
}

/// An event of a domain, with the rest of its line as `format!` takes it.
macro_rules! told {
    ($event:expr, $dom:expr, $($rest:tt)+) => {
        Some(Told::of_domain($event, $dom, &format!($($rest)+)))
    };
}

/// An event in words; nothing for one that is of another kind or cannot be read.
pub(crate) fn of(packet: &Packet) -> Option<Told> {
    if packet.header.program != remote::PROGRAM {
        return None;
    }
    state_events(packet)
        .or_else(|| device_events(packet))
        .or_else(|| other_events(packet))
        .or_else(|| pool_events(packet))
        .or_else(|| node_device_events(packet))
        .or_else(|| secret_events(packet))
        .or_else(|| network_events(packet))
}

/// Decodes the packet if it carries this event.
fn decode<E: Event>(packet: &Packet) -> Option<E> {
    (packet.header.procedure == E::NUMBER)
        .then(|| packet.decode().ok())
        .flatten()
}

fn node_device_events(packet: &Packet) -> Option<Told> {
    if let Some(e) = decode::<remote::NodeDeviceEventLifecycleMsg>(packet) {
        let event = word(NODE_DEVICE_LIFECYCLE, e.event);
        return Some(Told::about(
            "lifecycle",
            "node device",
            &e.dev.name,
            &format!(": {event}"),
        ));
    }
    let e = decode::<remote::NodeDeviceEventUpdateMsg>(packet)?;
    Some(Told::about("update", "node device", &e.dev.name, ""))
}

fn pool_events(packet: &Packet) -> Option<Told> {
    if let Some(e) = decode::<remote::StoragePoolEventLifecycleMsg>(packet) {
        let event = word(POOL_LIFECYCLE, e.event);
        return Some(Told::about(
            "lifecycle",
            "storage pool",
            &e.pool.name,
            &format!(": {event}"),
        ));
    }
    let e = decode::<remote::StoragePoolEventRefreshMsg>(packet)?;
    Some(Told::about("refresh", "storage pool", &e.pool.name, ""))
}

fn secret_events(packet: &Packet) -> Option<Told> {
    if let Some(e) = decode::<remote::SecretEventLifecycleMsg>(packet) {
        let place = usize::try_from(e.event).ok();
        let event = place.and_then(|place| SECRET_LIFECYCLE.get(place));
        let event = event.unwrap_or(&"unknown");
        let uuid = show_uuid(&e.secret.uuid);
        return Some(Told::about(
            "lifecycle",
            "secret",
            &uuid,
            &format!(": {event}"),
        ));
    }
    let e = decode::<remote::SecretEventValueChangedMsg>(packet)?;
    let uuid = show_uuid(&e.secret.uuid);
    Some(Told::about("value-changed", "secret", &uuid, ""))
}

fn network_events(packet: &Packet) -> Option<Told> {
    let word = |words: &[&'static str], number: i32| {
        let place = usize::try_from(number).ok();
        *place
            .and_then(|place| words.get(place))
            .unwrap_or(&"unknown")
    };
    if let Some(e) = decode::<remote::NetworkEventLifecycleMsg>(packet) {
        let event = word(NETWORK_LIFECYCLE, e.event);
        return Some(Told::about(
            "lifecycle",
            "network",
            &e.net.name,
            &format!(": {event}"),
        ));
    }
    let e = decode::<remote::NetworkEventCallbackMetadataChangeMsg>(packet)?;
    let kind = word(METADATA, e.kind);
    let namespace = e.nsuri.unwrap_or_default();
    Some(Told::about(
        "metadata-change",
        "network",
        &e.net.name,
        &format!(": type {kind}, uri {namespace}"),
    ))
}

fn state_events(packet: &Packet) -> Option<Told> {
    if let Some(e) = decode::<remote::DomainEventCallbackLifecycleMsg>(packet) {
        let (event, detail) = lifecycle(e.msg.event, e.msg.detail);
        return told!("lifecycle", &e.msg.dom, ": {event} {detail}");
    }
    let plain = |name, dom: &RemoteDomain| Some(Told::of_domain(name, dom, ""));
    if let Some(e) = decode::<remote::DomainEventCallbackRebootMsg>(packet) {
        return plain("reboot", &e.msg.dom);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackControlErrorMsg>(packet) {
        return plain("control-error", &e.msg.dom);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackPmwakeupMsg>(packet) {
        return plain("pm-wakeup", &e.msg.dom);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackPmsuspendMsg>(packet) {
        return plain("pm-suspend", &e.msg.dom);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackPmsuspendDiskMsg>(packet) {
        return plain("pm-suspend-disk", &e.msg.dom);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackRtcChangeMsg>(packet) {
        return told!("rtc-change", &e.msg.dom, ": {}", e.msg.offset);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackWatchdogMsg>(packet) {
        return told!("watchdog", &e.msg.dom, ": {}", word(WATCHDOG, e.msg.action));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackBalloonChangeMsg>(packet) {
        return told!("balloon-change", &e.msg.dom, ": {}KiB", e.msg.actual);
    }
    None
}

fn device_events(packet: &Packet) -> Option<Told> {
    if let Some(e) = decode::<remote::DomainEventCallbackIoErrorMsg>(packet) {
        let e = &e.msg;
        let action = word(IO_ERROR, e.action);
        return told!(
            "io-error",
            &e.dom,
            ": {} ({}) {action}",
            e.src_path,
            e.dev_alias
        );
    }
    if let Some(e) = decode::<remote::DomainEventCallbackIoErrorReasonMsg>(packet) {
        let e = &e.msg;
        let action = word(IO_ERROR, e.action);
        let what = format!(
            "{} ({}) {action} due to {}",
            e.src_path, e.dev_alias, e.reason
        );
        return told!("io-error", &e.dom, ": {what}");
    }
    if let Some(e) = decode::<remote::DomainEventCallbackBlockJobMsg>(packet) {
        let e = &e.msg;
        return Some(Told::of_domain(
            "block-job",
            &e.dom,
            &block_job(e.kind, &e.path, e.status),
        ));
    }
    if let Some(e) = decode::<remote::DomainEventBlockJob2Msg>(packet) {
        let job = block_job(e.kind, &e.dst, e.status);
        return Some(Told::of_domain("block-job-2", &e.dom, &job));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackDiskChangeMsg>(packet) {
        let e = &e.msg;
        let (old, new) = (null(&e.old_src_path), null(&e.new_src_path));
        let reason = word(DISK_CHANGES, e.reason);
        return told!(
            "disk-change",
            &e.dom,
            " disk {}: {old} -> {new}: {reason}",
            e.dev_alias
        );
    }
    if let Some(e) = decode::<remote::DomainEventCallbackTrayChangeMsg>(packet) {
        let e = &e.msg;
        return told!(
            "tray-change",
            &e.dom,
            " disk {}: {}",
            e.dev_alias,
            word(TRAY, e.reason)
        );
    }
    if let Some(e) = decode::<remote::DomainEventCallbackDeviceRemovedMsg>(packet) {
        return told!("device-removed", &e.msg.dom, ": {}", e.msg.dev_alias);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackDeviceAddedMsg>(packet) {
        return told!("device-added", &e.dom, ": {}", e.dev_alias);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackDeviceRemovalFailedMsg>(packet) {
        return told!("device-removal-failed", &e.dom, ": {}", e.dev_alias);
    }
    if let Some(e) = decode::<remote::DomainEventCallbackGraphicsMsg>(packet) {
        return Some(graphics(&e.msg));
    }
    None
}

fn block_job(kind: i32, disk: &str, status: i32) -> String {
    let (job, status) = (word(BLOCK_JOBS, kind), word(BLOCK_JOB_STATES, status));
    format!(": {job} for {disk} {status}")
}

fn graphics(e: &remote::DomainEventGraphicsMsg) -> Told {
    let end = |a: &remote::GraphicsAddress| {
        format!("{} {} {}", word(FAMILIES, a.family), a.node, a.service)
    };
    let identity = |i: &remote::GraphicsIdentity| format!("\t{}={}\n", i.kind, i.name);
    let identities: String = e.subject.iter().map(identity).collect();
    let rest = format!(
        ": {} local[{}] remote[{}] {}\n{identities}",
        word(GRAPHICS, e.phase),
        end(&e.local),
        end(&e.remote),
        e.auth_scheme,
    );
    Told::of_domain("graphics", &e.dom, &rest)
}

fn other_events(packet: &Packet) -> Option<Told> {
    if let Some(e) = decode::<remote::DomainEventCallbackTunableMsg>(packet) {
        return Some(Told::of_params("tunable", &e.dom, &e.params));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackJobCompletedMsg>(packet) {
        return Some(Told::of_params("job-completed", &e.dom, &e.params));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackAgentLifecycleMsg>(packet) {
        let (state, reason) = (word(AGENT, e.state), word(AGENT_REASONS, e.reason));
        return told!(
            "agent-lifecycle",
            &e.dom,
            ": state: '{state}' reason: '{reason}'"
        );
    }
    if let Some(e) = decode::<remote::DomainEventCallbackMigrationIterationMsg>(packet) {
        return told!(
            "migration-iteration",
            &e.dom,
            ": iteration: '{}'",
            e.iteration
        );
    }
    if let Some(e) = decode::<remote::DomainEventCallbackMetadataChangeMsg>(packet) {
        return told!(
            "metadata-change",
            &e.dom,
            ": type {}, uri {}",
            word(METADATA, e.kind),
            null(&e.nsuri)
        );
    }
    if let Some(e) = decode::<remote::DomainEventBlockThresholdMsg>(packet) {
        let sizes = format!("{} {}", e.threshold, e.excess);
        return told!(
            "block-threshold",
            &e.dom,
            ": dev: {}({}) {sizes}",
            e.dev,
            null(&e.path)
        );
    }
    if let Some(e) = decode::<remote::DomainEventMemoryFailureMsg>(packet) {
        let (recipient, action) = (
            word(RECIPIENTS, e.recipient),
            word(MEMORY_ACTIONS, e.action),
        );
        let (required, recursive) = (e.flags & 1, e.flags >> 1 & 1);
        return told!(
            "memory-failure",
            &e.dom,
            ":\nrecipient: {recipient}\naction: {action}\n\
             flags:\n\taction required: {required}\n\trecursive: {recursive}"
        );
    }
    if let Some(e) = decode::<remote::DomainEventMemoryDeviceSizeChangeMsg>(packet) {
        return told!(
            "memory-device-size-change",
            &e.dom,
            ":\nalias: {}\nsize: {}",
            e.alias,
            e.size
        );
    }
    if let Some(e) = decode::<remote::DomainEventNicMacChangeMsg>(packet) {
        let macs = format!("oldMAC: {}\nnewMAC: {}\n", e.old_mac, e.new_mac);
        return told!("nic-mac-change", &e.dom, ":\nalias: {}\n{macs}", e.alias);
    }
    None
}
