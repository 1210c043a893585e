//! Networks as plans: what a definition makes of the host, as plain data and
//! text. Nothing here touches the host.
//!
//! - [`dnsmasq`]: the configuration of a network's DHCP and name server.
//! - [`leases`]: what that server has given out.
//! - [`firewall`]: the nftables tables of all networks and machines.
//! - [`machine_rules`]: what each machine may send and receive.
//! - [`plan`]: the steps that bring a network up and take it down.
//! - [`bandwidth`]: limits of traffic as commands of tc.
//! - [`choose`]: free subnets, bridge names and hardware addresses.

pub mod bandwidth;
pub mod choose;
pub mod dnsmasq;
pub mod firewall;
pub mod leases;
pub mod machine_rules;
pub mod plan;
