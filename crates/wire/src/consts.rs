//! libvirt's constants as faces and clients need them, under libvirt's names.

pub mod domain;
pub mod event;
pub mod flags;
