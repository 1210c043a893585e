//! Our command lines beside libvirt's, for the domains of libvirt's own tests.
//!
//! The texts are not part of this repository: the test reads them below `$STEAD_CORPUS` and says
//! that it is skipped where that is not set. The domains listed in `corpus-equal.txt` must come
//! out with the same machine, devices and back ends.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reads test data"
)]
#![allow(clippy::print_stderr, reason = "a report is the point of this test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use model::domain::Domain;
use model::domain::complete::DefineContext;
use model::domain::graphics::Port;
use serde_json::Value;
use stead_qemu::caps::{Accelerator, QemuCaps};
use stead_qemu::command_line::{LaunchContext, command_line};

/// The options that say what the machine is made of.
const COMPARED: [&str; 15] = [
    "-machine",
    "-cpu",
    "-smp",
    "-m",
    "-numa",
    "-object",
    "-device",
    "-blockdev",
    "-netdev",
    "-audiodev",
    "-boot",
    "-rtc",
    "-global",
    "-vnc",
    "-watchdog-action",
];

fn corpus() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("STEAD_CORPUS") else {
        eprintln!("skipped: STEAD_CORPUS is not set");
        return None;
    };
    Some(PathBuf::from(root).join("qemuxmlconfdata"))
}

/// libvirt's arguments: one shell word after the other.
fn expected(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut some) = (false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                quoted = !quoted;
                some = true;
            }
            '\\' if !quoted => {
                if let Some(next) = characters.next().filter(|next| *next != '\n') {
                    word.push(next);
                    some = true;
                }
            }
            ' ' | '\n' if !quoted => {
                if std::mem::take(&mut some) {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => {
                word.push(other);
                some = true;
            }
        }
    }
    words
}

/// The compared options with their values, without what differs for good reason.
fn essence(arguments: &[String]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for pair in arguments
        .windows(2)
        .filter(|pair| COMPARED.contains(&pair[0].as_str()))
    {
        if let Some(value) = normal(&pair[1]) {
            *found.entry(format!("{} {value}", pair[0])).or_insert(0) += 1;
        }
    }
    found
}

fn normal(text: &str) -> Option<String> {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        // The order of settings does not matter, and a bare one is on.
        let mut settings: Vec<&str> = text.split(',').collect();
        settings[1..].sort_unstable();
        return Some(settings.join(",").replace("hv-crash=on", "hv-crash"));
    };
    let object = value.as_object_mut()?;
    let kind = object
        .get("qom-type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // libvirt keeps secrets under a key of its own, and binds allocating threads to nodes.
    if kind == "secret" || kind == "thread-context" {
        return None;
    }
    object.remove("prealloc-context");
    // The numbers of descriptors differ.
    for key in ["fd", "fds", "vhostfd", "vhostfds"] {
        if let Some(numbers) = object.get_mut(key) {
            let count = numbers.as_str().map_or(0, |list| list.split(':').count());
            *numbers = Value::from(count);
        }
    }
    // Where huge pages are mounted is for the host to say.
    if let Some(Value::String(path)) = object.get_mut("mem-path")
        && let Some((mount, _)) = path.split_once("/libvirt/qemu/")
    {
        *path = mount.to_owned();
    }
    // We set with the device what libvirt sets once it runs.
    object.remove("guest-stats-polling-interval");
    let sorted: BTreeMap<_, _> = object.iter().collect();
    serde_json::to_string(&sorted).ok()
}

fn caps(arguments: &[String]) -> QemuCaps {
    let text = include_str!("data/caps-10.0.json");
    let mut caps = QemuCaps::from_json(text).expect("the committed capabilities are readable");
    // libvirt's tests assume a QEMU with every device.
    for value in arguments
        .iter()
        .filter_map(|argument| serde_json::from_str::<Value>(argument).ok())
    {
        if let Some(driver) = value.get("driver").and_then(Value::as_str) {
            std::sync::Arc::make_mut(&mut caps.types).insert(driver.to_owned());
        }
    }
    caps.options.insert("spice".to_owned(), BTreeSet::new());
    for pair in arguments
        .windows(2)
        .filter(|pair| pair[0] == "-machine" || pair[0] == "-cpu")
    {
        let name = pair[1].split(',').next().unwrap_or_default();
        if pair[0] == "-machine" && caps.machine(name).is_none() {
            let like = if name.contains("q35") { "q35" } else { "pc" };
            let mut machine = caps.machine(like).expect("it is there").clone();
            machine.name = name.to_owned();
            machine.alias = None;
            caps.machines.push(machine);
        }
    }
    caps
}

