//! Migration, which is also how a machine's state is saved and restored.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::qmp::reply::MigrationInfo;
use crate::qmp::{Command, Done};

/// Where a migration stream goes to or comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// A descriptor given with [`getfd`](super::getfd); works for files and sockets in every
    /// QEMU.
    Descriptor(String),
    /// A set of descriptors given with [`add_fd`](super::add_fd), opened as a file (QEMU 8.2 and
    /// newer).
    FdSet(u32),
    /// A file from an offset on (QEMU 8.2 and newer).
    File {
        /// The path.
        path: String,
        /// Where in the file the stream begins.
        offset: u64,
    },
    /// A UNIX socket.
    Unix(String),
    /// A TCP address.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Nothing yet: an incoming QEMU waits for [`migrate_incoming`].
    Defer,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(name) => write!(f, "fd:{name}"),
            Self::FdSet(set) => write!(f, "file:/dev/fdset/{set}"),
            Self::File { path, offset: 0 } => write!(f, "file:{path}"),
            Self::File { path, offset } => write!(f, "file:{path},offset={offset}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Self::Defer => f.write_str("defer"),
        }
    }
}

/// Starts sending the machine's state.
#[must_use]
pub fn migrate(to: &Stream) -> Command<Done> {
    Command::new("migrate").arg("uri", to.to_string())
}

/// Starts receiving a machine's state in a QEMU started with `-incoming defer`.
#[must_use]
pub fn migrate_incoming(from: &Stream) -> Command<Done> {
    Command::new("migrate-incoming").arg("uri", from.to_string())
}

/// Gives up a migration under way.
#[must_use]
pub fn migrate_cancel() -> Command<Done> {
    Command::new("migrate_cancel")
}

/// Lets a migration which paused before the switch-over go on.
#[must_use]
pub fn migrate_continue(state: &str) -> Command<Done> {
    Command::new("migrate-continue").arg("state", state)
}

/// Switches to post-copy.
#[must_use]
pub fn migrate_start_postcopy() -> Command<Done> {
    Command::new("migrate-start-postcopy")
}

/// Turns migration capabilities on or off.
#[must_use]
pub fn migrate_set_capabilities(capabilities: &[(&str, bool)]) -> Command<Done> {
    let list: Vec<Value> = capabilities
        .iter()
        .map(|(capability, state)| json!({"capability": capability, "state": state}))
        .collect();
    Command::new("migrate-set-capabilities").arg("capabilities", list)
}

/// Sets migration parameters (`max-bandwidth` in bytes per second, `downtime-limit` in
/// milliseconds, …).
#[must_use]
pub fn migrate_set_parameters(parameters: Map<String, Value>) -> Command<Done> {
    Command::new("migrate-set-parameters").args(parameters)
}

/// Asks for the migration parameters.
#[must_use]
pub fn query_migrate_parameters() -> Command<Map<String, Value>> {
    Command::new("query-migrate-parameters")
}

/// Asks how far a migration has come.
#[must_use]
pub fn query_migrate() -> Command<MigrationInfo> {
    Command::new("query-migrate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_written_as_uris() {
        let tcp = Stream::Tcp {
            host: "::1".into(),
            port: 49152,
        };
        assert_eq!(tcp.to_string(), "tcp:[::1]:49152");
        let file = Stream::File {
            path: "/a".into(),
            offset: 4096,
        };
        assert_eq!(file.to_string(), "file:/a,offset=4096");
        assert_eq!(
            migrate(&Stream::Descriptor("save".into())).encode_unnumbered(),
            b"{\"arguments\":{\"uri\":\"fd:save\"},\"execute\":\"migrate\"}\n"
        );
    }
}
