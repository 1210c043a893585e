//! Networks that are pools of devices: which one a card gets, who has which.

use super::NetworkView;
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use ::network::{plug, pool};
use model::domain::address::PciAddress;
use model::domain::interface::{Interface, SourceAddress};
use model::network::{Network, NetworkKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};
use uuid::Uuid;

/// Most virtual functions looked for on one device.
pub(super) const FUNCTIONS_MAX: u32 = 4096;

/// A device that a machine was given, from before it is seen to run.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    machine: Uuid,
    /// The card's port on the network.
    port: Uuid,
    network: String,
    device: String,
}

impl Engine {
    /// Gives a card a device of its network's pool.
    pub(super) fn give_device(
        &self,
        interface: &mut Interface,
        network: &Network,
        machine: Uuid,
    ) -> Result<()> {
        let devices = pool_devices(network, Path::new("/sys"))?;
        let mode = plug::direct_mode(network);
        let exclusive = mode.is_none_or(|mode| mode == "passthrough");
        let mut claims = self.pool_claims();
        let used = self.pool_use(&network.name, &claims);
        let found = pool::choose(&devices, &used, exclusive).ok_or_else(|| {
            EngineError::new(
                ErrorKind::Internal,
                format!(
                    "network '{}' requires exclusive access to interfaces, but none are available",
                    network.name
                ),
            )
        })?;
        let source = interface.source.get_or_insert_with(Default::default);
        let port = *source.portid.get_or_insert_with(Uuid::new_v4);
        match mode {
            Some(mode) => {
                source.dev = Some(found.to_owned());
                source.mode = Some(mode.to_owned());
            }
            None => {
                let managed = network.forward.as_ref().and_then(|f| f.managed);
                interface.managed = managed;
                source.hostdev = Some(SourceAddress {
                    kind: Some("pci".to_owned()),
                    pci: PciAddress::parse(found).unwrap_or_default(),
                });
            }
        }
        claims.push(Claim {
            machine,
            port,
            network: network.name.clone(),
            device: found.to_owned(),
        });
        Ok(())
    }

    /// Takes note that a machine's run is over: its devices are free again.
    pub(crate) fn free_devices(&self, machine: Uuid) {
        self.pool_claims().retain(|claim| claim.machine != machine);
    }

    /// The same for one card that was plugged out.
    pub(crate) fn free_device_of(&self, interface: &Interface) {
        let port = interface.source.as_ref().and_then(|source| source.portid);
        self.pool_claims().retain(|claim| Some(claim.port) != port);
    }

    fn pool_claims(&self) -> MutexGuard<'_, Vec<Claim>> {
        let claims = self.networks_table().claims.lock();
        claims.unwrap_or_else(PoisonError::into_inner)
    }

    /// How many cards each device of a network has.
    fn pool_use(&self, network: &str, claims: &[Claim]) -> BTreeMap<String, u32> {
        let mut by_port: BTreeMap<Uuid, String> = BTreeMap::new();
        for claim in claims.iter().filter(|claim| claim.network == network) {
            by_port.insert(claim.port, claim.device.clone());
        }
        for used in self.network_ports(network) {
            by_port.extend(device_of(&used.interface).map(|device| (used.uuid, device)));
        }
        let mut used = BTreeMap::new();
        for device in by_port.into_values() {
            *used.entry(device).or_insert(0) += 1;
        }
        used
    }

    /// Writes into an active network's definition how many cards each device has.
    pub(super) fn count_connections(&self, view: &NetworkView, definition: &mut Network) {
        let used = self.pool_use(&view.name, &self.pool_claims());
        let count = |device: &str| used.get(device).copied().filter(|count| *count > 0);
        let Some(forward) = &mut definition.forward else {
            return;
        };
        for interface in &mut forward.interfaces {
            interface.connections = count(&interface.dev);
        }
        for address in &mut forward.addresses {
            address.connections = count(&address.pci.to_string());
        }
    }
}

/// The device of its pool that a card of a running machine has.
fn device_of(interface: &Interface) -> Option<String> {
    let source = interface.source.as_ref()?;
    let passed = source
        .hostdev
        .as_ref()
        .map(|hostdev| hostdev.pci.to_string());
    passed.or_else(|| source.dev.clone())
}

/// The devices of a pool; those of a PCI device that makes others, from sysfs.
pub(super) fn pool_devices(network: &Network, sysfs: &Path) -> Result<Vec<String>> {
    let Some(forward) = &network.forward else {
        return Ok(Vec::new());
    };
    if network.kind() == NetworkKind::Direct {
        let names = forward
            .interfaces
            .iter()
            .map(|interface| interface.dev.clone());
        return Ok(names.collect());
    }
    let mut devices: Vec<String> = forward
        .addresses
        .iter()
        .map(|a| a.pci.to_string())
        .collect();
    let named = forward.pfs.iter().chain(&forward.interfaces);
    for device in named {
        devices.extend(functions(&network.name, &device.dev, sysfs)?);
    }
    match devices.is_empty() {
        true => Err(EngineError::new(
            ErrorKind::Internal,
            format!("network '{}' names no PCI device to hand out", network.name),
        )),
        false => Ok(devices),
    }
}

/// The virtual functions of a network device, in the order of their numbers.
fn functions(network: &str, device: &str, sysfs: &Path) -> Result<Vec<String>> {
    let directory = sysfs.join("class/net").join(device).join("device");
    let function = |number: u32| {
        let link = std::fs::read_link(directory.join(format!("virtfn{number}"))).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    };
    let found: Vec<String> = (0..FUNCTIONS_MAX).map_while(function).collect();
    match found.is_empty() {
        true => Err(EngineError::new(
            ErrorKind::Internal,
            format!(
                "No Vf's present on SRIOV PF {device} (network '{network}'): write how many there are to be to {}",
                directory.join("sriov_numvfs").display()
            ),
        )),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn network(forward: &str) -> Network {
        let xml = format!("<network><name>pool</name>{forward}</network>");
        Network::parse(&xml).expect("a network")
    }

    #[test]
    fn virtual_functions_are_found_in_order() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let device = sysfs.path().join("class/net/eth3/device");
        std::fs::create_dir_all(&device).expect("made");
        for number in 0..11 {
            let target = format!("../0000:04:{number:02x}.0");
            symlink(target, device.join(format!("virtfn{number}"))).expect("made");
        }
        let pool = network("<forward mode='hostdev' managed='yes'><pf dev='eth3'/></forward>");
        let found = pool_devices(&pool, sysfs.path()).expect("functions");
        assert_eq!(found.len(), 11);
        assert_eq!(found[2], "0000:04:02.0");
        assert_eq!(found[10], "0000:04:0a.0");
        let other = network("<forward mode='hostdev'><pf dev='eth4'/></forward>");
        let error = pool_devices(&other, sysfs.path()).expect_err("none");
        assert!(
            error.message.contains("No Vf's present on SRIOV PF eth4"),
            "{error}"
        );
    }

    #[test]
    fn addresses_and_devices_are_a_pool_as_they_are() {
        let address = "<address type='pci' domain='0' bus='4' slot='16' function='1'/>";
        let pool = network(&format!("<forward mode='hostdev'>{address}</forward>"));
        let none = Path::new("/nonexistent");
        assert_eq!(pool_devices(&pool, none).expect("one"), ["0000:04:10.1"]);
        let devices = "<interface dev='eth1'/><interface dev='eth2'/>";
        let pool = network(&format!("<forward mode='passthrough'>{devices}</forward>"));
        assert_eq!(pool_devices(&pool, none).expect("two"), ["eth1", "eth2"]);
    }
}
