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
//!   Rules between parts are in [`domain::complete`]: defaults, implicit
//!   devices, addresses (PCI, drives, USB, virtio-serial), firmware, refusals.
//! - [`capabilities`], [`domain_capabilities`]: what a host and a QEMU can do.
//! - [`described_cpu`]: processors that are compared.
//! - [`nwfilter`]: network filters.
//! - [`schema`]: whether a document has only what its kind knows.
//! - [`metadata`]: title, description and free elements by namespace.
//!
//! # How a definition travels
//!
//! 1. [`Domain::parse`](domain::Domain::parse) reads what the user wrote.
//!    What is not understood is refused by name, never dropped.
//! 2. [`Domain::complete`](domain::Domain::complete) fills in what was left
//!    open, as libvirt would, and refuses what cannot work. What it needs to
//!    know of the host is in its [`DefineContext`](domain::complete::DefineContext).
//! 3. [`Domain::assign_aliases`](domain::Domain::assign_aliases) names the
//!    devices when the machine starts.
//! 4. [`Domain::to_xml`](domain::Domain::to_xml) writes it as libvirt does.
//!
//! To add an attribute or element, add a line to its table at the place where
//! libvirt writes it.

pub mod capabilities;
pub mod described_cpu;
pub mod domain;
pub mod domain_capabilities;
pub mod metadata;
pub mod network;
pub mod nodedev;
pub mod nwfilter;
pub mod osinfo;
pub mod schema;
pub mod secret;
pub mod snapshot;
pub mod storage;
pub mod sysinfo;
pub mod xml;

pub use xml::{XmlError, XmlErrorKind, XmlFlags};
