//! Text of a definition that ends up in files and rules of other programs,
//! where a new line or a quote would mean something else.

use super::invalid;
use crate::xml::{Node, XmlError};

/// Elements whose text is a person's or another program's.
const FREE: [&str; 3] = ["title", "description", "metadata"];
/// Characters that the rules of a firewall have a meaning for in a device's name.
const MEANT: [char; 2] = ['"', '*'];

/// Refuses control characters in attributes and in the text of leaves, by place.
pub(super) fn check(node: Node) -> Result<(), XmlError> {
    for (name, value) in node.attributes() {
        if value.contains(char::is_control) {
            return Err(invalid(
                node,
                format!(
                    "attribute '{name}' of element '{}' cannot contain control characters",
                    node.name()
                ),
            ));
        }
    }
    let text = node.text();
    if node.children().next().is_none() && text.trim().contains(char::is_control) {
        return Err(invalid(
            node,
            format!(
                "element '{}' cannot contain control characters",
                node.name()
            ),
        ));
    }
    node.children()
        .filter(|child| !FREE.contains(&child.name()))
        .try_for_each(check)
}

/// Whether a device of this name can be spoken of in rules.
pub fn is_device_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(MEANT) && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;

    #[test]
    fn lines_do_not_hide_in_values() {
        let parse =
            |body: &str| Network::parse(&format!("<network><name>n</name>{body}</network>"));
        for body in [
            "<domain name='x&#10;dhcp-script=/bin/sh'/>",
            "<dns><txt name='a' value='b&#13;c'/></dns>",
            "<dns><host ip='10.0.0.1'><hostname>a&#10;10.0.0.2 b</hostname></host></dns>",
            "<ip address='10.0.0.1' prefix='8'><tftp root='/a&#10;enable-dbus'/></ip>",
        ] {
            let error = parse(body).expect_err(body);
            assert!(error.to_string().contains("control characters"), "{error}");
        }
        // A person's own words have as many lines as they like.
        parse("<title>a title</title><description>two\nlines</description>").expect("a network");
        parse("<dns><host ip='10.0.0.1'><hostname>\n a\n</hostname></host></dns>").expect("one");
    }

    #[test]
    fn names_with_a_meaning_are_none() {
        assert!(is_device_name("br-0.5"));
        for name in ["", "a\" accept", "virbr*", "a\nb"] {
            assert!(!is_device_name(name), "{name}");
        }
    }
}
