//! Secrets, and the encrypted volumes and disks that are opened with them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use stead_tests::{Host, guest, wait};

const PASSPHRASE: &str = "correct horse";
/// The passphrase in base64.
const PASSPHRASE_BASE64: &str = "Y29ycmVjdCBob3JzZQ==";

/// Defines a secret and gives it the passphrase; its uuid comes back.
fn secret(host: &Host, attributes: &str, volume: &str) -> String {
    let xml = format!(
        "<secret {attributes}><usage type='volume'><volume>{volume}</volume></usage></secret>"
    );
    let file = host.file("secret.xml", &xml);
    let said = host.virsh(&["secret-define", &file]).succeeds();
    let uuid = said.split_whitespace().nth(1).expect("a uuid").to_owned();
    let value = host.file("value", PASSPHRASE);
    let set = ["secret-set-value", &uuid, "--file", &value, "--plain"];
    let _ = host.virsh(&set).succeeds();
    uuid
}

fn occurs(folder: &Path, what: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(occurs(&path, what));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(what.len()).any(|w| w == what)) {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn secrets_are_kept_and_told_only_to_whom_they_may_be() {
    let mut host = Host::start();
    let kept = secret(&host, "", "/v/kept");
    let private = secret(&host, "private='yes'", "/v/private");
    let passing = secret(&host, "ephemeral='yes'", "/v/passing");

    let value = host.virsh(&["secret-get-value", &kept]).succeeds();
    assert_eq!(value.trim(), PASSPHRASE_BASE64);
    let ours = host.stead(&["-q", "secret-get-value", &kept, "--plain"]);
    assert_eq!(ours.succeeds().trim_end(), PASSPHRASE);
    let error = host.virsh(&["secret-get-value", &private]).fails();
    assert!(
        error.contains("Invalid secret: secret is private"),
        "{error}"
    );
    let listing = ["secret-list", "--no-private"];
    let (theirs, ours) = (
        host.virsh(&listing).succeeds(),
        host.stead(&listing).succeeds(),
    );
    assert_eq!(theirs, ours);
    assert!(ours.contains(&kept) && !ours.contains(&private), "{ours}");
    let shown = ["secret-dumpxml", &kept];
    let (theirs, ours) = (host.virsh(&shown).succeeds(), host.stead(&shown).succeeds());
    assert_eq!(theirs, ours);

    // Only the daemon's user reads it, and nothing else has it.
    let file = host.root().join("secrets").join(&kept);
    let mode = fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let directory = fs::metadata(host.root().join("secrets")).expect("it is there");
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
    let places = occurs(&host.root(), PASSPHRASE.as_bytes());
    let count = places
        .iter()
        .filter(|place| place.contains("/secrets/"))
        .count();
    assert_eq!((places.len(), count), (2, 2), "{places:?}");
    assert!(!host.log().contains(PASSPHRASE), "the log holds the value");

    let _ = host.kill_daemon();
    host.start_daemon();
    let ours = host.stead(&["-q", "secret-get-value", &kept, "--plain"]);
    assert_eq!(ours.succeeds().trim_end(), PASSPHRASE);
    let error = host.virsh(&["secret-dumpxml", &passing]).fails();
    assert!(
        error.contains(&format!("failed to get secret '{passing}'")),
        "{error}"
    );

    let _ = host.virsh(&["secret-undefine", &kept]).succeeds();
    assert!(!file.exists(), "its value is still there");
}

#[test]
fn a_secret_broken_off_at_any_step_is_there_or_gone() {
    let mut host = Host::start();
    let uuid = secret(&host, "", "/v");
    for (step, verb) in [
        ("secret/value-stored", "secret-set-value"),
        ("secret/forgotten", "secret-undefine"),
    ] {
        let _ = host.stop_daemon();
        host.start_daemon_to_crash_at(step);
        let value = host.file("value", "another");
        let words: &[&str] = match verb {
            "secret-set-value" => &[verb, &uuid, "--file", &value, "--plain"],
            _ => &[verb, &uuid],
        };
        let _ = host.virsh(words).fails();
        host.wait_for_crash(step);
        host.start_daemon();
        match verb {
            "secret-set-value" => {
                let ours = host.stead(&["-q", "secret-get-value", &uuid, "--plain"]);
                assert_eq!(ours.succeeds().trim_end(), "another");
            }
            _ => {
                let _ = host.virsh(&["secret-dumpxml", &uuid]).fails();
                assert!(!host.root().join("secrets").join(&uuid).exists());
            }
        }
    }
}

/// A machine's disk on an encrypted image.
fn disk(path: &str, format: &str, target: &str, uuid: &str) -> String {
    format!(
        "<disk type='file' device='disk'><driver name='qemu' type='{format}'/>\
         <source file='{path}'><encryption format='luks'>\
         <secret type='passphrase' uuid='{uuid}'/></encryption></source>\
         <target dev='{target}' bus='virtio'/></disk>"
    )
}

/// Lets QEMU itself write to a disk, as the guest would.
fn write_as_guest(host: &Host, disk: &str) {
    let device = format!("/machine/peripheral/{disk}/virtio-backend");
    let line = format!("qemu-io -d {device} \"write -P 171 0 1M\"");
    let said = host.virsh(&["qemu-monitor-command", "vm", "--hmp", &line]);
    let said = said.succeeds();
    // What it did it says on QEMU's own output; here it tells why it could not.
    assert_eq!(said.trim(), "");
}

#[test]
fn encrypted_volumes_are_made_grown_copied_and_given_to_machines() {
    let host = Host::start();
    let folder = host.folder().join("p");
    let target = folder.to_string_lossy().into_owned();
    let create = ["pool-create-as", "p", "dir", "--target", &target, "--build"];
    let _ = host.virsh(&create).succeeds();
    let mut uuids = Vec::new();
    for (name, format) in [("raw", "raw"), ("image", "qcow2")] {
        let path = format!("{target}/{name}");
        let uuid = secret(&host, "", &path);
        let xml = format!(
            "<volume><name>{name}</name><capacity unit='M'>8</capacity><target>\
             <format type='{format}'/><encryption format='luks'>\
             <secret type='passphrase' uuid='{uuid}'/></encryption></target></volume>"
        );
        let file = host.file("volume.xml", &xml);
        let _ = host.virsh(&["vol-create", "p", &file]).succeeds();
        let shown = host.virsh(&["vol-dumpxml", name, "p"]).succeeds();
        assert!(
            shown.contains("format='luks'") && shown.contains(&uuid),
            "{shown}"
        );
        let _ = host.virsh(&["vol-resize", name, "16M", "p"]).succeeds();
        let info = host.virsh(&["vol-info", name, "p"]).succeeds();
        assert!(info.contains("16.00 MiB"), "{info}");
        uuids.push(uuid);
    }

    let (raw, image) = (format!("{target}/raw"), format!("{target}/image"));
    let xml = guest::bare_machine("vm").replace(
        "<devices>",
        &format!(
            "<features><acpi/></features><devices>{}",
            disk(&raw, "raw", "vda", &uuids[0])
        ),
    );
    host.define(&xml);
    let _ = host.virsh(&["start", "vm"]).succeeds();
    let attached = host.file("disk.xml", &disk(&image, "qcow2", "vdb", &uuids[1]));
    let _ = host.virsh(&["attach-device", "vm", &attached]).succeeds();
    write_as_guest(&host, "virtio-disk0");
    write_as_guest(&host, "virtio-disk1");
    let pid = host.qemu_of("vm");
    let line = fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
    let line = String::from_utf8_lossy(&line).into_owned();
    assert!(
        !line.contains(PASSPHRASE) && !line.contains(PASSPHRASE_BASE64),
        "{line}"
    );
    let logs = occurs(&host.root().join("log"), PASSPHRASE.as_bytes());
    assert!(logs.is_empty(), "{logs:?}");
    let _ = host.virsh(&["destroy", "vm"]).succeeds();
    wait::until(
        "the end of QEMU",
        std::time::Duration::from_secs(10),
        || host.qemus().is_empty(),
    );

    // What was written is there for whoever has the key, and only for them.
    let options = [
        format!("driver=luks,key-secret=k,file.filename={raw}"),
        format!("driver=qcow2,encrypt.key-secret=k,file.filename={image}"),
    ];
    for options in &options {
        let object = format!("secret,id=k,data={PASSPHRASE}");
        let read = Command::new("qemu-io")
            .args([
                "--object",
                &object,
                "--image-opts",
                "-c",
                "read -P 171 0 1M",
                options,
            ])
            .output()
            .expect("it is installed");
        let said = String::from_utf8_lossy(&read.stdout);
        assert!(read.status.success() && !said.contains("failed"), "{said}");
    }
    for path in [&raw, &image] {
        let bytes = fs::read(path).expect("it is there");
        assert!(
            !bytes.windows(64).any(|piece| piece == [171; 64]),
            "{path} is not encrypted"
        );
    }

    // A copy in the clear, and one that is encrypted again.
    let xml = "<volume><name>clear</name><capacity>0</capacity><target>\
               <format type='qcow2'/></target></volume>";
    let file = host.file("volume.xml", xml);
    let _ = host
        .virsh(&["vol-create-from", "p", &file, "image", "--inputpool", "p"])
        .succeeds();
    let clear = format!("{target}/clear");
    let read = Command::new("qemu-io")
        .args(["-f", "qcow2", "-c", "read -P 171 0 1M", &clear])
        .status();
    assert!(read.expect("it is installed").success());
    let _ = host.virsh(&["secret-undefine", &uuids[1]]).succeeds();
    let error = host.virsh(&["vol-resize", "image", "32M", "p"]).fails();
    assert!(error.contains("<usage type='volume'>"), "{error}");
    let _ = host.virsh(&["secret-undefine", &uuids[0]]).succeeds();
    let error = host.virsh(&["start", "vm"]).fails();
    assert!(error.contains("Secret not found"), "{error}");
}
