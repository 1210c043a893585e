//! Serial consoles: several viewers of one, and what is kept of what a guest wrote.

use stead_tests::{Host, clients, host};

#[test]
fn several_see_one_console_until_somebody_takes_it() {
    let host = Host::start();
    host.define_small_guest("demo");
    let _ = host.virsh(&["start", "demo"]).succeeds();
    let (virsh, stead) = (
        format!("virsh -c '{}' console demo", host.uri()),
        format!(
            "{} -c '{}' console demo",
            host::binary().display(),
            host.uri()
        ),
    );
    let lines = [
        virsh.clone(),
        format!("{stead} --safe"),
        format!("{virsh} --force --safe"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let said = clients::python("viewers.py", &lines).succeeds();
    assert!(said.contains("then one alone"), "{said}");
    let taken = [virsh, format!("{stead} --safe"), format!("{stead} --force")];
    let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
    let _ = clients::python("viewers.py", &taken).succeeds();
}

#[test]
fn what_a_guest_wrote_is_kept() {
    let host = Host::start();
    host.define_small_guest("demo");
    assert!(
        host.stead(&["console-log", "demo"])
            .fails()
            .contains("never ran")
    );
    let _ = host.virsh(&["start", "demo"]).succeeds();
    let _ = host
        .python("console.py", &["demo", "echo first"])
        .succeeds();
    let _ = host
        .python("console.py", &["demo", "echo second"])
        .succeeds();
    let kept = host.stead(&["console-log", "demo", "serial0"]).succeeds();
    let at = |words: &str| {
        kept.find(words)
            .unwrap_or_else(|| panic!("no {words}: {kept}"))
    };
    assert!(at("first") < at("second"));
    // Whoever follows it sees the rest, and comes back when the machine ends.
    let (followed, ()) = std::thread::scope(|scope| {
        let follower =
            scope.spawn(|| host.stead(&["console-log", "demo", "--follow", "--lines", "1"]));
        let _ = host
            .python("console.py", &["demo", "echo thi''rd"])
            .succeeds();
        let _ = host.virsh(&["destroy", "demo"]).succeeds();
        (follower.join().expect("it ran").succeeds(), ())
    });
    assert!(
        followed.contains("third") && !followed.contains("first"),
        "{followed}"
    );
    // It outlives the machine's run.
    let after = host.stead(&["console-log", "demo"]).succeeds();
    assert!(
        after.starts_with(kept.trim_end()) && after.contains("third"),
        "{after}"
    );
    let unknown = host.stead(&["console-log", "demo", "serial7"]).fails();
    assert!(
        unknown.contains("nothing is kept of a console 'serial7'"),
        "{unknown}"
    );
}
