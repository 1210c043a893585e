//! What machines' cards are plugged into besides bridges of the kernel: Open
//! vSwitch, devices of the host, taps of others, passt.

use std::time::Duration;

use stead_tests::netns::{inside, ip, run};
use stead_tests::openvswitch::OpenVswitch;
use stead_tests::{Host, wait};

use crate::networks::{
    LEASE_TIMEOUT, in_guest, on_network, outside, start_guest, start_network, wait_for_ping,
};

const SOON: Duration = Duration::from_secs(30);

/// A network on a bridge of Open vSwitch with two VLANs.
const SWITCHED: &str = "<network>
  <name>switched</name>
  <forward mode='bridge'/>
  <bridge name='ovs0'/>
  <virtualport type='openvswitch'/>
  <portgroup name='office' default='yes'><vlan><tag id='10'/></vlan></portgroup>
  <portgroup name='lab'>
    <vlan><tag id='20'/></vlan>
    <virtualport><parameters profileid='lab-profile'/></virtualport>
  </portgroup>
  <portgroup name='all'>
    <vlan trunk='yes'><tag id='10' nativeMode='untagged'/><tag id='20'/></vlan>
  </portgroup>
</network>";

/// A card on the switched network.
fn switched(group: &str, mac: &str) -> String {
    format!(
        "<interface type='network'><mac address='{mac}'/><source network='switched' portgroup='{group}'/>\
         <model type='virtio'/></interface>"
    )
}

/// Gives a guest's first card an address, once its agent answers.
fn give_address(host: &Host, machine: &str, address: &str) {
    let line = format!("ip address add {address} dev eth0; ip link set eth0 up");
    wait::until(&format!("{machine} has its address"), LEASE_TIMEOUT, || {
        in_guest(host, machine, &line).status == 0
    });
}

fn reaches(host: &Host, machine: &str, address: &str) -> bool {
    let line = format!("ping -c 1 -W 1 {address}");
    in_guest(host, machine, &line).status == 0
}

