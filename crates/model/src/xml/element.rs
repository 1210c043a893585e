//! The tie between a Rust type and its element: the [`Element`] trait, and the
//! macros that write it from a table in the order libvirt writes the XML.

use super::{Node, XmlError, XmlWriter};

/// A type that is read from, and written as, one element.
///
/// A type may also be only a part of an element (the address and alias that
/// every device has): then its owner passes attributes and children on to it.
pub trait Element: Default {
    /// Takes attribute `name` of `node`; `false` when it is not one of ours.
    fn take_attribute(&mut self, node: Node, name: &str, value: &str) -> Result<bool, XmlError> {
        let _ = (node, name, value);
        Ok(false)
    }

    /// Takes child element `child`; `false` when it is not one of ours.
    fn take_child(&mut self, child: Node) -> Result<bool, XmlError> {
        let _ = child;
        Ok(false)
    }

    /// Takes the text, and checks that what is required was given.
    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        let _ = node;
        Ok(())
    }

    /// Writes the attributes.
    fn write_attributes(&self, w: &mut XmlWriter) {
        let _ = w;
    }

    /// Writes the text and the child elements.
    fn write_children(&self, w: &mut XmlWriter) {
        let _ = w;
    }

    /// Whether the element should be left out (nothing to show under the writer's flags).
    fn hidden(&self, w: &XmlWriter) -> bool {
        let _ = w;
        false
    }

    /// Reads an element; what it does not know is refused by name.
    fn parse(node: Node) -> Result<Self, XmlError> {
        let mut this = Self::default();
        for (name, value) in node.attributes() {
            if !this.take_attribute(node, name, value)? {
                return Err(node.unknown_attribute(name));
            }
        }
        for child in node.children() {
            if child.is_foreign() || !this.take_child(child)? {
                return Err(child.unknown_element());
            }
        }
        this.finish(node)?;
        Ok(this)
    }

    /// Writes the element under `name`.
    fn write(&self, name: &str, w: &mut XmlWriter) {
        if self.hidden(w) {
            return;
        }
        w.begin(name);
        self.write_attributes(w);
        self.write_children(w);
        w.end(name);
    }
}

/// Large or recursive parts are kept behind a pointer.
impl<T: Element> Element for Box<T> {
    fn take_attribute(&mut self, node: Node, name: &str, value: &str) -> Result<bool, XmlError> {
        (**self).take_attribute(node, name, value)
    }

    fn take_child(&mut self, child: Node) -> Result<bool, XmlError> {
        (**self).take_child(child)
    }

    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        (**self).finish(node)
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        (**self).write_attributes(w);
    }

    fn write_children(&self, w: &mut XmlWriter) {
        (**self).write_children(w);
    }

    fn hidden(&self, w: &XmlWriter) -> bool {
        (**self).hidden(w)
    }
}

