//! Snapshots and block jobs of encrypted disks: nothing is written in the clear, and every image
//! is opened with its key.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use stead_tests::{Host, guest, wait};

const PASSPHRASE: &str = "correct horse";
const MIB: usize = 1 << 20;

/// A host with one machine that has an encrypted disk.
struct Bench {
    host: Host,
}

impl Bench {
    /// The disk's image is of this format; its passphrase is quick to try.
    fn new(format: &str) -> Self {
        let bench = Self {
            host: Host::start(),
        };
        fs::create_dir(bench.host.folder().join("images")).expect("it is ours");
        let path = bench.path(&format!("vm.{format}"));
        let prefix = match format {
            "luks" => "",
            _ => "encrypt.",
        };
        let mut options = format!("{prefix}key-secret=k,{prefix}iter-time=10");
        if format != "luks" {
            options += ",encrypt.format=luks";
        }
        tool("create", &["-q", "-f", format, "-o", &options, &path, "8M"]);
        let uuid = bench.secret();
        let driver = if format == "luks" { "raw" } else { format };
        let xml = guest::bare_machine("vm").replace(
            "<devices>",
            &format!(
                "<features><acpi/></features><devices><disk type='file' device='disk'>\
                 <driver name='qemu' type='{driver}'/><source file='{path}'>\
                 <encryption format='luks'><secret type='passphrase' uuid='{uuid}'/></encryption>\
                 </source><target dev='vda' bus='virtio'/></disk>"
            ),
        );
        bench.host.define(&xml);
        bench
    }

    /// A secret that no volume is named for.
    fn secret(&self) -> String {
        let xml = "<secret><description>of the disk</description></secret>";
        let file = self.host.file("secret.xml", xml);
        let said = self.virsh(&["secret-define", &file]);
        let uuid = said.split_whitespace().nth(1).expect("a uuid").to_owned();
        let value = self.host.file("value", PASSPHRASE);
        self.virsh(&["secret-set-value", &uuid, "--file", &value, "--plain"]);
        uuid
    }

    fn path(&self, name: &str) -> String {
        let path = self.host.folder().join("images").join(name);
        path.to_string_lossy().into_owned()
    }

    fn virsh(&self, words: &[&str]) -> String {
        self.host.virsh(words).succeeds()
    }

    /// The image the machine uses now.
    fn image(&self) -> String {
        let list = self.virsh(&["domblklist", "vm"]);
        let line = list.lines().find(|line| line.contains("vda"));
        let image = line.and_then(|line| line.split_whitespace().last());
        image.expect("the machine has a disk").to_owned()
    }

    /// Fills the disk's MiB number `at` with a byte, while the machine is off.
    fn write(&self, at: usize, byte: u8) {
        let command = format!("write -P {byte} {at}M 1M");
        keyed("qemu-io", &["-c", &command, &chain(&self.image())]);
    }

    /// The same by QEMU itself, as the guest would.
    fn write_live(&self, at: usize, byte: u8) {
        let device = "/machine/peripheral/virtio-disk0/virtio-backend";
        let line = format!("qemu-io -d {device} \"write -P {byte} {at}M 1M\"");
        let said = self.virsh(&["qemu-monitor-command", "vm", "--hmp", &line]);
        assert_eq!(said.trim(), "");
    }

    /// The first byte of each MiB as the disk shows it, while the machine is off.
    fn content(&self) -> Vec<u8> {
        let clear = self.host.folder().join("content.raw");
        let clear = clear.to_string_lossy();
        tool("convert", &["-O", "raw", &chain(&self.image()), &clear]);
        let bytes = fs::read(&*clear).expect("it was just made");
        bytes.iter().step_by(MIB).copied().collect()
    }

    /// Every image is sound, encrypted, and the machine's.
    fn check(&self, after: &str) {
        let folder = self.host.folder().join("images");
        let mut named: Vec<String> = Vec::new();
        let mut next = Some(self.image());
        while let Some(image) = next {
            next = below(&image);
            named.push(image);
        }
        for entry in fs::read_dir(folder).expect("it is ours").flatten() {
            let path = entry.path().to_string_lossy().into_owned();
            assert!(named.contains(&path), "after {after}: nobody names {path}");
            let info = info(&path);
            assert_eq!(info["encrypted"], true, "after {after}: {path}");
            if info["format"] == "qcow2" {
                tool("check", &["-q", &chain(&path)]);
            }
        }
    }

    fn stop(&self) {
        self.virsh(&["destroy", "vm"]);
        wait::until("the end of QEMU", Duration::from_secs(10), || {
            self.host.qemus().is_empty()
        });
    }
}

/// Runs a program with the passphrase as the object `k`.
fn keyed(program: &str, words: &[&str]) {
    let object = format!("secret,id=k,data={PASSPHRASE}");
    let (verb, rest) = match program {
        "qemu-img" => words.split_at(1),
        _ => words.split_at(0),
    };
    let mut command = Command::new(program);
    command.args(verb).args(["--object", &object]).args(rest);
    let output = command.output().expect("it is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("failed"),
        "{program} {words:?}: {said}{error}"
    );
}

