//! Addresses of a network, and what its DHCP and TFTP servers give out.

use crate::xml::{Element, XmlWriter, YesNo, element, keyword};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

keyword! {
    /// The unit of a lease's time.
    pub enum LeaseUnit {
        Minutes = "minutes",
        Seconds = "seconds",
        Hours = "hours",
    }
}

element! {
    /// How long a lease lasts; 0 is for ever.
    pub struct LeaseTime {
        req expiry: u64 = "expiry",
        always unit: LeaseUnit = "unit",
    }
}

element! {
    /// Addresses given out.
    pub struct DhcpRange {
        req start: String = "start",
        req end: String = "end",
        child lease: Option<LeaseTime> = "lease",
    }
}

element! {
    /// A machine that always gets the same address.
    pub struct DhcpHost {
        attr mac: Option<String> = "mac",
        attr id: Option<String> = "id",
        attr name: Option<String> = "name",
        attr ip: Option<String> = "ip",
        child lease: Option<LeaseTime> = "lease",
    }
}

element! {
    /// What machines boot from the network.
    pub struct Bootp {
        req file: String = "file",
        attr server: Option<String> = "server",
    }
}

element! {
    /// What the DHCP server gives out.
    pub struct Dhcp {
        list ranges: Vec<DhcpRange> = "range",
        list hosts: Vec<DhcpHost> = "host",
        child bootp: Option<Bootp> = "bootp",
    }
}

element! {
    /// The folder whose files TFTP serves.
    pub struct Tftp {
        req root: String = "root",
    }
}

/// Ends the start tag: libvirt gives an `<ip>` an end tag of its own, also an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenBody;

impl Element for OpenBody {
    fn write_children(&self, w: &mut XmlWriter) {
        w.open_body();
    }
}

element! {
    /// An address of a network: the host's own, with what is served from it.
    pub struct NetworkIp {
        attr family: Option<String> = "family",
        attr address: Option<String> = "address",
        attr netmask: Option<String> = "netmask",
        attr prefix: Option<u32> = "prefix",
        attr local_ptr: Option<YesNo> = "localPtr",
        flat open: OpenBody,
        child tftp: Option<Tftp> = "tftp",
        child dhcp: Option<Dhcp> = "dhcp",
    }
}

impl NetworkIp {
    /// The host's address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.as_deref()?.parse().ok()
    }

    /// Whether it is of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.family.as_deref() == Some("ipv6")
    }

    /// The length of the prefix: said, from the mask, or by the address's class.
    pub fn prefix_length(&self) -> Option<u8> {
        if let Some(prefix) = self.prefix {
            return u8::try_from(prefix).ok();
        }
        if let Some(mask) = &self.netmask {
            return mask_length(mask);
        }
        match self.ip()? {
            IpAddr::V6(_) => Some(64),
            IpAddr::V4(ip) => Some(match ip.octets()[0] {
                0..=127 => 8,
                128..=191 => 16,
                _ => 24,
            }),
        }
    }

    /// The network's own address.
    pub fn network(&self) -> Option<IpAddr> {
        masked(self.ip()?, self.prefix_length()?)
    }

    /// The mask, of IPv4.
    pub fn mask(&self) -> Option<Ipv4Addr> {
        let length = self.prefix_length()?;
        match masked(IpAddr::V4(Ipv4Addr::BROADCAST), length)? {
            IpAddr::V4(mask) => Some(mask),
            IpAddr::V6(_) => None,
        }
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let Some(network) = self.network() else {
            return false;
        };
        let length = self.prefix_length().unwrap_or(0);
        network.is_ipv4() == address.is_ipv4() && masked(address, length) == Some(network)
    }
}

/// The length of a mask; none where its ones are not all in front.
pub fn mask_length(mask: &str) -> Option<u8> {
    let bits = u32::from(mask.parse::<Ipv4Addr>().ok()?);
    (bits.leading_ones() + bits.trailing_zeros().min(32 - bits.leading_ones()) == 32)
        .then_some(bits.leading_ones() as u8)
}

/// The address with all bits beyond the prefix cleared; none for too long a prefix.
pub fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(ip) if prefix <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Some(Ipv4Addr::from(u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) if prefix <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Some(Ipv6Addr::from(u128::from(ip) & mask).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_lengths() {
        for (mask, length) in [
            ("255.255.255.0", Some(24)),
            ("0.0.0.0", Some(0)),
            ("255.255.255.255", Some(32)),
            ("255.0.255.0", None),
            ("x", None),
        ] {
            assert_eq!(mask_length(mask), length, "{mask}");
        }
    }

    #[test]
    fn networks_know_their_addresses() {
        let ip = NetworkIp {
            address: Some("192.168.122.1".into()),
            netmask: Some("255.255.255.0".into()),
            ..NetworkIp::default()
        };
        assert_eq!(ip.network(), Some("192.168.122.0".parse().unwrap()));
        assert!(ip.contains("192.168.122.9".parse().unwrap()));
        assert!(!ip.contains("192.168.123.9".parse().unwrap()));
        assert!(!ip.contains("fd00::1".parse().unwrap()));
        assert_eq!(masked("10.0.0.1".parse().unwrap(), 33), None);
    }
}
