//! TCP ports of a machine's displays: those asked for are checked, the others
//! chosen, and the running definition says which they are.

use crate::error::Result;
use crate::ports::Ports;
use model::domain::Domain;
use model::domain::graphics::{Graphics, GraphicsType, ListenType, Port};
use std::net::IpAddr;

/// Where a display listens that says nothing about it.
const DEFAULT_LISTEN: &str = "127.0.0.1";

/// Takes the ports and writes them into the definition. On an error none is
/// kept.
pub(crate) fn take_ports(ports: &Ports, domain: &mut Domain) -> Result<Vec<u16>> {
    let mut taken = Vec::new();
    for graphics in &mut domain.devices.graphics {
        if let Err(error) = take_for(ports, graphics, &mut taken) {
            ports.release(&taken);
            return Err(error);
        }
    }
    Ok(taken)
}

/// Writes ports that are free now into a definition that is only shown; none is taken.
pub(crate) fn show_ports(ports: &Ports, domain: &mut Domain) -> Result<()> {
    for graphics in &mut domain.devices.graphics {
        if uses_network(graphics) && graphics.port.is_none_or(|port| port.0 <= 0) {
            show_listen_address(graphics);
            let port = ports.any(listen_address(graphics))?;
            ports.release(&[port]);
            graphics.port = Some(Port(i32::from(port)));
        }
    }
    Ok(())
}

fn take_for(ports: &Ports, graphics: &mut Graphics, taken: &mut Vec<u16>) -> Result<()> {
    if !uses_network(graphics) {
        return Ok(());
    }
    show_listen_address(graphics);
    let address = listen_address(graphics);
    let auto = graphics.is_autoport();
    // VNC's own port may be chosen; a WebSocket and SPICE's TLS port only if asked for.
    graphics.port = take(
        ports,
        address,
        graphics.port,
        auto || graphics.port.is_none(),
        taken,
    )?;
    graphics.websocket = match graphics.websocket {
        None => None,
        wanted => take(ports, address, wanted, true, taken)?,
    };
    Ok(())
}

fn take(
    ports: &Ports,
    address: Option<IpAddr>,
    wanted: Option<Port>,
    auto: bool,
    taken: &mut Vec<u16>,
) -> Result<Option<Port>> {
    let fixed = wanted
        .and_then(|port| u16::try_from(port.0).ok())
        .filter(|port| *port > 0);
    let port = match fixed {
        Some(port) if !auto => {
            ports.exactly(address, port)?;
            port
        }
        Some(port) if wanted.is_some() && !auto => port,
        _ if auto || wanted.is_some() => ports.any(address)?,
        _ => return Ok(wanted),
    };
    taken.push(port);
    Ok(Some(Port(i32::from(port))))
}

fn uses_network(graphics: &Graphics) -> bool {
    matches!(graphics.kind, GraphicsType::Vnc | GraphicsType::Spice)
        && graphics.socket.is_none()
        && graphics
            .listens
            .first()
            .is_none_or(|l| matches!(l.kind, ListenType::Address | ListenType::Network))
}

/// The running definition says where the display listens, also where that was left open.
fn show_listen_address(graphics: &mut Graphics) {
    if let Some(listen) = graphics.listens.first_mut()
        && listen.kind == ListenType::Address
        && listen.address.is_none()
    {
        let address = graphics
            .listen
            .get_or_insert_with(|| DEFAULT_LISTEN.to_owned());
        listen.address = Some(address.clone());
    }
}

fn listen_address(graphics: &Graphics) -> Option<IpAddr> {
    let listen = graphics.listens.first().and_then(|l| l.address.as_deref());
    listen
        .or(graphics.listen.as_deref())
        .unwrap_or(DEFAULT_LISTEN)
        .parse()
        .ok()
}
