//! XML in and out: errors with a position, bounded parsing, libvirt's layout
//! for writing, and the [`element!`] table that ties a Rust type to its XML.

mod element;
mod error;
mod read;
mod scalar;
mod write;

pub use element::Element;
pub(crate) use element::{element, keyword};
pub use error::{XmlError, XmlErrorKind};
pub use read::{
    DNSMASQ_NAMESPACE, Node, QEMU_NAMESPACE, XML_ATTRIBUTES_MAX, XML_DEPTH_MAX, XML_NODES_MAX,
    XML_SIZE_MAX_BYTES, expect_root, parse_document, root,
};
pub use scalar::{Decimal, Hex, Mac, OnOff, Scalar, UpperHex, YesNo};
pub use write::{XmlFlags, XmlWriter};
