//! Title, description and the free `<metadata>` of a domain.

use std::collections::BTreeSet;

use crate::xml::{Element, Node, XmlError, XmlErrorKind, XmlWriter, parse_document};

/// An element of somebody else's namespace, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignElement {
    /// The namespace it is known by.
    pub uri: String,
    /// The element as text, indented as if it stood at the start of a line.
    lines: Vec<String>,
}

/// The `<metadata>` of a domain: one element for each namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    elements: Vec<ForeignElement>,
}

impl Metadata {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The element of namespace `uri`, as XML.
    pub fn get(&self, uri: &str) -> Option<String> {
        let element = self.elements.iter().find(|e| e.uri == uri)?;
        Some(element.lines.join("\n"))
    }

    /// Replaces the element of namespace `uri` by the one in `xml`, whose root
    /// gets `prefix` for that namespace; without `xml` it is removed.
    pub fn set(
        &mut self,
        uri: &str,
        prefix: Option<&str>,
        xml: Option<&str>,
    ) -> Result<(), XmlError> {
        let Some(xml) = xml else {
            self.elements.retain(|e| e.uri != uri);
            return Ok(());
        };
        let prefix = prefix.filter(|p| !p.is_empty()).ok_or_else(|| {
            XmlError::invalid("namespace prefix for metadata elements must not be empty")
        })?;
        let document = parse_document(xml)?;
        let mut text = Foreign {
            declare_root: Some((prefix, uri)),
            ..Foreign::default()
        };
        text.element(document.root_element(), 0);
        let element = ForeignElement {
            uri: uri.to_owned(),
            lines: text.lines,
        };
        self.elements.retain(|e| e.uri != uri);
        self.elements.push(element);
        Ok(())
    }
}

impl Element for Metadata {
    fn parse(node: Node) -> Result<Self, XmlError> {
        let mut seen = BTreeSet::new();
        let mut elements = Vec::new();
        for child in node.children() {
            // libvirt drops elements without a namespace, and later ones of the same.
            let Some(uri) = child.namespace() else {
                continue;
            };
            if !seen.insert(uri) {
                return Err(child.error(
                    XmlErrorKind::Invalid,
                    format!("XML error: metadata of namespace '{uri}' is given more than once"),
                ));
            }
            let mut text = Foreign::default();
            text.element(child.raw(), 0);
            elements.push(ForeignElement {
                uri: uri.to_owned(),
                lines: text.lines,
            });
        }
        Ok(Metadata { elements })
    }

    fn write_children(&self, w: &mut XmlWriter) {
        for element in &self.elements {
            for line in &element.lines {
                w.line(line);
            }
        }
    }

    fn hidden(&self, _: &XmlWriter) -> bool {
        self.is_empty()
    }
}

/// Writes foreign markup the way libxml2 formats it: double quotes, two
/// spaces, and no line breaks inside an element that contains text.
#[derive(Default)]
struct Foreign<'a> {
    lines: Vec<String>,
    declare_root: Option<(&'a str, &'a str)>,
}

