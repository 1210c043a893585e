//! Networks beside the rules of others, without the programs they need, and where something is in the way.

use std::process::Command;
use std::time::Duration;

use stead_tests::host::binary;
use stead_tests::netns::{Outside, inside, ip, run};

use stead_tests::{Host, wait};

use crate::networks::{LAB, on_network, outside, start_guest, start_network};

const SOON: Duration = Duration::from_secs(20);

/// A machine's stand-in at 192.168.50.50, on the network's own bridge.
pub(crate) fn on_lab() -> Outside {
    let machine = Outside::behind("port0");
    let _ = ip("link set port0 master lab0");
    let _ = machine
        .run("ip address add 192.168.50.50/24 dev eth0; ip route add default via 192.168.50.1")
        .succeeds();
    machine
}

pub(crate) fn reaches_the_world(machine: &Outside) -> bool {
    machine.run("ping -c 1 -W 1 203.0.113.2").status == 0
}

#[test]
fn rules_of_others_stay_and_are_warned_of() {
    inside(
        "coexistence::rules_of_others_stay_and_are_warned_of",
        || {
            let host = Host::start();
            let _outside = outside();
            let path = host.file("lab.xml", LAB);
            let _ = host.virsh(&["net-define", &path]).succeeds();
            // As Docker leaves forwarding, and as firewalld leaves what comes in.
            let others = "table ip filter {\n chain FORWARD {\n type filter hook forward priority 0; policy drop;\n }\n }\n\
            table inet firewalld {\n chain filter_INPUT {\n type filter hook input priority 10; policy accept;\n\
            ct state established,related accept\n iifname \"lo\" accept\n reject with icmpx admin-prohibited\n }\n }\n";
            let file = host.file("others.nft", others);
            let _ = run(&format!("nft -f {file}")).succeeds();
            let listed =
                || run("nft list table ip filter; nft list table inet firewalld").succeeds();
            let before = listed();
            let planned = host.stead(&["net-start", "lab", "--dry-run"]).succeeds();
            assert!(
                planned.contains("nft insert rule ip filter FORWARD"),
                "{planned}"
            );
            assert_ne!(run("ip link show lab0").status, 0, "a plan made something");
            let started = host.stead(&["net-start", "lab"]);
            let said = &started.stderr;
            assert!(said.contains("'ip filter FORWARD'"), "{said}");
            assert!(
                said.contains("firewall-cmd --permanent --zone=trusted --add-interface=lab0"),
                "{said}"
            );
            let machine = on_lab();
            assert!(!reaches_the_world(&machine));
            assert_eq!(listed(), before, "the rules of others were touched");
            // What the warning advises.
            let _ = run("nft insert rule ip filter FORWARD iifname lab0 accept && nft insert rule ip filter FORWARD oifname lab0 accept").succeeds();
            wait::until("the world is reached", SOON, || reaches_the_world(&machine));
            let _ = host.stead(&["net-destroy", "lab"]).succeeds();
            let again = host.stead(&["net-start", "lab"]);
            assert!(
                !again.stderr.contains("'ip filter FORWARD'"),
                "{}",
                again.stderr
            );
        },
    );
}

#[test]
fn programs_that_are_missing_are_named_with_their_packages() {
    inside(
        "coexistence::programs_that_are_missing_are_named_with_their_packages",
        || {
            let host = Host::without_daemon();
            let root = host.root();
            // /usr/sbin is empty for this daemon alone.
            let mut daemon = Command::new("unshare")
            .args(["--mount", "sh", "-c", "mount -t tmpfs none /usr/sbin && exec \"$0\" daemon --listen none --root \"$1\""])
            .arg(binary())
            .arg(&root)
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("unshare can be run");
            wait::until("the daemon listens", SOON, || {
                host.virsh(&["net-list"]).status == 0
            });
            let path = host.file("lab.xml", LAB);
            let _ = host.virsh(&["net-define", &path]).succeeds();
            let refused = host.virsh(&["net-start", "lab"]);
            assert!(
                refused
                    .stderr
                    .contains("nft is not installed: install the package 'nftables'"),
                "{}",
                refused.stderr
            );
            assert_ne!(run("ip link show lab0").status, 0, "a bridge is left");
            let quiet = LAB.replace("<forward mode='nat'/>", "<forward mode='open'/>");
            let path = host.file("lab.xml", &quiet);
            let _ = host.virsh(&["net-define", &path]);
            let refused = host.virsh(&["net-start", "lab"]);
            assert!(
                refused.stderr.contains("is not installed"),
                "{}",
                refused.stderr
            );
            let _ = daemon.kill();
            let _ = daemon.wait();
        },
    );
}

