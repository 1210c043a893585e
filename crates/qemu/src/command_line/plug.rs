//! What to tell a running QEMU so that it gets a device: the difference
//! between two command lines, as commands.

use super::block::NodeSecret;
use super::launch::{DescriptorPurpose, FileMode, Launch, Unsupported};
use crate::qmp::{Command, Done, commands};
use model::domain::storage::SecretRef;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// One step of plugging a device in.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A command as it is.
    Run(Command<Done>),
    /// A command about a file: QEMU cannot open files it was not started
    /// with, so the file is opened for it.
    WithFile {
        /// The file.
        path: PathBuf,
        /// Whether it is written to.
        write: bool,
        /// The command, to which the `filename` is to be added: the set of
        /// descriptors that the file has become.
        command: Command<Done>,
    },
    /// A command about a card's connection: QEMU gets the descriptors by name first.
    WithTap {
        /// The card's alias.
        alias: String,
        /// Names of the tap's descriptors, one a queue.
        taps: Vec<String>,
        /// Names of vhost's descriptors, one a queue.
        vhosts: Vec<String>,
        /// The command, which already has the names.
        command: Command<Done>,
    },
    /// A command that makes a secret, to which its value is to be added.
    WithSecret {
        /// Which secret it is.
        reference: SecretRef,
        /// The command, without the value.
        command: Command<Done>,
    },
    /// A command about a socket that is made for QEMU and handed to it under
    /// the name of the back end that listens there.
    Listen {
        /// The socket's path.
        path: PathBuf,
        /// The name of the descriptor.
        name: String,
        /// The command, which already names the descriptor.
        command: Command<Done>,
    },
}

/// The steps from one command line to another, in order.
///
/// # Errors
/// If the device needs more than can be given to a running QEMU.
pub fn plug(before: &Launch, after: &Launch) -> Result<Vec<Step>, Unsupported> {
    let old: Vec<(&str, &str)> = pairs(&before.arguments);
    let mut steps = Vec::new();
    for (option, value) in pairs(&after.arguments) {
        if old.contains(&(option, value)) {
            continue;
        }
        // Its descriptor may have another number now; it is the same all the same.
        let listed = |text: &str| {
            let id = text.split(',').find_map(|part| part.strip_prefix("id="));
            id.map(str::to_owned)
        };
        let same = |(other, text): &(&str, &str)| *other == option && listed(text) == listed(value);
        if listed(value).is_some() && old.iter().any(same) {
            continue;
        }
        if option == "-chardev" {
            steps.push(listen(value, after)?);
            continue;
        }
        let mut properties = object(option, value)?;
        // A device in place may be written differently now (its turn to boot,
        // say); that holds from the machine's next start on.
        let name = name_of(&properties);
        if old
            .iter()
            .any(|(_, text)| named(text) == name && name.is_some())
        {
            continue;
        }
        if let Some(secret) = secret_of(&properties, after) {
            properties.remove("file");
            let command = Command::new("object-add").args(properties);
            let reference = secret.reference.clone();
            steps.push(Step::WithSecret { reference, command });
            continue;
        }
        let command = |properties| match option {
            "-blockdev" => Ok(commands::blockdev_add(properties)),
            "-netdev" => Ok(commands::netdev_add(properties)),
            "-device" => Ok(commands::device_add(properties)),
            "-object" => Ok(Command::new("object-add").args(properties)),
            _ => Err(unpluggable(option)),
        };
        let kind = properties.get("type").and_then(Value::as_str);
        if option == "-netdev" && matches!(kind, Some("tap" | "stream")) {
            steps.push(with_tap(properties));
            continue;
        }
        match file_of(&properties, after) {
            None => steps.push(Step::Run(command(properties)?)),
            Some((path, write)) => {
                properties.remove("filename");
                if write {
                    // There is one descriptor, for both: QEMU is not to open another for reading.
                    properties.remove("auto-read-only");
                }
                steps.push(Step::WithFile {
                    path,
                    write,
                    command: command(properties)?,
                });
            }
        }
    }
    // What is said to a device that is there can be said at any time.
    let said = after
        .setup
        .iter()
        .filter(|command| !before.setup.contains(command));
    steps.extend(said.map(|command| Step::Run(command.clone().without_reply())));
    Ok(steps)
}

/// The command that makes a tap's end in QEMU, with names in place of numbers.
fn with_tap(mut properties: Map<String, Value>) -> Step {
    let id = properties.get("id").and_then(Value::as_str);
    let alias = id.map_or("", |id| id.trim_start_matches("host")).to_owned();
    let mut rename = |one: &str, many: &str, what: &str| {
        let numbers = properties.get(one).or_else(|| properties.get(many));
        let count = numbers
            .and_then(Value::as_str)
            .map_or(0, |text| text.split(':').count());
        let names: Vec<String> = (0..count).map(|n| format!("{what}-{alias}-{n}")).collect();
        for key in [one, many] {
            if properties.contains_key(key) {
                properties.insert(key.to_owned(), names.join(":").into());
            }
        }
        names
    };
    let mut taps = rename("fd", "fds", "tap");
    let vhosts = rename("vhostfd", "vhostfds", "vhost");
    if let Some(socket) = properties
        .get_mut("addr")
        .and_then(|addr| addr.get_mut("str"))
    {
        let name = format!("socket-{alias}");
        *socket = name.clone().into();
        taps.push(name);
    }
    Step::WithTap {
        taps,
        vhosts,
        command: commands::netdev_add(properties),
        alias,
    }
}

