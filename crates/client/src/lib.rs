//! Speaks libvirt's protocol to Stead or to a libvirtd.

mod error;
mod uri;

pub use error::{Error, Origin, os_message};
pub use uri::{Scope, Transport, Uri, UriError};
