//! The zone of firewalld that a network's bridge is in: firewalld drops what
//! comes from a device none of its zones lets through, whatever rules there
//! are elsewhere.

use model::network::{Network, NetworkKind};

/// Zones that Stead's package brings, and those of libvirt's, in order of preference.
const CROSSING: [&str; 2] = ["stead", "libvirt"];
/// The same for routed networks, which others reach from outside.
const ROUTED: [&str; 2] = ["stead-routed", "libvirt-routed"];

/// The zone a network's bridge goes into, of those firewalld has. A definition
/// that names one always gets it. None where there is no such zone or the
/// network is left to the administrator's own rules.
pub fn zone_of(network: &Network, known: &[String]) -> Option<String> {
    if let Some(zone) = asked(network) {
        return Some(zone.to_owned());
    }
    let candidates = match network.kind() {
        NetworkKind::Isolated | NetworkKind::Nat => CROSSING,
        NetworkKind::Route => ROUTED,
        _ => return None,
    };
    let there = |name: &&str| known.iter().any(|zone| zone == name);
    candidates.into_iter().find(there).map(str::to_owned)
}

/// The zone the definition names.
pub fn asked(network: &Network) -> Option<&str> {
    let zone = network.bridge.as_ref()?.zone.as_deref();
    zone.filter(|zone| !zone.is_empty() && network.kind().owns_bridge())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_gets_the_zone_made_for_its_kind() {
        let zone = |bridge: &str, forward: &str, known: &[&str]| {
            let xml = format!(
                "<network><name>n</name>{forward}{bridge}<ip address='10.0.0.1' prefix='8'/></network>"
            );
            let network = Network::parse(&xml).expect("a network");
            let known: Vec<String> = known.iter().map(|z| (*z).to_owned()).collect();
            zone_of(&network, &known)
        };
        let all = ["libvirt", "libvirt-routed", "stead", "stead-routed"];
        let plain = "<bridge name='b0'/>";
        assert_eq!(
            zone(plain, "<forward mode='nat'/>", &all).as_deref(),
            Some("stead")
        );
        assert_eq!(zone(plain, "", &all[..2]).as_deref(), Some("libvirt"));
        assert_eq!(
            zone(plain, "<forward mode='route'/>", &all).as_deref(),
            Some("stead-routed")
        );
        assert_eq!(zone(plain, "<forward mode='open'/>", &all), None);
        assert_eq!(zone(plain, "", &["public"]), None);
        let named = "<bridge name='b0' zone='dmz'/>";
        assert_eq!(
            zone(named, "<forward mode='open'/>", &[]).as_deref(),
            Some("dmz")
        );
    }
}
