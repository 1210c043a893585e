//! What `--dry-run` says is what is then done.

use stead_tests::Host;
use stead_tests::guest::bare_machine;
use stead_tests::netns::{inside, ip, run};

use crate::networks::on_network;

const UUID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const CARD: &str = "52:54:00:aa:09:01";

/// The part of a plan below `# TITLE`.
fn part(plan: &str, title: &str) -> String {
    let parts: Vec<&str> = plan.split("\n\n# ").collect();
    let head = format!("{title}\n");
    let found = parts.iter().find_map(|part| part.strip_prefix(&head));
    let found = found.unwrap_or_else(|| panic!("no '{title}' in {plan}"));
    format!("{}\n", found.trim_end())
}

fn rules() -> String {
    run("nft -s list ruleset").succeeds()
}

/// Whether the planned transaction changes nothing of what is in force.
fn is_in_force(host: &Host, plan: &str) -> bool {
    let before = rules();
    let file = host.file("plan.nft", &part(plan, "nft -f -"));
    let _ = run(&format!("nft -f {file}")).succeeds();
    rules() == before && before.contains("chain")
}

#[test]
fn plans_are_what_is_done() {
    inside("plans::plans_are_what_is_done", || {
        let host = Host::start();
        let xml = format!(
            "<network><name>lab</name><uuid>{UUID}</uuid><forward mode='nat'/><bridge name='lab0'/>\
             <mac address='52:54:00:00:00:01'/><ip address='192.168.50.1' prefix='24'><dhcp>\
             <range start='192.168.50.100' end='192.168.50.200'/></dhcp></ip></network>"
        );
        let path = host.file("lab.xml", &xml);
        let stead = |words: &[&str]| host.stead(words).succeeds();
        let defined = stead(&["net-define", &path, "--dry-run"]);
        assert!(
            defined.starts_with("store definition of network 'lab'"),
            "{defined}"
        );
        let created = stead(&["net-create", &path, "--dry-run"]);
        assert!(!stead(&["net-list", "--all"]).contains("lab"));
        assert!(!ip("-o link").contains("lab0"));
        assert_eq!(rules(), "");
        let _ = stead(&["net-create", &path]);
        assert!(is_in_force(&host, &created), "{created}");
        let run_folder = host.root().join("run/network").join(UUID);
        let served = |name: &str| {
            std::fs::read_to_string(run_folder.join(name)).expect("dnsmasq's file is there")
        };
        assert_eq!(part(&created, "dnsmasq.conf"), served("dnsmasq.conf"));
        let steps: Vec<&str> = created
            .lines()
            .take_while(|line| !line.is_empty())
            .collect();
        assert_eq!(
            steps,
            [
                "link add lab0 type bridge address 52:54:00:00:00:01 stp_state 1 forward_delay 0s",
                "sysctl net.ipv6.conf.lab0.disable_ipv6=1",
                "address add 192.168.50.1/24 dev lab0",
                "link set lab0 up",
                "sysctl net.ipv4.ip_forward=1",
                "firewall change",
                "dnsmasq start",
            ]
        );
        assert!(ip("link show lab0").contains("52:54:00:00:00:01"));

        let reserved = format!("<host mac='{CARD}' ip='192.168.50.7'/>");
        let update = [
            "net-update",
            "lab",
            "add",
            "ip-dhcp-host",
            &reserved,
            "--live",
        ];
        let updated = stead(&[&update[..], &["--dry-run"]].concat());
        assert_eq!(served("hosts"), "");
        let _ = stead(&update);
        assert_eq!(part(&updated, "dnsmasq's hosts"), served("hosts"));
        assert_eq!(part(&updated, "dnsmasq.conf"), served("dnsmasq.conf"));

        let bare = bare_machine("one");
        let card = on_network("lab", "52:54:00:aa:09:02");
        host.define(
            &bare
                .replace("<devices>", "<features><acpi/></features><devices>")
                .replace("<console", &format!("{card}<console")),
        );
        let _ = stead(&["start", "one"]);
        let close = ["firewall", "default", "one", "drop"];
        let closed = stead(&[&close[..], &["--dry-run"]].concat());
        let before = rules();
        let _ = stead(&close);
        stead_tests::wait::until(
            "the rules are in force",
            std::time::Duration::from_secs(20),
            || rules() != before,
        );
        assert!(is_in_force(&host, &closed), "{closed}");
        let attach = [
            "attach-interface",
            "one",
            "network",
            "lab",
            "--mac",
            CARD,
            "--live",
        ];
        let plugged = stead(&[&attach[..], &["--dry-run"]].concat());
        assert!(
            plugged.starts_with("tuntap add vnet%d mode tap\nlink set vnet%d master lab0 up\n")
        );
        assert!(!ip("-o link").contains("vnet1"));
        let _ = stead(&attach);
        let named = plugged
            .replace("vnet%d", "vnet1")
            .replace("vnet_25d", "vnet1");
        assert!(is_in_force(&host, &named), "{named}");

        // Into the definition alone: nothing of what runs is touched.
        let later = [
            &attach[..6],
            &["52:54:00:aa:09:03", "--config", "--dry-run"],
        ]
        .concat();
        let stored = stead(&later);
        let (steps, definition) = stored
            .split_once("\n\n# definition\n")
            .expect("a definition");
        assert_eq!(steps, "store definition of machine 'one'");
        assert!(definition.contains("52:54:00:aa:09:03"), "{definition}");
        let kept = host.virsh(&["dumpxml", "one", "--inactive"]).succeeds();
        assert!(!kept.contains("52:54:00:aa:09:03"));
        let both = stead(&[&later[..7], &["--config", "--live", "--dry-run"]].concat());
        assert!(both.starts_with("store definition") && both.contains("device_add in QEMU"));
        let _ = host.virsh(&["destroy", "one"]).succeeds();
        let stopped = host.stead(&[&later[..7], &["--live", "--dry-run"]].concat());
        assert!(
            stopped.stderr.contains("domain is not running"),
            "{}",
            stopped.stderr
        );
        let destroyed = stead(&["net-destroy", "lab", "--dry-run"]);
        assert!(
            destroyed.starts_with("dnsmasq stop\nlink delete lab0\nfirewall change\n"),
            "{destroyed}"
        );
        assert!(
            destroyed.contains("the network is transient"),
            "{destroyed}"
        );
        assert!(ip("-o link").contains("lab0"));
        let _ = stead(&["net-destroy", "lab"]);
        assert_eq!(rules(), "");
    });
}
