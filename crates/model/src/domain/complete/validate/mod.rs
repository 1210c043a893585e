//! What cannot work, refused in libvirt's words.

mod disks;
mod hostdevs;
mod machine;
mod memory;
mod others;
mod ranges;

use super::DefineContext;
use crate::domain::Domain;
use crate::xml::{XmlError, XmlErrorKind};

/// Checks a completed definition.
pub(super) fn check(domain: &Domain, context: &DefineContext) -> Result<(), XmlError> {
    machine::check(domain)?;
    memory::check(domain)?;
    disks::check(domain)?;
    hostdevs::check(domain)?;
    ranges::check(domain, context)?;
    others::check(domain, context)
}

/// Checks that must come before addresses are given out.
pub(super) fn check_early(domain: &Domain) -> Result<(), XmlError> {
    others::check_controllers(domain)
}

/// A refusal that libvirt words without a prefix.
fn plain(message: impl Into<String>) -> XmlError {
    XmlError::new(XmlErrorKind::Unsupported, message)
}

/// A refusal that libvirt calls an internal error.
fn internal(message: impl std::fmt::Display) -> XmlError {
    XmlError::new(
        XmlErrorKind::Unsupported,
        format!("internal error: {message}"),
    )
}
