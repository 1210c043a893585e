//! Speaks libvirt's protocol to Stead or to a libvirtd.

mod connection;
mod copy;
mod dial;
mod error;
mod event_loop;
mod stream;
mod uri;

pub use connection::{Connection, Options};
pub use copy::copy_to_socket;
pub use error::{Error, Origin, os_message};
pub use stream::{Incoming, Outgoing, Stream};
pub use uri::{Proxy, Scope, Ssh, Transport, Uri, UriError};
/// The protocol's structures, for calls.
pub use wire;
