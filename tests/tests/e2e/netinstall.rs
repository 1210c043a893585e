//! Debian's real network installer, booted from a network's own servers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stead_tests::netns::{inside, run};
use stead_tests::{Host, wait};

use crate::netboot::Web;
use crate::networks::{on_network, start_network};

/// What Debian's package holds: a whole tree to be served.
const TREE: &str = "/usr/lib/debian-installer/images/12/amd64/text";
/// The installer's first question takes the emulated processor a while.
const SCREEN_TIMEOUT: Duration = Duration::from_secs(150);
const CARD: &str = "52:54:00:aa:07:01";

/// A copy of the tree that is the test's to change.
fn tree(host: &Host) -> PathBuf {
    let copy = host.folder().join("tftp");
    let _ = run(&format!("cp -r --preserve=links {TREE} {}", copy.display())).succeeds();
    copy
}

/// A network whose machines get `file` first.
fn serve(host: &Host, root: &Path, file: &str) {
    let network = format!(
        "<network><name>boot</name><bridge name='boot0'/><ip address='192.168.61.1' prefix='24'>\
         <tftp root='{}'/><dhcp><range start='192.168.61.10' end='192.168.61.20'/><bootp file='{file}'/></dhcp></ip></network>",
        root.display()
    );
    start_network(host, "boot", &network);
}

/// Starts a machine without a disk of its own.
fn boot(host: &Host) {
    host.define(&format!(
        "<domain type='qemu'><name>pxe</name><memory unit='MiB'>1280</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='network'/></os><features><acpi/></features>\
         <devices>{}<serial type='pty'/><controller type='usb' model='none'/></devices></domain>",
        on_network("boot", CARD)
    ));
    let _ = host.virsh(&["start", "pxe"]).succeeds();
}

fn wait_for_screen(host: &Host, words: &str) {
    let screen = || host.stead(&["console-log", "pxe"]).stdout;
    let seen = wait::within(SCREEN_TIMEOUT, || screen().contains(words));
    assert!(seen, "no '{words}' on the screen:\n{}", screen());
}

#[test]
fn debians_installer_comes_by_tftp() {
    inside("netinstall::debians_installer_comes_by_tftp", || {
        let host = Host::start();
        let root = tree(&host);
        let line = "default install\nlabel install\nkernel debian-installer/amd64/linux\n\
                        append console=ttyS0 no_timer_check\n";
        let config = root.join("debian-installer/amd64/pxelinux.cfg/default");
        let _ = std::fs::remove_file(&config);
        std::fs::write(config, line).expect("the copy is ours");
        serve(&host, &root, "pxelinux.0");
        boot(&host);
        wait_for_screen(&host, "Linux version");
    });
}

#[test]
fn debians_installer_comes_by_http_and_asks_its_first_question() {
    inside(
        "netinstall::debians_installer_comes_by_http_and_asks_its_first_question",
        || {
            let host = Host::start();
            let root = tree(&host);
            let at = "http://192.168.61.1:8061/debian-installer/amd64";
            let script = format!(
                "#!ipxe\nkernel {at}/linux initrd=initrd.gz console=ttyS0 DEBIAN_FRONTEND=text no_timer_check\ninitrd {at}/initrd.gz\nboot\n"
            );
            std::fs::write(root.join("boot.ipxe"), script).expect("the copy is ours");
            serve(&host, &root, "boot.ipxe");
            let _web = Web::serve(&root.to_string_lossy(), "192.168.61.1", "8061");
            boot(&host);
            wait_for_screen(&host, "Linux version");
            wait_for_screen(&host, "Select a language");
        },
    );
}
