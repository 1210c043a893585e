//! Ports, listening sockets and defaults of displays.

use super::basics::xml_error;
use crate::domain::Domain;
use crate::domain::graphics::{Graphics, GraphicsType, Listen, ListenType, Port};
use crate::xml::{XmlError, YesNo};

/// Fills in the defaults of every display.
pub(super) fn complete(domain: &mut Domain) -> Result<(), XmlError> {
    for graphics in &mut domain.devices.graphics {
        complete_one(graphics)?;
    }
    Ok(())
}

fn complete_one(graphics: &mut Graphics) -> Result<(), XmlError> {
    match graphics.kind {
        GraphicsType::Vnc | GraphicsType::Rdp => complete_port(graphics),
        GraphicsType::Spice => complete_spice_ports(graphics),
        _ => return Ok(()),
    }
    complete_listens(graphics)?;
    if graphics.kind == GraphicsType::Spice {
        drop_portless_listen(graphics);
    }
    Ok(())
}

/// No port, or the old `-1`, means one chosen at start.
fn complete_port(graphics: &mut Graphics) {
    let given = graphics.port.filter(|p| p.0 > 0);
    let auto = match graphics.autoport {
        Some(given) => given.is_yes(),
        None => graphics.port.is_none_or(|p| p.0 <= 0),
    };
    graphics.autoport = Some(if auto { YesNo::Yes } else { YesNo::No });
    let chosen_later = if graphics.kind == GraphicsType::Rdp {
        Port(0)
    } else {
        Port(-1)
    };
    graphics.port = if auto { Some(chosen_later) } else { given };
    if graphics.websocket == Some(Port(0)) {
        graphics.websocket = None;
    }
}

fn complete_spice_ports(graphics: &mut Graphics) {
    let is_any = |port: Option<Port>| port == Some(Port(-1));
    let auto = graphics.is_autoport() || is_any(graphics.port) || is_any(graphics.tls_port);
    graphics.autoport = Some(if auto { YesNo::Yes } else { YesNo::No });
    if auto {
        graphics.port = None;
        graphics.tls_port = None;
    }
    graphics.port = graphics.port.filter(|p| p.0 != 0);
    graphics.tls_port = graphics.tls_port.filter(|p| p.0 != 0);
    if graphics.default_mode == Some(crate::domain::graphics::SpiceMode::Any) {
        graphics.default_mode = None;
    }
}

fn complete_listens(graphics: &mut Graphics) -> Result<(), XmlError> {
    if graphics.listens.is_empty() {
        let socket = graphics
            .socket
            .take()
            .filter(|_| graphics.kind == GraphicsType::Vnc);
        let kind = if socket.is_some() {
            ListenType::Socket
        } else {
            ListenType::Address
        };
        let address = graphics
            .listen
            .clone()
            .filter(|a| !a.is_empty() && socket.is_none());
        graphics.listens.push(Listen {
            kind,
            address,
            socket,
            ..Listen::default()
        });
    }
    for listen in &mut graphics.listens {
        listen.address = listen.address.take().filter(|a| !a.is_empty());
        if listen.kind == ListenType::Network && listen.network.is_none() {
            return Err(xml_error(
                "'network' attribute is required for listen type 'network'",
            ));
        }
    }
    let first = graphics
        .listens
        .iter()
        .find(|l| l.kind == ListenType::Address);
    let found = first.and_then(|l| l.address.clone());
    if let (Some(given), Some(found)) = (&graphics.listen, &found)
        && given != found
    {
        return Err(XmlError::unsupported(format!(
            "graphics 'listen' attribute '{given}' must match 'address' attribute of first listen \
             element (found '{found}')"
        )));
    }
    let first = &graphics.listens[0];
    match first.kind {
        ListenType::Socket => {
            let socket = first.socket.clone();
            graphics.listen = None;
            if graphics.kind == GraphicsType::Vnc {
                graphics.socket = socket;
            }
            graphics.port = None;
            graphics.tls_port = None;
            graphics.autoport = None;
        }
        ListenType::None => {
            graphics.listen = None;
            graphics.port = None;
            graphics.tls_port = None;
            graphics.autoport = None;
        }
        ListenType::Address | ListenType::Network => {
            graphics.listen = first.address.clone();
        }
    }
    Ok(())
}

/// SPICE without any port does not listen at all.
fn drop_portless_listen(graphics: &mut Graphics) {
    let silent = graphics.port.is_none()
        && graphics.tls_port.is_none()
        && graphics.autoport == Some(YesNo::No);
    let listen = &mut graphics.listens[0];
    if silent && listen.kind == ListenType::Address {
        *listen = Listen {
            kind: ListenType::None,
            ..Listen::default()
        };
        graphics.listen = None;
        graphics.autoport = None;
    }
}
