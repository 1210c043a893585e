//! Every bound of the face, units last.

/// Connections of one ordinary user.
pub const USER_CLIENTS_MAX: usize = 4_096;
/// Connections of all ordinary users together.
pub const ORDINARY_CLIENTS_MAX: usize = 16_384;
/// Connections of the administrators: root, and the user the daemon runs as. An allowance of their
/// own, which nobody else can use up.
pub const ADMIN_CLIENTS_MAX: usize = 4_096;
/// Clients over a limit that are being told so at the same time; more are just closed.
pub const REFUSALS_MAX: usize = 1_024;
/// How long a client over a limit is waited for to make the call that is answered with the reason.
pub const REFUSAL_TIMEOUT_MS: u64 = 1_000;

/// Calls of one client that are worked on at the same time; more wait for their turn.
pub const CLIENT_CALLS_MAX: usize = 32;
/// Largest packet of a client that may change things.
pub const PACKET_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Largest packet of a client that may only look.
pub const READ_ONLY_PACKET_MAX_BYTES: usize = 1024 * 1024;

/// Bytes taken from a socket at once.
pub const READ_BYTES: usize = 16 * 1024;
/// Bytes waiting for a client to read them, past which nothing new is taken from it.
pub const OUTPUT_HIGH_WATER_BYTES: usize = 1024 * 1024;
/// Bytes of events waiting for a client to read them, past which it is disconnected.
pub const OUTPUT_MAX_BYTES: usize = 128 * 1024 * 1024;

/// Pieces of a stream on their way to one client.
pub const STREAM_PIECES_MAX: usize = 16;
/// Pieces of a stream that a client sent and nobody took yet.
pub const STREAM_INPUT_MAX: usize = 16;

/// Event subscriptions of one client.
pub const SUBSCRIPTIONS_MAX: usize = 1_024;

/// Silence after which a client that asked for keepalive is pinged.
pub const KEEPALIVE_INTERVAL_MS: u64 = 5_000;
/// Pings without answer after which it is given up.
pub const KEEPALIVE_COUNT: u32 = 5;

/// The size of a compiled pattern for names of events.
pub const EVENT_PATTERN_MAX_BYTES: usize = 64 * 1024;
