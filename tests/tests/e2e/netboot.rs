//! Machines that boot from a network, and networks of IPv6.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stead_tests::clients::virt_install;
use stead_tests::netns::{Outside, inside, ip, run};
use stead_tests::{Host, wait};

use crate::networks::{
    LEASE_TIMEOUT, in_guest, leased, on_network, outside, start_guest, start_network,
};

const BOOT_TIMEOUT: Duration = Duration::from_secs(80);
const CARD: &str = "52:54:00:aa:06:01";

/// A web server for a folder, at the network's own address; gone when dropped.
pub(crate) struct Web(Child);

impl Web {
    pub(crate) fn serve(folder: &str, address: &str, port: &str) -> Self {
        let child = Command::new("/usr/bin/python3")
            .args([
                "-m",
                "http.server",
                port,
                "--bind",
                address,
                "--directory",
                folder,
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        Self(child)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network whose own server has the small guest, as an installer would come by it: the script and
/// the kernel by TFTP, the rest by HTTP from the server that comes back.
fn boot_network(host: &Host) -> Web {
    let kernel = host.guest_file("vmlinuz");
    let initrd = host.guest_file("initrd");
    for folder in ["tftp", "web"] {
        std::fs::create_dir(host.folder().join(folder)).expect("the folder is ours");
    }
    std::fs::copy(kernel, host.folder().join("tftp/vmlinuz")).expect("there is room");
    std::fs::copy(initrd, host.folder().join("web/initrd")).expect("there is room");
    let _ = host.file(
        "tftp/boot.ipxe",
        "#!ipxe\nkernel vmlinuz console=ttyS0 quiet no_timer_check hostname=netbooted\n\
         initrd http://192.168.61.1:8061/initrd\nboot\n",
    );
    let _ = host.file(
        "web/preseed.cfg",
        "d-i debian-installer/locale string en_US\n",
    );
    let folder = host.folder().join("tftp");
    let network = format!(
        "<network><name>boot</name><bridge name='boot0'/>\
         <ip address='192.168.61.1' prefix='24'><tftp root='{}'/>\
         <dhcp><range start='192.168.61.10' end='192.168.61.20'/><bootp file='boot.ipxe'/></dhcp></ip></network>",
        folder.display()
    );
    start_network(host, "boot", &network);
    let web = host.folder().join("web");
    Web::serve(&web.to_string_lossy(), "192.168.61.1", "8061")
}

fn wait_for_what_came(host: &Host, machine: &str) {
    wait::until("what came over the network runs", BOOT_TIMEOUT, || {
        in_guest(host, machine, "hostname")
            .stdout
            .contains("netbooted")
    });
}

#[test]
fn a_machine_boots_from_its_networks_own_server() {
    inside(
        "netboot::a_machine_boots_from_its_networks_own_server",
        || {
            let host = Host::start();
            let _web = boot_network(&host);
            host.define(&format!(
            "<domain type='qemu'><name>pxe</name><memory unit='MiB'>160</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='network'/></os><features><acpi/></features>\
             <devices>{}<serial type='pty'/>\
             <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
             <controller type='usb' model='none'/></devices></domain>",
            on_network("boot", CARD)
        ));
            let _ = host.virsh(&["start", "pxe"]).succeeds();
            assert!(leased(&host, "boot", CARD).starts_with("192.168.61."));
            wait_for_what_came(&host, "pxe");
            // What an installer asks for first.
            let line = "wget -q -O - http://192.168.61.1:8061/preseed.cfg";
            wait::until("the installer's file is there", LEASE_TIMEOUT, || {
                in_guest(&host, "pxe", line)
                    .stdout
                    .contains("debian-installer/locale")
            });
        },
    );
}

#[test]
fn installs_by_the_network_run_what_came_by_it() {
    inside(
        "netboot::installs_by_the_network_run_what_came_by_it",
        || {
            let host = Host::start();
            let _web = boot_network(&host);
            let words = [
                "install",
                "ours",
                "--ram",
                "160",
                "--vcpus",
                "1",
                "--disk",
                "size=1",
                "--network",
                "boot",
                "--graphics",
                "none",
                "--pxe",
            ];
            let _ = host.stead(&words).succeeds();
            wait_for_what_came(&host, "ours");
            // When it ends the machine goes on from its disk, on which nothing is.
            let before = host.qemu_of("ours");
            let _ = host.virsh(&["destroy", "ours"]).succeeds();
            wait::until("the machine's own start", LEASE_TIMEOUT, || {
                host.state("ours") == "running" && host.qemu_of("ours") != before
            });
            let _ = host.virsh(&["destroy", "ours"]).succeeds();

            let words = ["--pxe", "--disk", "none", "--network", "network=boot"];
            let _ = virt_install(&host, "theirs", &words).succeeds();
            wait::until("what came over the network runs", BOOT_TIMEOUT, || {
                let said = host.python("console.py", &["theirs", "hostname"]);
                said.stdout.trim() == "netbooted"
            });
        },
    );
}

/// A network of both families whose machines reach the world through the host.
const BOTH: &str = "<network><name>both</name><forward mode='nat'><nat ipv6='yes'/></forward><bridge name='both0'/>
<ip address='192.168.62.1' prefix='24'><dhcp><range start='192.168.62.10' end='192.168.62.20'/></dhcp></ip>
<ip family='ipv6' address='fd00:62::1' prefix='64'/></network>";

/// One whose addresses of IPv6 are given out, and that others know the way to.
const ROUTED: &str = "<network><name>routed</name><forward mode='route'/><bridge name='routed0'/>
<ip family='ipv6' address='2001:db8:63::1' prefix='64'><dhcp>
<range start='2001:db8:63::100' end='2001:db8:63::1ff'/>
<host id='0:3:0:1:52:54:0:aa:6:3' name='fixed' ip='2001:db8:63::7'/></dhcp></ip></network>";

/// The world outside with an address of IPv6, where the host is its neighbour.
fn outside_of_six() -> Outside {
    let world = outside();
    let _ = ip("address add 2001:db8:1::1/64 dev up0 nodad");
    let _ = world
        .run("ip address add 2001:db8:1::2/64 dev eth0 nodad")
        .succeeds();
    world
}

#[test]
fn a_guest_gets_an_address_of_ipv6_and_reaches_the_world() {
    inside(
        "netboot::a_guest_gets_an_address_of_ipv6_and_reaches_the_world",
        || {
            let host = Host::start();
            let _world = outside_of_six();
            start_network(&host, "both", BOTH);
            start_guest(&host, "one", &on_network("both", CARD));
            // Made by itself from what the network tells.
            let own = "fd00:62::5054:ff:feaa:601";
            wait::until("the guest has its address", BOOT_TIMEOUT, || {
                run(&format!("ping -6 -c 1 -W 1 {own}")).status == 0
            });
            wait::until("the guest reaches the host", LEASE_TIMEOUT, || {
                in_guest(&host, "one", "ping -c 1 -W 2 fd00:62::1").status == 0
            });
            wait::until("the world is reached", LEASE_TIMEOUT, || {
                in_guest(&host, "one", "ping -c 1 -W 2 2001:db8:1::2").status == 0
            });
            // It cannot be another, nor the router.
            let other = "ip -6 address add fd00:63::9/64 dev eth0 nodad; ping -c 1 -W 1 -I fd00:63::9 fd00:62::1";
            assert_ne!(in_guest(&host, "one", other).status, 0);
            let shown = host
                .virsh(&["domifaddr", "one", "--source", "agent"])
                .succeeds();
            assert!(shown.contains(own), "{shown}");
        },
    );
}

#[test]
fn addresses_of_ipv6_are_given_out_on_a_routed_network() {
    inside(
        "netboot::addresses_of_ipv6_are_given_out_on_a_routed_network",
        || {
            let host = Host::start();
            let world = outside_of_six();
            let _ = world
                .run("ip route add 2001:db8:63::/64 via 2001:db8:1::1")
                .succeeds();
            start_network(&host, "routed", ROUTED);
            // A client with a DHCPv6 of its own, in a namespace on the bridge.
            let client = Outside::behind("cl0");
            let _ = ip("link set cl0 master routed0");
            let _ = client.run("ip link set eth0 down; ip link set eth0 address 52:54:00:aa:06:03; ip link set eth0 up").succeeds();
            wait::until("its card is ready", LEASE_TIMEOUT, || {
                let shown = client
                    .run("ip -6 address show dev eth0 scope link -tentative")
                    .stdout;
                shown.contains("fe80:")
            });
            let leases = host.folder().join("client.leases");
            let asked = client.run(&format!(
                "timeout 30 dhclient -6 -1 -D LL -sf /bin/true -lf {} -pf {}.pid eth0",
                leases.display(),
                leases.display()
            ));
            let _ = asked.succeeds();
            let text = std::fs::read_to_string(&leases).expect("the client has written it");
            assert!(text.contains("iaaddr 2001:db8:63::7"), "{text}");
            let listed = host.virsh(&["net-dhcp-leases", "routed"]).succeeds();
            assert!(
                listed.contains("2001:db8:63::7/64") && listed.contains("fixed"),
                "{listed}"
            );
            let _ = client.run("ip address add 2001:db8:63::7/64 dev eth0 nodad; ip -6 route replace default via 2001:db8:63::1");
            wait::until("the world reaches it", LEASE_TIMEOUT, || {
                world.run("ping -c 1 -W 1 2001:db8:63::7").status == 0
            });
        },
    );
}
