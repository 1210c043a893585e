//! The table of what is answered, and the page in the documentation that says so.

use std::fmt::Write;

use wire::connection::Procedure;
use wire::{qemu, remote};

use super::{api_name, handler};
use crate::procedures::by_connection;

/// The page, from the workspace's root.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/procedures.md");

fn is_answered(procedure: Procedure) -> bool {
    let here = matches!(procedure, Procedure::Remote(procedure) if by_connection(procedure));
    here || handler(procedure).is_some()
}

fn row(page: &mut String, number: i32, name: &str, procedure: Procedure) -> usize {
    let answered = is_answered(procedure);
    let mark = if answered { "yes" } else { "" };
    let function = api_name(procedure);
    writeln!(page, "| {number} | {name} | `{function}` | {mark} |").unwrap();
    usize::from(answered)
}

fn page() -> String {
    let head = "| number | procedure | function | answered |\n|---|---|---|---|\n";
    let mut remote_rows = String::from(head);
    let mut qemu_rows = String::from(head);
    let (mut answered, mut all) = (0, 0);
    for procedure in remote::Procedure::ALL.iter().filter(|p| !p.is_event()) {
        let (number, name) = (procedure.number(), procedure.name());
        answered += row(
            &mut remote_rows,
            number,
            name,
            Procedure::Remote(*procedure),
        );
        all += 1;
    }
    for procedure in qemu::Procedure::ALL.iter().filter(|p| !p.is_event()) {
        let (number, name) = (procedure.number(), procedure.name());
        answered += row(&mut qemu_rows, number, name, Procedure::Qemu(*procedure));
        all += 1;
    }
    format!(
        "# Procedures of libvirt's protocol\n\n\
         Stead answers {answered} of the {all} calls of the REMOTE and QEMU programs. Every other one\n\
         gets libvirt's error 3, \"this function is not supported by the connection driver\".\n\n\
         This page is written from the table the daemon itself uses: `UPDATE_DOCS=1 cargo test -p\n\
         stead-rpc` writes it anew, and a test fails while it is out of date.\n\n\
         ## REMOTE\n\n{remote_rows}\n## QEMU\n\n{qemu_rows}"
    )
}

#[test]
fn the_documentation_lists_what_is_answered() {
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        written == page,
        "docs/procedures.md is out of date: run UPDATE_DOCS=1 cargo test -p stead-rpc"
    );
}

#[test]
fn what_every_client_begins_with_is_answered() {
    use remote::Procedure::*;
    for procedure in [
        AuthList,
        ConnectOpen,
        ConnectClose,
        ConnectSupportsFeature,
        ConnectRegisterCloseCallback,
        ConnectListAllDomains,
        DomainLookupByName,
        DomainGetXmlDesc,
    ] {
        assert!(is_answered(Procedure::Remote(procedure)), "{procedure:?}");
    }
}
