//! Network filters as nftables rules of the bridge.
//!
//! - [`expand`]: a filter and all it refers to, as one list of rules.
//! - [`bind`]: a rule's variables replaced by what they hold.
//! - [`matching`]: what a rule looks for, as nft says it.
//! - [`flows`]: answers known by what was asked.
//! - [`chains`]: the chains of one device.
//!
//! Rules about frames (`mac`, `arp`, `ip` …) and rules about connections
//! (`tcp`, `all` …) are two stages, each with base chains of its own: a packet
//! must pass both, in the direction it goes.

pub mod bind;
pub mod chains;
pub mod expand;
pub mod flows;
pub mod matching;

use std::net::Ipv4Addr;

pub use chains::Learning;
pub use expand::{FilterError, Placed};

/// What a device's filter says, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFilter {
    /// The rules of the filter and of all it refers to.
    pub rules: Vec<Placed>,
    /// How the machine's address is found, where none is given.
    pub learning: Option<Learning>,
    /// Addresses found so far.
    pub learnt: Vec<Ipv4Addr>,
}
