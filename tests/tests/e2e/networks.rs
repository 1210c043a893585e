//! Networks with real bridges, dnsmasq, nftables and guests, in namespaces of the tests' own.

use std::time::Duration;

use stead_tests::netns::{inside, ip, run};
use stead_tests::{Host, guest, wait};

const LEASE_TIMEOUT: Duration = Duration::from_secs(40);

/// A NAT network with everything written out.
const LAB: &str = "<network>
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
fn start_network(host: &Host, name: &str, xml: &str) {
    let path = host.file("network.xml", xml);
    let _ = host.virsh(&["net-define", &path]).succeeds();
    let _ = host.virsh(&["net-start", name]).succeeds();
}

/// Starts the small guest with these interfaces in place of its own.
fn start_guest(host: &Host, name: &str, interfaces: &str) {
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
fn on_network(network: &str, mac: &str) -> String {
    format!(
        "<interface type='network'><mac address='{mac}'/><source network='{network}'/>\
         <model type='virtio'/></interface>"
    )
}

/// The address a machine has got, once it has one.
fn leased(host: &Host, network: &str, mac: &str) -> String {
    wait::for_value(&format!("the lease of {mac}"), LEASE_TIMEOUT, || {
        let leases = host.virsh(&["net-dhcp-leases", network, mac]).succeeds();
        let line = leases.lines().find(|line| line.contains(mac))?;
        let address = line.split_whitespace().find(|word| word.contains('/'))?;
        Some(address.split('/').next()?.to_owned())
    })
}

/// Waits until an address answers.
fn wait_for_ping(address: &str) {
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