fn tool(verb: &str, words: &[&str]) {
    keyed("qemu-img", &[&[verb], words].concat());
}

fn info(image: &str) -> Value {
    let output = Command::new("qemu-img")
        .args(["info", "-U", "--output=json", image])
        .output()
        .expect("it is installed");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn below(image: &str) -> Option<String> {
    let below = info(image)["full-backing-filename"].as_str()?.to_owned();
    Some(below)
}

/// An image with all behind it, with their keys, as QEMU's programs open it.
fn chain(image: &str) -> String {
    format!("json:{}", node(image))
}

fn node(image: &str) -> Value {
    let info = info(image);
    let mut node = json!({"driver": info["format"], "file": {"driver": "file", "filename": image}});
    match (info["format"].as_str(), info["encrypted"].as_bool()) {
        (Some("luks"), _) => node["key-secret"] = "k".into(),
        (_, Some(true)) => node["encrypt"] = json!({"format": "luks", "key-secret": "k"}),
        _ => {}
    }
    if let Some(below) = below(image) {
        node["backing"] = self::node(&below);
    }
    node
}

#[test]
fn a_stopped_machine_with_an_encrypted_disk_goes_back_and_forth() {
    let bench = Bench::new("luks");
    for at in 0..4 {
        // What was never written to a disk of LUKS reads as anything.
        bench.write(at, 1);
    }
    bench.virsh(&["snapshot-create-as", "vm", "out1", "--disk-only"]);
    bench.write(1, 2);
    let xml = bench.virsh(&["dumpxml", "vm", "--inactive"]);
    assert!(xml.contains("<encryption format='luks'>"), "{xml}");
    bench.virsh(&["snapshot-create-as", "vm", "in1"]);
    bench.write(2, 3);
    bench.virsh(&["snapshot-revert", "vm", "in1"]);
    bench.virsh(&["start", "vm"]);
    let xml = bench.virsh(&["dumpxml", "vm"]);
    let count = xml.matches("<encryption format='luks'>").count();
    assert_eq!(count, 2, "of its own image and the one below: {xml}");
    bench.write_live(3, 4);
    bench.stop();
    assert_eq!(bench.content()[..4], [1, 2, 1, 4]);
    bench.virsh(&["snapshot-revert", "vm", "out1"]);
    bench.write(2, 9);
    bench.virsh(&["snapshot-delete", "vm", "out1", "--children"]);
    assert_eq!(bench.content()[..4], [1, 1, 9, 1]);
    assert_eq!(bench.image(), bench.path("vm.luks"), "all is merged");
    bench.check("the deletion of all");
}

#[test]
fn a_running_machine_s_encrypted_disk_is_taken_merged_pulled_and_copied() {
    let bench = Bench::new("qcow2");
    bench.virsh(&["start", "vm"]);
    bench.write_live(0, 1);
    // QEMU cannot write memory there.
    let error = bench
        .host
        .virsh(&["snapshot-create-as", "vm", "in"])
        .fails();
    assert!(error.contains("inside an encrypted image"), "{error}");
    bench.virsh(&["snapshot-create-as", "vm", "s1", "--disk-only"]);
    bench.write_live(1, 2);
    bench.virsh(&["snapshot-delete", "vm", "s1"]);
    assert_eq!(bench.image(), bench.path("vm.qcow2"), "it is merged");
    let second = [
        "snapshot-create-as",
        "vm",
        "s2",
        "--disk-only",
        "--no-metadata",
    ];
    bench.virsh(&second);
    bench.write_live(2, 3);
    bench.virsh(&["blockpull", "vm", "vda", "--wait"]);
    assert_eq!(below(&bench.image()), None);
    // The machine goes over to a copy that is not of QEMU's own format, and encrypted too.
    let path = bench.path("copy");
    let copy = [
        "blockcopy",
        "vm",
        "vda",
        &path,
        "--format",
        "raw",
        "--wait",
        "--pivot",
    ];
    bench.virsh(&copy);
    assert_eq!(bench.image(), path);
    bench.write_live(3, 4);
    let objects = [
        "qemu-monitor-command",
        "vm",
        r#"{"execute":"qom-list","arguments":{"path":"/objects"}}"#,
    ];
    let objects = bench.virsh(&objects);
    assert_eq!(objects.matches("secret0").count(), 1, "{objects}");
    let logs = bench.host.log();
    assert!(!logs.contains(PASSPHRASE), "the log holds the passphrase");
    bench.stop();
    assert_eq!(info(&path)["format"], "luks");
    for left in ["vm.qcow2", "vm.s2"] {
        tool("check", &["-q", &chain(&bench.path(left))]);
    }
    assert_eq!(bench.content()[..4], [1, 2, 3, 4]);
}