/// Declares a set of words as an enum; the first is its default.
macro_rules! keyword {
    ($(#[$meta:meta])* pub enum $name:ident {
        $first:ident = $first_word:literal $(, $variant:ident = $word:literal)* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum $name {
            #[doc = concat!("`", $first_word, "`")]
            #[default]
            $first,
            $(#[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl $name {
            /// Every word, in libvirt's order.
            pub const ALL: &[$name] = &[$name::$first $(, $name::$variant)*];

            /// The word as it stands in XML.
            pub fn as_str(self) -> &'static str {
                match self {
                    $name::$first => $first_word,
                    $($name::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::xml::Scalar for $name {
            fn parse(text: &str) -> Option<Self> {
                match text {
                    $first_word => Some($name::$first),
                    $($word => Some($name::$variant),)*
                    _ => None,
                }
            }

            fn put(&self, out: &mut $crate::xml::XmlWriter) {
                // No word needs escaping.
                let _ = std::fmt::Write::write_str(out, self.as_str());
            }
        }
    };
}
pub(crate) use keyword;

/// Declares a type and its element from one table, in the order of writing.
///
/// Each field is one of:
/// - `attr f: Option<T> = "name"`: an attribute;
/// - `req f: T = "name"`: an attribute that must be given;
/// - `always f: T = "name"`: an attribute with a default that is written out;
/// - `live f: Option<T> = "name"`: an attribute shown only while running;
/// - `moment f: Option<T> = "name"`: `<name>text</name>` shown only while running;
/// - `running f: Option<T> = "name"`: a child element shown only while running;
/// - `must f: T = "name"`: `<name>text</name>` that must be given;
/// - `part f: T = "name"`: a child element that is always written;
/// - `text f: Option<T>`: the element's text, `None` when there is none;
/// - `leaf f: Option<T> = "name"`, `leaves f: Vec<T> = "name"`: `<name>text</name>`;
/// - `flag f: bool = "name"`: `<name/>` is there;
/// - `child f: Option<T> = "name"`, `list f: Vec<T> = "name"`: child elements;
/// - `flat f: T`: a part that shares this element.
///
/// `check path` after the table names a function of the value and its node
/// that has the last word, when everything was read.
macro_rules! element {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$fmeta:meta])* $kind:ident $field:ident : $type:ty $(= $xml:literal)?),* $(,)?
    } $(check $check:path)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[doc = $crate::xml::element!(@doc $kind $($xml)?)]
                pub $field: $type,
            )*
        }

        #[allow(unused_variables)]
        impl $crate::xml::Element for $name {
            fn take_attribute(
                &mut self,
                node: $crate::xml::Node,
                name: &str,
                value: &str,
            ) -> Result<bool, $crate::xml::XmlError> {
                $($crate::xml::element!(@attr $kind self, $field, node, name, value $(, $xml)?);)*
                Ok(false)
            }

            fn take_child(
                &mut self,
                child: $crate::xml::Node,
            ) -> Result<bool, $crate::xml::XmlError> {
                $($crate::xml::element!(@child $kind self, $field, child $(, $xml)?);)*
                Ok(false)
            }

            fn finish(&mut self, node: $crate::xml::Node) -> Result<(), $crate::xml::XmlError> {
                $($crate::xml::element!(@finish $kind self, $field, node $(, $xml)?);)*
                $($check(self, node)?;)?
                Ok(())
            }

            fn write_attributes(&self, w: &mut $crate::xml::XmlWriter) {
                $($crate::xml::element!(@wattr $kind self, $field, w $(, $xml)?);)*
            }

            fn write_children(&self, w: &mut $crate::xml::XmlWriter) {
                $($crate::xml::element!(@wchild $kind self, $field, w $(, $xml)?);)*
            }
        }
    };

    (@doc text) => { "The text of the element." };
    (@doc flat) => { "A part that shares this element." };
    (@doc $kind:ident $xml:literal) => { concat!("`", $xml, "`") };

    (@attr attr $self:ident, $f:ident, $node:ident, $name:ident, $value:ident, $xml:literal) => {
        if $name == $xml {
            $self.$f = Some($node.scalar($name, $value)?);
            return Ok(true);
        }
    };
    (@attr req $self:ident, $f:ident, $node:ident, $name:ident, $value:ident, $xml:literal) => {
        if $name == $xml {
            $self.$f = $node.scalar($name, $value)?;
            return Ok(true);
        }
    };
    (@attr always $self:ident, $f:ident, $node:ident, $name:ident, $value:ident, $xml:literal) => {
        if $name == $xml {
            $self.$f = $node.scalar($name, $value)?;
            return Ok(true);
        }
    };
    (@attr live $($rest:tt)*) => { $crate::xml::element!(@attr attr $($rest)*) };
    (@attr flat $self:ident, $f:ident, $node:ident, $name:ident, $value:ident) => {
        if $crate::xml::Element::take_attribute(&mut $self.$f, $node, $name, $value)? {
            return Ok(true);
        }
    };
    (@attr $kind:ident $($rest:tt)*) => {};

    (@child leaf $self:ident, $f:ident, $child:ident, $xml:literal) => {
        if $child.is($xml) {
            if $self.$f.is_some() {
                return Err($child.repeated());
            }
            $self.$f = Some($child.leaf()?);
            return Ok(true);
        }
    };
    (@child must $self:ident, $f:ident, $child:ident, $xml:literal) => {
        if $child.is($xml) {
            $self.$f = $child.leaf()?;
            return Ok(true);
        }
    };
    (@child part $self:ident, $f:ident, $child:ident, $xml:literal) => {
        if $child.is($xml) {
            if $self.$f != Default::default() {
                return Err($child.repeated());
            }
            $self.$f = $crate::xml::Element::parse($child)?;
            return Ok(true);
        }
    };
    (@child moment $($rest:tt)*) => { $crate::xml::element!(@child leaf $($rest)*) };
    (@child running $($rest:tt)*) => { $crate::xml::element!(@child child $($rest)*) };
    (@child leaves $self:ident, $f:ident, $child:ident, $xml:literal) => {
        if $child.is($xml) {
            $self.$f.push($child.leaf()?);
            return Ok(true);
        }
    };
    (@child flag $self:ident, $f:ident, $child:ident, $xml:literal) => {
        if $child.is($xml) {
            $child.plain()?;
            $self.$f = true;
            return Ok(true);
        }
    };
    (@child child $self:ident, $f:ident, $child:ident, $xml:literal) => {
        if $child.is($xml) {
            if $self.$f.is_some() {
                return Err($child.repeated());
            }
            $self.$f = Some($crate::xml::Element::parse($child)?);
            return Ok(true);
        }
    };
    (@child list $self:ident, $f:ident, $child:ident, $xml:literal) => {
        if $child.is($xml) {
            $self.$f.push($crate::xml::Element::parse($child)?);
            return Ok(true);
        }
    };
    (@child flat $self:ident, $f:ident, $child:ident) => {
        if $crate::xml::Element::take_child(&mut $self.$f, $child)? {
            return Ok(true);
        }
    };
    (@child $kind:ident $($rest:tt)*) => {};

    (@finish req $self:ident, $f:ident, $node:ident, $xml:literal) => {
        if $node.attribute($xml).is_none() {
            return Err($node.missing_attribute($xml));
        }
    };
    (@finish must $self:ident, $f:ident, $node:ident, $xml:literal) => {
        if $node.child($xml).is_none() {
            return Err($node.missing_child($xml));
        }
    };
    (@finish text $self:ident, $f:ident, $node:ident) => {
        if $node.has_text() {
            $self.$f = Some($node.scalar_text()?);
        }
    };
    (@finish flat $self:ident, $f:ident, $node:ident) => {
        $crate::xml::Element::finish(&mut $self.$f, $node)?;
    };
    (@finish $kind:ident $($rest:tt)*) => {};

    (@wattr attr $self:ident, $f:ident, $w:ident, $xml:literal) => {
        if let Some(value) = &$self.$f {
            $w.attr($xml, value);
        }
    };
    (@wattr req $self:ident, $f:ident, $w:ident, $xml:literal) => {
        $w.attr($xml, &$self.$f);
    };
    (@wattr always $self:ident, $f:ident, $w:ident, $xml:literal) => {
        $w.attr($xml, &$self.$f);
    };
    (@wattr live $self:ident, $f:ident, $w:ident, $xml:literal) => {
        if let Some(value) = &$self.$f
            && !$w.flags().inactive
        {
            $w.attr($xml, value);
        }
    };
    (@wattr flat $self:ident, $f:ident, $w:ident) => {
        $crate::xml::Element::write_attributes(&$self.$f, $w);
    };
    (@wattr $kind:ident $($rest:tt)*) => {};

    (@wchild text $self:ident, $f:ident, $w:ident) => {
        if let Some(value) = &$self.$f {
            $w.text(value);
        }
    };
    (@wchild leaf $self:ident, $f:ident, $w:ident, $xml:literal) => {
        if let Some(value) = &$self.$f {
            $w.leaf($xml, value);
        }
    };
    (@wchild must $self:ident, $f:ident, $w:ident, $xml:literal) => {
        $w.leaf($xml, &$self.$f);
    };
    (@wchild part $self:ident, $f:ident, $w:ident, $xml:literal) => {
        $crate::xml::Element::write(&$self.$f, $xml, $w);
    };
    (@wchild moment $self:ident, $f:ident, $w:ident, $xml:literal) => {
        if let Some(value) = &$self.$f
            && !$w.flags().inactive
        {
            $w.leaf($xml, value);
        }
    };
    (@wchild running $self:ident, $f:ident, $w:ident, $xml:literal) => {
        if let Some(value) = &$self.$f
            && !$w.flags().inactive
        {
            $crate::xml::Element::write(value, $xml, $w);
        }
    };
    (@wchild leaves $self:ident, $f:ident, $w:ident, $xml:literal) => {
        for value in &$self.$f {
            $w.leaf($xml, value);
        }
    };
    (@wchild flag $self:ident, $f:ident, $w:ident, $xml:literal) => {
        if $self.$f {
            $w.empty($xml);
        }
    };
    (@wchild child $self:ident, $f:ident, $w:ident, $xml:literal) => {
        if let Some(value) = &$self.$f {
            $crate::xml::Element::write(value, $xml, $w);
        }
    };
    (@wchild list $self:ident, $f:ident, $w:ident, $xml:literal) => {
        for value in &$self.$f {
            $crate::xml::Element::write(value, $xml, $w);
        }
    };
    (@wchild flat $self:ident, $f:ident, $w:ident) => {
        $crate::xml::Element::write_children(&$self.$f, $w);
    };
    (@wchild $kind:ident $($rest:tt)*) => {};
}
pub(crate) use element;
