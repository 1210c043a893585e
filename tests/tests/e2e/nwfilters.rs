//! Network filters: definitions through every client, rules seen on real packets.

use std::time::Duration;

use stead_tests::netns::{Outside, inside, ip, run};
use stead_tests::{Host, wait};

use crate::networks::{LAB, in_guest, leased, start_guest, start_network, wait_for_ping};

const SOON: Duration = Duration::from_secs(10);

/// A machine's stand-in: a namespace at 10.1.0.2 behind the port `tap0` of the bridge `br0`, 10.1.0.1.
fn stand_in() -> Outside {
    let _ = ip("link add br0 type bridge");
    let _ = ip("address add 10.1.0.1/24 dev br0");
    let _ = ip("link set br0 up");
    let machine = Outside::behind("tap0");
    let _ = ip("link set tap0 master br0");
    let _ = machine
        .run("ip link set eth0 address 52:54:00:00:00:02; ip address add 10.1.0.2/24 dev eth0")
        .succeeds();
    machine
}

fn binding(filter: &str, parameters: &str) -> String {
    format!(
        "<filterbinding><owner><name>m</name><uuid>6ba7b810-9dad-11d1-80b4-00c04fd430c8</uuid></owner>
         <portdev name='tap0'/><mac address='52:54:00:00:00:02'/>
         <filterref filter='{filter}'>{parameters}</filterref></filterbinding>"
    )
}

fn bind(host: &Host, filter: &str, parameters: &str) {
    let path = host.file("binding.xml", &binding(filter, parameters));
    let _ = host.virsh(&["nwfilter-binding-create", &path]).succeeds();
}

fn define(host: &Host, xml: &str) {
    let path = host.file("filter.xml", xml);
    let _ = host.virsh(&["nwfilter-define", &path]).succeeds();
}

fn pings(machine: &Outside, options: &str) -> bool {
    machine
        .run(&format!("ping -c 1 -W 1 {options} 10.1.0.1"))
        .status
        == 0
}

#[test]
fn filters_are_defined_listed_and_removed() {
    let host = Host::start();
    let listed = host.virsh(&["nwfilter-list"]).succeeds();
    for name in [
        "clean-traffic",
        "no-mac-spoofing",
        "allow-dhcp",
        "qemu-announce-self",
    ] {
        assert!(listed.contains(name), "{listed}");
    }
    assert_eq!(listed, host.stead(&["nwfilter-list"]).succeeds());
    let shown = host
        .virsh(&["nwfilter-dumpxml", "no-ip-spoofing"])
        .succeeds();
    assert!(shown.contains("<ip srcipaddr='$IP'/>"), "{shown}");
    define(
        &host,
        "<filter name='own' chain='ipv4'><rule action='drop' direction='in'><tcp dstportstart='22'/></rule></filter>",
    );
    let own = host.virsh(&["nwfilter-dumpxml", "own"]).succeeds();
    assert!(
        own.contains("<filter name='own' chain='ipv4' priority='-700'>"),
        "{own}"
    );
    // What would refer to itself is refused.
    let path = host.file(
        "loop.xml",
        "<filter name='own'><filterref filter='own'/></filter>",
    );
    let refused = host.virsh(&["nwfilter-define", &path]);
    assert!(
        refused.stderr.contains("filter would introduce a loop"),
        "{}",
        refused.stderr
    );
    let missing = host.virsh(&["nwfilter-dumpxml", "none"]);
    assert!(
        missing
            .stderr
            .contains("Network filter not found: no nwfilter with matching name 'none'"),
        "{}",
        missing.stderr
    );
    let _ = host.stead(&["nwfilter-undefine", "own"]).succeeds();
    let _ = host.virsh(&["nwfilter-undefine", "allow-arp"]).succeeds();
    let listed = host.virsh(&["nwfilter-list"]).succeeds();
    assert!(
        !listed.contains("own") && !listed.contains("allow-arp"),
        "{listed}"
    );
}

