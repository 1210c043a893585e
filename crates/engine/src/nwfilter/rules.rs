//! What the filter of a device says, with its variables.

use super::{FilterMap, filter_error};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use ::network::machine_rules::MachinePort;
use ::network::nwfilter::bind::{LEARNT, unresolved};
use ::network::nwfilter::expand::expand;
use ::network::nwfilter::{DeviceFilter, FilterError, Learning};
use model::domain::Domain;
use model::domain::interface::{FilterRef, InterfaceType};
use model::nwfilter::variables::Variables;
use model::xml::Mac;
use std::net::Ipv4Addr;

/// The variable that says how a machine's address is found.
const LEARNING: &str = "CTRL_IP_LEARNING";
/// The variable that names the DHCP servers whose word counts.
const SERVERS: &str = "DHCPSERVER";

/// What a reference to a filter comes to on one device.
pub(super) fn device_filter(
    map: &FilterMap,
    mac: Mac,
    reference: &FilterRef,
) -> std::result::Result<DeviceFilter, FilterError> {
    let mut variables = Variables::of(reference);
    variables.or_give("MAC", vec![mac.to_string()]);
    let rules = expand(&reference.filter, &|name| map.get(name), &variables)?;
    let mut missing = unresolved(rules.iter().map(|placed| (&placed.rule, &placed.variables)));
    let learning = match missing.contains(LEARNT) {
        true => learning(&variables)?,
        false => None,
    };
    if learning.is_some() {
        missing.remove(LEARNT);
    }
    if !missing.is_empty() {
        return Err(FilterError::Unresolved(missing.into_iter().collect()));
    }
    Ok(DeviceFilter {
        rules,
        learning,
        learnt: Vec::new(),
    })
}

fn learning(variables: &Variables) -> std::result::Result<Option<Learning>, FilterError> {
    let first = |name: &str| variables.get(name).and_then(|values| values.first());
    match first(LEARNING).map(String::as_str) {
        None | Some("any") => Ok(Some(Learning::Any)),
        Some("dhcp") => {
            let servers = variables.get(SERVERS).unwrap_or_default().iter();
            let servers = servers.map(|text| {
                text.parse::<Ipv4Addr>().map_err(|_| FilterError::Value {
                    attribute: SERVERS.to_owned(),
                    value: text.clone(),
                })
            });
            servers
                .collect::<std::result::Result<_, _>>()
                .map(Learning::Dhcp)
                .map(Some)
        }
        Some("none") => Ok(None),
        Some(other) => Err(FilterError::Value {
            attribute: LEARNING.to_owned(),
            value: other.to_owned(),
        }),
    }
}

impl Engine {
    /// The filter of a machine's card, ready to be written.
    pub(crate) fn filter_of(
        &self,
        device: &str,
        mac: Mac,
        reference: Option<&FilterRef>,
    ) -> Option<std::result::Result<DeviceFilter, FilterError>> {
        if self.is_unbound(device) {
            return None;
        }
        let map = self.filters_table().map();
        reference.map(|reference| device_filter(&map, mac, reference))
    }

    /// Refuses filters of a machine's cards that cannot be put in force.
    pub(crate) fn check_filters(&self, domain: &Domain) -> Result<()> {
        let map = self.filters_table().map();
        for interface in &domain.devices.interfaces {
            let (Some(reference), Some(mac)) = (&interface.filterref, interface.mac()) else {
                continue;
            };
            let reached = interface.virtualport.is_none()
                && matches!(
                    interface.actual_kind(),
                    InterfaceType::Bridge | InterfaceType::Ethernet | InterfaceType::Network
                );
            if !reached {
                return Err(EngineError::new(
                    ErrorKind::ConfigUnsupported,
                    format!(
                        "the network filter '{}' cannot be put in force: the card is on no bridge of the kernel",
                        reference.filter
                    ),
                ));
            }
            let target = interface
                .target
                .as_ref()
                .and_then(|target| target.dev.as_deref());
            check(
                target.unwrap_or("new"),
                mac,
                device_filter(&map, mac, reference),
            )?;
        }
        Ok(())
    }

    /// Refuses a set of definitions with which devices in use could not be filtered.
    pub(super) fn check_bound(&self, map: &FilterMap) -> Result<()> {
        for bound in self.bindings() {
            let binding = &bound.binding;
            let filter = device_filter(map, binding.mac.address, &binding.filterref);
            check(&binding.portdev.name, binding.mac.address, filter)?;
        }
        Ok(())
    }
}

fn check(
    device: &str,
    mac: Mac,
    filter: std::result::Result<DeviceFilter, FilterError>,
) -> Result<()> {
    let port = MachinePort {
        device: device.to_owned(),
        mac,
        guard: None,
        policy: Default::default(),
        sending: None,
        address: None,
        filter: Some(filter),
    };
    port.filter_chains(true).map(drop).map_err(filter_error)
}
