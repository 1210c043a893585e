//! `net-addresses`: who has which address.

use client::api::NetworkAddress;
use client::segment;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::args::Args;
use crate::failure::Outcome;
use crate::session::Session;
use crate::table::{Verb, maybe};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new(
    "net-addresses",
    "who has which address on networks",
    addresses,
)
.about(
    "Every address in use or kept on active networks: of which card, machine and name, static or \
     leased, since when, and from where that is known (the network's leases, the guest's agent, \
     the host's neighbours, network filters, reservations).",
)
.options(&[
    maybe("network", "only this network, by its name").of_things(crate::table::Thing::Network)
])
.over_rest()
.tabular()];

fn addresses(s: &mut Session, args: &Args) -> Outcome {
    let path = match args.text("network")? {
        Some(name) => format!("/addresses?network={}", segment(name)),
        None => "/addresses".to_owned(),
    };
    let found: Vec<NetworkAddress> = s.rest()?.get(&path)?;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|entry| {
            vec![
                entry.network,
                entry.address,
                or_dash(entry.mac),
                or_dash(entry.machine),
                or_dash(entry.name),
                entry.kind,
                entry.known_from.join(","),
                or_dash(entry.since_s.and_then(time)),
                or_dash(entry.expires_s.and_then(time)),
            ]
        })
        .collect();
    s.out.table(
        &[
            "Network",
            "Address",
            "MAC",
            "Machine",
            "Name",
            "Kind",
            "Known from",
            "Since",
            "Until",
        ],
        &rows,
    );
    Ok(())
}

fn time(seconds: i64) -> Option<String> {
    let time = Timestamp::from_second(seconds)
        .ok()?
        .to_zoned(TimeZone::system());
    Some(time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
