//! Which functions of which slots of which buses are taken.

use super::connect::{self, Connect, Misfit};
use super::slots;
use crate::domain::Domain;
use crate::domain::address::{Address, PciAddress};
use crate::domain::controller::{ControllerModel, ControllerType};
use crate::domain::info::DeviceInfo;
use crate::xml::{XmlError, XmlErrorKind};

const SLOTS: usize = 32;
const LAST_FUNCTION: u64 = 7;

/// The most buses a machine can have: bus numbers are eight bits.
pub(super) const PCI_BUSES_MAX: usize = 256;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// One bit for each function in use.
    functions: u8,
    /// Devices that may share a slot started it.
    aggregate: bool,
}

struct Bus {
    model: ControllerModel,
    offer: Connect,
    first_slot: u64,
    last_slot: u64,
    slots: [Slot; SLOTS],
}

impl Bus {
    fn new(model: ControllerModel) -> Self {
        let (offer, first_slot, last_slot) = connect::offer_of(model);
        Bus {
            model,
            offer,
            first_slot,
            last_slot,
            slots: [Slot::default(); SLOTS],
        }
    }

    fn is_full(&self) -> bool {
        (self.first_slot..=self.last_slot).all(|s| self.slots[s as usize].functions != 0)
    }

    /// A free function for a device, from `function` on; any if that is `None`.
    fn find(&self, bus: u64, device: Connect, function: Option<u64>) -> Option<(u64, u64)> {
        connect::check(bus, self.offer, device, false).ok()?;
        let wanted = function.unwrap_or(0);
        for number in self.first_slot..=self.last_slot {
            let slot = self.slots[number as usize];
            if slot.functions == 0 {
                return Some((number, wanted));
            }
            if !device.has(Connect::AGGREGATE) || !slot.aggregate {
                continue;
            }
            let last = if function.is_none() {
                LAST_FUNCTION
            } else {
                wanted
            };
            if let Some(free) = (wanted..=last).find(|f| slot.functions & (1 << f) == 0) {
                return Some((number, free));
            }
        }
        None
    }
}

/// All buses of a machine.
pub(super) struct AddressSet {
    buses: Vec<Bus>,
    /// Buses are added as needed, and addresses are counted but not given out.
    dry_run: bool,
    pub(super) needs: connect::Needs,
}

impl AddressSet {
    /// The set with the addresses `domain` already has.
    pub(super) fn from_domain(
        domain: &Domain,
        buses: usize,
        dry_run: bool,
    ) -> Result<Self, XmlError> {
        if buses > PCI_BUSES_MAX {
            return Err(XmlError::unsupported(format!(
                "PCI controllers can have an index up to {}",
                PCI_BUSES_MAX - 1
            )));
        }
        let controllers = || {
            domain
                .devices
                .controllers
                .iter()
                .filter(|c| c.kind == ControllerType::Pci)
        };
        let has_pcie_root = controllers().any(|c| c.is_pci(ControllerModel::PcieRoot));
        let default = match has_pcie_root {
            true => ControllerModel::PcieRootPort,
            false => ControllerModel::PciBridge,
        };
        let mut set = AddressSet {
            buses: (0..buses).map(|_| Bus::new(default)).collect(),
            dry_run,
            needs: connect::Needs::new(has_pcie_root),
        };
        if let Some(root) = set.buses.first_mut() {
            *root = Bus::new(ControllerModel::PciRoot);
        }
        for controller in controllers() {
            let model = controller.model.unwrap_or(ControllerModel::PciBridge);
            set.buses[controller.index() as usize] = Bus::new(model);
        }
        slots::collect(domain, &mut set)?;
        Ok(set)
    }

    pub(super) fn bus_count(&self) -> usize {
        self.buses.len()
    }

    pub(super) fn model(&self, bus: usize) -> ControllerModel {
        self.buses[bus].model
    }

    /// Whether no bus has a free slot.
    pub(super) fn is_full(&self) -> bool {
        self.buses.iter().all(Bus::is_full)
    }

    pub(super) fn offers_pci_on_root(&self) -> bool {
        self.buses
            .first()
            .is_none_or(|b| b.offer.has(Connect::PCI_DEVICE))
    }

    pub(super) fn slot_in_use(&self, bus: u64, slot: u64) -> bool {
        self.buses
            .get(bus as usize)
            .is_some_and(|b| b.slots[slot as usize % SLOTS].functions != 0)
    }

    /// Takes an address that was given.
    pub(super) fn reserve(
        &mut self,
        address: &PciAddress,
        device: Connect,
    ) -> Result<(), XmlError> {
        self.reserve_from(address, device, true)
    }

    fn reserve_from(
        &mut self,
        address: &PciAddress,
        device: Connect,
        from_config: bool,
    ) -> Result<(), XmlError> {
        if self.dry_run {
            self.grow(address.bus.0, device)?;
        }
        self.validate(address, device, from_config)?;
        let slot = &mut self.buses[address.bus.0 as usize].slots[address.slot.0 as usize];
        let bit = 1 << address.function.0;
        if slot.functions & bit != 0 {
            return Err(xml_error(format!(
                "Attempted double use of PCI Address {address}"
            )));
        }
        if slot.functions == 0 && device.has(Connect::AGGREGATE) {
            slot.aggregate = true;
        }
        slot.functions |= bit;
        Ok(())
    }

