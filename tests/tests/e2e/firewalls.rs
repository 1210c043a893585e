//! Networks beside a real firewalld and a real Docker.

use std::time::Duration;

use stead_tests::firewalls::{Bus, Docker, Firewalld};
use stead_tests::netns::{inside, run};
use stead_tests::{Host, wait};

use crate::coexistence::{on_lab, reaches_the_world};
use crate::networks::{LAB, in_guest, leased, on_network, outside, start_guest, start_network};

const SOON: Duration = Duration::from_secs(30);
const CARD: &str = "52:54:00:aa:00:07";

/// A daemon that finds a bus of the test's own.
fn host_on_a_bus() -> (Host, Bus) {
    let mut host = Host::without_daemon();
    let bus = Bus::start(host.folder());
    let (name, value) = bus.variable();
    host.set_variable(name, &value);
    host.start_daemon();
    (host, bus)
}

#[test]
fn a_guest_behind_firewalld_gets_its_lease_and_reaches_the_world() {
    inside(
        "firewalls::a_guest_behind_firewalld_gets_its_lease_and_reaches_the_world",
        || {
            let (host, bus) = host_on_a_bus();
            let _outside = outside();
            let firewalld = Firewalld::start(&bus);
            start_network(&host, "lab", LAB);
            let zone = || firewalld.cmd("--get-zone-of-interface=lab0").stdout;
            assert_eq!(zone().trim(), "stead");
            start_guest(&host, "web1", &on_network("lab", CARD));
            assert_eq!(leased(&host, "lab", CARD), "192.168.50.7");
            let reaches = || in_guest(&host, "web1", "ping -c 1 -W 2 203.0.113.2").status == 0;
            wait::until("the world is reached", SOON, reaches);
            // What firewalld does not let in is not open for machines either.
            let answered = in_guest(&host, "web1", "wget -q -T 2 -O - http://192.168.50.1:8099/");
            assert_ne!(answered.status, 0);
            let _ = firewalld.cmd("--reload").succeeds();
            assert_eq!(zone().trim(), "stead");
            wait::until("the world is reached again", SOON, reaches);
            // One that is started anew knows nothing.
            drop(firewalld);
            let firewalld = Firewalld::start(&bus);
            let zone = || firewalld.cmd("--get-zone-of-interface=lab0").stdout;
            wait::until("the zone is asked for again", SOON, || {
                zone().trim() == "stead"
            });
            wait::until("the world is reached once more", SOON, reaches);
            let _ = host.virsh(&["destroy", "web1"]).succeeds();
            let _ = host.virsh(&["net-destroy", "lab"]).succeeds();
            assert_eq!(zone().trim(), "");
        },
    );
}

#[test]
fn a_network_names_its_zone() {
    inside("firewalls::a_network_names_its_zone", || {
        let (host, bus) = host_on_a_bus();
        let named = |zone: &str| {
            let bridge = format!("<bridge name='lab0' zone='{zone}'/>");
            let xml = LAB.replace("<bridge name='lab0'/>", &bridge);
            let path = host.file("lab.xml", &xml);
            let _ = host.virsh(&["net-undefine", "lab"]);
            let _ = host.virsh(&["net-define", &path]).succeeds();
        };
        named("trusted");
        let refused = host.virsh(&["net-start", "lab"]).fails();
        let why = "zone trusted requested for network lab but firewalld is not active";
        assert!(refused.contains(why), "{refused}");
        let firewalld = Firewalld::start(&bus);
        named("nowhere");
        let refused = host.virsh(&["net-start", "lab"]).fails();
        assert!(refused.contains("INVALID_ZONE"), "{refused}");
        assert_ne!(run("ip link show lab0").status, 0, "a bridge is left");
        named("trusted");
        let planned = host.stead(&["net-start", "lab", "--dry-run"]).succeeds();
        let step = "firewall-cmd --zone=trusted --change-interface=lab0";
        assert!(planned.contains(step), "{planned}");
        let _ = host.virsh(&["net-start", "lab"]).succeeds();
        let zone = firewalld.cmd("--get-zone-of-interface=lab0").stdout;
        assert_eq!(zone.trim(), "trusted");
    });
}

#[test]
fn networks_live_beside_docker() {
    inside("firewalls::networks_live_beside_docker", || {
        // Docker drops what it does not know where it is what lets the host forward.
        let _ = run("sysctl -w net.ipv4.ip_forward=0").succeeds();
        let mut host = Host::start();
        let _outside = outside();
        let docker = Docker::start(host.folder());
        let forward = || run("iptables -S FORWARD").succeeds();
        let own = forward();
        assert!(own.contains("-P FORWARD DROP"), "{own}");
        let path = host.file("lab.xml", LAB);
        let _ = host.virsh(&["net-define", &path]).succeeds();
        let planned = host.stead(&["net-start", "lab", "--dry-run"]).succeeds();
        let rule = "add rule ip filter FORWARD iifname \"lab0\" counter accept";
        assert!(planned.contains(rule), "{planned}");
        let started = host.stead(&["net-start", "lab"]);
        assert_eq!((started.status, started.stderr.as_str()), (0, ""));
        let machine = on_lab();
        let reaches = || reaches_the_world(&machine);
        wait::until("the world is reached", SOON, reaches);
        // Everything Docker has is there, before what is ours.
        let both = forward();
        assert!(both.starts_with(own.trim_end()), "{both}");
        // Docker goes and comes again, and finds the network there.
        drop(docker);
        let _ = run("nft flush ruleset").succeeds();
        let _ = run("sysctl -w net.ipv4.ip_forward=0").succeeds();
        let _docker = Docker::start(host.folder());
        assert!(forward().contains("-P FORWARD DROP"));
        wait::until("the world is reached again", SOON, reaches);
        // Or does so while no daemon looks.
        let _ = host.stop_daemon();
        let excepted = || {
            forward()
                .lines()
                .filter(|rule| rule.contains("lab0"))
                .count()
        };
        let number = forward().lines().position(|rule| rule.contains("lab0"));
        let number = number.expect("there is an exception");
        let _ = run(&format!("iptables -D FORWARD {number}")).succeeds();
        assert_eq!(excepted(), 1);
        host.start_daemon();
        wait::until("both exceptions are there again", SOON, || excepted() == 2);
        let _ = host.virsh(&["net-destroy", "lab"]).succeeds();
        let left = forward();
        assert!(!left.contains("lab0") && left.contains("docker0"), "{left}");
    });
}