#[test]
fn two_machines_cannot_have_one_card() {
    inside("coexistence::two_machines_cannot_have_one_card", || {
        let host = Host::start();
        start_network(&host, "lab", LAB);
        let card = on_network("lab", "52:54:00:aa:00:07");
        start_guest(&host, "web1", &card);
        let shown = host.virsh(&["dumpxml", "web1", "--inactive"]).succeeds();
        let uuid = shown
            .lines()
            .find(|line| line.contains("<uuid>"))
            .expect("a uuid");
        host.define(
            &shown
                .replace(uuid, "")
                .replace("<name>web1</name>", "<name>web2</name>"),
        );
        let refused = host.virsh(&["start", "web2"]);
        assert!(
            refused.stderr.contains("52:54:00:aa:00:07") && refused.stderr.contains("'web1'"),
            "{}",
            refused.stderr
        );
        assert!(!ip("link show").contains("vnet1"), "a device is left");
        // A set that rules speak of, and what is known of addresses.
        let _ = host
            .stead(&["firewall", "set", "add", "office", "192.168.50.1"])
            .succeeds();
        let _ = host
            .stead(&["firewall", "default", "web1", "drop"])
            .succeeds();
        let _ = host
            .stead(&[
                "firewall",
                "allow",
                "web1",
                "--in",
                "icmp",
                "--from",
                "set:office",
            ])
            .succeeds();
        wait::until("the set allows the host", Duration::from_secs(40), || {
            run("ping -c 1 -W 1 192.168.50.7").status == 0
        });
        let ruled = host.stead(&["firewall", "list"]).succeeds();
        let row: Vec<&str> = ruled
            .lines()
            .find(|line| line.contains("web1"))
            .map(|line| line.split_whitespace().collect())
            .expect("it has rules");
        assert_eq!(row, ["web1", "drop", "off", "1", "0"]);
        let planned = host
            .stead(&["firewall", "allow", "web1", "--in", "tcp/80", "--dry-run"])
            .succeeds();
        assert!(planned.contains("tcp dport 80 "), "{planned}");
        let _ = host
            .stead(&["firewall", "set", "remove", "office", "192.168.50.1"])
            .succeeds();
        assert_ne!(run("ping -c 1 -W 1 192.168.50.7").status, 0);
        let shown = host
            .stead(&["net-addresses", "lab", "--format", "json"])
            .succeeds();
        assert!(
            shown.contains("\"machine\": \"web1\"") && shown.contains("lease"),
            "{shown}"
        );
    });
}

#[test]
fn a_host_that_cannot_register_names_says_so() {
    inside(
        "coexistence::a_host_that_cannot_register_names_says_so",
        || {
            if run("command -v resolvectl").status == 0 {
                // There it would speak to the host's own resolver.
                return;
            }
            let host = Host::start();
            let xml = LAB.replace(
                "<bridge name='lab0'/>",
                "<bridge name='lab0'/><domain name='lab.example' register='yes'/>",
            );
            let path = host.file("lab.xml", &xml);
            let _ = host.virsh(&["net-define", &path]).succeeds();
            let planned = host.stead(&["net-start", "lab", "--dry-run"]).succeeds();
            assert!(
                planned.contains("resolvectl domain lab0 ~lab.example"),
                "{planned}"
            );
            let refused = host.virsh(&["net-start", "lab"]);
            assert!(
                refused
                    .stderr
                    .contains("install the package 'systemd-resolved'"),
                "{}",
                refused.stderr
            );
            assert_ne!(run("ip link show lab0").status, 0, "a bridge is left");
        },
    );
}

/// A stand-in for systemd-resolved's command: it notes what it is asked.
const RESOLVECTL: &str = "#!/bin/sh\necho \"$*\" >>\"${0%/*}/asked\"\n";

#[test]
fn the_host_is_told_to_ask_a_networks_server() {
    inside(
        "coexistence::the_host_is_told_to_ask_a_networks_server",
        || {
            use std::os::unix::fs::PermissionsExt;
            let mut host = Host::without_daemon();
            let programs = host.folder().join("programs");
            std::fs::create_dir(&programs).expect("the folder is ours");
            let program = programs.join("resolvectl");
            std::fs::write(&program, RESOLVECTL).expect("there is room");
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
                .expect("ours");
            let path = std::env::var("PATH").unwrap_or_default();
            host.set_variable("PATH", &format!("{}:{path}", programs.display()));
            host.start_daemon();
            let xml = LAB.replace(
                "<bridge name='lab0'/>",
                "<bridge name='lab0'/><domain name='lab.example' register='yes'/>",
            );
            start_network(&host, "lab", &xml);
            let asked = std::fs::read_to_string(programs.join("asked")).expect("it was asked");
            let lines: Vec<&str> = asked.lines().collect();
            assert_eq!(
                lines,
                [
                    "dns lab0 192.168.50.1",
                    "domain lab0 ~lab.example",
                    "default-route lab0 false"
                ]
            );
        },
    );
}
