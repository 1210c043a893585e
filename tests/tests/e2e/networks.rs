//! Networks with real bridges, dnsmasq, nftables and guests, in namespaces of the tests' own.

use std::time::Duration;

use stead_tests::netns::{Outside, inside, ip, run};
use stead_tests::{Host, Ran, guest, wait};

pub(crate) const LEASE_TIMEOUT: Duration = Duration::from_secs(90);

/// A NAT network with everything written out.
pub(crate) const LAB: &str = "<network>
  <name>lab</name>
  <forward mode='nat'/>
  <bridge name='lab0'/>
  <ip address='192.168.50.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.50.100' end='192.168.50.200'/>
      <host mac='52:54:00:aa:00:07' name='fixed' ip='192.168.50.7'/>
    </dhcp>
  </ip>
</network>";

/// Defines and starts a network.
pub(crate) fn start_network(host: &Host, name: &str, xml: &str) {
    let path = host.file("network.xml", xml);
    let _ = host.virsh(&["net-define", &path]).succeeds();
    let _ = host.virsh(&["net-start", name]).succeeds();
}

/// Starts the small guest with these interfaces in place of its own.
pub(crate) fn start_guest(host: &Host, name: &str, interfaces: &str) {
    host.guest_file("vmlinuz");
    host.guest_file("initrd");
    let xml = guest::small_guest(name, host.folder());
    let user = "<interface type='user'><model type='virtio'/></interface>";
    assert!(
        xml.contains(user),
        "the small guest's definition is another"
    );
    host.define(&xml.replace(user, interfaces));
    let _ = host.virsh(&["start", name]).succeeds();
}

/// An interface of the small guest on a network.
pub(crate) fn on_network(network: &str, mac: &str) -> String {
    format!(
        "<interface type='network'><mac address='{mac}'/><source network='{network}'/>\
         <model type='virtio'/></interface>"
    )
}

/// The address a machine has got, once it has one.
pub(crate) fn leased(host: &Host, network: &str, mac: &str) -> String {
    wait::for_value(&format!("the lease of {mac}"), LEASE_TIMEOUT, || {
        let leases = host.virsh(&["net-dhcp-leases", network, mac]).succeeds();
        let line = leases.lines().find(|line| line.contains(mac))?;
        let address = line.split_whitespace().find(|word| word.contains('/'))?;
        Some(address.split('/').next()?.to_owned())
    })
}

/// Waits until an address answers.
pub(crate) fn wait_for_ping(address: &str) {
    wait::until(&format!("{address} answers"), LEASE_TIMEOUT, || {
        run(&format!("ping -c 1 -W 1 {address}")).status == 0
    });
}

#[test]
fn a_guest_gets_its_lease_and_stopping_clears_all_away() {
    inside(
        "networks::a_guest_gets_its_lease_and_stopping_clears_all_away",
        || {
            let host = Host::start();
            start_network(&host, "lab", LAB);
            assert!(ip("address show lab0").contains("192.168.50.1/24"));
            start_guest(&host, "web1", &on_network("lab", "52:54:00:aa:00:07"));
            let list = host.virsh(&["domiflist", "web1"]).succeeds();
            assert!(list.contains("vnet0") && list.contains("lab"), "{list}");
            let address = leased(&host, "lab", "52:54:00:aa:00:07");
            assert_eq!(address, "192.168.50.7");
            wait_for_ping("192.168.50.7");
            let shown = host.virsh(&["net-dumpxml", "lab"]).succeeds();
            assert!(shown.contains("<network connections='1'>"), "{shown}");

            let _ = host.virsh(&["destroy", "web1"]).succeeds();
            let _ = host.virsh(&["net-destroy", "lab"]).succeeds();
            assert_ne!(run("ip link show lab0").status, 0);
            assert!(!run("nft list ruleset").succeeds().contains("stead"));
            assert!(
                !run("pgrep -af dnsmasq")
                    .stdout
                    .contains(&*host.root().to_string_lossy())
            );
        },
    );
}

/// The world outside: a namespace at 203.0.113.2 behind the host's 203.0.113.1.
pub(crate) fn outside() -> Outside {
    let outside = Outside::behind("up0");
    let _ = ip("address add 203.0.113.1/24 dev up0");
    let _ = outside
        .run("ip address add 203.0.113.2/24 dev eth0")
        .succeeds();
    outside
}

/// Runs a command in a guest, through its agent; what it printed.
pub(crate) fn in_guest(host: &Host, machine: &str, line: &str) -> Ran {
    host.python("guest_exec.py", &[machine, line])
}

