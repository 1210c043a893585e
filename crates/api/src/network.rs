//! Networks: what a change would do, who has which address, sets of the firewall.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A change that is only to be planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PlanRequest {
    /// A network's definition is stored.
    NetDefine {
        /// The definition.
        xml: String,
    },
    /// A network is started that is not stored.
    NetCreate {
        /// The definition.
        xml: String,
    },
    /// A stored network is started.
    NetStart {
        /// Its name.
        network: String,
    },
    /// A network is taken down.
    NetDestroy {
        /// Its name.
        network: String,
    },
    /// A section of a network is changed.
    NetUpdate {
        /// Its name.
        network: String,
        /// What is done: libvirt's number (1 modify, 2 delete, 3 add last, 4 add first).
        command: u32,
        /// To which section: libvirt's number (4 is a DHCP host).
        section: u32,
        /// Of which address, for the DHCP sections.
        #[serde(default)]
        parent: Option<usize>,
        /// The element.
        xml: String,
    },
    /// An interface is plugged into a machine.
    AttachInterface {
        /// The machine's name.
        domain: String,
        /// The interface's XML.
        xml: String,
        /// Into the running machine.
        #[serde(default)]
        live: bool,
        /// Into the stored definition; with neither, into what the machine is now.
        #[serde(default)]
        config: bool,
    },
    /// A machine's own firewall rules are replaced.
    Firewall {
        /// The machine's name.
        domain: String,
        /// The rules as the metadata element holds them; empty for none.
        policy: String,
    },
}

/// What a change would do to the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What is done, in order.
    pub steps: Vec<String>,
    /// The nftables transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nft: Option<String>,
    /// dnsmasq's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnsmasq: Option<String>,
    /// dnsmasq's file of reserved addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<String>,
    /// dnsmasq's file of names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// Commands for tc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tc: Option<String>,
    /// The definition as it would be then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// What else is to be known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Who has an address on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkAddress {
    /// The network.
    pub network: String,
    /// The address.
    pub address: String,
    /// The card, where one is known.
    pub mac: Option<String>,
    /// The running machine with that card.
    pub machine: Option<String>,
    /// What whoever has it calls itself.
    pub name: Option<String>,
    /// `static` or `leased`, or `host` for the host's own.
    pub kind: String,
    /// From where it is known, best first: `lease`, `agent`, `arp`, `filter`, `reservation`, `host`.
    pub known_from: Vec<String>,
    /// Since when it was seen there, in seconds since 1970 (UTC).
    pub since_s: Option<i64>,
    /// Until when a lease holds, in seconds since 1970 (UTC).
    pub expires_s: Option<i64>,
}

/// A named set of addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FirewallSet {
    /// Its name.
    pub name: String,
    /// Addresses, networks and ports.
    pub elements: Vec<String>,
}

/// A change of a named set, which is made where it does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirewallSetChange {
    /// What is added.
    #[serde(default)]
    pub add: Vec<String>,
    /// What is taken out.
    #[serde(default)]
    pub remove: Vec<String>,
}
