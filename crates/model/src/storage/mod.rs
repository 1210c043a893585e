//! Storage pools and volumes: libvirt's XML of every kind of pool.
//!
//! - [`PoolKind`]: the kinds, and what the source of each takes.
//! - [`PoolDefinition`] with its [`PoolSource`]: a pool as a person writes it.
//! - [`VolumeDefinition`]: a volume to be made, and a volume as it is shown.
//! - [`capabilities_xml`]: what pools a host can have.
//!
//! Which kinds can be used is not decided here: every kind is read and written.

mod capabilities;
mod kind;
mod permissions;
mod pool;
mod source;
mod volume;

pub use capabilities::capabilities_xml;
pub use kind::{PoolKind, VOLUME_FORMATS, VolumeKind};
pub use permissions::Permissions;
pub use pool::{CowFeature, PoolDefinition, PoolSizes, RefreshAllocation};
pub use source::{
    Adapter, AdapterKind, ParentAddress, PoolAuth, PoolSource, SourceDevice, SourceHost,
    sources_xml,
};
pub use volume::{
    Capacity, Timestamp, Timestamps, VolumeBacking, VolumeDefinition, VolumeFeature, VolumeTarget,
};

use crate::xml::{Node, Scalar, XmlError, XmlErrorKind, XmlWriter};

/// A number of bytes as libvirt writes it: `<name unit='bytes'>N</name>`.
fn write_bytes(w: &mut XmlWriter, name: &str, unit: &str, bytes: u64) {
    w.begin(name);
    w.attr_str("unit", unit);
    w.text(&bytes);
    w.end(name);
}

/// A path without doubled and trailing slashes. Two at the very beginning stay, since some
/// systems mean another place by them.
fn clean_path(path: &str) -> String {
    let start = match path.bytes().take_while(|b| *b == b'/').count() {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() && start == "//" {
        return "//".to_owned();
    }
    format!("{start}{}", parts.join("/"))
}

/// An error of libvirt's kind `XML error`.
pub(crate) fn xml_error(node: &Node<'_, '_>, message: impl std::fmt::Display) -> XmlError {
    node.error(XmlErrorKind::Invalid, format!("XML error: {message}"))
}

/// An error of libvirt's kind `unsupported configuration`.
fn unsupported(node: &Node<'_, '_>, message: impl std::fmt::Display) -> XmlError {
    node.error(
        XmlErrorKind::Unsupported,
        format!("unsupported configuration: {message}"),
    )
}

/// The text of the child element `name`, unless it is empty or not there.
fn child_text(node: &Node<'_, '_>, name: &str) -> Option<String> {
    let text = node.child(name)?.text();
    (!text.is_empty()).then_some(text)
}

/// A word of a fixed list; anything else is refused with libvirt's words in front of it.
fn known_word<T: Scalar>(node: &Node<'_, '_>, word: &str, complaint: &str) -> Result<T, XmlError> {
    T::parse(word).ok_or_else(|| unsupported(node, format_args!("{complaint} {word}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_libvirt_does() {
        for (path, clean) in [
            ("/srv//p/", "/srv/p"),
            ("/", "/"),
            ("//", "//"),
            ("///a", "/a"),
            ("//host/share/", "//host/share"),
            ("share", "share"),
        ] {
            assert_eq!(clean_path(path), clean, "{path}");
        }
    }
}