#[test]
fn machines_on_a_switch_see_only_their_vlan_and_leave_no_port() {
    inside(
        "links::machines_on_a_switch_see_only_their_vlan_and_leave_no_port",
        || {
            let (mut host, switch) = OpenVswitch::with_host("ovs0");
            start_network(&host, "switched", SWITCHED);
            for (name, group, number) in [("one", "office", 1), ("two", "lab", 2)] {
                let mac = format!("52:54:00:aa:01:0{number}");
                start_guest(&host, name, &switched(group, &mac));
                give_address(&host, name, &format!("10.7.0.{number}/24"));
            }
            let card = "52:54:00:aa:01:02";
            let tag = |device: &str| switch.vsctl(&format!("get Port {device} tag")).succeeds();
            assert_eq!(tag("vnet0").trim(), "10");
            assert_eq!(tag("vnet1").trim(), "20");
            let ids = switch.vsctl("get Interface vnet1 external_ids").succeeds();
            let shown = host.virsh(&["dumpxml", "two"]).succeeds();
            let id = shown
                .split("interfaceid='")
                .nth(1)
                .and_then(|rest| rest.split('\'').next());
            let id = id.unwrap_or_else(|| panic!("no interfaceid: {shown}"));
            assert!(
                ids.contains(id) && ids.contains(card) && ids.contains("lab-profile"),
                "{ids}"
            );
            assert!(
                !reaches(&host, "one", "10.7.0.2"),
                "two VLANs reach each other"
            );

            // Into the other's VLAN while it runs.
            let moved = host.file("card.xml", &switched("office", card));
            let _ = host
                .virsh(&["update-device", "two", &moved, "--live"])
                .succeeds();
            assert_eq!(tag("vnet1").trim(), "10");
            wait::until("they reach each other", SOON, || {
                reaches(&host, "one", "10.7.0.2")
            });
            let moved = host.file("card.xml", &switched("all", card));
            let _ = host
                .virsh(&["update-device", "two", &moved, "--live"])
                .succeeds();
            let trunks = switch
                .vsctl("get Port vnet1 trunks vlan_mode tag")
                .succeeds();
            let words: Vec<&str> = trunks.lines().collect();
            assert_eq!(words, ["[10, 20]", "native-untagged", "10"]);
            wait::until("it is native there", SOON, || {
                reaches(&host, "one", "10.7.0.2")
            });

            // A second card comes and goes.
            let second = host.file("card.xml", &switched("lab", "52:54:00:aa:01:03"));
            let _ = host
                .virsh(&["attach-device", "two", &second, "--live"])
                .succeeds();
            assert!(switch.ports("ovs0").contains(&"vnet2".to_owned()));
            let _ = host
                .virsh(&["detach-device", "two", &second, "--live"])
                .succeeds();
            wait::until("its port is gone", SOON, || {
                switch.ports("ovs0") == ["vnet0", "vnet1"]
            });

            // A network of one VLAN of the switch, in one line.
            let line = ["net-create-as", "line", "--bridge", "ovs0", "--openvswitch"];
            let _ = host
                .stead(&[&line[..], &["--vlan", "20"]].concat())
                .succeeds();
            let attach = ["attach-interface", "two", "network", "line", "--live"];
            let mac = ["--mac", "52:54:00:aa:01:04"];
            let model = ["--model", "virtio"];
            let _ = host.virsh(&[&attach[..], &mac, &model].concat()).succeeds();
            assert_eq!(tag("vnet2").trim(), "20");
            let detach = ["detach-interface", "two", "network", "--live"];
            let _ = host.virsh(&[&detach[..], &mac].concat()).succeeds();
            wait::until("its port is gone", SOON, || {
                switch.ports("ovs0") == ["vnet0", "vnet1"]
            });

            let _ = host.virsh(&["destroy", "one"]).succeeds();
            assert_eq!(switch.ports("ovs0"), ["vnet1"]);
            // One that ends while nobody looks leaves its port to the next daemon.
            let qemu = host.qemu_of("two");
            host.kill_daemon();
            stead_tests::host::signal(qemu, "KILL");
            wait::until("QEMU is gone", SOON, || !stead_tests::host::is_alive(qemu));
            assert_eq!(switch.ports("ovs0"), ["vnet1"]);
            host.start_daemon();
            wait::until("its port is gone", SOON, || switch.ports("ovs0").is_empty());
            let absent = SWITCHED
                .replace("switched", "absent")
                .replace("ovs0", "ovs9");
            start_network(&host, "absent", &absent);
            host.define(&stead_tests::guest::bare_machine("three").replace(
                "<console",
                &format!("{}<console", on_network("absent", "52:54:00:aa:01:04")),
            ));
            let error = host.virsh(&["start", "three"]).fails();
            assert!(
                error.contains("Unable to add port") && error.contains("ovs9"),
                "{error}"
            );
        },
    );
}

#[test]
fn a_bridge_of_the_kernel_keeps_vlans_apart_where_it_can() {
    inside(
        "links::a_bridge_of_the_kernel_keeps_vlans_apart_where_it_can",
        || {
            let host = Host::start();
            let _ = ip("link add br0 type bridge");
            let _ = ip("link set br0 up");
            let in_vlan = |vlan: &str| {
                let name = format!("vlan{vlan}");
                host.stead(&["net-create-as", &name, "--bridge", "br0", "--vlan", vlan])
            };
            let made = in_vlan("20");
            if made.status != 0 {
                let missing = "CONFIG_BRIDGE_VLAN_FILTERING";
                assert!(made.stderr.contains(missing), "{}", made.stderr);
                let listed = host.virsh(&["net-list", "--all"]).succeeds();
                assert!(!listed.contains("vlan20"), "{listed}");
                return;
            }
            let _ = in_vlan("30").succeeds();
            for (number, vlan) in [(1, "20"), (2, "20"), (3, "30")] {
                let name = format!("m{number}");
                let mac = format!("52:54:00:aa:08:0{number}");
                start_guest(&host, &name, &on_network(&format!("vlan{vlan}"), &mac));
                give_address(&host, &name, &format!("10.6.0.{number}/24"));
            }
            wait::until("they reach each other", SOON, || {
                reaches(&host, "m1", "10.6.0.2")
            });
            assert!(
                !reaches(&host, "m1", "10.6.0.3"),
                "two VLANs reach each other"
            );
            let _ = host.virsh(&["destroy", "m3"]).succeeds();
        },
    );
}

