//! virsh's verbs that are not done yet, so that they are refused by name.

/// Verbs that are absent for one reason.
pub(crate) struct Absent {
    /// The keyword of virsh's group.
    group: &'static str,
    /// Their names.
    verbs: &'static [&'static str],
    /// Why, and what there is instead.
    why: &'static str,
}

/// The verbs, by the keyword of virsh's group.
const NOT_YET: &[Absent] = &[
    Absent {
        group: "domain",
        verbs: &[
            "migrate",
            "migrate-compcache",
            "migrate-getmaxdowntime",
            "migrate-getspeed",
            "migrate-postcopy",
            "migrate-setmaxdowntime",
            "migrate-setspeed",
        ],
        why: "machines do not move to other hosts while they run; `stead image export` makes a \
              file of one that is off, for `stead image import` there",
    },
    Absent {
        group: "domain",
        verbs: &["lxc-enter-namespace"],
        why: "Stead runs QEMU's machines and no containers",
    },
    Absent {
        group: "domain",
        verbs: &["qemu-attach"],
        why: "libvirt cannot adopt a QEMU that others started any more either; \
              `stead domxml-from-native`, `define` and `start` make the machine anew",
    },
    Absent {
        group: "checkpoint",
        verbs: &[
            "checkpoint-create",
            "checkpoint-create-as",
            "checkpoint-delete",
            "checkpoint-dumpxml",
            "checkpoint-edit",
            "checkpoint-info",
            "checkpoint-list",
            "checkpoint-parent",
        ],
        why: "blocks that change are not kept count of; `stead snapshot-create-as` keeps a state \
              to go back to",
    },
    Absent {
        group: "interface",
        verbs: &[
            "iface-begin",
            "iface-bridge",
            "iface-commit",
            "iface-define",
            "iface-edit",
            "iface-rollback",
            "iface-unbridge",
            "iface-undefine",
        ],
        why: "how the host starts its own network is left to its own tools; \
              `stead net-create-as NAME --bridge BRIDGE` puts machines on a bridge they made",
    },
    Absent {
        group: "backup",
        verbs: &["backup-begin", "backup-dumpxml"],
        why: "`stead blockcopy` copies a running machine's disk",
    },
];

/// Why virsh's verb of this name is refused, and what there is instead; none for any other word.
pub(crate) fn refusal(name: &str) -> Option<String> {
    let absent = NOT_YET.iter().find(|some| some.verbs.contains(&name))?;
    Some(format!(
        "command '{name}' of virsh is not done yet: {}",
        absent.why
    ))
}

/// As [`refusal`], for the keyword of a group of virsh's that has no verb here.
pub(crate) fn group_refusal(keyword: &str) -> Option<String> {
    let absent = NOT_YET.iter().find(|some| some.group == keyword)?;
    Some(format!(
        "no command of virsh's group '{keyword}' is done yet: {}",
        absent.why
    ))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use crate::verbs;

    /// The page this table and the verb table make.
    fn page() -> String {
        let done: Vec<_> = verbs::all().collect();
        let absent: usize = super::NOT_YET.iter().map(|some| some.verbs.len()).sum();
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
        page.push_str(
            "\n## Refused: not done yet\n\n| virsh's group | verbs | why, and what there is instead \
             |\n|---|---|---|\n",
        );
        for super::Absent { group, verbs, why } in super::NOT_YET {
            let verbs: Vec<_> = verbs.iter().map(|v| format!("`{v}`")).collect();
            _ = writeln!(page, "| {group} | {} | {why} |", verbs.join(", "));
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
    fn refusals_say_what_there_is_instead() {
        let refusal = super::refusal("checkpoint-list").expect("absent");
        assert!(refusal.contains("snapshot-create-as"), "{refusal}");
        assert!(super::refusal("list").is_none() && super::refusal("domain").is_none());
        assert!(super::group_refusal("backup").is_some() && super::group_refusal("x").is_none());
    }

    #[test]
    fn no_verb_is_both_there_and_absent() {
        for absent in super::NOT_YET {
            assert!(absent.verbs.iter().all(|name| verbs::find(name).is_none()));
        }
    }
}
