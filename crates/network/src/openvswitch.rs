//! Ports of Open vSwitch, as arguments of `ovs-vsctl`.

use model::domain::interface::BandwidthLimit;
use model::domain::vlan::PortVlans;
use model::xml::Mac;
use uuid::Uuid;

use crate::plug::SwitchPlug;

/// How long the switch's database is waited for, in seconds.
pub const DATABASE_TIMEOUT_S: u32 = 5;

/// Bits of a byte: limits are given in bytes, and set in bits.
const BITS: u64 = 8;

/// A machine's port.
#[derive(Debug, Clone, PartialEq)]
pub struct SwitchPort {
    /// The device on the host.
    pub device: String,
    /// What it is plugged into.
    pub plug: SwitchPlug,
    /// The card's hardware address.
    pub mac: Mac,
    /// The machine it belongs to.
    pub machine: Uuid,
    /// What it may send.
    pub sending: Option<BandwidthLimit>,
}

fn begin() -> Vec<String> {
    vec![format!("--timeout={DATABASE_TIMEOUT_S}")]
}

/// One transaction that makes the port, in place of one of the same name that was left.
pub fn attach(port: &SwitchPort) -> Vec<String> {
    let SwitchPort { device, plug, .. } = port;
    let mut args = begin();
    args.extend(["--", "--if-exists", "del-port"].map(str::to_owned));
    args.push(device.clone());
    args.extend([
        "--".into(),
        "add-port".into(),
        plug.bridge.clone(),
        device.clone(),
    ]);
    args.extend(vlan_columns(plug.vlans.as_ref()));
    let ids = [
        ("attached-mac", Some(port.mac.to_string())),
        ("iface-id", Some(plug.interface_id.to_string())),
        ("vm-id", Some(port.machine.to_string())),
        ("port-profile", plug.profile.clone()),
        ("iface-status", Some("active".to_owned())),
    ];
    args.extend(["--", "set", "Interface"].map(str::to_owned));
    args.push(device.clone());
    for (key, value) in ids {
        args.extend(value.map(|value| format!("external-ids:{key}={}", quoted(&value))));
    }
    let rate = port.sending.as_ref().and_then(|limit| limit.average);
    if let (Some(limit), Some(rate)) = (&port.sending, rate) {
        args.push(format!("ingress_policing_rate={}", rate * BITS));
        args.extend(
            limit
                .burst
                .map(|burst| format!("ingress_policing_burst={}", burst * BITS)),
        );
    }
    args
}

/// One transaction after which none of the ports is there.
pub fn detach<'a>(devices: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut args = begin();
    for device in devices {
        args.extend(["--", "--if-exists", "del-port", device].map(str::to_owned));
    }
    args
}

/// The question for the devices of a machine that are still ports; a line each.
pub fn ports_of(machine: Uuid) -> Vec<String> {
    let mut args = begin();
    args.extend(["--bare", "--columns=name", "find", "Interface"].map(str::to_owned));
    args.push(format!(
        "external_ids:vm-id={}",
        quoted(&machine.to_string())
    ));
    args
}

fn vlan_columns(vlans: Option<&PortVlans>) -> Vec<String> {
    match vlans {
        None => Vec::new(),
        Some(PortVlans::Access(tag)) => vec![format!("tag={tag}")],
        Some(PortVlans::Trunk { tags, native }) => {
            let list: Vec<String> = tags.iter().map(u16::to_string).collect();
            let native = native.map(|native| {
                let mode = if native.tagged { "tagged" } else { "untagged" };
                [
                    format!("vlan_mode=native-{mode}"),
                    format!("tag={}", native.tag),
                ]
            });
            let trunks = format!("trunks={}", list.join(","));
            native.into_iter().flatten().chain([trunks]).collect()
        }
    }
}

/// A value as the database's own notation writes text.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
