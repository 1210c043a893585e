//! Domains, networks, pools, volumes, snapshots and capabilities: libvirt's XML, typed.
//!
//! No I/O, no clock, no randomness: text in, types out, text back. What is
//! needed from the outside comes in as a value.
//!
//! # Layout
//!
//! - [`xml`]: bounded reading with line and column, writing in libvirt's
//!   layout, and the macros that declare a type and its element as one table.
//! - [`domain`]: [`Domain`](domain::Domain), one module per part or device.
//! - [`metadata`]: title, description and free elements by namespace.
//!
//! # How a definition travels
//!
//! 1. [`Domain::parse`](domain::Domain::parse) reads what the user wrote.
//!    What is not understood is refused by name, never dropped.
//! 2. [`Domain::to_xml`](domain::Domain::to_xml) writes it as libvirt does.
//!
//! To add an attribute or element, add a line to its table at the place where
//! libvirt writes it.

pub mod capabilities;
pub mod domain;
pub mod domain_capabilities;
pub mod metadata;
pub mod sysinfo;
pub mod xml;

pub use xml::{XmlError, XmlErrorKind, XmlFlags};
