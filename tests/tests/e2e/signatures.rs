//! Images compared with what their publishers say.

use stead_tests::{Host, clients};

fn tool(program: &str, words: &[&str]) -> String {
    clients::run(program, words, &[]).succeeds()
}

/// A publisher: an image, a file of checksums, and a key that signed both.
struct Publisher {
    host: Host,
    home: String,
}

impl Publisher {
    fn new() -> Publisher {
        let host = Host::start();
        let home = host.folder().join("gpg");
        std::fs::create_dir(&home).expect("there is room");
        let publisher = Publisher {
            home: home.to_string_lossy().into_owned(),
            host,
        };
        let image = publisher.path("disk.qcow2");
        let _ = tool("qemu-img", &["create", "-q", "-f", "qcow2", &image, "8M"]);
        let sum = tool("sha512sum", &[&image]);
        let sums = format!("# of a test\n{}  disk.qcow2\n", &sum[..128]);
        let _ = publisher.host.file("SHA512SUMS", &sums);
        let words = [
            "--quick-gen-key",
            "test@example.org",
            "ed25519",
            "sign",
            "never",
        ];
        let _ = publisher.gpg(&[&["--passphrase", ""], &words[..]].concat());
        let keys = publisher.path("keys.gpg");
        let _ = publisher.gpg(&["--output", &keys, "--export"]);
        let _ = publisher.gpg(&[
            "--armor",
            "--output",
            &publisher.path("keys.asc"),
            "--export",
        ]);
        for file in ["disk.qcow2", "SHA512SUMS"] {
            let file = publisher.path(file);
            let _ = publisher.gpg(&["--output", &format!("{file}.sig"), "--detach-sign", &file]);
        }
        let sums = publisher.path("SHA512SUMS");
        let _ = publisher.gpg(&[
            "--output",
            &publisher.path("CHECKSUM"),
            "--clear-sign",
            &sums,
        ]);
        publisher
    }

    fn path(&self, name: &str) -> String {
        self.host.folder().join(name).to_string_lossy().into_owned()
    }

    fn gpg(&self, words: &[&str]) -> String {
        let common = [
            "--homedir",
            &self.home,
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
        ];
        tool("gpg", &[&common[..], words].concat())
    }

    fn import(&self, name: &str, options: &[(&str, &str)]) -> clients::Ran {
        let mut words = vec![
            "image".to_owned(),
            "import".to_owned(),
            self.path("disk.qcow2"),
        ];
        words.extend(["--name".to_owned(), name.to_owned()]);
        for (option, file) in options {
            words.extend([format!("--{option}"), self.path(file)]);
        }
        self.host
            .stead(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // The agent that gpg started for this home.
        let _ = std::process::Command::new("gpgconf")
            .args(["--homedir", &self.home, "--kill", "all"])
            .status();
    }
}

#[test]
fn images_are_what_their_publisher_signed() {
    let publisher = Publisher::new();
    let keys = ("keyring", "keys.gpg");
    let _ = publisher
        .import("a", &[("signature", "disk.qcow2.sig"), keys])
        .succeeds();
    let shown = publisher.host.stead(&["image", "show", "a"]).succeeds();
    let signed = shown
        .lines()
        .find_map(|line| line.strip_prefix("Signed by:"))
        .expect("it says so");
    assert_eq!(signed.trim().len(), 40, "{shown}");
    let sums = ("checksum-file", "SHA512SUMS");
    let _ = publisher.import("b", &[sums]).succeeds();
    let signed_sums = [
        sums,
        ("signature", "SHA512SUMS.sig"),
        ("keyring", "keys.asc"),
    ];
    let _ = publisher.import("c", &signed_sums).succeeds();
    let _ = publisher
        .import("d", &[("checksum-file", "CHECKSUM"), keys])
        .succeeds();
    let said = publisher.import("e", &[sums, keys]).fails();
    assert!(said.contains("carries no signature in itself"), "{said}");

    // Another image, and nothing of the publisher's fits it.
    let _ = tool(
        "qemu-io",
        &["-c", "write -P 9 0 64k", &publisher.path("disk.qcow2")],
    );
    let said = publisher
        .import("e", &[("signature", "disk.qcow2.sig"), keys])
        .fails();
    assert!(said.contains("the signature is not good"), "{said}");
    for evidence in [vec![sums], signed_sums.to_vec()] {
        let said = publisher.import("e", &evidence).fails();
        assert!(said.contains("the checksum is"), "{said}");
    }
    // Somebody else signed it.
    let _ = std::fs::remove_file(publisher.path("disk.qcow2.sig"));
    let words = [
        "--quick-gen-key",
        "other@example.org",
        "ed25519",
        "sign",
        "never",
    ];
    let _ = publisher.gpg(&[&["--passphrase", ""], &words[..]].concat());
    let image = publisher.path("disk.qcow2");
    let other = [
        "-u",
        "other@example.org",
        "--output",
        &publisher.path("disk.qcow2.sig"),
        "--detach-sign",
        &image,
    ];
    let _ = publisher.gpg(&other);
    let said = publisher
        .import("e", &[("signature", "disk.qcow2.sig"), keys])
        .fails();
    assert!(said.contains("the signature is not good"), "{said}");
    let said = publisher
        .import("e", &[("signature", "disk.qcow2.sig")])
        .fails();
    assert!(said.contains("--keyring"), "{said}");
    let said = publisher.import("e", &[keys]).fails();
    assert!(said.contains("a keyring needs a signature"), "{said}");

    let listed = publisher
        .host
        .stead(&["--format", "json", "image", "list"])
        .succeeds();
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(4), "{listed}");
    let library = publisher.host.root().join("images/library");
    assert_eq!(
        std::fs::read_dir(library).expect("it is there").count(),
        4,
        "nothing else stays"
    );
}
