//! The file in which dnsmasq keeps what it has given out.

use std::net::IpAddr;

/// Longest file of leases that is read, in bytes.
pub const LEASES_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most leases that are read of it.
pub const LEASES_MAX: usize = 65_536;

/// An address given to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// When it ends, in seconds since the epoch; 0 for never.
    pub expires_s: i64,
    /// The machine's hardware address; none where only an identifier is known.
    pub mac: Option<String>,
    /// The number of the machine's interface, of IPv6.
    pub iaid: Option<String>,
    /// The address.
    pub address: IpAddr,
    /// The machine's name.
    pub name: Option<String>,
    /// By what the machine named itself: a client id, or a DUID of IPv6.
    pub client_id: Option<String>,
}

/// The leases in a file's text; lines that are none are left out.
pub fn parse(text: &str) -> Vec<Lease> {
    let mut leases: Vec<Lease> = text
        .lines()
        .filter_map(parse_line)
        .take(LEASES_MAX)
        .collect();
    // DUIDs of Ethernet end in the address of the card.
    for lease in leases.iter_mut().filter(|lease| lease.address.is_ipv6()) {
        lease.mac = lease.client_id.as_deref().and_then(mac_of_duid);
    }
    leases
}

fn parse_line(line: &str) -> Option<Lease> {
    let mut words = line.split_ascii_whitespace();
    let expires_s = words.next()?.parse().ok().filter(|s| *s >= 0)?;
    let who = words.next()?;
    let address: IpAddr = words.next()?.parse().ok()?;
    let known = |word: Option<&str>| word.filter(|w| *w != "*").map(str::to_owned);
    let name = known(words.next());
    let client_id = known(words.next());
    let (mac, iaid) = match address {
        IpAddr::V4(_) => (Some(who.to_owned()), None),
        // Temporary addresses have a T in front.
        IpAddr::V6(_) => (None, Some(who.trim_start_matches('T').to_owned())),
    };
    Some(Lease {
        expires_s,
        mac,
        iaid,
        address,
        name,
        client_id,
    })
}

/// The hardware address in a DUID that was made of one.
fn mac_of_duid(duid: &str) -> Option<String> {
    let bytes: Vec<&str> = duid.split(':').collect();
    let by_link_layer = match bytes.get(..4)? {
        ["00", "01", "00", "01"] => bytes.len() == 14,
        ["00", "03", "00", "01"] => bytes.len() == 10,
        _ => false,
    };
    by_link_layer.then(|| bytes[bytes.len() - 6..].join(":"))
}

/// Those that still hold at `now_s`.
pub fn current(leases: Vec<Lease>, now_s: i64) -> Vec<Lease> {
    let holds = |lease: &Lease| lease.expires_s == 0 || lease.expires_s > now_s;
    leases.into_iter().filter(holds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_families_are_read() {
        let text = "1790000000 52:54:00:01:02:03 192.168.122.40 web1 01:52:54:00:01:02:03\n\
            0 52:54:00:01:02:04 192.168.122.41 * *\n\
            duid 00:01:00:01:2a:e0:9c:1e:52:54:00:9f:e3:a5\n\
            1790000000 2097411 fd00::40 web1 00:01:00:01:2a:e0:9c:1e:52:54:00:01:02:03\n\
            nonsense\n";
        let leases = parse(text);
        assert_eq!(leases.len(), 3);
        assert_eq!(leases[0].name.as_deref(), Some("web1"));
        assert_eq!((leases[1].name.clone(), leases[1].expires_s), (None, 0));
        assert_eq!(leases[2].mac.as_deref(), Some("52:54:00:01:02:03"));
        assert_eq!(leases[2].iaid.as_deref(), Some("2097411"));
        assert_eq!(current(leases, 1_790_000_001).len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,200}|([0-9a-f:. *]{0,40}\n){0,5}") {
            prop_assert!(parse(&text).len() <= text.lines().count());
        }
    }
}