#[test]
fn packets_meet_the_filter_of_their_device() {
    inside("nwfilters::packets_meet_the_filter_of_their_device", || {
        let mut host = Host::start();
        let machine = stand_in();
        assert!(pings(&machine, ""));
        // Not found out yet, the first address the machine uses is its own.
        bind(&host, "clean-traffic", "");
        assert!(pings(&machine, ""));
        let _ = machine
            .run("ip address add 10.1.0.9/24 dev eth0")
            .succeeds();
        assert!(!pings(&machine, "-I 10.1.0.9"), "another address passed");
        assert!(pings(&machine, ""), "its own address is dropped");
        // What was found out outlives the rules, and the daemon.
        define(
            &host,
            "<filter name='own'><rule action='drop' direction='in'><icmp/></rule></filter>",
        );
        let _ = host.kill_daemon();
        host.start_daemon();
        assert!(!pings(&machine, "-I 10.1.0.9"), "another address passed");
        assert!(pings(&machine, ""));
        let listed = host.virsh(&["nwfilter-binding-list"]).succeeds();
        assert!(
            listed.contains("tap0") && listed.contains("clean-traffic"),
            "{listed}"
        );
        let used = host.virsh(&["nwfilter-undefine", "no-arp-spoofing"]);
        assert!(
            used.stderr.contains("nwfilter is in use"),
            "{}",
            used.stderr
        );
        let _ = machine
            .run("ip link set eth0 address 52:54:00:00:00:99")
            .succeeds();
        assert!(!pings(&machine, ""), "another card passed");
        let _ = host.virsh(&["nwfilter-binding-delete", "tap0"]).succeeds();
        assert!(pings(&machine, ""), "the filter is still there");
        let _ = machine
            .run("ip link set eth0 address 52:54:00:00:00:02")
            .succeeds();

        // A definition that changes is followed at once.
        let filter = |rule: &str| {
            format!(
                "<filter name='live'>{rule}<rule action='drop' direction='inout' priority='1000'><all/></rule></filter>"
            )
        };
        define(&host, &filter(""));
        bind(&host, "live", "<parameter name='PEER' value='10.1.0.1'/>");
        assert!(!pings(&machine, ""));
        define(
            &host,
            &filter("<rule action='accept' direction='out'><icmp dstipaddr='$PEER'/></rule>"),
        );
        assert!(
            pings(&machine, ""),
            "the answer of what was asked is dropped"
        );
        assert_ne!(run("ping -c 1 -W 1 10.1.0.2").status, 0);
        // Connections from outside, to one port only.
        define(
            &host,
            &filter("<rule action='accept' direction='in'><tcp dstportstart='80'/></rule>"),
        );
        let mut servers = [80, 81].map(|port| {
            let line = format!("exec socat TCP-LISTEN:{port},fork,reuseaddr SYSTEM:'echo hello'");
            machine.command(&line).spawn().expect("socat starts")
        });
        let ask = |port: u16| run(&format!("timeout 1 socat - TCP:10.1.0.2:{port}")).stdout;
        wait::until("the open port answers", SOON, || ask(80).contains("hello"));
        assert!(!ask(81).contains("hello"), "the closed port answers");
        for server in &mut servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        // What cannot be put in force changes nothing.
        let path = host.file(
            "filter.xml",
            &filter("<rule action='accept' direction='in'><ip srcipaddr='$NOBODY'/></rule>"),
        );
        let refused = host.virsh(&["nwfilter-define", &path]);
        assert!(
            refused.stderr.contains("unresolvable variables"),
            "{}",
            refused.stderr
        );
        assert!(
            host.virsh(&["nwfilter-dumpxml", "live"])
                .succeeds()
                .contains("dstportstart='80'")
        );
    });
}

#[test]
fn a_guest_with_clean_traffic_is_nobody_else() {
    inside(
        "nwfilters::a_guest_with_clean_traffic_is_nobody_else",
        || {
            let host = Host::start();
            // Without the network's own guard, the filter is all there is.
            let lab = LAB.replace("<network>", "<network trustGuestRxFilters='yes'>");
            start_network(&host, "lab", &lab);
            start_guest(
                &host,
                "web1",
                "<interface type='network'><mac address='52:54:00:aa:00:07'/><source network='lab'/>\
             <model type='virtio'/><filterref filter='clean-traffic'/></interface>",
            );
            let listed = host.virsh(&["nwfilter-binding-list"]).succeeds();
            assert!(listed.contains("vnet0"), "{listed}");
            assert_eq!(leased(&host, "lab", "52:54:00:aa:00:07"), "192.168.50.7");
            wait_for_ping("192.168.50.7");
            wait::until("the guest's agent answers", 6 * SOON, || {
                in_guest(&host, "web1", "true").status == 0
            });
            let _ = in_guest(&host, "web1", "ip address add 192.168.50.99/24 dev eth0").succeeds();
            let spoof = "ping -c 1 -W 1 -I 192.168.50.99 192.168.50.1";
            assert_ne!(in_guest(&host, "web1", spoof).status, 0);
            assert_eq!(
                in_guest(&host, "web1", "ping -c 1 -W 2 192.168.50.1").status,
                0
            );
            // Taken from the running card, it no longer holds.
            let path = host.file(
            "interface.xml",
            "<interface type='network'><mac address='52:54:00:aa:00:07'/><source network='lab'/>\
             <model type='virtio'/></interface>",
        );
            let _ = host
                .virsh(&["update-device", "web1", &path, "--live"])
                .succeeds();
            assert_eq!(in_guest(&host, "web1", spoof).status, 0);
            let _ = host.virsh(&["destroy", "web1"]).succeeds();
            assert!(!run("nft list ruleset").succeeds().contains("vnet0"));
        },
    );
}

/// Sends one question of ARP, as from the first address for the second.
const ASK: &str = "import socket, sys\n\
    card = bytes.fromhex('525400000002')\n\
    of = lambda text: socket.inet_aton(text)\n\
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
    sender.bind(('eth0', 0x806))\n\
    head = b'\\xff' * 6 + card + bytes.fromhex('0806' '0001' '0800' '0604' '0001')\n\
    sender.send(head + card + of(sys.argv[1]) + bytes(6) + of(sys.argv[2]))\n";

#[test]
fn announcements_of_an_address_are_told_from_questions() {
    inside(
        "nwfilters::announcements_of_an_address_are_told_from_questions",
        || {
            let host = Host::start();
            let machine = stand_in();
            define(
                &host,
                "<filter name='quiet' chain='arp'><rule action='drop' direction='out'><arp gratuitous='true'/></rule></filter>",
            );
            bind(&host, "quiet", "");
            let dropped = || {
                let rules = run("nft list ruleset").succeeds();
                let rule = rules
                    .lines()
                    .find(|line| line.contains("arp daddr ip @told_"));
                let rule = rule.unwrap_or_else(|| panic!("no rule: {rules}"));
                let count = rule.split("packets ").nth(1);
                count.and_then(|rest| rest.split(' ').next()?.parse().ok())
            };
            let ask = |from: &str, of: &str| {
                let line = format!("/usr/bin/python3 -c \"{ASK}\" {from} {of}");
                let _ = machine.run(&line).succeeds();
            };
            ask("10.1.0.2", "10.1.0.1");
            assert_eq!(dropped(), Some(0));
            ask("10.1.0.9", "10.1.0.9");
            assert_eq!(dropped(), Some(1));
            assert!(pings(&machine, ""));
        },
    );
}
