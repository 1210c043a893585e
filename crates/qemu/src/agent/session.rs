//! One conversation with the guest agent: synchronise, ask, take the answer.

use serde_json::Value;
use thiserror::Error;

use super::{AGENT_LINE_MAX_BYTES, AGENT_SENTINEL};
use crate::qmp::{Command, LineDecoder, Message};

/// A command is already under way; the agent answers one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("another guest agent command is under way")]
pub struct Busy;

/// Why a command got no reply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The agent refused or failed.
    #[error("{desc}")]
    Refused {
        /// QEMU's class of error.
        class: String,
        /// The agent's own words.
        desc: String,
    },
    /// The agent sent what is no reply.
    #[error("the guest agent sent something which is no reply: {0}")]
    Garbled(String),
}

/// What came of bytes that were received.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing yet.
    Waiting,
    /// Send these bytes to the agent.
    Send(Vec<u8>),
    /// The command is over.
    Finished(Result<Value, Failure>),
}

#[derive(Debug)]
enum State {
    Idle,
    /// The synchronisation with this number was sent; the command's bytes wait.
    Syncing(u64, Vec<u8>),
    /// The command was sent.
    Asked,
}

/// The state of the channel to one guest's agent.
#[derive(Debug)]
pub struct Session {
    decoder: LineDecoder,
    state: State,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session on a channel that was just opened.
    #[must_use]
    pub fn new() -> Self {
        Self {
            decoder: LineDecoder::new(AGENT_LINE_MAX_BYTES),
            state: State::Idle,
        }
    }

    /// Begins a command and returns the bytes to send first. `sync` is a number not used before
    /// on this channel; the agent gives it back.
    ///
    /// # Errors
    /// If a command is under way.
    pub fn begin<R>(&mut self, command: &Command<R>, sync: u64) -> Result<Vec<u8>, Busy> {
        if !matches!(self.state, State::Idle) {
            return Err(Busy);
        }
        // The agent keeps numbers in a signed 64-bit integer.
        let sync = sync & i64::MAX as u64;
        self.state = State::Syncing(sync, command.encode_unnumbered());
        let mut bytes = vec![AGENT_SENTINEL];
        let ask = Command::<u64>::new("guest-sync-delimited").arg("id", sync);
        bytes.extend(ask.encode_unnumbered());
        Ok(bytes)
    }

    /// Whether the command itself has been sent. If a caller gives up before, the guest will
    /// never run it.
    #[must_use]
    pub fn asked(&self) -> bool {
        matches!(self.state, State::Asked)
    }

    /// Gives the present command up, because its time is over or the channel closed. A late
    /// answer to it is ignored.
    pub fn abandon(&mut self) {
        self.state = State::Idle;
        self.decoder.clear();
    }

    /// Takes bytes from the channel. Call again with no bytes after a [`Outcome::Send`].
    pub fn receive(&mut self, bytes: &[u8]) -> Outcome {
        self.decoder.push(bytes);
        while let Some(line) = self.decoder.next_line() {
            let outcome = match &self.state {
                State::Idle => Outcome::Waiting,
                State::Syncing(sync, _) => match line {
                    Ok(line) if answers(&line, *sync) => self.ask(),
                    _ => Outcome::Waiting,
                },
                State::Asked => {
                    self.state = State::Idle;
                    match line {
                        Ok(line) => Outcome::Finished(read(&line)),
                        Err(long) => Outcome::Finished(Err(Failure::Garbled(long.to_string()))),
                    }
                }
            };
            if outcome != Outcome::Waiting {
                return outcome;
            }
        }
        Outcome::Waiting
    }

    fn ask(&mut self) -> Outcome {
        match std::mem::replace(&mut self.state, State::Asked) {
            State::Syncing(_, command) => Outcome::Send(command),
            other => {
                self.state = other;
                Outcome::Waiting
            }
        }
    }
}

