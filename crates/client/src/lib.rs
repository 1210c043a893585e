//! Speaks libvirt's protocol to Stead or to a libvirtd, and Stead's own REST API.

mod connection;
mod content;
mod copy;
mod dial;
mod error;
mod event_loop;
mod rest;
mod stream;
mod unsent;
mod uri;

/// The types of the REST API.
pub use api;
pub use connection::{Connection, Options};
pub use content::Content;
pub use copy::copy_to_socket;
pub use error::{Error, Origin, os_message};
pub use rest::{Rest, segment};
pub use stream::{Incoming, Outgoing, PIECE_BYTES, Piece, ROOM_BYTES, Stream};
pub use sys::open_files::inherited;
/// Where a file has data and where holes.
pub use sys::sparse::{Stretch, clear, stretch};
pub use uri::{Proxy, Scope, Ssh, Transport, Uri, UriError};
/// The protocol's structures, for calls.
pub use wire;
