//! What QEMU sends: one JSON object per line.

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

/// The first thing QEMU says on a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Major, minor and micro version of QEMU.
    pub version: (u32, u32, u32),
    /// The distributor's package string; empty where there is none.
    pub package: String,
}

/// One message from QEMU.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// QEMU introduces itself; commands may follow.
    Greeting(Greeting),
    /// A command succeeded.
    Return {
        /// The number the command was sent with.
        id: Option<u64>,
        /// The reply, to be read with [`Command::parse`](super::Command::parse).
        value: Value,
    },
    /// A command failed.
    Error {
        /// The number the command was sent with; absent if QEMU could not read the command.
        id: Option<u64>,
        /// QEMU's class of error: `GenericError`, `CommandNotFound`, `DeviceNotFound`, …
        class: String,
        /// QEMU's own words.
        desc: String,
    },
    /// Something happened by itself.
    Event {
        /// The event's name, in capitals.
        name: String,
        /// Its data; an empty object where it has none.
        data: Value,
        /// Seconds since the epoch, or -1 where QEMU has no time.
        seconds: i64,
        /// Microseconds within that second.
        micros: i64,
    },
}

/// A line was not a QMP message.
#[derive(Debug, Error)]
pub enum MessageError {
    /// The line is not JSON.
    #[error("QEMU sent a line which is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The line is JSON but no message of the protocol.
    #[error("QEMU sent a message which is none of greeting, return, error or event")]
    Shape,
}

#[derive(Deserialize)]
struct RawGreeting {
    version: RawVersion,
}

#[derive(Deserialize)]
struct RawVersion {
    qemu: RawTriple,
    #[serde(default)]
    package: String,
}

#[derive(Deserialize)]
struct RawTriple {
    major: u32,
    minor: u32,
    micro: u32,
}

#[derive(Deserialize)]
struct RawError {
    class: String,
    desc: String,
}

#[derive(Deserialize)]
struct RawTime {
    seconds: i64,
    microseconds: i64,
}

impl Message {
    /// Reads one line.
    ///
    /// # Errors
    /// If the line is not JSON, or not a message of the protocol.
    pub fn parse(line: &[u8]) -> Result<Self, MessageError> {
        let mut object: Map<String, Value> = serde_json::from_slice(line)?;
        if let Some(value) = object.remove("return") {
            return Ok(Self::Return {
                id: take_id(&mut object)?,
                value,
            });
        }
        if let Some(error) = object.remove("error") {
            let RawError { class, desc } = serde_json::from_value(error)?;
            return Ok(Self::Error {
                id: take_id(&mut object)?,
                class,
                desc,
            });
        }
        if let Some(name) = object.remove("event") {
            return Self::event(name, object);
        }
        let greeting = object.remove("QMP").ok_or(MessageError::Shape)?;
        let RawVersion { qemu, package } = serde_json::from_value::<RawGreeting>(greeting)?.version;
        let version = (qemu.major, qemu.minor, qemu.micro);
        Ok(Self::Greeting(Greeting { version, package }))
    }

    fn event(name: Value, mut object: Map<String, Value>) -> Result<Self, MessageError> {
        let Value::String(name) = name else {
            return Err(MessageError::Shape);
        };
        let time = object.remove("timestamp").ok_or(MessageError::Shape)?;
        let RawTime {
            seconds,
            microseconds,
        } = serde_json::from_value(time)?;
        let data = object
            .remove("data")
            .unwrap_or_else(|| Value::Object(Map::new()));
        Ok(Self::Event {
            name,
            data,
            seconds,
            micros: microseconds,
        })
    }
}

fn take_id(object: &mut Map<String, Value>) -> Result<Option<u64>, MessageError> {
    match object.remove("id") {
        None => Ok(None),
        Some(id) => id.as_u64().map(Some).ok_or(MessageError::Shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_greeting_names_the_version() {
        let line = br#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10},
            "package": "Debian 1:10.0.2"}, "capabilities": ["oob"]}}"#;
        let greeting = Greeting {
            version: (10, 0, 2),
            package: "Debian 1:10.0.2".into(),
        };
        assert_eq!(Message::parse(line).unwrap(), Message::Greeting(greeting));
    }

    #[test]
    fn replies_carry_their_number() {
        let parsed = Message::parse(br#"{"return": {}, "id": 7}"#).unwrap();
        assert_eq!(
            parsed,
            Message::Return {
                id: Some(7),
                value: json!({})
            }
        );
        let line = br#"{"id": 8, "error": {"class": "GenericError", "desc": "no"}}"#;
        let error = Message::Error {
            id: Some(8),
            class: "GenericError".into(),
            desc: "no".into(),
        };
        assert_eq!(Message::parse(line).unwrap(), error);
    }

    #[test]
    fn events_have_a_time_and_perhaps_data() {
        let line = br#"{"timestamp": {"seconds": 5, "microseconds": 6}, "event": "STOP"}"#;
        let stop = Message::Event {
            name: "STOP".into(),
            data: json!({}),
            seconds: 5,
            micros: 6,
        };
        assert_eq!(Message::parse(line).unwrap(), stop);
    }

    #[test]
    fn other_shapes_are_errors() {
        for line in [
            "",
            "[]",
            "{}",
            "nul",
            r#"{"return": 1, "id": "x"}"#,
            r#"{"event": "A"}"#,
        ] {
            assert!(Message::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow() {
        let line = format!("{{\"return\": {}", "[".repeat(100_000));
        assert!(Message::parse(line.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&line);
        }

        #[test]
        fn near_misses_are_read_or_refused(
            key in "return|error|event|QMP|id|timestamp|data|class|desc",
            value in "\\{\\}|1|\"x\"|\\[\\]|null|\\{\"class\":\"a\",\"desc\":\"b\"\\}",
        ) {
            let line = format!("{{\"{key}\":{value}}}");
            if let Ok(message) = Message::parse(line.as_bytes()) {
                let possible = matches!(message, Message::Return { .. } | Message::Error { .. });
                prop_assert!(possible);
            }
        }
    }
}
