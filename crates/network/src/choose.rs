//! Choices that a definition leaves open.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Most numbers tried for the name of a bridge.
pub const BRIDGE_NUMBERS_MAX: u32 = 65_536;

/// A network: an address of it and the length of its prefix.
pub type Subnet = (IpAddr, u8);

/// Whether two subnets share an address.
pub fn overlap(a: Subnet, b: Subnet) -> bool {
    let length = a.1.min(b.1);
    // The addresses' numbers, and how many bits of them are the rest.
    let (a, b, rest) = match (a.0, b.0) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let number = |address: Ipv4Addr| u128::from(u32::from(address));
            (number(a), number(b), 32_u8.saturating_sub(length))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.into(), b.into(), 128_u8.saturating_sub(length)),
        _ => return false,
    };
    let prefix = |number: u128| number.checked_shr(rest.into()).unwrap_or(0);
    prefix(a) == prefix(b)
}

/// The third number of a free `192.168.N.0/24`: 122 if it is free, else the next one that is.
pub fn free_subnet(taken: &[Subnet]) -> Option<u8> {
    (122..=254).chain(1..122).find(|n| {
        let subnet = (Ipv4Addr::new(192, 168, *n, 0).into(), 24);
        !taken.iter().any(|other| overlap(*other, subnet))
    })
}

/// The first free name like `virbr%d`.
pub fn bridge_name(template: &str, taken: &BTreeSet<String>) -> Option<String> {
    let (before, after) = template.split_once("%d")?;
    (0..BRIDGE_NUMBERS_MAX)
        .map(|number| format!("{before}{number}{after}"))
        .find(|name| !taken.contains(name))
}

/// The XML of the network that every new host has.
pub fn default_network(third: u8) -> String {
    format!(
        "<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr%d' stp='on' delay='0'/>
  <ip address='192.168.{third}.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.{third}.2' end='192.168.{third}.254'/>
    </dhcp>
  </ip>
</network>
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_subnet_is_passed_over() {
        assert_eq!(free_subnet(&[]), Some(122));
        let whole = (Ipv4Addr::new(192, 168, 120, 0).into(), 22);
        assert_eq!(free_subnet(&[whole]), Some(124));
        assert_eq!(
            free_subnet(&[(Ipv4Addr::new(192, 168, 0, 0).into(), 16)]),
            None
        );
        assert_eq!(free_subnet(&[(Ipv4Addr::new(0, 0, 0, 0).into(), 0)]), None);
    }

    #[test]
    fn subnets_of_both_families_overlap_with_their_own() {
        let subnet = |text: &str, length| (text.parse().expect("an address"), length);
        let site = subnet("fd00:50::", 32);
        assert!(overlap(site, subnet("fd00:50:1::1", 64)));
        assert!(!overlap(site, subnet("fd00:51::1", 64)));
        assert!(overlap(subnet("::", 0), subnet("2001:db8::1", 128)));
        assert!(!overlap(subnet("::", 0), subnet("10.0.0.1", 8)));
        assert!(overlap(subnet("10.0.0.1", 32), subnet("10.0.0.1", 32)));
        assert!(!overlap(subnet("fd00::1", 128), subnet("fd00::2", 128)));
    }

    #[test]
    fn the_first_free_name_is_taken() {
        let taken = ["virbr0", "virbr2"].map(str::to_owned).into();
        assert_eq!(bridge_name("virbr%d", &taken).as_deref(), Some("virbr1"));
        assert_eq!(bridge_name("br0", &taken), None);
    }
}
