//! The types of replies against those the real QEMU gives.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "runs a real QEMU"
)]

mod support;

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use stead_qemu::qmp::Command;
use stead_qemu::qmp::commands::{self, DisplayProtocol};
use stead_qemu::qmp::reply::RunState;

const BALLOON: &str = "/machine/peripheral/balloon0";

fn machine() -> Vec<String> {
    [
        "-S -machine q35,accel=tcg -m 64 -smp 2,maxcpus=4 -nodefaults -no-user-config",
        "-display none -name guest=replies -object iothread,id=iothread1",
        "-chardev socket,id=charmonitor,fd=3 -mon chardev=charmonitor,mode=control",
        "-blockdev driver=null-co,node-name=disk,size=1048576",
        "-device virtio-blk-pci,drive=disk,id=virtio-disk0,iothread=iothread1",
        "-device ide-cd,id=cdrom -netdev user,id=hostnet0",
        "-device virtio-net-pci,netdev=hostnet0,id=net0",
        "-chardev null,id=charserial0 -device isa-serial,chardev=charserial0,id=serial0",
        "-device virtio-balloon-pci,id=balloon0,guest-stats-polling-interval=5",
        "-device VGA,id=video0",
    ]
    .join(" ")
    .split(' ')
    .map(str::to_owned)
    .collect()
}

struct Asker(support::Qemu);

impl Asker {
    fn ask<R: DeserializeOwned + Debug>(&mut self, command: &Command<R>) -> R {
        let name = command.name().to_owned();
        let reply = self.0.ask(&command.clone().untyped());
        let reply = reply.unwrap_or_else(|reason| panic!("{name}: {reason}"));
        command
            .parse(reply)
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

#[test]
fn replies_are_read_as_they_come() {
    let Some(binary) = support::binary() else {
        return;
    };
    let qemu = support::Qemu::start(&binary, &machine(), "charmonitor").expect("QEMU starts");
    let mut qemu = Asker(qemu);
    assert_eq!(
        qemu.ask(&commands::query_status()).status,
        RunState::Prelaunch
    );
    assert!(qemu.ask(&commands::query_version()).qemu.major >= 7);
    assert_eq!(
        qemu.ask(&commands::query_name()).name.as_deref(),
        Some("replies")
    );
    assert!(!qemu.ask(&commands::query_kvm()).enabled);
    assert!(
        qemu.ask(&commands::query_current_machine())
            .wakeup_suspend_support
    );
    let processors = qemu.ask(&commands::query_cpus_fast());
    assert_eq!(processors.len(), 2);
    assert!(
        processors
            .iter()
            .all(|one| one.thread_id > 0 && !one.props.is_empty())
    );
    let chardevs = qemu.ask(&commands::query_chardev());
    assert!(
        chardevs
            .iter()
            .any(|one| one.label == "charserial0" && one.pty().is_none())
    );
    assert_eq!(qemu.ask(&commands::query_iothreads())[0].id, "iothread1");
    assert_eq!(qemu.ask(&commands::query_migrate()).status, None);
    assert_eq!(qemu.ask(&commands::query_jobs()), []);
    assert_eq!(
        qemu.ask(&commands::query_rx_filter(Some("net0")))[0].name,
        "net0"
    );
    assert!(
        qemu.ask(&commands::human_monitor_command("info version"))
            .contains('.')
    );
    let properties = qemu.ask(&commands::device_list_properties("virtio-blk-pci"));
    assert!(
        properties
            .iter()
            .any(|property| property.name == "num-queues")
    );
}

#[test]
fn disks_are_read_as_they_come() {
    let Some(binary) = support::binary() else {
        return;
    };
    let qemu = support::Qemu::start(&binary, &machine(), "charmonitor").expect("QEMU starts");
    let mut qemu = Asker(qemu);
    let disks = qemu.ask(&commands::query_block());
    let medium = disks
        .iter()
        .find_map(|disk| disk.inserted.as_ref())
        .expect("one has a medium");
    assert_eq!(medium.image.virtual_size, 1 << 20);
    assert_eq!(medium.node_name.as_deref(), Some("disk"));
    let drive = disks
        .iter()
        .find(|disk| disk.qdev.as_deref() == Some("cdrom"));
    assert!(drive.is_some_and(|drive| drive.removable && drive.tray_open == Some(false)));
    let counters = qemu.ask(&commands::query_blockstats(false));
    assert!(
        counters
            .iter()
            .any(|one| one.node_name.as_deref() == Some("disk"))
    );
    let nodes = qemu.ask(&commands::query_blockstats(true));
    assert_eq!(nodes[0].stats.rd_bytes, 0);
    qemu.ask(&commands::blockdev_open_tray("cdrom", true));
    let drive = qemu.ask(&commands::query_block());
    assert!(drive.iter().any(|disk| disk.tray_open == Some(true)));
}

#[test]
fn the_guests_side_is_read_as_it_comes() {
    let Some(binary) = support::binary() else {
        return;
    };
    let socket = std::env::temp_dir().join(format!("stead-{}-vnc.sock", std::process::id()));
    let mut arguments = machine();
    arguments.extend([
        "-vnc".to_owned(),
        format!("unix:{},password=on", socket.display()),
    ]);
    let qemu = support::Qemu::start(&binary, &arguments, "charmonitor").expect("QEMU starts");
    let mut qemu = Asker(qemu);
    assert_eq!(qemu.ask(&commands::query_balloon()).actual, 64 << 20);
    let memory = qemu.ask(&commands::balloon_stats(BALLOON));
    assert_eq!(
        (memory.last_update, memory.get("stat-free-memory")),
        (0, None)
    );
    qemu.ask(&commands::set_balloon_period(BALLOON, 10));
    let vnc = qemu.ask(&commands::query_vnc());
    assert!(
        vnc.enabled && vnc.service.as_deref() == socket.to_str(),
        "{vnc:?}"
    );
    assert_eq!(qemu.ask(&commands::query_vnc_servers())[0].id, "default");
    qemu.ask(&commands::set_password(
        DisplayProtocol::Vnc,
        "secret",
        None,
    ));
    qemu.ask(&commands::expire_password(DisplayProtocol::Vnc, "never"));
    qemu.ask(&commands::send_key(&[29, 56, 211], Some(100)));
    qemu.ask(&commands::inject_nmi());
    qemu.ask(&commands::set_link("net0", false));
    qemu.ask(&commands::set_action(
        Some("reset"),
        None,
        Some("none"),
        Some("pause"),
    ));
    qemu.ask(&commands::cont());
    qemu.ask(&commands::stop());
    assert_eq!(qemu.ask(&commands::query_status()).status, RunState::Paused);
    qemu.ask(&commands::system_reset());
    qemu.ask(&commands::system_powerdown());
    let _ = std::fs::remove_file(&socket);
}