#[test]
fn a_guest_reaches_the_world_and_is_reached_on_a_forwarded_port() {
    inside(
        "networks::a_guest_reaches_the_world_and_is_reached_on_a_forwarded_port",
        || {
            let host = Host::start();
            let outside = outside();
            start_network(&host, "lab", LAB);
            start_guest(&host, "web1", &on_network("lab", "52:54:00:aa:00:07"));
            let _ = host
                .stead(&["firewall", "forward", "web1", "tcp/8080:80"])
                .succeeds();
            assert_eq!(leased(&host, "lab", "52:54:00:aa:00:07"), "192.168.50.7");
            wait_for_ping("192.168.50.7");
            // Out, and back in answer.
            wait::until("the world is reached", LEASE_TIMEOUT, || {
                in_guest(&host, "web1", "ping -c 1 -W 2 203.0.113.2").status == 0
            });
            // From outside nobody gets in: there is no way but the forwarded port.
            let _ = outside
                .run("ip route add 192.168.50.0/24 via 203.0.113.1")
                .succeeds();
            assert_ne!(outside.run("ping -c 1 -W 1 192.168.50.7").status, 0);
            let _ = in_guest(
                &host,
                "web1",
                "(mkdir -p /tmp/w; echo hello >/tmp/w/index.html; httpd -h /tmp/w) >/dev/null 2>&1",
            )
            .succeeds();
            wait::until("the forwarded port answers", LEASE_TIMEOUT, || {
                let got = outside.run("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | timeout 3 socat - TCP:203.0.113.1:8080");
                got.stdout.contains("hello")
            });
            // Flushed by somebody else, all of it is back at once.
            let _ = run("nft flush ruleset").succeeds();
            wait::until("the rules are back", Duration::from_secs(10), || {
                let rules = run("nft list ruleset").succeeds();
                rules.contains("masquerade") && rules.contains("dnat")
            });
            // Its own firewall: nothing but the port.
            let _ = host
                .stead(&["firewall", "default", "web1", "drop"])
                .succeeds();
            wait::until("the guest is closed", Duration::from_secs(10), || {
                run("ping -c 1 -W 1 192.168.50.7").status != 0
            });
            let _ = host
                .stead(&[
                    "firewall",
                    "allow",
                    "web1",
                    "--in",
                    "icmp",
                    "--from",
                    "192.168.50.1",
                ])
                .succeeds();
            wait_for_ping("192.168.50.7");
            let shown = host.stead(&["firewall", "show", "web1"]).succeeds();
            assert!(
                shown.contains("icmp") && shown.contains("tcp/8080:80"),
                "{shown}"
            );
            // It cannot take another's address.
            let _ = in_guest(&host, "web1", "ip address add 192.168.50.99/24 dev eth0").succeeds();
            assert_ne!(
                in_guest(
                    &host,
                    "web1",
                    "ping -c 1 -W 1 -I 192.168.50.99 192.168.50.1"
                )
                .status,
                0
            );
        },
    );
}

#[test]
fn traffic_flows_on_while_the_daemon_is_killed_and_returns() {
    inside(
        "networks::traffic_flows_on_while_the_daemon_is_killed_and_returns",
        || {
            let mut host = Host::start();
            start_network(&host, "lab", LAB);
            start_guest(&host, "web1", &on_network("lab", "52:54:00:aa:00:07"));
            assert_eq!(leased(&host, "lab", "52:54:00:aa:00:07"), "192.168.50.7");
            wait_for_ping("192.168.50.7");
            let pinging = std::thread::spawn(|| run("ping -i 0.1 -c 60 -W 1 192.168.50.7"));
            host.kill_daemon();
            host.start_daemon();
            let list = host.virsh(&["net-list"]).succeeds();
            assert!(list.contains("lab"), "{list}");
            assert_eq!(leased(&host, "lab", "52:54:00:aa:00:07"), "192.168.50.7");
            let pinged = pinging.join().expect("ping has run").succeeds();
            assert!(pinged.contains(" 0% packet loss"), "{pinged}");

            // A server that dies is replaced.
            let pid = |host: &Host| {
                let uuid = host.virsh(&["net-uuid", "lab"]).succeeds();
                let file = host
                    .root()
                    .join("run/network")
                    .join(uuid.trim())
                    .join("dnsmasq.pid");
                std::fs::read_to_string(file)
                    .ok()?
                    .trim()
                    .parse::<u32>()
                    .ok()
            };
            let first = pid(&host).expect("dnsmasq runs");
            stead_tests::host::signal(first, "KILL");
            wait::until("another dnsmasq", LEASE_TIMEOUT, || {
                pid(&host).is_some_and(|now| now != first && stead_tests::host::is_alive(now))
            });
            let _ = host.virsh(&["destroy", "web1"]).succeeds();
            let _ = host.virsh(&["net-destroy", "lab"]).succeeds();
        },
    );
}

