//! All verbs, by group.

mod addresses;
mod block_jobs;
mod blocks;
mod console;
mod cpu_models;
mod define;
mod describe;
mod descriptors;
mod devices;
mod disks;
mod display;
mod events;
mod firewall;
mod firewall_sets;
mod guest;
mod host;
mod host_interfaces;
mod host_memory;
mod images;
mod info;
mod inside;
mod install;
mod interfaces;
mod iothreads;
mod itself;
mod jobs;
mod keys;
mod library;
mod lifecycle;
mod limits;
mod list;
mod long_jobs;
mod machine_options;
mod memory_modules;
mod monitor;
mod network_events;
mod network_make;
mod network_parts;
mod networks;
mod nics;
mod node_devices;
mod nwfilters;
mod packages;
mod plans;
mod pool_events;
mod pool_make;
mod pools;
mod provision;
mod save;
mod secrets;
mod security;
mod snapshot_list;
mod snapshots;
mod stats;
mod tune;
mod vcpus;
mod vol_make;
mod vol_transfer;
mod vols;
mod volumes;

use crate::table::{Group, Verb};

/// The groups in the order help lists them.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        title: "Domain Management",
        keyword: "domain",
        verbs: &[
            block_jobs::VERBS,
            console::VERBS,
            define::VERBS,
            describe::VERBS,
            descriptors::VERBS,
            devices::VERBS,
            memory_modules::VERBS,
            disks::VERBS,
            display::VERBS,
            guest::VERBS,
            info::MANAGEMENT,
            install::VERBS,
            interfaces::VERBS,
            iothreads::VERBS,
            jobs::VERBS,
            keys::VERBS,
            lifecycle::VERBS,
            limits::VERBS,
            monitor::VERBS,
            provision::VERBS,
            save::VERBS,
            security::VERBS,
            tune::VERBS,
            vcpus::VERBS,
        ],
    },
    Group {
        title: "Domain Monitoring",
        keyword: "monitor",
        verbs: &[
            blocks::VERBS,
            info::MONITORING,
            list::VERBS,
            nics::VERBS,
            stats::VERBS,
        ],
    },
    Group {
        title: "Domain Events",
        keyword: "events",
        verbs: &[events::VERBS],
    },
    Group {
        title: "Networking",
        keyword: "network",
        verbs: &[
            addresses::VERBS,
            firewall::VERBS,
            firewall_sets::VERBS,
            network_events::VERBS,
            network_make::VERBS,
            network_parts::VERBS,
            networks::VERBS,
        ],
    },
    Group {
        title: "Network Filter",
        keyword: "filter",
        verbs: &[nwfilters::VERBS],
    },
    Group {
        title: "Host and Hypervisor",
        keyword: "host",
        verbs: &[cpu_models::VERBS, host::VERBS, host_memory::VERBS],
    },
    Group {
        title: "Storage Pool",
        keyword: "pool",
        verbs: &[pools::VERBS, pool_make::VERBS, pool_events::VERBS],
    },
    Group {
        title: "Storage Volume",
        keyword: "volume",
        verbs: &[vols::VERBS, vol_make::VERBS, vol_transfer::VERBS],
    },
    Group {
        title: "Secret",
        keyword: "secret",
        verbs: &[secrets::VERBS],
    },
    Group {
        title: "Snapshot",
        keyword: "snapshot",
        verbs: &[snapshot_list::VERBS, snapshots::VERBS],
    },
    Group {
        title: "Images",
        keyword: "image",
        verbs: &[
            images::VERBS,
            library::VERBS,
            packages::VERBS,
            inside::VERBS,
        ],
    },
    Group {
        title: "Interface",
        keyword: "interface",
        verbs: &[host_interfaces::VERBS],
    },
    Group {
        title: "Node Device",
        keyword: "nodedev",
        verbs: &[node_devices::VERBS, pool_events::DEVICE_VERBS],
    },
    Group {
        title: "Stead itself",
        keyword: "stead",
        verbs: &[itself::VERBS, long_jobs::VERBS],
    },
];

/// The verb called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Verb> {
    all().find(|v| v.name == name)
}

/// The verb that these words begin with, and how many of them are its name.
pub(crate) fn resolve(words: &[&str]) -> Option<(&'static Verb, usize)> {
    let of_two = match words {
        [first, second, ..] => find(&format!("{first} {second}")).map(|verb| (verb, 2)),
        _ => None,
    };
    of_two.or_else(|| Some((find(words.first()?)?, 1)))
}

/// The second words of the verbs that begin with `first`.
pub(crate) fn family(first: &str) -> impl Iterator<Item = &'static str> {
    let mut all: Vec<_> = all()
        .filter_map(|verb| verb.name.split_once(' '))
        .filter(|(word, _)| *word == first)
        .map(|(_, second)| second)
        .collect();
    all.sort_unstable();
    all.into_iter()
}

/// The group with this keyword or title.
pub(crate) fn find_group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|g| g.keyword == name || g.title == name)
}

pub(crate) use blocks::pretty;
use define::print_xml;
use list::has_save as has_managed_save;

/// The names of all domains, for completion.
pub(crate) fn domain_names(s: &mut crate::session::Session) -> Vec<String> {
    list::names(s)
}

/// Every verb.
pub(crate) fn all() -> impl Iterator<Item = &'static Verb> {
    GROUPS.iter().flat_map(Group::verbs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::table::{Kind, Place};

    #[test]
    fn the_table_is_sound() {
        let mut names = BTreeSet::new();
        for verb in super::all() {
            assert!(names.insert(verb.name), "{} is there twice", verb.name);
            assert!(!verb.summary.is_empty(), "{} has no summary", verb.name);
            let mut optional = false;
            for (i, opt) in verb.options.iter().enumerate() {
                let at = format!("{} {}", verb.name, opt.name);
                assert!(
                    !(verb.tabular && opt.name == "format"),
                    "{at} hides how the verb prints"
                );
                if let Kind::Alias(target, _) = opt.kind {
                    let later = &verb.options[i + 1..];
                    assert!(
                        later.iter().any(|o| o.name == target),
                        "{at}: alias of nothing"
                    );
                    continue;
                }
                assert!(!opt.help.is_empty(), "{at} has no help");
                if opt.place == Place::Positional {
                    assert!(!(optional && opt.required), "{at}: required after optional");
                    optional |= !opt.required;
                }
                let last = i + 1 == verb.options.len();
                assert!(opt.kind != Kind::Rest || last, "{at} must be last");
            }
        }
    }
}
