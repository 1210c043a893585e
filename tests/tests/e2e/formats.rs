//! `--format json`: what programs read of Stead's own commands.

use std::fs;
use std::os::unix::fs::FileExt;

use serde_json::{Value, json};
use stead_tests::Host;

/// What the command prints with `--format json` before it.
fn json(host: &Host, words: &[&str]) -> Value {
    let ran = host.stead(&[&["--format", "json"], words].concat());
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}: {ran:?}"))
}

#[test]
fn what_is_found_out_about_images_comes_as_json() {
    let host = Host::start();
    let path = |name: &str| host.folder().join(name).to_string_lossy().into_owned();
    let (base, top, copy) = (path("base.qcow2"), path("top.qcow2"), path("copy.raw"));
    let image = |words: &[&str]| host.stead(&[&["image"], words].concat()).succeeds();
    let found = |words: &[&str]| json(&host, &[&["image"], words].concat());
    let _ = image(&["create", &base, "8M", "--options", "cluster_size=128k"]);
    let _ = image(&["snapshot", &base, "--create", "one"]);
    let behind = ["--backing", &base, "--backing-format", "qcow2"];
    let _ = image(&[&["create", &top][..], &behind].concat());
    // Where a verb prints nothing, --format can only mean the image's.
    let _ = image(&["create", &copy, "8M", "--format", "raw"]);

    assert_eq!(found(&["info", &base])["cluster-size"], 128 << 10);
    let as_raw = found(&["info", &base, "--image-format", "raw"]);
    assert_eq!(as_raw["format"], "raw");
    let chain = found(&["info", &top, "--backing-chain"]);
    assert_eq!(chain[1]["filename"], base);
    assert_eq!(found(&["map", &base])[0]["length"], 8 << 20);
    let measured = found(&["measure", &base, "--to", "raw"]);
    assert_eq!(measured["required"], 8 << 20);
    assert_eq!(found(&["check", &base])["check-errors"], 0);
    assert_eq!(found(&["snapshot", &base])[0]["name"], "one");
    assert_eq!(found(&["snapshot", &top]), json!([]));
    let same = json!({"identical": true, "same-size": true});
    assert_eq!(found(&["compare", &base, &copy]), same);
    let written = fs::File::options().write(true).open(&copy).expect("there");
    written.write_all_at(b"x", 4096).expect("written");
    let differ = host.stead(&["image", "compare", &base, &copy, "--format", "json"]);
    assert_eq!(differ.status, 1, "{differ:?}");
    let differ: Value = serde_json::from_str(&differ.stdout).expect("it is JSON");
    assert_eq!(differ["mismatch-offset"], 4096);

    let refused = host.stead(&["image", "info", &base, "--format", "qcow2"]);
    assert!(
        refused.status == 1 && refused.stderr.contains("is given with --image-format"),
        "{refused:?}"
    );
}
