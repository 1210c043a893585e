//! Bounded parsing of a document, and the node handle the typed readers use.

use roxmltree::{Document, NodeType, ParsingOptions};

use super::{Scalar, XmlError, XmlErrorKind};

/// Largest document accepted. libvirt's RPC carries strings up to 4 MiB.
pub const XML_SIZE_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Deepest nesting accepted: libvirt's backing chains may be 200 deep.
pub const XML_DEPTH_MAX: usize = 256;
/// Most nodes (elements, texts, comments) in one document.
pub const XML_NODES_MAX: u32 = 200_000;
/// Most attributes in one document.
pub const XML_ATTRIBUTES_MAX: usize = 400_000;

/// The namespace of the elements that pass things to QEMU as they are.
pub const QEMU_NAMESPACE: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// The namespace of the elements that pass lines to dnsmasq as they are.
pub const DNSMASQ_NAMESPACE: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";

/// An element of the document being read.
#[derive(Clone, Copy)]
pub struct Node<'a, 'input>(roxmltree::Node<'a, 'input>);

/// Parses `text` within the limits. Document type declarations are refused,
/// so there are no entities to expand.
pub fn parse_document(text: &str) -> Result<Document<'_>, XmlError> {
    if text.len() > XML_SIZE_MAX_BYTES {
        return Err(too_large(format!(
            "XML document is larger than {XML_SIZE_MAX_BYTES} bytes"
        )));
    }
    // An attribute needs an '='; counting them bounds memory before parsing.
    if text
        .bytes()
        .filter(|b| *b == b'=')
        .take(XML_ATTRIBUTES_MAX + 1)
        .count()
        > XML_ATTRIBUTES_MAX
    {
        return Err(too_large(format!(
            "XML document has more than {XML_ATTRIBUTES_MAX} attributes"
        )));
    }
    let options = ParsingOptions {
        nodes_limit: XML_NODES_MAX,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(|e| from_parser(&e))?;
    check_depth(&document)?;
    Ok(document)
}

/// The document's root, whatever its name.
pub fn root<'a, 'input>(document: &'a Document<'input>) -> Node<'a, 'input> {
    Node(document.root_element())
}

/// The root element, which must be called `name`.
pub fn expect_root<'a, 'input>(
    document: &'a Document<'input>,
    name: &str,
) -> Result<Node<'a, 'input>, XmlError> {
    let root = Node(document.root_element());
    if root.name() == name {
        return Ok(root);
    }
    Err(root.error(
        XmlErrorKind::Invalid,
        format!(
            "unexpected root element <{}>, expecting <{name}>",
            root.name()
        ),
    ))
}

fn too_large(message: String) -> XmlError {
    XmlError::new(XmlErrorKind::TooLarge, message)
}

fn from_parser(error: &roxmltree::Error) -> XmlError {
    if matches!(error, roxmltree::Error::NodesLimitReached) {
        return too_large(format!("XML document has more than {XML_NODES_MAX} nodes"));
    }
    let pos = error.pos();
    let mut message = error.to_string();
    // The position is carried apart from the text.
    if let Some(at) = message.rfind(" at ") {
        message.truncate(at);
    }
    XmlError {
        kind: XmlErrorKind::Malformed,
        message: format!("malformed XML: {message}"),
        line: pos.row,
        column: pos.col,
    }
}

/// Walks in document order without recursion, so that depth cannot hurt here.
fn check_depth(document: &Document<'_>) -> Result<(), XmlError> {
    let mut node = document.root_element();
    let mut depth = 1;
    loop {
        if depth > XML_DEPTH_MAX {
            return Err(Node(node).error(
                XmlErrorKind::TooLarge,
                format!("XML elements are nested more than {XML_DEPTH_MAX} deep"),
            ));
        }
        if let Some(child) = node.first_element_child() {
            node = child;
            depth += 1;
            continue;
        }
        loop {
            if let Some(sibling) = node.next_sibling_element() {
                node = sibling;
                break;
            }
            match node.parent_element() {
                Some(parent) => node = parent,
                None => return Ok(()),
            }
            depth -= 1;
        }
    }
}

