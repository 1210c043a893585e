//! The arguments of `passt`, which connects a machine to the world as an
//! ordinary program of the host.

use model::domain::interface::{Interface, PortForward, PortRange};
use model::xml::YesNo;

/// The arguments for a card; passt talks to QEMU through the descriptor `socket`
/// and ends when QEMU lets go of it.
///
/// # Errors
/// What it cannot do.
pub fn arguments(interface: &Interface, socket: i32) -> Result<Vec<String>, String> {
    let mut args: Vec<String> = ["--foreground", "--quiet", "--one-off", "--fd"]
        .map(str::to_owned)
        .into();
    args.push(socket.to_string());
    let source = interface.source.as_deref();
    if let Some(device) = source.and_then(|source| source.dev.clone()) {
        args.extend(["--interface".into(), device]);
    }
    for ip in &interface.ips {
        args.extend(["--address".into(), ip.address.clone()]);
        if let Some(prefix) = ip.prefix {
            match ip.address.contains(':') {
                true if prefix != 64 => {
                    return Err(format!(
                        "passt gives machines IPv6 addresses with a prefix of 64 bits only, not {prefix}"
                    ));
                }
                true => {}
                false => args.extend(["--netmask".into(), prefix.to_string()]),
            }
        }
    }
    for forward in &interface.port_forwards {
        args.push(match forward.proto.as_str() {
            "tcp" => "--tcp-ports".into(),
            "udp" => "--udp-ports".into(),
            other => return Err(format!("unknown portForward proto value '{other}'")),
        });
        args.push(ports(forward)?);
    }
    Ok(args)
}

fn ports(forward: &PortForward) -> Result<String, String> {
    let mut text = forward.address.clone().unwrap_or_default();
    if let Some(device) = &forward.dev {
        text = format!("{text}%{device}");
    }
    if forward.ranges.is_empty() {
        return match text.is_empty() {
            true => Ok("all".into()),
            false => Ok(text),
        };
    }
    if !text.is_empty() {
        text.push('/');
    }
    let ranges: Result<Vec<String>, String> = forward.ranges.iter().map(range).collect();
    Ok(text + &ranges?.join(","))
}

fn range(range: &PortRange) -> Result<String, String> {
    let end = range.end.unwrap_or(range.start);
    let to = range.to.unwrap_or(range.start);
    let last = to + end.saturating_sub(range.start);
    if range.start == 0 || end < range.start || end.max(last) > u32::from(u16::MAX) {
        return Err(format!("{}-{end} is no range of ports", range.start));
    }
    let span = |start: u32, end: u32| match start == end {
        true => start.to_string(),
        false => format!("{start}-{end}"),
    };
    let own = span(range.start, end);
    Ok(match range.exclude {
        Some(YesNo::Yes) => format!("~{own}"),
        _ if to == range.start => own,
        _ => format!("{own}:{}", span(to, last)),
    })
}
