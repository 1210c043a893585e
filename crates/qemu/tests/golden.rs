//! Typical machines: their command lines as text to read, and each of them started by the real
//! QEMU.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "runs a real QEMU"
)]
#![allow(clippy::print_stderr, reason = "a test that was skipped must say so")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use model::domain::complete::DefineContext;
use model::domain::graphics::{GraphicsType, Port};
use model::domain::{Domain, DomainType};
use serde_json::Value;
use stead_qemu::caps::{Accelerator, QemuCaps};
use stead_qemu::command_line::{Launch, LaunchContext, command_line};
use stead_qemu::qmp::commands;

fn domains() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/domains");
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("there are domains")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .expect("a name");
            (
                name.to_owned(),
                std::fs::read_to_string(&path).expect("a text"),
            )
        })
        .collect();
    found.sort();
    found
}

fn launch(xml: &str, caps: &QemuCaps, state_dir: &str) -> Launch {
    let mut domain = Domain::parse(xml).expect("the domain can be read");
    let context = DefineContext {
        arch: "x86_64".to_owned(),
        emulators: [(
            "x86_64".to_owned(),
            "/usr/bin/qemu-system-x86_64".to_owned(),
        )]
        .into(),
        machine_aliases: caps.machine_aliases(),
        default_machine: caps.default_machine().map(|machine| machine.name.clone()),
        default_cpu: Some("qemu64".to_owned()),
        devices: Some(caps.types.clone()),
        nvram_dir: "/nvram".to_owned(),
        abi_update: true,
        ..DefineContext::default()
    };
    domain
        .complete(&context)
        .expect("the domain can be completed");
    domain.assign_aliases();
    for graphics in &mut domain.devices.graphics {
        if graphics.kind == GraphicsType::Vnc && graphics.is_autoport() {
            graphics.port = Some(Port(5900));
        }
    }
    let context = LaunchContext {
        accelerator: Accelerator::Tcg,
        without_kvm: domain.kind == DomainType::Kvm,
        state_dir: state_dir.into(),
        tpm_socket: Some(PathBuf::from(state_dir).join("tpm.sock")),
        vhost_net: false,
        huge_pages: Vec::new(),
        now_seconds: 1_790_000_000,
        local_offset_seconds: 7200,
        paused: false,
        incoming: false,
        fd_groups: std::collections::BTreeMap::new(),
    };
    command_line(&domain, caps, &context).expect("the domain can be started")
}

/// One argument with its value on each line, then everything else that a start needs.
fn text(launch: &Launch) -> String {
    let mut lines = vec![launch.program.display().to_string()];
    for argument in &launch.arguments {
        match lines.last_mut() {
            Some(line) if !argument.starts_with('-') => *line += &format!(" {argument}"),
            _ => lines.push(argument.clone()),
        }
    }
    lines.push(String::new());
    lines.extend(
        launch
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    lines.push(String::new());
    lines.extend(
        launch
            .descriptors
            .iter()
            .map(|fd| format!("{} {:?}", fd.number, fd.purpose)),
    );
    lines.push(String::new());
    for file in &launch.files {
        let shared = if file.shared { " shared" } else { "" };
        let path = file.path.display();
        lines.push(format!("{path} {:?} {:?}{shared}", file.mode, file.role));
    }
    lines.extend(
        launch
            .variables
            .iter()
            .map(|variables| format!("{variables:?}")),
    );
    for command in &launch.setup {
        lines.push(String::from_utf8(command.encode_unnumbered()).expect("QMP is text"));
    }
    lines.join("\n").trim_end().to_owned()
}

#[test]
fn command_lines_are_as_they_were() {
    let caps = QemuCaps::from_json(include_str!("data/caps-10.0.json")).expect("readable");
    for (name, xml) in domains() {
        insta::assert_snapshot!(name, text(&launch(&xml, &caps, "/run/machine")));
    }
}

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stead-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes the files a machine uses.
fn make_files(launch: &Launch, folder: &Path) {
    for file in launch
        .files
        .iter()
        .filter(|file| file.path.starts_with(folder))
    {
        let path = &file.path;
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".qcow2") {
            let mut create = Process::new("qemu-img");
            create
                .args(["create", "-q", "-f", "qcow2"])
                .arg(path)
                .arg("8M");
            let made = create.output().expect("qemu-img runs");
            assert!(made.status.success(), "{name}");
        } else if name.ends_with("_VARS.fd") {
            let template = launch.variables.as_ref().and_then(|v| v.template.as_ref());
            std::fs::copy(template.expect("a template"), path).expect("variables can be copied");
        } else if name == "vmlinuz" {
            std::fs::write(path, kernel()).expect("a file can be made");
        } else if !path.exists() && !name.ends_with(".sock") {
            let size = if name.ends_with(".img") {
                1_474_560
            } else {
                4 << 20
            };
            std::fs::write(path, vec![0; size]).expect("a file can be made");
        }
    }
}

