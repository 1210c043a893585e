//! A node of a document as text of its own: two blanks a level, double quotes.

use roxmltree::{Node, NodeType};

/// The node as text, `level` levels deep.
pub(crate) fn node(node: Node<'_, '_>, level: usize) -> String {
    let mut out = String::new();
    write(&mut out, node, level, true);
    out
}

/// An element with its blanks as they are, and some changes to its direct children.
#[derive(Default)]
pub(crate) struct Changed<'a> {
    /// Children left out.
    pub without: &'a str,
    /// A value for the attribute `type`.
    pub kind: Option<&'a str>,
    /// A child put where the one left out was, or last if there was none.
    pub child: Option<&'a str>,
    /// Whether the child takes the place of the one left out.
    pub in_place: bool,
}

impl Changed<'_> {
    /// The element as text.
    pub(crate) fn show(&self, node: Node<'_, '_>) -> String {
        let name = raw_name(node);
        let mut out = format!("<{name}");
        let tag = &node.document().input_text()[node.range()][1 + name.len()..];
        let mut attributes_text = String::new();
        attributes(&mut attributes_text, tag);
        if let (Some(kind), Some(old)) = (self.kind, node.attribute("type")) {
            let old = format!(" type=\"{old}\"");
            attributes_text = attributes_text.replace(&old, &format!(" type=\"{kind}\""));
        }
        out.push_str(&attributes_text);
        out.push('>');
        let mut child = self.child;
        for each in node.children() {
            if !each.has_tag_name(self.without) {
                keep(&mut out, each);
            } else if self.in_place {
                out.push_str(child.take().unwrap_or_default());
            }
        }
        out.push_str(child.unwrap_or_default());
        out.push_str(&format!("</{name}>"));
        out
    }
}

/// Writes a node with its blanks as they are.
fn keep(out: &mut String, node: Node<'_, '_>) {
    match node.node_type() {
        NodeType::Element if node.has_children() => {
            let name = raw_name(node);
            out.push('<');
            out.push_str(name);
            attributes(
                out,
                &node.document().input_text()[node.range()][1 + name.len()..],
            );
            out.push('>');
            node.children().for_each(|c| keep(out, c));
            out.push_str(&format!("</{name}>"));
        }
        _ => write(out, node, 0, false),
    }
}

fn raw_name<'a>(node: Node<'a, '_>) -> &'a str {
    let source = &node.document().input_text()[node.range()];
    let end = source.find(|c: char| c.is_whitespace() || c == '>' || c == '/');
    &source[1..end.unwrap_or(source.len())]
}

fn write(out: &mut String, node: Node<'_, '_>, level: usize, indent: bool) {
    match node.node_type() {
        NodeType::Element => element(out, node, level, indent),
        NodeType::Text => escape(out, node.text().unwrap_or_default()),
        NodeType::Root => node.children().for_each(|c| write(out, c, level, indent)),
        NodeType::Comment | NodeType::PI => {
            out.push_str(&node.document().input_text()[node.range()]);
        }
    }
}

fn element(out: &mut String, node: Node<'_, '_>, level: usize, indent: bool) {
    let name = raw_name(node);
    out.push('<');
    out.push_str(name);
    attributes(
        out,
        &node.document().input_text()[node.range()][1 + name.len()..],
    );
    let blank = |n: &Node<'_, '_>| n.is_text() && n.text().unwrap_or_default().trim().is_empty();
    let mixed = node.children().any(|c| c.is_text() && !blank(&c));
    if node.children().all(|c| blank(&c)) {
        out.push_str("/>");
        return;
    }
    out.push('>');
    let indent = indent && !mixed;
    for child in node.children().filter(|c| mixed || !blank(c)) {
        if indent {
            new_line(out, level + 1);
        }
        write(out, child, level + 1, indent);
    }
    if indent {
        new_line(out, level);
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

fn new_line(out: &mut String, level: usize) {
    out.push('\n');
    out.push_str(&"  ".repeat(level));
}

/// Copies the attributes of a start tag, declarations of namespaces included.
fn attributes(out: &mut String, tag: &str) {
    let mut rest = tag.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        if name.contains(['>', '/']) {
            return;
        }
        let after = after.trim_start();
        let Some(quote) = after.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            return;
        };
        let Some((value, after)) = after[1..].split_once(quote) else {
            return;
        };
        out.push(' ');
        out.push_str(name.trim_end());
        out.push_str("=\"");
        out.push_str(&value.replace('"', "&quot;").replace("&apos;", "'"));
        out.push('"');
        rest = after.trim_start();
    }
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_and_indents_of_its_own() {
        let xml = "<a x='1'   y=\"2\" xmlns:q='http://q'>\n      <b/>\n <q:c>t &amp; &lt;</q:c>\n\
                   <d><!-- n --><e f='\"'>x<g/>y</e></d><h>  </h></a>";
        let document = crate::query::parse(xml).unwrap();
        insta::assert_snapshot!(super::node(document.root_element(), 0));
    }
}
