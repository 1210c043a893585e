//! What is asked of a host apart from machines: processors compared, command lines, news of devices.

use std::time::Duration;

use stead_tests::{Host, guest, netns, wait};

#[test]
fn processors_are_compared_and_have_things_in_common() {
    let host = Host::start();
    let capabilities = host.file("caps.xml", &host.virsh(&["capabilities"]).succeeds());
    let same = host.virsh(&["cpu-compare", &capabilities]).succeeds();
    assert!(same.contains("is identical to host CPU"), "{same}");
    let offered = host.file("offered.xml", &host.virsh(&["domcapabilities"]).succeeds());
    let same = host.virsh(&["hypervisor-cpu-compare", &offered]).succeeds();
    assert!(
        same.contains("is identical to the CPU provided by hypervisor"),
        "{same}"
    );
    let small = host.file("small.xml", "<cpu><model>486</model></cpu>");
    let more = host.virsh(&["cpu-compare", &small]).succeeds();
    assert!(more.contains("Host CPU is a superset of"), "{more}");
    let odd = host.file("odd.xml", "<cpu><model>Pentagon</model></cpu>");
    let unknown = host.virsh(&["cpu-compare", &odd]).fails();
    assert!(
        unknown.contains("internal error: Unknown CPU model Pentagon"),
        "{unknown}"
    );
    let forbids = host.file(
        "forbids.xml",
        "<cpu><model>486</model><feature policy='forbid' name='sse2'/></cpu>",
    );
    let refused = host.virsh(&["cpu-compare", "--error", &forbids]).fails();
    let words = "the CPU is incompatible with host CPU: Host CPU provides forbidden features: sse2";
    assert!(refused.contains(words), "{refused}");

    let models = host.virsh(&["cpu-models", "x86_64"]).succeeds();
    assert!(models.lines().any(|line| line == "EPYC-Rome"), "{models}");
    let two = host.file(
        "two.xml",
        "<cpu><arch>x86_64</arch><model>Haswell</model><vendor>Intel</vendor></cpu>
         <cpu><arch>x86_64</arch><model>Nehalem</model><vendor>Intel</vendor></cpu>",
    );
    let common = host.virsh(&["cpu-baseline", &two]).succeeds();
    assert!(
        common.contains("<model fallback='allow'>Nehalem</model>"),
        "{common}"
    );
    assert!(!common.contains("<feature"), "{common}");
    let expanded = host.stead(&["cpu-baseline", &two, "--features"]).succeeds();
    assert!(
        expanded.contains("<feature policy='require' name='sse4.2'/>"),
        "{expanded}"
    );
    let given = host.virsh(&[
        "hypervisor-cpu-baseline",
        "--model",
        "EPYC",
        "--virttype",
        "qemu",
    ]);
    assert!(
        given
            .succeeds()
            .contains("<model fallback='forbid'>EPYC</model>")
    );
}

#[test]
fn documents_are_validated_where_that_is_asked() {
    let host = Host::start();
    let cpu = host.file("cpu.xml", "<cpu>\n<model>486</model>\n<modle/>\n</cpu>");
    // Nobody asked: what does not bear on the answer is passed over.
    let _ = host.virsh(&["cpu-compare", &cpu]).succeeds();
    for verb in ["cpu-compare", "hypervisor-cpu-compare"] {
        let refused = host.virsh(&[verb, "--validate", &cpu]).fails();
        let words = "XML document failed to validate against schema: \
                     Unable to validate doc against cpu.rng\n\
                     Did not expect element modle there (line 3, column 1)";
        assert!(refused.contains(words), "{refused}");
    }
    let documents = [
        (
            "define",
            guest::bare_machine("odd").replace("<devices>", "<devices><odd/>"),
        ),
        (
            "net-define",
            "<network><name>odd</name><odd/></network>".to_owned(),
        ),
        (
            "nwfilter-define",
            "<filter name='odd'><odd/></filter>".to_owned(),
        ),
        (
            "pool-define",
            "<pool type='dir'><name>odd</name><target><path>/nowhere</path><odd/></target></pool>"
                .to_owned(),
        ),
        ("secret-define", "<secret><odd/></secret>".to_owned()),
        (
            "nodedev-define",
            "<device><parent>computer</parent><odd/></device>".to_owned(),
        ),
    ];
    for (verb, text) in documents {
        let file = host.file("odd.xml", &text);
        for client in [
            host.virsh(&[verb, &file, "--validate"]),
            host.stead(&[verb, &file, "--validate"]),
        ] {
            let refused = client.fails();
            let words = "failed to validate against schema";
            assert!(
                refused.contains(words) && refused.contains("odd"),
                "{verb}: {refused}"
            );
        }
    }
    let plain = host.file("plain.xml", &guest::bare_machine("plain"));
    let _ = host.virsh(&["define", &plain, "--validate"]).succeeds();
    let _ = host.virsh(&["list", "--all"]).succeeds();
}

#[test]
fn a_definition_is_shown_as_the_command_line_that_starts_it() {
    let host = Host::start();
    host.define(&guest::bare_machine("web1"));
    for running in [false, true] {
        if running {
            let _ = host.virsh(&["start", "web1"]).succeeds();
        }
        let shown = host
            .virsh(&["domxml-to-native", "qemu-argv", "--domain", "web1"])
            .succeeds();
        assert!(shown.contains("-name guest=web1,"), "{shown}");
        assert!(shown.contains(" \\\n-smp 1,"), "{shown}");
    }
    let odd = host
        .stead(&["domxml-to-native", "vmx", "--domain", "web1"])
        .fails();
    assert!(odd.contains("unsupported config type vmx"), "{odd}");
    let back = host
        .virsh(&["domxml-from-native", "qemu-argv", "/dev/null"])
        .fails();
    assert!(
        back.contains("not supported by the connection driver"),
        "{back}"
    );
}

/// A pair of network devices of the host, gone when dropped. What sysfs shows is the host's own
/// network, so they cannot lie in a namespace.
struct Pair(String);

impl Pair {
    fn new(name: String) -> Self {
        let _ = netns::ip(&format!("link add {name} type veth peer name {name}p"));
        Self(name)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = netns::run(&format!("ip link del {}", self.0));
    }
}

#[test]
fn devices_that_come_and_go_are_told() {
    const WORDS: &[&str] = &[
        "nodedev-event",
        "--event",
        "lifecycle",
        "--loop",
        "--timeout",
        "4",
    ];
    /// Longer than the daemon lets news of devices come in before it looks.
    const BEAT: Duration = Duration::from_millis(200);
    let host = Host::start();
    for (number, command) in [Host::virsh, Host::stead].into_iter().enumerate() {
        let name = format!("stn{}n{number}", std::process::id());
        let text = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| command(&host, WORDS));
            // Until it has listened long enough.
            while !waiting.is_finished() {
                let pair = Pair::new(name.clone());
                wait::within(BEAT, || waiting.is_finished());
                drop(pair);
                wait::within(BEAT, || waiting.is_finished());
            }
            waiting.join().expect("it ran").succeeds()
        });
        let about = |what: &str| {
            let mut lines = text.lines();
            let device = format!("device net_{name}_");
            lines.any(|line| line.contains(&device) && line.ends_with(what))
        };
        assert!(about("Created") && about("Deleted"), "{text}");
    }
    let xml = "<device><parent>computer</parent><capability type='mdev'><type id='x'/></capability></device>";
    let file = host.file("mdev.xml", xml);
    let refused = host.virsh(&["nodedev-create", &file]).fails();
    assert!(refused.contains("mdevctl"), "{refused}");
}