/// What QEMU takes for a kernel: a header of Linux's boot protocol and nothing to run.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 64 << 10];
    image[0x1f1] = 4;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020c_u16.to_le_bytes());
    image[0x22c..0x230].copy_from_slice(&0x37ff_ffff_u32.to_le_bytes());
    image
}

/// Puts in what a test has in place of descriptors and of a TPM's emulator.
fn without_descriptors(arguments: &[String], folder: &Path) -> Vec<String> {
    let mut changed: Vec<String> = Vec::new();
    let mut skip = false;
    for (position, argument) in arguments.iter().enumerate() {
        if std::mem::take(&mut skip) {
            continue;
        }
        let next = arguments.get(position + 1).map_or("", String::as_str);
        if argument == "-add-fd" || next.contains("chrtpm") || next.contains("tpm-tpm0") {
            skip = true;
        } else if argument.starts_with("socket,id=char")
            && argument.contains(",fd=")
            && !argument.contains("charmonitor")
        {
            let id = argument.split(',').nth(1).unwrap_or_default();
            changed.push(format!("null,{id}"));
        } else if argument.contains("\"type\":\"tap\"") {
            let value: Value = serde_json::from_str(argument).expect("JSON");
            changed.push(format!(
                "hubport,hubid=9,id={}",
                value["id"].as_str().unwrap_or("")
            ));
        } else if argument.starts_with("127.0.0.1:") || argument.starts_with("0.0.0.0:") {
            let rest = argument.split_once(',').map_or("", |(_, rest)| rest);
            let rest: Vec<&str> = rest
                .split(',')
                .filter(|part| !part.starts_with("websocket"))
                .collect();
            let socket = folder.join("vnc.sock");
            changed.push(format!("unix:{},{}", socket.display(), rest.join(",")));
        } else {
            // What would come as a descriptor is a file.
            let file = folder.join("output-").display().to_string();
            changed.push(argument.replace("/dev/fdset/", &file));
        }
    }
    changed
}

#[test]
fn the_real_qemu_starts_them() {
    let Some(binary) = support::binary() else {
        return;
    };
    let caps = support::probe(&binary);
    let only = std::env::var("STEAD_ONLY").ok();
    let mut failures = Vec::new();
    for (name, xml) in domains() {
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let folder = Folder::new(&name);
        let path = folder.0.to_str().expect("a plain path");
        let launch = launch(&xml.replace("/images", path), &caps, path);
        let template = launch
            .variables
            .as_ref()
            .and_then(|variables| variables.template.as_ref());
        if template.is_some_and(|template| !template.exists()) {
            eprintln!("skipped: {name}, there is no UEFI firmware");
            continue;
        }
        make_files(&launch, &folder.0);
        let mut arguments = without_descriptors(&launch.arguments, &folder.0);
        arguments.push("-S".to_owned());
        let started =
            support::Qemu::start(&binary, &arguments, "charmonitor").and_then(|mut qemu| {
                for command in &launch.setup {
                    qemu.ask(command)?;
                }
                let status = qemu.ask(&commands::query_status().untyped())?;
                qemu.ask(&commands::query_block().untyped())?;
                match status["status"].as_str() {
                    Some("prelaunch") => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
        if let Err(reason) = started {
            failures.push(format!("{name}: {reason}\n{}", arguments.join(" ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
