//! Things that hang on one another, drawn as virsh draws them.

/// The names, each with the one it hangs on; those that hang on none are the roots.
pub(crate) fn draw(items: &[(String, Option<String>)]) -> String {
    let mut text = String::new();
    for (name, _) in items.iter().filter(|(_, parent)| parent.is_none()) {
        text.push_str(&format!("{name}\n"));
        branches(items, name, "", true, &mut text);
    }
    text
}

/// What hangs on `name`; `last` if nothing follows at its own level.
fn branches(
    items: &[(String, Option<String>)],
    name: &str,
    indent: &str,
    last: bool,
    text: &mut String,
) {
    let children: Vec<&str> = items
        .iter()
        .filter(|(_, parent)| parent.as_deref() == Some(name))
        .map(|(child, _)| child.as_str())
        .collect();
    if children.is_empty() {
        if last {
            text.push_str(&format!("{indent}\n"));
        }
        return;
    }
    text.push_str(&format!("{indent}  |\n"));
    for (index, child) in children.iter().enumerate() {
        let is_last = index + 1 == children.len();
        text.push_str(&format!("{indent}  +- {child}\n"));
        let deeper = format!("{indent}  {}", if is_last { "  " } else { "| " });
        branches(items, child, &deeper, is_last, text);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_tree_looks_like_virshs() {
        let items = [
            ("computer", None),
            ("block_vda", Some("pci_2")),
            ("pci_1", Some("computer")),
            ("pci_2", Some("computer")),
            ("pci_3", Some("computer")),
        ];
        let items = items.map(|(name, parent)| (name.to_owned(), parent.map(str::to_owned)));
        let lines = [
            "computer",
            "  |",
            "  +- pci_1",
            "  +- pci_2",
            "  |   |",
            "  |   +- block_vda",
            "  |     ",
            "  +- pci_3",
            "    ",
            "",
        ];
        assert_eq!(super::draw(&items), lines.join("\n"));
    }
}
