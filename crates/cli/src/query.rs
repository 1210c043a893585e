//! Asking a definition for values, in the few forms of XPath the commands need.

use roxmltree::{Document, Node};

use crate::failure::Failure;

/// Parses a definition the daemon sent.
///
/// # Errors
/// If it is not XML.
pub(crate) fn parse(xml: &str) -> Result<Document<'_>, Failure> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: false,
        ..Default::default()
    };
    Document::parse_with_options(xml, options)
        .map_err(|e| Failure::said(format!("cannot parse the XML: {e}")))
}

/// The children elements called `name`.
pub(crate) fn children<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |c| c.has_tag_name(name))
}

/// The elements at a path of names below `node`: `devices/disk`.
pub(crate) fn all<'a, 'i>(node: Node<'a, 'i>, path: &'static str) -> Vec<Node<'a, 'i>> {
    path.split('/').fold(vec![node], |found, name| {
        found.into_iter().flat_map(|n| children(n, name)).collect()
    })
}

/// The first value among the paths: `source/@file`, `title`, `@type`.
pub(crate) fn value(node: Node<'_, '_>, paths: &[&'static str]) -> Option<String> {
    paths
        .iter()
        .find_map(|path| value_at(node, path))
        .filter(|v| !v.is_empty())
}

fn value_at(node: Node<'_, '_>, path: &'static str) -> Option<String> {
    let (path, attribute) = match path.split_once('@') {
        Some((path, attribute)) => (path.trim_end_matches('/'), Some(attribute)),
        None => (path, None),
    };
    let found = if path.is_empty() {
        vec![node]
    } else {
        all(node, path)
    };
    match attribute {
        Some(name) => found
            .iter()
            .find_map(|n| n.attribute(name))
            .map(str::to_owned),
        None => found.first().map(|n| text(*n)),
    }
}

/// All text below a node.
pub(crate) fn text(node: Node<'_, '_>) -> String {
    node.descendants()
        .filter(Node::is_text)
        .filter_map(|n| n.text())
        .collect()
}