/// Whether a line holds, after the last sentinel, the answer to the synchronisation `sync`.
fn answers(line: &[u8], sync: u64) -> bool {
    let Some(mark) = line.iter().rposition(|&byte| byte == AGENT_SENTINEL) else {
        return false;
    };
    match Message::parse(&line[mark + 1..]) {
        Ok(Message::Return { value, .. }) => value.as_u64() == Some(sync),
        _ => false,
    }
}

fn read(line: &[u8]) -> Result<Value, Failure> {
    // A sentinel in front means that the agent answers with a delimiter once more; harmless.
    let line = match line.iter().rposition(|&byte| byte == AGENT_SENTINEL) {
        Some(mark) => &line[mark + 1..],
        None => line,
    };
    match Message::parse(line) {
        Ok(Message::Return { value, .. }) => Ok(value),
        Ok(Message::Error { class, desc, .. }) => Err(Failure::Refused { class, desc }),
        Ok(_) => Err(Failure::Garbled("neither a return nor an error".to_owned())),
        Err(error) => Err(Failure::Garbled(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::commands;
    use proptest::prelude::*;
    use serde_json::json;

    fn synced(session: &mut Session, sync: u64) {
        session.begin(&commands::ping(), sync).unwrap();
        let answer = format!("\u{0}{{\"return\": {sync}}}\n").into_bytes();
        let marked: Vec<u8> = answer
            .into_iter()
            .map(|byte| if byte == 0 { 0xFF } else { byte })
            .collect();
        let sent = Outcome::Send(b"{\"execute\":\"guest-ping\"}\n".to_vec());
        assert_eq!(session.receive(&marked), sent);
        assert!(session.asked());
    }

    #[test]
    fn a_command_follows_its_synchronisation() {
        let mut session = Session::new();
        let first = session.begin(&commands::ping(), 42).unwrap();
        let expected: &[u8] =
            b"\xFF{\"arguments\":{\"id\":42},\"execute\":\"guest-sync-delimited\"}\n";
        assert_eq!(first, expected);
        assert!(!session.asked());
        assert_eq!(session.begin(&commands::ping(), 43), Err(Busy));
        session.abandon();
        synced(&mut session, 44);
        let finished = Outcome::Finished(Ok(json!({})));
        assert_eq!(session.receive(b"{\"return\": {}}\n"), finished);
        assert!(session.begin(&commands::ping(), 45).is_ok());
    }

    #[test]
    fn stale_answers_before_the_synchronisation_are_ignored() {
        let mut session = Session::new();
        session.begin(&commands::ping(), 7).unwrap();
        assert_eq!(
            session.receive(b"{\"return\": {}}\n\xFF{\"return\": 6}\n"),
            Outcome::Waiting
        );
        let outcome = session.receive(b"{\"half\xFF{\"return\": 7}\n");
        assert!(matches!(outcome, Outcome::Send(_)));
    }

    #[test]
    fn a_refusal_keeps_the_agents_words() {
        let mut session = Session::new();
        synced(&mut session, 1);
        let line = b"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"not found\"}}\n";
        let refused = Failure::Refused {
            class: "CommandNotFound".into(),
            desc: "not found".into(),
        };
        assert_eq!(session.receive(line), Outcome::Finished(Err(refused)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                Just(b"\xFF{\"return\": 5}\n".to_vec()),
                Just(b"{\"return\": {}}\n".to_vec()),
            ], 0..20)) {
            let mut session = Session::new();
            session.begin(&commands::ping(), 5).unwrap();
            for piece in pieces {
                let was_asked = session.asked();
                match session.receive(&piece) {
                    Outcome::Finished(_) => {
                        prop_assert!(was_asked);
                        session.begin(&commands::ping(), 5).unwrap();
                    }
                    Outcome::Send(_) => prop_assert!(!was_asked),
                    Outcome::Waiting => {}
                }
            }
        }
    }
}
