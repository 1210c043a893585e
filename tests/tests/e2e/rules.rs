//! What a change of the firewall's tables leaves alone: counters, and answers on their way.

use std::time::Duration;

use stead_tests::guest::bare_machine;
use stead_tests::netns::{inside, run};
use stead_tests::{Host, wait};

use crate::networks::{LAB, on_network, start_network};

const SOON: Duration = Duration::from_secs(20);
const QUESTION: &str = "192.168.50.1 . 53 . 40000";

fn rules() -> String {
    // Without what has been counted and how long elements stay.
    run("nft -s list ruleset").succeeds()
}

/// The daemon's table of machines' rules.
fn table() -> String {
    let listed = run("nft list tables bridge").succeeds();
    let name = listed.split_ascii_whitespace().last().expect("a table");
    name.to_owned()
}

/// A machine that lets nothing in, as if it had just asked the host something.
fn closed_machine_that_asked(host: &Host, name: &str, card: &str) {
    let acpi = "<features><acpi/></features><devices>";
    let machine = bare_machine(name)
        .replace("<devices>", acpi)
        .replace("<console", &format!("{}<console", on_network("lab", card)));
    host.define(&machine);
    let _ = host
        .stead(&["firewall", "default", name, "drop"])
        .succeeds();
    let _ = host.stead(&["start", name]).succeeds();
}

#[test]
fn answers_on_their_way_survive_changes_of_others() {
    inside(
        "rules::answers_on_their_way_survive_changes_of_others",
        || {
            let mut host = Host::start();
            start_network(&host, "lab", LAB);
            closed_machine_that_asked(&host, "one", "52:54:00:aa:07:01");
            let table = table();
            let asked = format!(
                "nft 'add element bridge {table} asked_vnet0 {{ {QUESTION} timeout 10m }}'"
            );
            let _ = run(&asked).succeeds();
            let is_awaited = || rules().contains(QUESTION);
            closed_machine_that_asked(&host, "two", "52:54:00:aa:07:02");
            assert!(is_awaited(), "another machine's start forgot it");
            let allow = ["firewall", "allow", "two", "--in", "tcp/81"];
            let _ = host.stead(&allow).succeeds();
            assert!(rules().contains("tcp dport 81 ") && is_awaited());
            let _ = host
                .stead(&["firewall", "allow", "one", "--in", "tcp/82"])
                .succeeds();
            assert!(rules().contains("tcp dport 82 ") && is_awaited());
            let _ = host.virsh(&["destroy", "two"]).succeeds();
            wait::until("the other machine's rules are gone", SOON, || {
                !rules().contains("to_vnet1")
            });
            assert!(is_awaited(), "another machine's end forgot it");
            // A daemon that comes anew knows of the rules only that they are there.
            let _ = host.kill_daemon();
            let _ = run(&format!("nft flush chain bridge {table} to_vnet0")).succeeds();
            host.start_daemon();
            wait::until("the rules are as they should be", SOON, || {
                rules().contains("tcp dport 82 ")
            });
            assert!(is_awaited(), "the next daemon forgot it");
        },
    );
}

#[test]
fn what_others_take_from_the_tables_comes_back() {
    inside("rules::what_others_take_from_the_tables_comes_back", || {
        let host = Host::start();
        start_network(&host, "lab", LAB);
        closed_machine_that_asked(&host, "one", "52:54:00:aa:07:01");
        let table = table();
        let before = rules();
        let _ = run(&format!(
            "nft 'add element bridge {table} asked_vnet0 {{ {QUESTION} timeout 10m }}'"
        ))
        .succeeds();
        for taken in [
            "delete element bridge TABLE receiving_ways { \"vnet0\" }",
            "flush chain bridge TABLE to_vnet0",
            "flush table inet TABLE",
        ] {
            let taken = taken.replace("TABLE", &table);
            let whole = rules();
            let _ = run(&format!("nft '{taken}'")).succeeds();
            wait::until(&format!("'{taken}' is undone"), SOON, || rules() == whole);
            assert!(whole.contains(QUESTION), "'{taken}' cost an answer");
        }
        let _ = run("nft flush ruleset").succeeds();
        wait::until("all is back", SOON, || {
            rules().split_ascii_whitespace().count() == before.split_ascii_whitespace().count()
        });
        // What is asked for next is a difference again.
        let _ = host
            .stead(&["firewall", "allow", "one", "--in", "tcp/81"])
            .succeeds();
        assert!(rules().contains("tcp dport 81 "));
    });
}
