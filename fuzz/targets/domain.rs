//! Text as a domain definition: read, written, completed, turned into QEMU's command line.
//!
//! What is written is read as the same; completing what is complete changes nothing; an error has a
//! place inside the text; nothing panics.

#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use model::XmlFlags;
use model::domain::Domain;
use model::domain::complete::DefineContext;
use model::xml::Mac;
use qemu::caps::{Accelerator, QemuCaps};
use qemu::command_line::{LaunchContext, command_line};

/// Everything there is: what is hidden could not come back.
const ALL: XmlFlags = XmlFlags { inactive: false, secure: true, migratable: false };
const CAPS: &str = include_str!("../../crates/qemu/tests/data/caps-10.0.json");

fuzz_target!(|text: &str| {
    match Domain::parse(text) {
        Ok(domain) => {
            let again = read_again(&domain);
            assert_eq!(again.to_xml(ALL), domain.to_xml(ALL));
            complete(domain);
        }
        Err(error) => assert!(error.line as usize <= text.split('\n').count(), "{error}"),
    }
});

fn read_again(domain: &Domain) -> Domain {
    let written = domain.to_xml(ALL);
    Domain::parse(&written).unwrap_or_else(|error| panic!("{error} in\n{written}"))
}

fn complete(mut domain: Domain) {
    if domain.complete(&context()).is_err() {
        return;
    }
    let mut again = read_again(&domain);
    if let Err(error) = again.complete(&context()) {
        panic!("{error} in a complete\n{}", domain.to_xml(ALL));
    }
    assert_eq!(again.to_xml(ALL), domain.to_xml(ALL));
    let launch = LaunchContext {
        accelerator: Accelerator::Tcg,
        state_dir: PathBuf::from("/run/m"),
        tpm_socket: None,
        fd_groups: BTreeMap::new(),
        vhost_net: false,
        huge_pages: Vec::new(),
        paused: false,
        incoming: false,
        without_kvm: false,
        now_seconds: 0,
        local_offset_seconds: 0,
    };
    let _ = command_line(&domain, caps(), &launch);
}

fn caps() -> &'static QemuCaps {
    static CAPABILITIES: OnceLock<QemuCaps> = OnceLock::new();
    CAPABILITIES.get_or_init(|| QemuCaps::from_json(CAPS).expect("the file is of this version"))
}

fn context() -> DefineContext {
    DefineContext {
        arch: "x86_64".to_owned(),
        emulators: BTreeMap::from([("x86_64".to_owned(), "/usr/bin/qemu-system-x86_64".to_owned())]),
        machine_aliases: caps().machine_aliases(),
        default_machine: Some("pc".to_owned()),
        default_cpu: Some("qemu64".to_owned()),
        uuid: Some(Default::default()),
        macs: (0..16).map(|number| Mac([0x52, 0x54, 0, 0, 0, number])).collect(),
        nvram_dir: "/nvram".to_owned(),
        abi_update: true,
        ..DefineContext::default()
    }
}