#[test]
fn what_stands_in_the_way_is_said_and_nothing_is_left() {
    inside(
        "networks::what_stands_in_the_way_is_said_and_nothing_is_left",
        || {
            let host = Host::start();
            start_network(&host, "lab", LAB);
            let links = || run("ip -o link | cut -d: -f2").succeeds();
            let before = links();
            let rules = run("nft list ruleset").succeeds();
            let refused = |xml: &str, said: &str| {
                let path = host.file("refused.xml", xml);
                let error = host.virsh(&["net-create", &path]).fails();
                assert!(error.contains(said), "{error}");
                assert_eq!(links(), before, "{xml}");
                assert_eq!(run("nft list ruleset").succeeds(), rules);
                assert!(
                    !host
                        .virsh(&["net-list", "--all"])
                        .succeeds()
                        .contains("other")
                );
            };
            let other = LAB.replace("<name>lab", "<name>other");
            refused(&other, "already in use");
            let overlap = other
                .replace("lab0", "lab1")
                .replace("255.255.255.0", "255.255.0.0");
            refused(&overlap, "Network is already in use by interface lab0");
            let twice = other.replace(
                "<host mac",
                "<host mac='52:54:00:aa:00:07' name='b' ip='192.168.50.8'/>\n<host mac",
            );
            refused(&twice, "is given to two hosts");
            let missing = "<network><name>other</name><forward mode='bridge'><interface dev='no-such'/></forward></network>";
            refused(missing, "no-such");
            let broken = other
            .replace("lab0", "lab1")
            .replace("192.168.50", "192.168.60")
            .replace("<network>", "<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>")
            .replace("</network>", "<dnsmasq:options><dnsmasq:option value='no-such-word'/></dnsmasq:options></network>");
            refused(&broken, "bad option");
            // Two daemons side by side leave each other alone.
            let second = Host::start();
            let _ = second.virsh(&["net-start", "default"]).succeeds();
            let _ = host.virsh(&["net-start", "default"]).succeeds();
            let mine = host.virsh(&["net-dumpxml", "default"]).succeeds();
            let theirs = second.virsh(&["net-dumpxml", "default"]).succeeds();
            assert!(
                theirs.contains("192.168.122.1") && !mine.contains("192.168.122.1"),
                "{mine}{theirs}"
            );
            for host in [&second, &host] {
                let _ = host.virsh(&["net-destroy", "default"]).succeeds();
            }
            assert_eq!(run("nft list ruleset").succeeds(), rules);
            let _ = host.virsh(&["net-destroy", "lab"]).succeeds();
        },
    );
}

#[test]
fn a_running_network_is_changed_section_by_section() {
    inside(
        "networks::a_running_network_is_changed_section_by_section",
        || {
            let host = Host::start();
            start_network(&host, "lab", LAB);
            let entry = "<host mac='52:54:00:aa:00:08' name='two' ip='192.168.50.8'/>";
            let _ = host
                .virsh(&[
                    "net-update",
                    "lab",
                    "add",
                    "ip-dhcp-host",
                    entry,
                    "--live",
                    "--config",
                ])
                .succeeds();
            let name = "<host ip='192.168.50.1'><hostname>gate.lab</hostname></host>";
            let _ = host
                .stead(&["net-update", "lab", "add-last", "dns-host", name, "--live"])
                .succeeds();
            for flag in [None, Some("--inactive")] {
                let words: Vec<&str> = ["net-dumpxml", "lab"].into_iter().chain(flag).collect();
                let xml = host.virsh(&words).succeeds();
                assert!(xml.contains("192.168.50.8"), "{xml}");
                assert_eq!(xml.contains("gate.lab"), flag.is_none(), "{xml}");
            }
            let again = host
                .virsh(&["net-update", "lab", "add", "ip-dhcp-host", entry, "--live"])
                .fails();
            assert!(
                again.contains("there is an existing dhcp host entry"),
                "{again}"
            );
            start_guest(&host, "two", &on_network("lab", "52:54:00:aa:00:08"));
            assert_eq!(leased(&host, "lab", "52:54:00:aa:00:08"), "192.168.50.8");
            let shown = host.virsh(&["domifaddr", "two"]).succeeds();
            assert!(
                shown.contains("vnet0") && shown.contains("192.168.50.8/24"),
                "{shown}"
            );
            wait::until("the guest resolves names", LEASE_TIMEOUT, || {
                let found = in_guest(&host, "two", "nslookup gate.lab 192.168.50.1");
                found.stdout.contains("192.168.50.1")
            });
            let ports = host.virsh(&["net-port-list", "lab"]).succeeds();
            assert!(ports.contains('-'), "{ports}");
            // Plugged in and out while it runs.
            let card = on_network("lab", "52:54:00:aa:00:09");
            let path = host.file("card.xml", &card);
            let _ = host
                .virsh(&["attach-device", "two", &path, "--live"])
                .succeeds();
            assert!(ip("-o link").contains("vnet1"));
            let _ = host
                .virsh(&["detach-device", "two", &path, "--live"])
                .succeeds();
            wait::until("the card is gone", LEASE_TIMEOUT, || {
                !ip("-o link").contains("vnet1")
            });
            let _ = host.virsh(&["destroy", "two"]).succeeds();
            let _ = host.virsh(&["net-destroy", "lab"]).succeeds();
        },
    );
}
