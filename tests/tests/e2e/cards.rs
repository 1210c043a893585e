//! What a card's settings make of its device on the host: limits, coalescing, modes of macvtap; what the administrator's
//! programs and subscribers are told of networks and their ports.

use std::os::unix::fs::PermissionsExt;

use stead_tests::clients;
use stead_tests::guest::bare_machine;
use stead_tests::netns::{inside, ip, run};
use stead_tests::openvswitch::OpenVswitch;
use stead_tests::{Host, Ran};

use crate::networks::{LAB, on_network, start_network};

/// Asks the kernel how many received frames an interrupt of a device waits for.
const COALESCED: &str = "import ctypes, fcntl, socket, struct, sys\n\
    answer = ctypes.create_string_buffer(struct.pack('I', 0x0e) + bytes(88))\n\
    request = struct.pack('16sP', sys.argv[1].encode(), ctypes.addressof(answer)) + bytes(16)\n\
    fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)\n\
    print(struct.unpack('23I', answer.raw[:92])[2])\n";

/// Starts a machine that boots nothing, with these cards.
fn start_bare(host: &Host, name: &str, cards: &str) -> Ran {
    let bare = bare_machine(name);
    host.define(&bare.replace("<console", &format!("{cards}<console")));
    host.virsh(&["start", name])
}

fn classes(device: &str) -> String {
    run(&format!("tc class show dev {device}")).succeeds()
}

#[test]
fn settings_of_cards_are_those_of_their_devices() {
    inside(
        "cards::settings_of_cards_are_those_of_their_devices",
        || {
            let host = Host::start();
            start_network(&host, "lab", LAB);
            let _ = ip("link add up0 type veth peer name up1");
            let _ = ip("link set up0 up");
            let settings = "<coalesce><rx><frames max='7'/></rx></coalesce>\
                            <bandwidth><inbound average='500' peak='600'/></bandwidth></interface>";
            let bridged = on_network("lab", "52:54:00:aa:08:01").replace("</interface>", settings);
            let direct = |mode: &str, mac: &str, limits: &str| {
                format!(
                    "<interface type='direct'><mac address='{mac}'/><source dev='up0' mode='{mode}'/>\
                     <bandwidth>{limits}</bandwidth><model type='virtio'/></interface>"
                )
            };
            let vepa = direct("vepa", "52:54:00:aa:08:02", "<outbound average='300'/>");
            let _ = start_bare(&host, "one", &format!("{bridged}{vepa}")).succeeds();
            let frames = clients::run("/usr/bin/python3", &["-c", COALESCED, "vnet0"], &[]);
            assert_eq!(frames.succeeds().trim(), "7");
            // Kilobytes are told of, and bits are shown.
            let limited = classes("vnet0");
            assert!(
                limited.contains("rate 4Mbit") && limited.contains("ceil 4800Kbit"),
                "{limited}"
            );
            assert!(ip("-d link show macvtap0").contains("mode vepa"));
            let limited = classes("macvtap0");
            assert!(limited.contains("rate 2400Kbit"), "{limited}");
            // What comes in is policed, where the kernel can.
            let incoming = direct("vepa", "52:54:00:aa:08:03", "<inbound average='300'/>");
            let started = start_bare(&host, "two", &incoming);
            match started.status {
                0 => {
                    let policed = run("tc filter show dev macvtap1 parent ffff:").succeeds();
                    assert!(policed.contains("rate 2400Kbit"), "{policed}");
                }
                _ => {
                    let why = "policing (CONFIG_NET_ACT_POLICE)";
                    assert!(started.stderr.contains(why), "{}", started.stderr);
                    assert!(!ip("-o link").contains("macvtap1"), "a device is left");
                }
            }
            // A machine out of the rules' reach is not told that it is closed.
            for words in [&["--dry-run"][..], &[]] {
                let all = [&["firewall", "default", "one", "drop"][..], words].concat();
                let refused = host.stead(&all).fails();
                assert!(refused.contains("type direct"), "{refused}");
            }
            let shown = host.stead(&["firewall", "show", "one"]).succeeds();
            assert!(!shown.contains("drop"), "{shown}");
        },
    );
}

#[test]
fn a_switchs_port_has_the_cards_limits() {
    inside("cards::a_switchs_port_has_the_cards_limits", || {
        let (host, switch) = OpenVswitch::with_host("ovs0");
        let card = "<interface type='bridge'><mac address='52:54:00:aa:08:04'/><source bridge='ovs0'/>\
            <virtualport type='openvswitch'/><model type='virtio'/><bandwidth>\
            <inbound average='500'/><outbound average='100' burst='200'/></bandwidth></interface>";
        let _ = start_bare(&host, "one", card).succeeds();
        let rates = switch
            .vsctl("get Interface vnet0 ingress_policing_rate ingress_policing_burst")
            .succeeds();
        assert_eq!(
            rates.split_whitespace().collect::<Vec<_>>(),
            ["800", "1600"]
        );
        assert!(classes("vnet0").contains("rate 4Mbit"));
        let _ = host
            .virsh(&["domiftune", "one", "vnet0", "--outbound", "50", "--live"])
            .succeeds();
        let rate = switch
            .vsctl("get Interface vnet0 ingress_policing_rate")
            .succeeds();
        assert_eq!(rate.trim(), "400");
    });
}

