//! virsh's verbs that are not done yet, so that they are refused by name.

/// The verbs, by the keyword of virsh's group.
pub(crate) const NOT_YET: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "lxc-enter-namespace",
            "migrate",
            "migrate-compcache",
            "migrate-getmaxdowntime",
            "migrate-getspeed",
            "migrate-postcopy",
            "migrate-setmaxdowntime",
            "migrate-setspeed",
            "qemu-attach",
        ],
    ),
    (
        "checkpoint",
        &[
            "checkpoint-create",
            "checkpoint-create-as",
            "checkpoint-delete",
            "checkpoint-dumpxml",
            "checkpoint-edit",
            "checkpoint-info",
            "checkpoint-list",
            "checkpoint-parent",
        ],
    ),
    (
        "interface",
        &[
            "iface-begin",
            "iface-bridge",
            "iface-commit",
            "iface-define",
            "iface-edit",
            "iface-rollback",
            "iface-unbridge",
            "iface-undefine",
        ],
    ),
    ("backup", &["backup-begin", "backup-dumpxml"]),
];

/// Whether virsh has a verb of this name that is not done yet.
pub(crate) fn is_absent(name: &str) -> bool {
    NOT_YET.iter().any(|(_, verbs)| verbs.contains(&name))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use crate::verbs;

    /// The page this table and the verb table make.
    fn page() -> String {
        let done: Vec<_> = verbs::all().collect();
        let absent: usize = super::NOT_YET.iter().map(|(_, verbs)| verbs.len()).sum();
        let mut page = format!(
            "# Verbs\n\n`stead` has {} verbs; {absent} of virsh's are not done yet and are \
             refused by name.\nA verb that works may still be answered with \"not supported by \
             the connection driver\"\nwhere the daemon does not do its call yet: see \
             [procedures.md](procedures.md).\n\nThis page is written from the verb table: \
             `UPDATE_DOCS=1 cargo test -p stead-cli`\nwrites it anew, and a test fails while it \
             is out of date.\n",
            done.len()
        );
        for group in verbs::GROUPS {
            _ = write!(
                page,
                "\n## {}\n\n| verb | what it does |\n|---|---|\n",
                group.title
            );
            for verb in group.verbs() {
                let formats = if verb.tabular { " (`--format`)" } else { "" };
                _ = writeln!(page, "| `{}` | {}{formats} |", verb.name, verb.summary);
            }
        }
        page.push_str("\n## Refused: not done yet\n\n| virsh's group | verbs |\n|---|---|\n");
        for (group, verbs) in super::NOT_YET {
            let verbs: Vec<_> = verbs.iter().map(|v| format!("`{v}`")).collect();
            _ = writeln!(page, "| {group} | {} |", verbs.join(", "));
        }
        page
    }

    #[test]
    fn the_page_of_verbs_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verbs.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, page()).expect("docs can be written");
        }
        let there = std::fs::read_to_string(&path).expect("docs/verbs.md is there");
        assert!(there == page(), "run UPDATE_DOCS=1 cargo test -p stead-cli");
    }

    #[test]
    fn no_verb_is_both_there_and_absent() {
        for (_, absent) in super::NOT_YET {
            assert!(absent.iter().all(|name| verbs::find(name).is_none()));
        }
    }
}
