//! Every bound of the REST face, units last.

/// Clients connected at a time.
pub const CONNECTIONS_MAX: usize = 256;

/// The longest body of a request, in bytes.
pub const REQUEST_BODY_MAX_BYTES: usize = 4 * 1024 * 1024;

/// How long a client may take for the head of a request.
pub const REQUEST_HEAD_TIMEOUT_MS: u64 = 30_000;

/// How often an idle stream of events says that it is still there.
pub const EVENTS_KEEPALIVE_MS: u64 = 15_000;