/// A card on a device of the host.
fn direct(device: &str, mode: &str, mac: &str) -> String {
    format!(
        "<interface type='direct'><mac address='{mac}'/><source dev='{device}' mode='{mode}'/>\
         <model type='virtio'/></interface>"
    )
}

#[test]
fn machines_share_a_device_of_the_host() {
    inside("links::machines_share_a_device_of_the_host", || {
        let mut host = Host::start();
        let world = outside();
        start_guest(&host, "one", &direct("up0", "bridge", "52:54:00:aa:02:01"));
        give_address(&host, "one", "203.0.113.11/24");
        wait::until("the world is reached", SOON, || {
            reaches(&host, "one", "203.0.113.2")
        });
        assert_eq!(world.run("ping -c 1 -W 2 203.0.113.11").status, 0);
        let link = ip("-d link show macvtap0");
        assert!(
            link.contains("macvtap") && link.contains("mode bridge"),
            "{link}"
        );
        let shown = host.virsh(&["domiflist", "one"]).succeeds();
        assert!(
            shown.contains("macvtap0") && shown.contains("direct"),
            "{shown}"
        );

        // Plugged in and out; another mode.
        let card = host.file("card.xml", &direct("up0", "private", "52:54:00:aa:02:02"));
        let _ = host
            .virsh(&["attach-device", "one", &card, "--live"])
            .succeeds();
        assert!(ip("-d link show macvtap1").contains("mode private"));
        let shown = host.virsh(&["domiflist", "one"]).succeeds();
        assert!(
            shown.contains("macvtap0") && shown.contains("macvtap1"),
            "{shown}"
        );
        let _ = host
            .virsh(&["detach-device", "one", &card, "--live"])
            .succeeds();
        wait::until("the card is gone", SOON, || {
            !ip("-o link").contains("macvtap1")
        });

        // Gone with its machine, also when nobody looked.
        let qemu = host.qemu_of("one");
        host.kill_daemon();
        stead_tests::host::signal(qemu, "KILL");
        wait::until("QEMU is gone", SOON, || !stead_tests::host::is_alive(qemu));
        assert!(ip("-o link").contains("macvtap0"));
        host.start_daemon();
        wait::until("the macvtap is gone", SOON, || {
            !ip("-o link").contains("macvtap0")
        });
    });
}

#[test]
fn a_pool_of_devices_is_shared_out_and_runs_out() {
    inside(
        "links::a_pool_of_devices_is_shared_out_and_runs_out",
        || {
            let host = Host::start();
            for device in ["p0", "p1"] {
                let _ = ip(&format!("link add {device} type veth peer name {device}x"));
                let _ = ip(&format!("link set {device} up"));
            }
            let pool = "<network><name>pool</name><forward mode='passthrough'>\
            <interface dev='p0'/><interface dev='p1'/></forward></network>";
            start_network(&host, "pool", pool);
            let machine = |name: &str, mac: &str| {
                let bare = stead_tests::guest::bare_machine(name);
                let card = on_network("pool", mac);
                host.define(&bare.replace("<console", &format!("{card}<console")));
                host.virsh(&["start", name])
            };
            let _ = machine("one", "52:54:00:aa:03:01").succeeds();
            let _ = machine("two", "52:54:00:aa:03:02").succeeds();
            let shown = host.virsh(&["net-dumpxml", "pool"]).succeeds();
            assert_eq!(shown.matches("connections='1'").count(), 2, "{shown}");
            let error = machine("three", "52:54:00:aa:03:03").fails();
            assert!(error.contains("none are available"), "{error}");
            let _ = host.virsh(&["destroy", "one"]).succeeds();
            let _ = host.virsh(&["start", "three"]).succeeds();
            assert!(
                host.virsh(&["dumpxml", "three"])
                    .succeeds()
                    .contains("dev='p0'")
            );
            for name in ["two", "three"] {
                let _ = host.virsh(&["destroy", name]).succeeds();
            }
            assert!(!ip("-o link").contains("macvtap"));

            // What cannot be is said by name, and nothing is left.
            let bridge = "<network><name>v</name><forward mode='nat'/><bridge name='v0'/><vlan><tag id='20'/></vlan>\
            <ip address='10.9.0.1' prefix='24'/></network>";
            let path = host.file("network.xml", bridge);
            let started = host.virsh(&["net-create", &path]);
            if started.status != 0 {
                assert!(
                    started.stderr.contains("CONFIG_BRIDGE_VLAN_FILTERING"),
                    "{}",
                    started.stderr
                );
                assert!(!ip("-o link").contains("v0:"));
            }
            let functions =
                "<network><name>f</name><forward mode='hostdev'><pf dev='p0'/></forward></network>";
            let path = host.file("network.xml", functions);
            let error = host.virsh(&["net-create", &path]).fails();
            assert!(error.contains("No Vf's present on SRIOV PF p0"), "{error}");
        },
    );
}

