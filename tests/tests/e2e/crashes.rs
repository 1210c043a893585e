//! The daemon killed at every named step of an operation (`engine::crash`), and what the next one finds.

use engine::crash::Step;
use stead_tests::{Host, guest};

/// The steps of an operation; their names begin with its name.
fn steps_of(operation: &str) -> impl Iterator<Item = &'static str> {
    let prefix = format!("{operation}/");
    let steps = Step::ALL.iter().map(|step| step.name());
    steps.filter(move |name| name.starts_with(&prefix))
}

#[test]
fn a_step_that_is_not_there_is_refused() {
    let host = Host::without_daemon();
    let refused = host
        .daemon_command()
        .env("STEAD_CRASH_AT", "define/nowhere")
        .stderr(std::process::Stdio::piped())
        .output()
        .expect("stead can be run");
    assert!(!refused.status.success());
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("define/checked"), "{error}");
}

#[test]
fn a_definition_is_there_or_not_wherever_the_daemon_dies() {
    let mut host = Host::without_daemon();
    for step in steps_of("define") {
        host.start_daemon_to_crash_at(step);
        let path = host.file("new.xml", &guest::bare_machine("new"));
        let _ = host.virsh(&["define", &path]).fails();
        host.wait_for_crash(step);
        host.start_daemon();
        let there = host.virsh(&["list", "--all", "--name"]).succeeds();
        match there.trim() {
            "" => assert_eq!(step, "define/checked"),
            "new" => {
                assert_eq!(step, "define/stored");
                let _ = host.virsh(&["dumpxml", "new"]).succeeds();
                let _ = host.virsh(&["undefine", "new"]).succeeds();
            }
            other => panic!("after {step} there is {other}"),
        }
        assert!(host.stop_daemon().success());
    }
}
