//! Choices that a definition leaves open.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Most numbers tried for the name of a bridge.
pub const BRIDGE_NUMBERS_MAX: u32 = 65_536;

/// An IPv4 network: its address and the length of its prefix.
pub type Subnet = (Ipv4Addr, u8);

/// Whether two subnets share an address.
pub fn overlap(a: Subnet, b: Subnet) -> bool {
    let length = a.1.min(b.1);
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    u32::from(a.0) & mask == u32::from(b.0) & mask
}

/// The third number of a free `192.168.N.0/24`: 122 if it is free, else the next one that is.
pub fn free_subnet(taken: &[Subnet]) -> Option<u8> {
    (122..=254).chain(1..122).find(|n| {
        let subnet = (Ipv4Addr::new(192, 168, *n, 0), 24);
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
        let whole = (Ipv4Addr::new(192, 168, 120, 0), 22);
        assert_eq!(free_subnet(&[whole]), Some(124));
        assert_eq!(free_subnet(&[(Ipv4Addr::new(192, 168, 0, 0), 16)]), None);
        assert_eq!(free_subnet(&[(Ipv4Addr::new(0, 0, 0, 0), 0)]), None);
    }

    #[test]
    fn the_first_free_name_is_taken() {
        let taken = ["virbr0", "virbr2"].map(str::to_owned).into();
        assert_eq!(bridge_name("virbr%d", &taken).as_deref(), Some("virbr1"));
        assert_eq!(bridge_name("br0", &taken), None);
    }
}
