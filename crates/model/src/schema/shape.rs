//! Which elements and attributes may stand where.

use crate::xml::{Node, XmlError, XmlErrorKind};

/// An element: its attributes and the elements in it.
pub(super) struct Shape {
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    children: &'static [Shape],
    open: bool,
}

impl Shape {
    /// An element with these elements in it and no attributes.
    pub(super) const fn of(name: &'static str, children: &'static [Shape]) -> Shape {
        Shape {
            name,
            required: &[],
            optional: &[],
            children,
            open: false,
        }
    }

    /// An element with text only, or nothing.
    pub(super) const fn leaf(name: &'static str) -> Shape {
        Shape::of(name, &[])
    }

    /// An element whose content others look at.
    pub(super) const fn open(name: &'static str) -> Shape {
        let mut shape = Shape::leaf(name);
        shape.open = true;
        shape
    }

    /// It must have these attributes.
    pub(super) const fn requires(mut self, names: &'static [&'static str]) -> Shape {
        self.required = names;
        self
    }

    /// It may have these attributes.
    pub(super) const fn takes(mut self, names: &'static [&'static str]) -> Shape {
        self.optional = names;
        self
    }

    /// Looks whether `node` has this shape.
    pub(super) fn check(&self, node: Node) -> Result<(), XmlError> {
        if self.open {
            return Ok(());
        }
        let known = |name: &str| self.required.contains(&name) || self.optional.contains(&name);
        if let Some((name, _)) = node.attributes().find(|(name, _)| !known(name)) {
            let message = format!("Invalid attribute {name} for element {}", node.name());
            return Err(node.attribute_error(name, XmlErrorKind::Schema, message));
        }
        if let Some(name) = self
            .required
            .iter()
            .find(|name| node.attribute(name).is_none())
        {
            let message = format!(
                "Element {} failed to validate attributes: {name} is missing",
                node.name()
            );
            return Err(node.error(XmlErrorKind::Schema, message));
        }
        for child in node.children() {
            // Extensions in namespaces of their own have a reader of their own.
            if child.namespace().is_some() {
                continue;
            }
            let shape = self.children.iter().find(|shape| child.is(shape.name));
            let shape = shape.ok_or_else(|| {
                let message = format!("Did not expect element {} there", child.name());
                child.error(XmlErrorKind::Schema, message)
            })?;
            shape.check(child)?;
        }
        Ok(())
    }
}
