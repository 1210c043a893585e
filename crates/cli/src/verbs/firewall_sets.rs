//! `firewall set`: named sets of addresses and ports that rules speak of.

use client::api::{FirewallSet, FirewallSetChange, Named};
use client::segment;

use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::output::extra;
use crate::session::Session;
use crate::table::{Verb, arg, maybe, rest};

const ACTIONS: &[&str] = &["add", "remove", "delete", "show", "list"];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new(
    "firewall set",
    "named sets of addresses and ports for firewall rules",
    set,
)
.about(
    "add NAME ELEMENT…: makes the set where it does not exist; remove NAME ELEMENT…; delete NAME; \
     show NAME; list. An element is an address, a network or a port (80, 8000-8010). Rules speak \
     of a set as --from set:NAME and --in tcp/set:NAME, and follow its changes at once; a set \
     that does not exist is empty.",
)
.options(&[
    arg("action", "what to do").words(ACTIONS),
    maybe("name", "the name of the set"),
    rest("elements", "addresses, networks and ports"),
])
.over_rest()
.tabular()];

fn set(s: &mut Session, args: &Args) -> Outcome {
    let action = args.need("action")?.to_owned();
    if !ACTIONS.contains(&&*action) {
        return Err(Failure::said(format!(
            "unknown action '{action}': use {}",
            ACTIONS.join(", ")
        )));
    }
    if action == "list" {
        let sets: Vec<FirewallSet> = s.rest()?.get("/firewall/sets")?;
        return show(s, &sets);
    }
    let name = args
        .text("name")?
        .ok_or_else(|| Failure::said(format!("'{action}' needs the name of a set")))?;
    let path = format!("/firewall/sets/{}", segment(name));
    let elements: Vec<String> = args
        .many("elements")
        .iter()
        .flat_map(|word| word.split(','))
        .map(str::to_owned)
        .collect();
    let change = match action.as_str() {
        "add" => FirewallSetChange {
            add: elements,
            ..FirewallSetChange::default()
        },
        "remove" => FirewallSetChange {
            remove: elements,
            ..FirewallSetChange::default()
        },
        "delete" => {
            let gone: Named = s.rest()?.delete(&path)?;
            extra!(s, "Firewall set '{}' deleted\n", gone.name);
            return Ok(());
        }
        _ => {
            let set: FirewallSet = s.rest()?.get(&path)?;
            return show(s, &[set]);
        }
    };
    let set: FirewallSet = s.rest()?.put(&path, &change)?;
    extra!(s, "Firewall set '{}' changed\n", set.name);
    Ok(())
}

fn show(s: &mut Session, sets: &[FirewallSet]) -> Outcome {
    let rows: Vec<Vec<String>> = sets
        .iter()
        .map(|set| vec![set.name.clone(), set.elements.join(" ")])
        .collect();
    s.out.table(&["Name", "Elements"], &rows);
    Ok(())
}