/// A hook that notes how it is called, and with what; it does not want one card.
fn note_calls(host: &Host) -> std::path::PathBuf {
    let told = host.folder().join("told");
    let script = format!(
        "#!/bin/sh\ninput=$(cat)\ncase $input in *52:54:00:aa:08:66*) [ $2 != port-created ] || {{ echo not this card >&2; exit 1; }};; esac\n\
         case $input in *'<networkport>'*) with=' with a port';; esac\necho \"$1 $2$with\" >>{}\n",
        told.display()
    );
    let hooks = host.root().join("hooks");
    std::fs::create_dir_all(&hooks).expect("the folder is ours");
    let hook = hooks.join("network");
    std::fs::write(&hook, script).expect("written");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("ours");
    told
}

type Client = fn(&Host, &[&str]) -> Ran;

#[test]
fn programs_are_told_of_ports_and_subscribers_of_networks() {
    inside(
        "cards::programs_are_told_of_ports_and_subscribers_of_networks",
        || {
            let mut host = Host::without_daemon();
            let told = note_calls(&host);
            host.start_daemon();
            let path = host.file("network.xml", LAB);
            let _ = host.virsh(&["net-define", &path]).succeeds();
            // Until they have subscribed and are told.
            let watch = |event: &'static str, client: Client, stir: &dyn Fn(bool)| {
                let words = ["net-event", "--event", event, "--timeout", "20"];
                std::thread::scope(|scope| {
                    let watching = scope.spawn(|| client(&host, &words));
                    let mut odd = false;
                    while !watching.is_finished() {
                        odd = !odd;
                        stir(odd);
                    }
                    watching.join().expect("the client has ended").succeeds()
                })
            };
            let seen = watch("lifecycle", Host::virsh, &|odd| {
                let verb = if odd { "net-start" } else { "net-destroy" };
                let _ = host.virsh(&[verb, "lab"]).succeeds();
            });
            let known =
                ["Started", "Stopped"].map(|word| format!("'lifecycle' for network lab: {word}"));
            assert!(known.iter().any(|line| seen.contains(line)), "{seen}");
            let _ = host.virsh(&["net-start", "lab"]);
            let client = Host::virsh_or_stead("net-desc");
            let seen = watch("metadata-change", client, &|odd| {
                let title = if odd { "of the lab" } else { "of nobody" };
                let words = ["net-desc", "lab", "--title", title, "--live"];
                let _ = client(&host, &words).succeeds();
            });
            assert!(
                seen.contains("'metadata-change' for network lab: type title"),
                "{seen}"
            );
            let _ = start_bare(&host, "one", &on_network("lab", "52:54:00:aa:08:05")).succeeds();
            let card = host.file("card.xml", &on_network("lab", "52:54:00:aa:08:66"));
            let refused = host
                .virsh(&["attach-device", "one", &card, "--live"])
                .fails();
            assert!(refused.contains("not this card"), "{refused}");
            let refused = start_bare(&host, "two", &on_network("lab", "52:54:00:aa:08:66"));
            assert!(refused.fails().contains("not this card"));
            let _ = host.virsh(&["destroy", "one"]).succeeds();
            let _ = host.virsh(&["net-destroy", "lab"]).succeeds();
            let text = std::fs::read_to_string(&told).expect("it was told");
            let calls: Vec<&str> = text.lines().collect();
            let told_of = |what: &str| calls.iter().filter(|call| **call == what).count();
            assert_eq!(told_of("lab port-created with a port"), 1, "{text}");
            assert_eq!(told_of("lab port-deleted with a port"), 1, "{text}");
            assert_eq!(calls.first(), Some(&"lab start"));
            assert_eq!(calls.last(), Some(&"lab stopped"));
        },
    );
}

#[test]
fn a_running_cards_cable_is_pulled_by_any_name_it_has() {
    inside(
        "cards::a_running_cards_cable_is_pulled_by_any_name_it_has",
        || {
            let host = Host::start();
            start_network(&host, "lab", LAB);
            let mac = "52:54:00:aa:08:03";
            let _ = start_bare(&host, "one", &on_network("lab", mac)).succeeds();
            let link = |name: &str| host.virsh(&["domif-getlink", "one", name]).succeeds();
            // The clients send the card as it is shown, with its alias.
            for (client, name) in [("virsh", "vnet0"), ("virsh", mac), ("stead", mac)] {
                for state in ["down", "up"] {
                    let words = ["domif-setlink", "one", name, state];
                    let set = match client {
                        "virsh" => host.virsh(&words),
                        _ => host.stead(&words),
                    };
                    let _ = set.succeeds();
                    assert!(link(name).contains(state), "{client} {name} {state}");
                }
            }
            let _ = host
                .virsh(&["domif-setlink", "one", mac, "down", "--config"])
                .succeeds();
            let kept = host.virsh(&["dumpxml", "one", "--inactive"]).succeeds();
            assert!(kept.contains("<link state='down'/>"), "{kept}");
            assert!(link("vnet0").contains("up"));
        },
    );
}