#[test]
fn a_tap_of_the_host_and_one_that_nobody_bridges() {
    inside(
        "links::a_tap_of_the_host_and_one_that_nobody_bridges",
        || {
            let host = Host::start();
            let _ = ip("tuntap add dev own0 mode tap vnet_hdr");
            let _ = ip("address add 10.8.0.1/24 dev own0");
            let _ = ip("link set own0 up");
            let own = "<interface type='ethernet'><mac address='52:54:00:aa:04:01'/>\
            <target dev='own0' managed='no'/><model type='virtio'/></interface>";
            let made = "<interface type='ethernet'><mac address='52:54:00:aa:04:02'/>\
            <source><ip address='10.8.1.1' prefix='24'/></source>\
            <target dev='made0'/><model type='virtio'/></interface>";
            start_guest(&host, "one", &format!("{own}{made}"));
            give_address(&host, "one", "10.8.0.2/24");
            let _ = in_guest(&host, "one", "ip address add 10.8.1.2/24 dev eth1").succeeds();
            wait_for_ping("10.8.0.2");
            wait_for_ping("10.8.1.2");
            let _ = host.virsh(&["destroy", "one"]).succeeds();
            let links = ip("-o link");
            assert!(
                links.contains("own0") && !links.contains("made0"),
                "{links}"
            );
            let _ = ip("link delete own0");
            let error = host.virsh(&["start", "one"]).fails();
            assert!(
                error.contains("own0") && error.contains("managed='no'"),
                "{error}"
            );
            // No rule reaches such a card: a machine that is to be closed is not run open.
            let _ = host
                .stead(&["firewall", "default", "one", "drop"])
                .succeeds();
            let error = host.virsh(&["start", "one"]).fails();
            assert!(
                error.contains("rules do not reach") && error.contains("type ethernet"),
                "{error}"
            );
        },
    );
}

#[test]
fn passt_connects_a_machine_and_forwards_ports() {
    inside("links::passt_connects_a_machine_and_forwards_ports", || {
        let host = Host::start();
        let world = outside();
        let _ = ip("route add default via 203.0.113.2 dev up0");
        let card = "<interface type='user'><backend type='passt'/><mac address='52:54:00:aa:05:01'/>\
            <portForward proto='tcp' address='203.0.113.1'><range start='8080' to='80'/></portForward>\
            <model type='virtio'/></interface>";
        start_guest(&host, "one", card);
        wait::until("the guest serves", LEASE_TIMEOUT, || {
            let line =
                "(mkdir -p /tmp/w; echo hello >/tmp/w/index.html; httpd -h /tmp/w) >/dev/null 2>&1";
            in_guest(&host, "one", line).status == 0
        });
        wait::until("the forwarded port answers", LEASE_TIMEOUT, || {
            let got = world.run("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | timeout 3 socat - TCP:203.0.113.1:8080");
            got.stdout.contains("hello")
        });
        let passt = || run("pgrep -f 'passt.*--one-off'").stdout;
        assert!(!passt().trim().is_empty());
        // Plugged in and out.
        let second = card.replace("05:01", "05:02").replace("8080", "8081");
        let file = host.file("card.xml", &second);
        let _ = host
            .virsh(&["attach-device", "one", &file, "--live"])
            .succeeds();
        let _ = host
            .virsh(&["detach-device", "one", &file, "--live"])
            .succeeds();
        let _ = host.virsh(&["destroy", "one"]).succeeds();
        let root = host.root().to_string_lossy().into_owned();
        assert!(!host.log().contains("panicked"), "{root}");
    });
}

