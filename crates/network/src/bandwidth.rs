//! Limits of a device's traffic, as commands of tc.

use std::fmt::Write;

use model::domain::interface::{Bandwidth, BandwidthLimit};

/// Bytes of the shortest burst that a limit can keep its rate with.
const BURST_MIN_KIB: u64 = 8;
/// KiB of the queue that incoming traffic is policed with where none is said.
const OUTBOUND_BURST_MIN_KIB: u64 = 64;
/// The largest packet counted while policing, in KiB.
const PACKET_KIB: u64 = 64;

/// What a machine may send: KiB per second, and KiB at once.
pub fn sending(bandwidth: &Bandwidth) -> Option<(u64, u64)> {
    let limit = bandwidth.outbound.as_ref()?;
    let average = limit.average.filter(|rate| *rate > 0)?;
    let burst = limit.burst.unwrap_or(average);
    Some((average, burst.max(OUTBOUND_BURST_MIN_KIB)))
}

/// The batch that makes a device's limits so; the first lines take older ones away
/// and may fail.
pub fn batch(device: &str, bandwidth: Option<&Bandwidth>) -> String {
    let mut out = format!("qdisc del dev {device} root\nqdisc del dev {device} ingress\n");
    let Some(bandwidth) = bandwidth else {
        return out;
    };
    if let Some(limit) = &bandwidth.inbound {
        inbound(device, limit, &mut out);
    }
    if let Some(limit) = &bandwidth.outbound {
        outbound(device, limit, &mut out);
    }
    out
}

fn inbound(device: &str, limit: &BandwidthLimit, out: &mut String) {
    let Some(average) = limit.average.or(limit.floor).filter(|rate| *rate > 0) else {
        return;
    };
    let peak = limit.peak.filter(|peak| *peak > 0).unwrap_or(average);
    let burst = limit
        .burst
        .filter(|b| *b > 0)
        .unwrap_or_else(|| (average / 100).max(BURST_MIN_KIB));
    let _ = writeln!(out, "qdisc add dev {device} root handle 1: htb default 1");
    let _ = writeln!(
        out,
        "class add dev {device} parent 1: classid 1:1 htb rate {average}kbps ceil {peak}kbps burst {burst}kb"
    );
}

fn outbound(device: &str, limit: &BandwidthLimit, out: &mut String) {
    let Some(average) = limit.average.filter(|rate| *rate > 0) else {
        return;
    };
    let burst = limit.burst.unwrap_or(average).max(OUTBOUND_BURST_MIN_KIB);
    let _ = writeln!(out, "qdisc add dev {device} ingress");
    let _ = writeln!(
        out,
        "filter add dev {device} parent ffff: protocol all u32 match u32 0 0 police rate {average}kbps burst {burst}kb mtu {PACKET_KIB}kb drop flowid :1"
    );
}