/// A part of an option written as `kind,name=value,…`.
fn text_part<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(',').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        (key == name).then_some(value)
    })
}

/// The step for a back end that listens at a socket; others are not plugged in.
fn listen(value: &str, after: &Launch) -> Result<Step, Unsupported> {
    let id = text_part(value, "id");
    let number = text_part(value, "fd").and_then(|number| number.parse().ok());
    let path = after.descriptors.iter().find_map(|descriptor| {
        let DescriptorPurpose::Listener { path, .. } = &descriptor.purpose else {
            return None;
        };
        (Some(descriptor.number) == number).then_some(path)
    });
    let (Some(id), Some(path)) = (id, path) else {
        return Err(unpluggable("-chardev"));
    };
    let backend = json!({
        "type": "socket",
        "data": {
            "addr": { "type": "fd", "data": { "str": id } },
            "server": true,
            "wait": false,
        },
    });
    Ok(Step::Listen {
        path: path.clone(),
        name: id.to_owned(),
        command: commands::chardev_add(id, backend).without_reply(),
    })
}

/// Options with their values; options without one have none to compare.
fn pairs(arguments: &[String]) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(option) = rest.next() {
        if let Some(value) = rest.next_if(|value| !value.starts_with('-')) {
            pairs.push((option.as_str(), value.as_str()));
        }
    }
    pairs
}

fn object(option: &str, value: &str) -> Result<Map<String, Value>, Unsupported> {
    serde_json::from_str(value).map_err(|_| unpluggable(option))
}

fn name_of(properties: &Map<String, Value>) -> Option<String> {
    let name = properties
        .get("id")
        .or_else(|| properties.get("node-name"))?;
    name.as_str().map(str::to_owned)
}

fn named(text: &str) -> Option<String> {
    serde_json::from_str::<Map<String, Value>>(text)
        .ok()
        .as_ref()
        .and_then(name_of)
}

fn unpluggable(option: &str) -> Unsupported {
    Unsupported::new(format!(
        "a device of this kind cannot be plugged into a running machine (it needs QEMU's option \
         {option}); use --config and restart the machine"
    ))
}

/// The secret an object is to hold.
fn secret_of<'a>(properties: &Map<String, Value>, launch: &'a Launch) -> Option<&'a NodeSecret> {
    let id = properties.get("id")?.as_str()?;
    let mut purposes = launch.descriptors.iter().map(|d| &d.purpose);
    purposes.find_map(|purpose| match purpose {
        DescriptorPurpose::Secret(secret) if secret.id == id => Some(secret),
        _ => None,
    })
}

/// The host's file a block node opens, and whether it is written to.
fn file_of(properties: &Map<String, Value>, launch: &Launch) -> Option<(PathBuf, bool)> {
    let path = PathBuf::from(properties.get("filename")?.as_str()?);
    let access = launch.files.iter().find(|file| file.path == path)?;
    Some((path, access.mode != FileMode::Read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::{Descriptor, FileAccess, FileRole};

    fn launch(arguments: &[&str]) -> Launch {
        Launch {
            program: "qemu".into(),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            environment: Vec::new(),
            descriptors: Vec::new(),
            files: vec![FileAccess {
                path: "/b".into(),
                mode: FileMode::ReadWrite,
                role: FileRole::Image,
                shared: false,
            }],
            variables: None,
            setup: Vec::new(),
        }
    }

    #[test]
    fn a_disk_is_opened_for_qemu_and_then_plugged_in() {
        let before = launch(&["-S", "-smp", "1"]);
        let after = launch(&[
            "-S",
            "-smp",
            "1",
            "-blockdev",
            r#"{"driver":"file","filename":"/b","node-name":"n","auto-read-only":true}"#,
            "-device",
            r#"{"driver":"virtio-blk-pci","id":"virtio-disk1"}"#,
        ]);
        let steps = plug(&before, &after).expect("steps");
        let [
            Step::WithFile {
                path,
                write: true,
                command,
            },
            Step::Run(device),
        ] = &steps[..]
        else {
            panic!("{steps:?}");
        };
        assert_eq!(path, &PathBuf::from("/b"));
        let left: Vec<&str> = command.arguments().keys().map(String::as_str).collect();
        assert_eq!(left, ["driver", "node-name"]);
        assert_eq!(
            (command.name(), device.name()),
            ("blockdev-add", "device_add")
        );
    }

    #[test]
    fn a_port_that_listens_gets_its_socket_by_name() {
        let mut after = launch(&["-chardev", "socket,id=charport,fd=9,server=on,wait=off"]);
        after.descriptors.push(Descriptor {
            number: 9,
            purpose: DescriptorPurpose::Listener {
                alias: "port".into(),
                path: "/run/port".into(),
            },
        });
        let steps = plug(&launch(&[]), &after).expect("steps");
        let [
            Step::Listen {
                path,
                name,
                command,
            },
        ] = &steps[..]
        else {
            panic!("{steps:?}");
        };
        assert_eq!(
            (path.to_str(), name.as_str()),
            (Some("/run/port"), "charport")
        );
        assert_eq!(command.name(), "chardev-add");
        assert_eq!(plug(&after, &after), Ok(Vec::new()));
    }

    #[test]
    fn what_only_the_command_line_can_do_is_refused() {
        let error = plug(&launch(&[]), &launch(&["-chardev", "pty,id=c"])).expect_err("refused");
        assert!(error.0.contains("-chardev"), "{error}");
    }
}