#[test]
fn programs_are_run_for_networks_and_ports_made_by_hand_stay() {
    inside(
        "links::programs_are_run_for_networks_and_ports_made_by_hand_stay",
        || {
            use std::os::unix::fs::PermissionsExt;
            let mut host = Host::without_daemon();
            let hooks = host.root().join("hooks");
            std::fs::create_dir_all(&hooks).expect("the folder is ours");
            let told = host.folder().join("told");
            let script = format!(
                "#!/bin/sh\ngrep -q '<name>lab' && echo \"$*\" >>{0}\n[ \"$1 $2\" != 'bad start' ] || {{ echo no bad ones >&2; exit 1; }}\n",
                told.display()
            );
            let hook = hooks.join("network");
            std::fs::write(&hook, script).expect("written");
            std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("ours");
            host.start_daemon();
            let lab = "<network><name>lab</name><bridge name='lab0'/><ip address='10.4.0.1' prefix='24'/></network>";
            start_network(&host, "lab", lab);
            let bad = host.file(
                "bad.xml",
                &lab.replace("lab", "bad").replace("10.4.0", "10.5.0"),
            );
            let error = host.virsh(&["net-create", &bad]).fails();
            assert!(error.contains("no bad ones"), "{error}");
            assert!(!ip("-o link").contains("bad0"));

            // A port of somebody else's machine, with limits.
            let uuid = "5b8ae3ee-3b0c-4b7e-9f5d-0a2c1f2e3d4c";
            let port = format!(
                "<networkport><uuid>{uuid}</uuid><owner><name>m</name><uuid>{uuid}</uuid></owner>\
                 <mac address='52:54:00:aa:07:01'/><bandwidth><inbound average='50'/></bandwidth></networkport>"
            );
            let file = host.file("port.xml", &port);
            let _ = host.virsh(&["net-port-create", "lab", &file]).succeeds();
            let line = format!(
                "import libvirt; n = libvirt.open('{}').networkLookupByName('lab'); \
                 p = n.portLookupByUUIDString('{uuid}'); p.setParameters({{'inbound.average': 100}})",
                host.uri()
            );
            let set = stead_tests::clients::run("/usr/bin/python3", &["-c", &line], &[]);
            let _ = set.succeeds();
            host.kill_daemon();
            host.start_daemon();
            let kept = host.virsh(&["net-port-dumpxml", "lab", uuid]).succeeds();
            assert!(
                kept.contains("average='100'") && kept.contains("lab0"),
                "{kept}"
            );
            let _ = host.virsh(&["net-port-delete", "lab", uuid]).succeeds();
            let _ = host.virsh(&["net-destroy", "lab"]).succeeds();
            let told = std::fs::read_to_string(told).expect("it was told");
            let told: Vec<&str> = told.lines().collect();
            assert_eq!(
                told,
                [
                    "lab start begin -",
                    "lab started begin -",
                    "lab port-created begin -",
                    "lab port-deleted begin -",
                    "lab stopped begin -"
                ]
            );

            // Interfaces of the host: shown, and switched.
            let _ = ip("link add if0 type veth peer name if1");
            let listed = host.stead(&["iface-list", "--all"]).succeeds();
            assert!(
                listed.contains("if0") && listed.contains("inactive"),
                "{listed}"
            );
            let _ = host.stead(&["iface-start", "if0"]).succeeds();
            assert!(
                host.virsh(&["iface-dumpxml", "if0"])
                    .succeeds()
                    .contains("name='if0'")
            );
            assert!(host.virsh(&["iface-list"]).succeeds().contains("if0"));
            // This virsh ends with a failure although it tells of none.
            let stopped = host.virsh(&["iface-destroy", "if0"]).stdout;
            assert!(stopped.contains("if0 destroyed"), "{stopped}");
            assert!(ip("-o link show if0").contains("state DOWN"));
            let refused = host.virsh(&["iface-begin"]).fails();
            assert!(
                refused.contains("not supported by the connection driver"),
                "{refused}"
            );
        },
    );
}
