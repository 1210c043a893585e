//! What the packaged policy does to machines when the host goes down and comes back.

use std::path::PathBuf;

use stead_tests::{Host, Ran, clients, guest, host};

fn guests(host: &Host, word: &str, settings: &[(&str, &str)]) -> Ran {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/stead-guests");
    let (uri, folder, stead) = (
        host.uri(),
        host.folder().to_string_lossy().into_owned(),
        host::binary(),
    );
    let places = [
        ("STEAD_URI", uri.as_str()),
        ("STATE_DIRECTORY", &folder),
        ("STEAD", &stead.to_string_lossy()),
    ];
    clients::run(script, &[word], &[&places[..], settings].concat())
}

fn start(host: &Host, xml: &str, name: &str) {
    host.define(xml);
    let _ = host.virsh(&["start", name]).succeeds();
}

#[test]
fn guests_are_saved_and_go_on_after_the_boot() {
    let host = Host::start();
    for name in ["one", "two"] {
        start(&host, &guest::bare_machine(name), name);
    }
    host.define(&guest::bare_machine("never"));
    let _ = guests(
        &host,
        "stop",
        &[("ON_SHUTDOWN", "suspend"), ("PARALLEL", "2")],
    )
    .succeeds();
    assert_eq!(host.qemus(), Vec::<u32>::new());
    assert!(
        host.virsh(&["list", "--all", "--managed-save"])
            .succeeds()
            .contains("saved")
    );
    let _ = guests(&host, "start", &[]).succeeds();
    assert_eq!(
        (host.state("one"), host.state("two")),
        ("running".to_owned(), "running".to_owned())
    );
    assert_eq!(
        host.state("never"),
        "shut off",
        "what did not run before does not run now"
    );
}

#[test]
fn a_guest_that_does_not_shut_down_is_ended_in_time() {
    let host = Host::start();
    // No system in it that could react to the power button.
    start(&host, &guest::bare_machine("deaf"), "deaf");
    let _ = guests(&host, "stop", &[("TIMEOUT_S", "1")]).succeeds();
    assert_eq!(host.state("deaf"), "shut off");
    let _ = guests(&host, "start", &[("ON_BOOT", "ignore")]).succeeds();
    assert_eq!(host.state("deaf"), "shut off");
}

#[test]
fn leave_leaves_and_nonsense_is_refused() {
    let host = Host::start();
    start(&host, &guest::bare_machine("one"), "one");
    let _ = guests(&host, "stop", &[("ON_SHUTDOWN", "leave")]).succeeds();
    assert!(
        guests(&host, "stop", &[("ON_SHUTDOWN", "sleep")])
            .fails()
            .contains("ON_SHUTDOWN=sleep")
    );
    assert_eq!(host.state("one"), "running");
}