    /// Checks that `address` exists and suits the device.
    pub(super) fn validate(
        &self,
        address: &PciAddress,
        device: Connect,
        from_config: bool,
    ) -> Result<(), XmlError> {
        let (domain, bus_number, slot, function) = address.place();
        if self.buses.is_empty() {
            return Err(xml_error("No PCI buses available".to_owned()));
        }
        let invalid =
            |reason: String| xml_error(format!("Invalid PCI address {address}. {reason}"));
        if domain != 0 {
            return Err(invalid("Only PCI domain 0 is available".to_owned()));
        }
        let Some(bus) = self.buses.get(bus_number as usize) else {
            let last = self.buses.len() - 1;
            return Err(invalid(format!(
                "Only PCI buses up to {last} are available"
            )));
        };
        connect::check(bus_number, bus.offer, device, from_config)
            .map_err(|misfit| misfit_error(address, &misfit))?;
        if slot < bus.first_slot {
            return Err(invalid(format!("slot must be >= {}", bus.first_slot)));
        }
        if slot > bus.last_slot {
            return Err(invalid(format!("slot must be <= {}", bus.last_slot)));
        }
        if function > LAST_FUNCTION {
            return Err(invalid(format!("function must be <= {LAST_FUNCTION}")));
        }
        Ok(())
    }

    /// Takes the next free address for a device.
    pub(super) fn reserve_next(
        &mut self,
        info: &mut DeviceInfo,
        device: Connect,
    ) -> Result<(), XmlError> {
        self.reserve_next_function(info, device, None)
    }

    /// Takes the next free slot for `function` of a device.
    pub(super) fn reserve_next_function(
        &mut self,
        info: &mut DeviceInfo,
        device: Connect,
        function: Option<u64>,
    ) -> Result<(), XmlError> {
        let address = self.next(device, function)?;
        self.reserve_from(&address, device, false)?;
        if !self.dry_run {
            info.address = Some(Address::Pci(address));
        }
        Ok(())
    }

    fn next(&mut self, device: Connect, function: Option<u64>) -> Result<PciAddress, XmlError> {
        if self.buses.is_empty() {
            return Err(xml_error("No PCI buses available".to_owned()));
        }
        let at = |bus: usize, slot: u64, function: u64| {
            PciAddress::new(bus as u32, slot as u32, function as u32)
        };
        for (number, bus) in self.buses.iter().enumerate() {
            if let Some((slot, function)) = bus.find(number as u64, device, function) {
                return Ok(at(number, slot, function));
            }
        }
        if self.dry_run {
            let bus = self.grow(self.buses.len() as u64, device)?;
            return Ok(at(
                bus as usize,
                self.buses[bus as usize].first_slot,
                function.unwrap_or(0),
            ));
        }
        Err(internal_error("No more available PCI slots".to_owned()))
    }

    /// Adds buses until `bus` exists, of a kind that takes the device. Returns
    /// the bus for the device: one more where a way to PCI had to come first.
    fn grow(&mut self, bus: u64, device: Connect) -> Result<u64, XmlError> {
        let have = self.buses.len() as u64;
        if bus < have {
            return Ok(bus);
        }
        if bus as usize >= PCI_BUSES_MAX {
            return Err(internal_error("No more available PCI slots".to_owned()));
        }
        if device.has(Connect::PCI_DEVICE) {
            let needs_bridge = !self.buses.iter().any(|b| b.offer.has(Connect::PCI_BRIDGE));
            let mut last = bus;
            if needs_bridge {
                if bus == have {
                    last += 1;
                }
                let mut port = Bus::new(ControllerModel::PcieRootPort);
                // Only the bridge goes here, not the spare device for hotplug.
                port.offer = Connect::PCIE_TO_PCI_BRIDGE;
                self.buses.push(port);
                self.buses.push(Bus::new(ControllerModel::PcieToPciBridge));
            }
            while (self.buses.len() as u64) <= last {
                self.buses.push(Bus::new(ControllerModel::PciBridge));
            }
            return Ok(last);
        }
        if device.has(Connect::PCIE_DEVICE.or(Connect::SWITCH_UPSTREAM_PORT)) {
            while (self.buses.len() as u64) <= bus {
                self.buses.push(Bus::new(ControllerModel::PcieRootPort));
            }
            return Ok(bus);
        }
        Err(internal_error(match controller_of(device) {
            Some(model) => format!(
                "a PCI slot is needed to connect a PCI controller model='{model}', but none is \
                 available, and it cannot be automatically added"
            ),
            None => "Cannot automatically add a new PCI bus for a device".to_owned(),
        }))
    }
}

/// The controller that connects like this.
fn controller_of(device: Connect) -> Option<ControllerModel> {
    [
        ControllerModel::PcieRootPort,
        ControllerModel::PcieSwitchUpstreamPort,
        ControllerModel::PcieSwitchDownstreamPort,
        ControllerModel::DmiToPciBridge,
        ControllerModel::PcieToPciBridge,
        ControllerModel::PciExpanderBus,
        ControllerModel::PcieExpanderBus,
        ControllerModel::PciBridge,
    ]
    .into_iter()
    .find(|m| {
        let needs = connect::of_controller_model(*m);
        device == needs || device == needs.auto()
    })
}

fn misfit_error(address: &PciAddress, misfit: &Misfit) -> XmlError {
    let bus = address.bus.0;
    xml_error(match misfit {
        Misfit::NotIntegrated => {
            format!("The device at PCI address {address} needs to be an integrated device (bus=0)")
        }
        Misfit::NotAutoassigned => format!(
            "The device at PCI address {address} was auto-assigned this address, but the PCI \
             controller with index='{bus}' doesn't allow auto-assignment"
        ),
        Misfit::WrongType(word) => format!(
            "The device at PCI address {address} cannot be plugged into the PCI controller with \
             index='{bus}'. It requires a controller that accepts a {word}."
        ),
    })
}

fn xml_error(message: String) -> XmlError {
    XmlError::new(XmlErrorKind::Invalid, format!("XML error: {message}"))
}

fn internal_error(message: String) -> XmlError {
    XmlError::new(
        XmlErrorKind::Unsupported,
        format!("internal error: {message}"),
    )
}
