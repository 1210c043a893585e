//! TCP ports for the graphics servers of machines. A port is tried before it
//! is given out, since other programs take ports too.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::{GRAPHICS_PORT_END, GRAPHICS_PORT_FIRST};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// The ports in use by our machines.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    taken: Mutex<BTreeSet<u16>>,
}

impl Ports {
    /// A free port.
    pub(crate) fn any(&self, address: Option<IpAddr>) -> Result<u16> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let port = (GRAPHICS_PORT_FIRST..GRAPHICS_PORT_END)
            .find(|port| !taken.contains(port) && is_free(address, *port))
            .ok_or_else(|| {
                EngineError::new(
                    ErrorKind::ResourceUnavailable,
                    format!(
                        "no free TCP port for a display between {GRAPHICS_PORT_FIRST} and {GRAPHICS_PORT_END}"
                    ),
                )
            })?;
        taken.insert(port);
        Ok(port)
    }

    /// This very port, which the definition asks for.
    pub(crate) fn exactly(&self, address: Option<IpAddr>, port: u16) -> Result<()> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.contains(&port) || !is_free(address, port) {
            return Err(EngineError::new(
                ErrorKind::ResourceUnavailable,
                format!(
                    "port {port} for the machine's display is in use by another program or \
                     machine; choose another one or autoport='yes'"
                ),
            ));
        }
        taken.insert(port);
        Ok(())
    }

    /// A port that a machine found at start-up already uses.
    pub(crate) fn adopt(&self, port: u16) {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port);
    }

    /// Gives ports back.
    pub(crate) fn release(&self, ports: &[u16]) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            taken.remove(port);
        }
    }
}

fn is_free(address: Option<IpAddr>, port: u16) -> bool {
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    TcpListener::bind((address, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[test]
    fn a_port_is_given_out_once_and_not_while_others_use_it() {
        let ports = Ports::default();
        let first = ports.any(HERE).expect("a free port");
        let second = ports.any(HERE).expect("another");
        assert_ne!(first, second);
        assert!(ports.exactly(HERE, first).is_err());
        ports.release(&[first]);

        let other_program = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = other_program.local_addr().expect("address").port();
        let error = ports.exactly(HERE, port).expect_err("in use");
        assert_eq!(error.kind, ErrorKind::ResourceUnavailable);
    }
}