impl<'a, 'input> Node<'a, 'input> {
    /// The element's local name.
    #[inline]
    pub fn name(&self) -> &'a str {
        self.0.tag_name().name()
    }

    /// The element's namespace URI, if it has one.
    pub fn namespace(&self) -> Option<&'a str> {
        self.0.tag_name().namespace()
    }

    /// Whether this is element `name`; a `qemu:` or `dnsmasq:` in front asks for that namespace.
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        // Tables hold literals, so that the prefix is looked for at compile time.
        let (local, namespace) = match name.split_once(':') {
            None => (name, None),
            Some(("qemu", local)) => (local, Some(QEMU_NAMESPACE)),
            Some((_, local)) => (local, Some(DNSMASQ_NAMESPACE)),
        };
        self.name() == local && self.namespace() == namespace
    }

    /// Whether the element is in a namespace that is none of those known here.
    pub fn is_foreign(&self) -> bool {
        self.namespace()
            .is_some_and(|uri| uri != QEMU_NAMESPACE && uri != DNSMASQ_NAMESPACE)
    }

    /// The value of attribute `name` (no namespace).
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        self.0.attribute(name)
    }

    /// The attributes without a namespace, in document order.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a, 'input> {
        self.0
            .attributes()
            .filter(|a| a.namespace().is_none())
            .map(|a| (a.name(), a.value()))
    }

    /// The child elements, in document order.
    pub fn children(&self) -> impl Iterator<Item = Node<'a, 'input>> + use<'a, 'input> {
        self.0
            .children()
            .filter(roxmltree::Node::is_element)
            .map(Node)
    }

    /// The first child element called `name`.
    pub fn child(&self, name: &str) -> Option<Node<'a, 'input>> {
        self.children().find(|c| c.name() == name)
    }

    /// The element's own text, all its pieces joined.
    pub fn text(&self) -> String {
        let mut pieces = self
            .0
            .children()
            .filter(|n| n.node_type() == NodeType::Text);
        let mut text = pieces
            .next()
            .and_then(|n| n.text())
            .unwrap_or("")
            .to_owned();
        for piece in pieces {
            text.push_str(piece.text().unwrap_or(""));
        }
        text
    }

    /// Whether there is text that means something: any without child
    /// elements, more than layout beside them.
    pub fn has_text(&self) -> bool {
        let mut texts = self.0.children().filter(|n| n.is_text());
        if self.0.first_element_child().is_none() {
            return texts.any(|n| n.text().is_some_and(|t| !t.is_empty()));
        }
        texts.any(|n| n.text().is_some_and(|t| !t.trim().is_empty()))
    }

    /// The underlying parser node.
    pub fn raw(&self) -> roxmltree::Node<'a, 'input> {
        self.0
    }

    /// An error placed at this element.
    pub fn error(&self, kind: XmlErrorKind, message: impl Into<String>) -> XmlError {
        self.error_at(self.0.range().start, kind, message.into())
    }

    /// An error placed at attribute `name` of this element.
    pub fn attribute_error(&self, name: &str, kind: XmlErrorKind, message: String) -> XmlError {
        let at = self
            .0
            .attribute_node(name)
            .map_or(self.0.range().start, |a| a.range().start);
        self.error_at(at, kind, message)
    }

    fn error_at(&self, offset: usize, kind: XmlErrorKind, message: String) -> XmlError {
        let pos = self.0.document().text_pos_at(offset);
        XmlError {
            kind,
            message,
            line: pos.row,
            column: pos.col,
        }
    }

    /// Attribute `name` as a `T`, with libvirt's wording when it is not one.
    pub fn scalar<T: Scalar>(&self, name: &str, value: &str) -> Result<T, XmlError> {
        T::parse(value).ok_or_else(|| {
            if let Some(complaint) = T::complaint(value) {
                return self.attribute_error(name, XmlErrorKind::Invalid, complaint);
            }
            let expected = T::EXPECTED;
            let tail = if expected.is_empty() { String::new() } else { format!(" {expected}") };
            self.attribute_error(
                name,
                XmlErrorKind::Invalid,
                format!(
                    "XML error: Invalid value for attribute '{name}' in element '{}': '{value}'.{tail}",
                    self.name()
                ),
            )
        })
    }

    /// The element's text as a `T`.
    pub fn scalar_text<T: Scalar>(&self) -> Result<T, XmlError> {
        let text = self.text();
        T::parse(&text).ok_or_else(|| {
            self.error(
                XmlErrorKind::Invalid,
                format!(
                    "XML error: Invalid value '{text}' in element '{}'",
                    self.name()
                ),
            )
        })
    }

    /// The text, as a `T`, of an element that has nothing else.
    pub fn leaf<T: Scalar>(&self) -> Result<T, XmlError> {
        self.plain()?;
        self.scalar_text()
    }

    /// Refuses attributes and elements: the element takes none.
    pub fn plain(&self) -> Result<(), XmlError> {
        if let Some((name, _)) = self.attributes().next() {
            return Err(self.unknown_attribute(name));
        }
        let child = self.children().next();
        child.map_or(Ok(()), |child| Err(child.unknown_element()))
    }

    /// Attribute `name` is required and was not given.
    pub fn missing_attribute(&self, name: &str) -> XmlError {
        self.error(
            XmlErrorKind::Missing,
            format!(
                "XML error: Missing required attribute '{name}' in element '{}'",
                self.name()
            ),
        )
    }

    /// Child element `name` is required and was not given.
    pub fn missing_child(&self, name: &str) -> XmlError {
        self.error(
            XmlErrorKind::Missing,
            format!("XML error: missing element <{name}> in <{}>", self.name()),
        )
    }

    /// This element holds an attribute that is not known here.
    pub fn unknown_attribute(&self, name: &str) -> XmlError {
        self.attribute_error(
            name,
            XmlErrorKind::Unknown,
            format!(
                "unsupported configuration: attribute '{name}' of element <{}> is not supported",
                self.name()
            ),
        )
    }

    /// This element is not known where it stands.
    pub fn unknown_element(&self) -> XmlError {
        let parent = self.0.parent_element().map_or("", |p| p.tag_name().name());
        self.error(
            XmlErrorKind::Unknown,
            format!(
                "unsupported configuration: element <{}> in <{parent}> is not supported",
                self.name()
            ),
        )
    }

    /// This element may be given once and stands here a second time.
    pub fn repeated(&self) -> XmlError {
        self.error(
            XmlErrorKind::Invalid,
            format!(
                "XML error: element <{}> is given more than once",
                self.name()
            ),
        )
    }
}