/// The descriptors libvirt's tests give for images.
fn fd_groups() -> BTreeMap<String, Vec<bool>> {
    [
        ("testgroup2", vec![false, true]),
        ("testgroup5", vec![false, true]),
        ("testgroup6", vec![false, true]),
        ("cdimage-ro", vec![false]),
        ("cdimage-rw", vec![true]),
        ("raw-rw-base", vec![true]),
    ]
    .map(|(name, group)| (name.to_owned(), group))
    .into()
}

/// The host libvirt's tests pretend to be.
fn define_context() -> DefineContext {
    DefineContext {
        arch: "x86_64".to_owned(),
        emulators: [(
            "x86_64".to_owned(),
            "/usr/bin/qemu-system-x86_64".to_owned(),
        )]
        .into(),
        default_machine: Some("pc".to_owned()),
        default_cpu: Some("qemu64".to_owned()),
        nvram_dir: "/var/lib/libvirt/qemu/nvram".to_owned(),
        abi_update: true,
        ..DefineContext::default()
    }
}

/// Our arguments for a domain, or why there are none.
fn ours(xml: &str, theirs: &[String]) -> Result<Vec<String>, String> {
    let mut domain = Domain::parse(xml).map_err(|error| error.to_string())?;
    domain
        .complete(&define_context())
        .map_err(|error| error.to_string())?;
    domain.assign_aliases();
    for graphics in &mut domain.devices.graphics {
        if graphics.port.is_none_or(|port| port.0 <= 0) && graphics.is_autoport() {
            graphics.port = Some(Port(5900));
        }
    }
    let kvm = theirs
        .windows(2)
        .any(|pair| pair[0] == "-accel" && pair[1].starts_with("kvm"));
    let context = LaunchContext {
        accelerator: if kvm {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        },
        without_kvm: false,
        state_dir: format!("/var/lib/libvirt/qemu/domain--1-{}", domain.name).into(),
        tpm_socket: Some("/dev/test".into()),
        vhost_net: theirs
            .iter()
            .any(|argument| argument.contains("\"vhost\":true")),
        huge_pages: vec![
            (2048, "/dev/hugepages2M".into()),
            (1_048_576, "/dev/hugepages1G".into()),
        ],
        now_seconds: 1_234_567_890,
        local_offset_seconds: -1800,
        paused: true,
        incoming: false,
        fd_groups: fd_groups(),
    };
    let launch = command_line(&domain, &caps(theirs), &context).map_err(|no| no.to_string())?;
    Ok(launch.arguments)
}

fn differences(xml: &str, args: &str) -> Result<Vec<String>, String> {
    let theirs = expected(args);
    let ours = essence(&ours(xml, &theirs)?);
    let theirs = essence(&theirs);
    let missing = theirs
        .iter()
        .filter(|(key, count)| ours.get(*key) != Some(count));
    let extra = ours
        .iter()
        .filter(|(key, count)| theirs.get(*key) != Some(count));
    Ok(missing
        .map(|(key, _)| format!("- {key}"))
        .chain(extra.map(|(key, _)| format!("+ {key}")))
        .collect())
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .expect("the corpus can be read")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".x86_64-latest.args").map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn the_listed_domains_come_out_as_with_libvirt() {
    let Some(directory) = corpus() else { return };
    let read = |name: &str, kind: &str| {
        std::fs::read_to_string(directory.join(format!("{name}.x86_64-latest.{kind}"))).ok()
    };
    let listed: BTreeSet<&str> = include_str!("corpus-equal.txt").lines().collect();
    let (mut equal, mut total) = (Vec::new(), 0);
    let mut broken = Vec::new();
    for name in names(&directory) {
        let (Some(xml), Some(args)) = (read(&name, "xml"), read(&name, "args")) else {
            continue;
        };
        total += 1;
        let outcome = differences(&xml, &args);
        let report = match &outcome {
            Ok(list) if list.is_empty() => {
                equal.push(name.clone());
                continue;
            }
            Ok(list) => list.join("\n  "),
            Err(reason) => format!("refused: {reason}"),
        };
        eprintln!("{name}\n  {report}");
        if listed.contains(name.as_str()) {
            broken.push(name);
        }
    }
    eprintln!(
        "{} of {total} domains come out as with libvirt",
        equal.len()
    );
    if let Ok(path) = std::env::var("STEAD_SAVE_EQUAL") {
        std::fs::write(path, equal.join("\n") + "\n").expect("the list can be written");
    }
    assert!(
        broken.is_empty(),
        "these came out otherwise than before: {broken:?}"
    );
}