impl Foreign<'_> {
    /// Appends `node` as lines of its own at `depth`.
    fn element(&mut self, node: roxmltree::Node, depth: usize) {
        let mut line = "  ".repeat(depth);
        let name = self.open(node, depth == 0, &mut line);
        let significant = |n: &roxmltree::Node| !n.is_text() || !is_blank(n.text());
        let has_text = node.children().any(|n| n.is_text() && !is_blank(n.text()));
        if !node.children().any(|n| significant(&n)) {
            line.push_str("/>");
            self.lines.push(line);
        } else if has_text {
            line.push('>');
            for child in node.children() {
                self.inline(child, &mut line);
            }
            line.push_str(&format!("</{name}>"));
            self.lines.push(line);
        } else {
            line.push('>');
            self.lines.push(line);
            for child in node.children().filter(significant) {
                self.child(child, depth + 1);
            }
            self.lines.push(format!("{}</{name}>", "  ".repeat(depth)));
        }
    }

    fn child(&mut self, node: roxmltree::Node, depth: usize) {
        if node.is_element() {
            self.element(node, depth);
        } else if node.is_comment() {
            let text = node.text().unwrap_or("");
            self.lines
                .push(format!("{}<!--{text}-->", "  ".repeat(depth)));
        }
    }

    /// Appends `node` to `line`, without layout.
    fn inline(&mut self, node: roxmltree::Node, line: &mut String) {
        if node.is_text() {
            escape(node.text().unwrap_or(""), false, line);
        } else if node.is_comment() {
            line.push_str(&format!("<!--{}-->", node.text().unwrap_or("")));
        } else if node.is_element() {
            let name = self.open(node, false, line);
            if node.has_children() {
                line.push('>');
                for child in node.children() {
                    self.inline(child, line);
                }
                line.push_str(&format!("</{name}>"));
            } else {
                line.push_str("/>");
            }
        }
    }

    /// Writes `<name attributes` and returns the name with its prefix.
    fn open(&mut self, node: roxmltree::Node, root: bool, line: &mut String) -> String {
        let (declared, name) = match self.declare_root.filter(|_| root) {
            Some((prefix, uri)) => (
                Some((prefix, uri)),
                format!("{prefix}:{}", node.tag_name().name()),
            ),
            None => (None, qualified_name(node)),
        };
        line.push('<');
        line.push_str(&name);
        let parent = node.parent_element();
        if let Some((prefix, uri)) = declared {
            attribute(&format!("xmlns:{prefix}"), uri, line);
        }
        for namespace in node.namespaces() {
            let prefix = namespace.name();
            let inherited = !root
                && parent.is_some_and(|p| p.lookup_namespace_uri(prefix) == Some(namespace.uri()));
            let used_elsewhere = root
                && declared.is_none()
                && node.tag_name().namespace() != Some(namespace.uri())
                && parent.is_some_and(|p| p.lookup_namespace_uri(prefix) == Some(namespace.uri()));
            if inherited || used_elsewhere || prefix == Some("xml") {
                continue;
            }
            if declared.is_some_and(|(p, _)| Some(p) == prefix) {
                continue;
            }
            match prefix {
                Some(prefix) => attribute(&format!("xmlns:{prefix}"), namespace.uri(), line),
                None => attribute("xmlns", namespace.uri(), line),
            }
        }
        for a in node.attributes() {
            let prefix = a.namespace().and_then(|uri| node.lookup_prefix(uri));
            match prefix {
                Some(prefix) => attribute(&format!("{prefix}:{}", a.name()), a.value(), line),
                None => attribute(a.name(), a.value(), line),
            }
        }
        name
    }
}

fn qualified_name(node: roxmltree::Node) -> String {
    let name = node.tag_name();
    match name.namespace().and_then(|uri| node.lookup_prefix(uri)) {
        Some(prefix) if !prefix.is_empty() => format!("{prefix}:{}", name.name()),
        _ => name.name().to_owned(),
    }
}

fn is_blank(text: Option<&str>) -> bool {
    text.is_none_or(|t| t.chars().all(|c| c.is_ascii_whitespace()))
}

fn attribute(name: &str, value: &str, line: &mut String) {
    line.push(' ');
    line.push_str(name);
    line.push_str("=\"");
    escape(value, true, line);
    line.push('"');
}

fn escape(text: &str, in_attribute: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' if in_attribute => out.push_str("&quot;"),
            '\n' if in_attribute => out.push_str("&#10;"),
            '\t' if in_attribute => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_set_replaced_and_removed_by_namespace() {
        let mut metadata = Metadata::default();
        metadata
            .set("http://a/", Some("a"), Some("<x y='1'><z>t</z></x>"))
            .unwrap();
        assert_eq!(
            metadata.get("http://a/").unwrap(),
            "<a:x xmlns:a=\"http://a/\" y=\"1\">\n  <z>t</z>\n</a:x>"
        );
        metadata.set("http://a/", Some("b"), Some("<x/>")).unwrap();
        assert_eq!(
            metadata.get("http://a/").unwrap(),
            "<b:x xmlns:b=\"http://a/\"/>"
        );
        metadata.set("http://a/", None, None).unwrap();
        assert!(metadata.is_empty());
    }

    #[test]
    fn broken_xml_leaves_the_old_element() {
        let mut metadata = Metadata::default();
        metadata.set("http://a/", Some("a"), Some("<x/>")).unwrap();
        assert!(metadata.set("http://a/", Some("a"), Some("<x>")).is_err());
        assert!(metadata.get("http://a/").is_some());
    }
}
