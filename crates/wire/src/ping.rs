//! When to ask the other side for a sign of life, and when to give it up.

use std::time::Duration;

use crate::frame::{self, Header, Kind, Status};
use crate::keepalive::{PROGRAM, Procedure, VERSION};

/// The pings of one connection.
///
/// After `interval` without a packet a ping goes out; after `count` of them without any answer the
/// connection counts as dead.
#[derive(Clone, Debug)]
pub struct Pinger {
    interval: Duration,
    count: u32,
    left: u32,
    next: Duration,
}

/// What to do once a deadline has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// It has not passed yet.
    Nothing,
    /// Send a ping.
    Ping,
    /// Nobody is there any more.
    Dead,
}

impl Pinger {
    /// Starts at `now`.
    pub fn new(interval: Duration, count: u32, now: Duration) -> Pinger {
        Pinger {
            interval,
            count,
            left: count,
            next: now + interval,
        }
    }

    /// Something arrived.
    pub fn heard(&mut self, now: Duration) {
        self.left = self.count;
        self.next = now + self.interval;
    }

    /// When [`Pinger::tick`] has something to say.
    pub fn deadline(&self) -> Duration {
        self.next
    }

    /// Looks at the time.
    pub fn tick(&mut self, now: Duration) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + self.interval;
        match self.left.checked_sub(1) {
            None => Due::Dead,
            Some(left) => {
                self.left = left;
                Due::Ping
            }
        }
    }
}

/// A ping or pong packet.
pub(crate) fn message(procedure: Procedure) -> Vec<u8> {
    let header = Header {
        program: PROGRAM,
        version: VERSION,
        procedure: procedure.number(),
        kind: Kind::Event,
        serial: 0,
        status: Status::Ok,
    };
    // Without a body there is nothing that could be too long.
    frame::packet(header, &()).unwrap_or_default()
}

/// The procedure, if the packet is a ping or pong.
pub(crate) fn procedure_of(header: &Header) -> Option<Procedure> {
    let is_ours = header.program == PROGRAM && header.version == VERSION;
    match is_ours && header.kind == Kind::Event {
        true => Procedure::try_from(header.procedure).ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_side_is_pinged_and_then_given_up() {
        let mut pinger = Pinger::new(5 * SECOND, 2, Duration::ZERO);
        assert_eq!(pinger.tick(4 * SECOND), Due::Nothing);
        assert_eq!(pinger.tick(5 * SECOND), Due::Ping);
        assert_eq!(pinger.tick(10 * SECOND), Due::Ping);
        assert_eq!(pinger.deadline(), 15 * SECOND);
        assert_eq!(pinger.tick(15 * SECOND), Due::Dead);
    }

    #[test]
    fn any_sign_of_life_starts_the_count_again() {
        let mut pinger = Pinger::new(5 * SECOND, 1, Duration::ZERO);
        assert_eq!(pinger.tick(5 * SECOND), Due::Ping);
        pinger.heard(6 * SECOND);
        assert_eq!(pinger.tick(10 * SECOND), Due::Nothing);
        assert_eq!(pinger.tick(11 * SECOND), Due::Ping);
    }
}
