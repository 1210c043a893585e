//! Who owns a pool's directory or a volume's file, and who may do what.

use super::xml_error;
use crate::xml::{Node, Scalar, XmlError, XmlWriter};

/// Owner, group, permission bits and security label; what is not given is left as it comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// The permission bits, at most 0o777.
    pub mode: Option<u32>,
    /// The owner's id.
    pub owner: Option<u32>,
    /// The group's id.
    pub group: Option<u32>,
    /// A label of SELinux or the like.
    pub label: Option<String>,
}

const MODE_MAX: u32 = 0o777;
/// Older descriptions say −1 where nothing is meant.
const NOBODY: &str = "-1";

impl Permissions {
    /// Reads the child element `permissions` of `node`.
    pub(super) fn of_child(node: &Node<'_, '_>) -> Result<Permissions, XmlError> {
        let mut permissions = Permissions::default();
        let Some(node) = node.child("permissions") else {
            return Ok(permissions);
        };
        for child in node.children() {
            let text = child.text();
            let text = text.trim();
            match child.name() {
                "mode" => {
                    let mode = u32::from_str_radix(text, 8).ok();
                    let mode = mode.filter(|mode| *mode <= MODE_MAX);
                    permissions.mode =
                        Some(mode.ok_or_else(|| xml_error(&child, "malformed octal mode"))?);
                }
                "owner" => permissions.owner = id(&child, text)?,
                "group" => permissions.group = id(&child, text)?,
                "label" => permissions.label = (!text.is_empty()).then(|| text.to_owned()),
                _ => return Err(child.unknown_element()),
            }
        }
        Ok(permissions)
    }

    /// Writes the element, unless there is nothing in it.
    pub(super) fn write(&self, w: &mut XmlWriter) {
        if *self == Permissions::default() {
            return;
        }
        w.begin("permissions");
        if let Some(mode) = self.mode {
            w.leaf("mode", &format!("0{mode:o}"));
        }
        for (name, id) in [("owner", self.owner), ("group", self.group)] {
            if let Some(id) = id {
                w.leaf(name, &id);
            }
        }
        if let Some(label) = &self.label {
            w.leaf("label", label);
        }
        w.end("permissions");
    }
}

fn id(node: &Node<'_, '_>, text: &str) -> Result<Option<u32>, XmlError> {
    if text == NOBODY {
        return Ok(None);
    }
    let complaint = || xml_error(node, format_args!("malformed {} element", node.name()));
    u32::parse(text).map(Some).ok_or_else(complaint)
}
