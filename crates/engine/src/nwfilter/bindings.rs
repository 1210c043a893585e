//! Which devices filters are for: the cards of running machines, and devices
//! bound by hand.

use super::rules::device_filter;
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use ::network::machine_rules::MachinePort;
use model::domain::Domain;
use model::domain::interface::MacElement;
use model::network::port::PortOwner;
use model::network::text::is_device_name;
pub use model::nwfilter::binding::Binding;
use model::nwfilter::binding::Device;
use std::sync::PoisonError;

/// A binding.
#[derive(Debug, Clone, PartialEq)]
pub struct PortBinding {
    /// What it says.
    pub binding: Binding,
    /// Whether it was made by hand, rather than with a machine's card.
    pub made: bool,
}

/// Where bindings made by hand are kept while their devices live.
const DIRECTORY: &str = "nwfilter-binding";

impl Engine {
    /// Every binding, in the order of the devices' names.
    pub fn bindings(&self) -> Vec<PortBinding> {
        let made = self.made_bindings().into_iter();
        let mut all: Vec<PortBinding> = made
            .map(|binding| PortBinding {
                binding,
                made: true,
            })
            .collect();
        for domain in self.domains() {
            let view = domain.view();
            let Some(live) = &view.live else { continue };
            for binding in bindings_of(&live.definition(), view.uuid) {
                if !self.is_unbound(&binding.portdev.name) {
                    all.push(PortBinding {
                        binding,
                        made: false,
                    });
                }
            }
        }
        all.sort_by(|a, b| a.binding.portdev.name.cmp(&b.binding.portdev.name));
        all
    }

    /// The binding of a device.
    pub fn binding_of(&self, device: &str) -> Result<PortBinding> {
        let found = self
            .bindings()
            .into_iter()
            .find(|bound| bound.binding.portdev.name == device);
        found.ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoFilterBinding,
                format!("no nwfilter binding for port dev '{device}'"),
            )
        })
    }

    /// Binds a filter to a device by hand.
    pub async fn bind_filter(&self, xml: &str) -> Result<Binding> {
        let binding = Binding::parse(xml).map_err(xml_error)?;
        let device = binding.portdev.name.clone();
        if !is_device_name(&device) {
            let message = format!("'{device}' is no name of a device for rules");
            return Err(EngineError::invalid(message));
        }
        if self.binding_of(&device).is_ok() {
            return Err(EngineError::failed(format!(
                "binding '{device}' already exists"
            )));
        }
        if sys::net::index(&device).ok().flatten().is_none() {
            return Err(EngineError::new(
                ErrorKind::ResourceUnavailable,
                format!("there is no device '{device}' to bind a filter to"),
            ));
        }
        let map = self.filters_table().map();
        let filter = device_filter(&map, binding.mac.address, &binding.filterref);
        let filter = filter.map_err(super::filter_error)?;
        port(&binding, Ok(filter))
            .filter_chains(true)
            .map_err(super::filter_error)?;
        self.keep_binding(&binding)?;
        self.made_map().insert(device.clone(), binding.clone());
        self.unbound().remove(&device);
        if let Err(error) = self.apply_firewall().await {
            self.drop_binding(&device);
            return Err(error);
        }
        Ok(binding)
    }

    /// Takes the filter from a device.
    pub async fn unbind_filter(&self, device: &str) -> Result<()> {
        let bound = self.binding_of(device)?;
        match bound.made {
            true => self.drop_binding(device),
            false => {
                self.unbound().insert(device.to_owned());
            }
        }
        self.apply_firewall().await
    }

    fn drop_binding(&self, device: &str) {
        self.made_map().remove(device);
        let _ = std::fs::remove_file(self.binding_file(device));
    }

    /// The devices bound by hand that are there, as the firewall takes them.
    pub(crate) fn bound_ports(&self) -> Vec<MachinePort> {
        let map = self.filters_table().map();
        let made = self.made_bindings().into_iter();
        let there = made.filter(|binding| {
            sys::net::index(&binding.portdev.name).is_ok_and(|index| index.is_some())
        });
        there
            .map(|binding| {
                let filter = device_filter(&map, binding.mac.address, &binding.filterref);
                port(&binding, filter)
            })
            .collect()
    }

    /// Whether a card's binding was taken away by hand.
    pub(crate) fn is_unbound(&self, device: &str) -> bool {
        self.unbound().contains(device)
    }

    /// A machine's new card is bound, whatever was done to another of its name.
    pub(crate) fn bind_anew(&self, domain: &Domain) {
        for interface in &domain.devices.interfaces {
            if let Some(device) = interface.target.as_ref().and_then(|t| t.dev.as_deref()) {
                self.unbound().remove(device);
            }
        }
    }

    fn made_bindings(&self) -> Vec<Binding> {
        self.made_map().values().cloned().collect()
    }

    fn made_map(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<String, Binding>> {
        let made = self.filters_table().made.lock();
        made.unwrap_or_else(PoisonError::into_inner)
    }

    fn unbound(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<String>> {
        let unbound = self.filters_table().unbound.lock();
        unbound.unwrap_or_else(PoisonError::into_inner)
    }

    fn binding_file(&self, device: &str) -> std::path::PathBuf {
        self.places()
            .run
            .join(DIRECTORY)
            .join(format!("{device}.xml"))
    }

    fn keep_binding(&self, binding: &Binding) -> Result<()> {
        let file = self.binding_file(&binding.portdev.name);
        let kept = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&file, binding.to_xml()));
        kept.map_err(|e| EngineError::io("cannot record a network filter's binding", &e))
    }

    /// Reads the bindings made by hand before the daemon started.
    pub(super) fn load_bindings(&self) {
        let Ok(files) = std::fs::read_dir(self.places().run.join(DIRECTORY)) else {
            return;
        };
        for file in files.flatten() {
            let read = std::fs::read_to_string(file.path()).map_err(|e| e.to_string());
            match read.and_then(|xml| Binding::parse(&xml).map_err(|e| e.to_string())) {
                Ok(binding) => {
                    self.made_map()
                        .insert(binding.portdev.name.clone(), binding);
                }
                Err(error) => tracing::error!(%error, "a binding's record cannot be read"),
            }
        }
    }
}

fn port(
    binding: &Binding,
    filter: std::result::Result<
        ::network::nwfilter::DeviceFilter,
        ::network::nwfilter::FilterError,
    >,
) -> MachinePort {
    MachinePort {
        device: binding.portdev.name.clone(),
        mac: binding.mac.address,
        guard: None,
        policy: Default::default(),
        sending: None,
        address: None,
        filter: Some(filter),
    }
}

/// The bindings of a running machine's cards.
fn bindings_of(domain: &Domain, uuid: uuid::Uuid) -> Vec<Binding> {
    let interfaces = domain.devices.interfaces.iter();
    let bound = interfaces.filter_map(|interface| {
        let mut filterref = interface.filterref.clone()?;
        filterref.parameters.sort_by(|a, b| a.name.cmp(&b.name));
        Some(Binding {
            owner: PortOwner {
                name: domain.name.clone(),
                uuid,
            },
            portdev: Device {
                name: interface.target.as_ref()?.dev.clone()?,
            },
            linkdev: None,
            mac: MacElement {
                address: interface.mac()?,
                ..MacElement::default()
            },
            filterref,
        })
    });
    bound.collect()
}
