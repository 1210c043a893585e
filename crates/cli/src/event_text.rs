//! Events in words.

use client::wire::frame::Packet;
use client::wire::procedure::Event;
use client::wire::remote::{self, RemoteDomain, TypedParam};

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

fn params(params: &[TypedParam]) -> String {
    params
        .iter()
        .map(|p| format!("\t{}: {}\n", p.field, crate::params::show(&p.value)))
        .collect()
}

fn for_domain(name: &str, dom: &RemoteDomain) -> String {
    format!("event '{name}' for domain '{}'", dom.name)
}

/// The lines for an event; nothing for one that is not a domain's or cannot be read.
pub(crate) fn of(packet: &Packet) -> Option<String> {
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

fn node_device_events(packet: &Packet) -> Option<String> {
    if let Some(e) = decode::<remote::NodeDeviceEventLifecycleMsg>(packet) {
        let event = word(NODE_DEVICE_LIFECYCLE, e.event);
        return Some(format!(
            "event 'lifecycle' for node device {}: {event}\n",
            e.dev.name
        ));
    }
    let e = decode::<remote::NodeDeviceEventUpdateMsg>(packet)?;
    let name = e.dev.name;
    Some(format!("event 'update' for node device {name}\n"))
}

fn pool_events(packet: &Packet) -> Option<String> {
    if let Some(e) = decode::<remote::StoragePoolEventLifecycleMsg>(packet) {
        let event = word(POOL_LIFECYCLE, e.event);
        return Some(format!(
            "event 'lifecycle' for storage pool {}: {event}\n",
            e.pool.name
        ));
    }
    let e = decode::<remote::StoragePoolEventRefreshMsg>(packet)?;
    let name = e.pool.name;
    Some(format!("event 'refresh' for storage pool {name}\n"))
}

fn secret_events(packet: &Packet) -> Option<String> {
    if let Some(e) = decode::<remote::SecretEventLifecycleMsg>(packet) {
        let place = usize::try_from(e.event).ok();
        let event = place.and_then(|place| SECRET_LIFECYCLE.get(place));
        let event = event.unwrap_or(&"unknown");
        let uuid = show_uuid(&e.secret.uuid);
        return Some(format!("event 'lifecycle' for secret {uuid}: {event}\n"));
    }
    let e = decode::<remote::SecretEventValueChangedMsg>(packet)?;
    let uuid = show_uuid(&e.secret.uuid);
    Some(format!("event 'value-changed' for secret {uuid}\n"))
}

fn network_events(packet: &Packet) -> Option<String> {
    let word = |words: &[&'static str], number: i32| {
        let place = usize::try_from(number).ok();
        *place
            .and_then(|place| words.get(place))
            .unwrap_or(&"unknown")
    };
    if let Some(e) = decode::<remote::NetworkEventLifecycleMsg>(packet) {
        let event = word(NETWORK_LIFECYCLE, e.event);
        return Some(format!(
            "event 'lifecycle' for network {}: {event}\n",
            e.net.name
        ));
    }
    let e = decode::<remote::NetworkEventCallbackMetadataChangeMsg>(packet)?;
    let kind = word(METADATA, e.kind);
    let namespace = e.nsuri.unwrap_or_default();
    Some(format!(
        "event 'metadata-change' for network {}: type {kind}, uri {namespace}\n",
        e.net.name
    ))
}

fn state_events(packet: &Packet) -> Option<String> {
    if let Some(e) = decode::<remote::DomainEventCallbackLifecycleMsg>(packet) {
        let (event, detail) = lifecycle(e.msg.event, e.msg.detail);
        return Some(format!(
            "{}: {event} {detail}\n",
            for_domain("lifecycle", &e.msg.dom)
        ));
    }
    let plain = |name, dom: &RemoteDomain| Some(format!("{}\n", for_domain(name, dom)));
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
        let at = for_domain("rtc-change", &e.msg.dom);
        return Some(format!("{at}: {}\n", e.msg.offset));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackWatchdogMsg>(packet) {
        let at = for_domain("watchdog", &e.msg.dom);
        return Some(format!("{at}: {}\n", word(WATCHDOG, e.msg.action)));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackBalloonChangeMsg>(packet) {
        let at = for_domain("balloon-change", &e.msg.dom);
        return Some(format!("{at}: {}KiB\n", e.msg.actual));
    }
    None
}

fn device_events(packet: &Packet) -> Option<String> {
    if let Some(e) = decode::<remote::DomainEventCallbackIoErrorMsg>(packet) {
        let (e, at) = (&e.msg, for_domain("io-error", &e.msg.dom));
        let action = word(IO_ERROR, e.action);
        return Some(format!("{at}: {} ({}) {action}\n", e.src_path, e.dev_alias));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackIoErrorReasonMsg>(packet) {
        let (e, at) = (&e.msg, for_domain("io-error", &e.msg.dom));
        let action = word(IO_ERROR, e.action);
        let what = format!(
            "{} ({}) {action} due to {}",
            e.src_path, e.dev_alias, e.reason
        );
        return Some(format!("{at}: {what}\n"));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackBlockJobMsg>(packet) {
        let (e, at) = (&e.msg, for_domain("block-job", &e.msg.dom));
        return Some(block_job(&at, e.kind, &e.path, e.status));
    }
    if let Some(e) = decode::<remote::DomainEventBlockJob2Msg>(packet) {
        return Some(block_job(
            &for_domain("block-job-2", &e.dom),
            e.kind,
            &e.dst,
            e.status,
        ));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackDiskChangeMsg>(packet) {
        let (e, at) = (&e.msg, for_domain("disk-change", &e.msg.dom));
        let (old, new) = (null(&e.old_src_path), null(&e.new_src_path));
        let reason = word(DISK_CHANGES, e.reason);
        return Some(format!(
            "{at} disk {}: {old} -> {new}: {reason}\n",
            e.dev_alias
        ));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackTrayChangeMsg>(packet) {
        let (e, at) = (&e.msg, for_domain("tray-change", &e.msg.dom));
        return Some(format!(
            "{at} disk {}: {}\n",
            e.dev_alias,
            word(TRAY, e.reason)
        ));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackDeviceRemovedMsg>(packet) {
        let at = for_domain("device-removed", &e.msg.dom);
        return Some(format!("{at}: {}\n", e.msg.dev_alias));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackDeviceAddedMsg>(packet) {
        return Some(format!(
            "{}: {}\n",
            for_domain("device-added", &e.dom),
            e.dev_alias
        ));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackDeviceRemovalFailedMsg>(packet) {
        let at = for_domain("device-removal-failed", &e.dom);
        return Some(format!("{at}: {}\n", e.dev_alias));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackGraphicsMsg>(packet) {
        return Some(graphics(&e.msg));
    }
    None
}

fn block_job(at: &str, kind: i32, disk: &str, status: i32) -> String {
    let (job, status) = (word(BLOCK_JOBS, kind), word(BLOCK_JOB_STATES, status));
    format!("{at}: {job} for {disk} {status}\n")
}

fn graphics(e: &remote::DomainEventGraphicsMsg) -> String {
    let end = |a: &remote::GraphicsAddress| {
        format!("{} {} {}", word(FAMILIES, a.family), a.node, a.service)
    };
    let identity = |i: &remote::GraphicsIdentity| format!("\t{}={}\n", i.kind, i.name);
    let identities: String = e.subject.iter().map(identity).collect();
    format!(
        "{}: {} local[{}] remote[{}] {}\n{identities}",
        for_domain("graphics", &e.dom),
        word(GRAPHICS, e.phase),
        end(&e.local),
        end(&e.remote),
        e.auth_scheme,
    )
}

fn other_events(packet: &Packet) -> Option<String> {
    if let Some(e) = decode::<remote::DomainEventCallbackTunableMsg>(packet) {
        return Some(format!(
            "{}:\n{}",
            for_domain("tunable", &e.dom),
            params(&e.params)
        ));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackJobCompletedMsg>(packet) {
        return Some(format!(
            "{}:\n{}",
            for_domain("job-completed", &e.dom),
            params(&e.params)
        ));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackAgentLifecycleMsg>(packet) {
        let (state, reason) = (word(AGENT, e.state), word(AGENT_REASONS, e.reason));
        let at = for_domain("agent-lifecycle", &e.dom);
        return Some(format!("{at}: state: '{state}' reason: '{reason}'\n"));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackMigrationIterationMsg>(packet) {
        let at = for_domain("migration-iteration", &e.dom);
        return Some(format!("{at}: iteration: '{}'\n", e.iteration));
    }
    if let Some(e) = decode::<remote::DomainEventCallbackMetadataChangeMsg>(packet) {
        let at = for_domain("metadata-change", &e.dom);
        return Some(format!(
            "{at}: type {}, uri {}\n",
            word(METADATA, e.kind),
            null(&e.nsuri)
        ));
    }
    if let Some(e) = decode::<remote::DomainEventBlockThresholdMsg>(packet) {
        let at = for_domain("block-threshold", &e.dom);
        let sizes = format!("{} {}", e.threshold, e.excess);
        return Some(format!("{at}: dev: {}({}) {sizes}\n", e.dev, null(&e.path)));
    }
    if let Some(e) = decode::<remote::DomainEventMemoryFailureMsg>(packet) {
        let at = for_domain("memory-failure", &e.dom);
        let (recipient, action) = (
            word(RECIPIENTS, e.recipient),
            word(MEMORY_ACTIONS, e.action),
        );
        let (required, recursive) = (e.flags & 1, e.flags >> 1 & 1);
        return Some(format!(
            "{at}:\nrecipient: {recipient}\naction: {action}\n\
             flags:\n\taction required: {required}\n\trecursive: {recursive}\n"
        ));
    }
    if let Some(e) = decode::<remote::DomainEventMemoryDeviceSizeChangeMsg>(packet) {
        let at = for_domain("memory-device-size-change", &e.dom);
        return Some(format!("{at}:\nalias: {}\nsize: {}\n", e.alias, e.size));
    }
    if let Some(e) = decode::<remote::DomainEventNicMacChangeMsg>(packet) {
        let at = for_domain("nic-mac-change", &e.dom);
        let macs = format!("oldMAC: {}\nnewMAC: {}\n", e.old_mac, e.new_mac);
        return Some(format!("{at}:\nalias: {}\n{macs}", e.alias));
    }
    None
}
