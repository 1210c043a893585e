//! A node of a document as text of its own: two blanks a level, double quotes.

use roxmltree::{Node, NodeType};

/// The node as text, `level` levels deep.
pub(crate) fn node(node: Node<'_, '_>, level: usize) -> String {
    let mut out = String::new();
    write(&mut out, node, level, true);
    out
}

fn write(out: &mut String, node: Node<'_, '_>, level: usize, indent: bool) {
    match node.node_type() {
        NodeType::Element => element(out, node, level, indent),
        NodeType::Text => escape(out, node.text().unwrap_or_default()),
        NodeType::Root => node.children().for_each(|c| write(out, c, level, indent)),
        NodeType::Comment | NodeType::PI => {
            out.push_str(&node.document().input_text()[node.range()])
        }
    }
}

fn element(out: &mut String, node: Node<'_, '_>, level: usize, indent: bool) {
    let source = &node.document().input_text()[node.range()];
    let name_end = source.find(|c: char| c.is_whitespace() || c == '>' || c == '/');
    let name = &source[1..name_end.unwrap_or(source.len())];
    out.push('<');
    out.push_str(name);
    attributes(out, &source[1 + name.len()..]);
    let blank = |n: &Node<'_, '_>| n.is_text() && n.text().unwrap_or_default().trim().is_empty();
    let mixed = node.children().any(|c| c.is_text() && !blank(&c));
    let only_blank = node.children().all(|c| blank(&c));
    if node.children().next().is_none() || only_blank {
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
