//! Networks as plans: what a definition makes of the host, as plain data and
//! text. Nothing here touches the host.
//!
//! - [`dnsmasq`]: the configuration of a network's DHCP and name server.
//! - [`leases`]: what that server has given out.
//! - [`firewall`]: the nftables tables of all networks and machines.
//! - [`machine_rules`]: what each machine may send and receive.
//! - [`passt`]: the arguments of passt.
//! - [`plug`]: what a card of a machine is plugged into.
//! - [`nwfilter`]: libvirt's network filters as such rules.
//! - [`docker`]: exceptions from Docker's policy.
//! - [`others`]: what the rules of others do to a network.
//! - [`zones`]: the zone of firewalld a bridge is in.
//! - [`ruleset`]: the tables as data, and the difference between two of them.
//! - [`sets`]: sets of addresses and ports with names.
//! - [`plan`]: the steps that bring a network up and take it down.
//! - [`bandwidth`]: limits of traffic as commands of tc.
//! - [`openvswitch`]: ports of Open vSwitch, as arguments of its command.
//! - [`pool`]: which device of a network's pool a card gets.
//! - [`choose`]: free subnets, bridge names and hardware addresses.

pub mod bandwidth;
pub mod choose;
pub mod dnsmasq;
pub mod docker;
pub mod firewall;
pub mod leases;
mod listing;
pub mod machine_rules;
pub mod nwfilter;
pub mod openvswitch;
pub mod others;
pub mod passt;
pub mod plan;
pub mod plug;
pub mod pool;
pub mod ruleset;
pub mod sets;
pub mod zones;
