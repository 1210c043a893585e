//! What a change of networks or rules would do, as text: nothing is done.

use super::update::SectionChange;
use super::{LiveNetwork, NetworkView};
use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::options::{Affect, XmlOptions};
use ::network::bandwidth;
use ::network::dnsmasq::{is_wanted, texts};
use ::network::firewall::{Firewall, NetworkRules};
use ::network::plan::{self, PlanText};
use ::network::plug;
use model::domain::Domain;
use model::domain::interface::{Interface, InterfaceType};
use model::network::Network;
use model::network::policy::Policy;
use model::xml::{Mac, XmlFlags};
use uuid::Uuid;

/// A change that is only to be planned.
#[derive(Debug, Clone)]
pub enum PlannedChange {
    /// A definition is stored.
    Define(String),
    /// A network is started that is not stored.
    Create(String),
    /// A stored network is started.
    Start(Uuid),
    /// A network is taken down.
    Destroy(Uuid),
    /// A section of an active network is changed.
    Update(Uuid, SectionChange),
    /// An interface is plugged into a machine.
    Attach {
        /// The machine.
        domain: Uuid,
        /// The interface's XML.
        xml: String,
        /// What is changed: the running machine, the stored definition.
        affect: Affect,
    },
    /// A machine's own rules are replaced: their metadata element.
    Rules {
        /// The machine.
        domain: Uuid,
        /// The rules.
        policy: String,
    },
}

impl Engine {
    /// What a change would do.
    pub async fn plan_change(&self, change: PlannedChange) -> Result<PlanText> {
        match change {
            PlannedChange::Define(xml) => self.plan_define(&xml).await,
            PlannedChange::Create(xml) => {
                let network = {
                    let _choosing = self.networks_table().choosing.lock().await;
                    self.complete_network(&xml)?
                };
                self.plan_start(&network, None).await
            }
            PlannedChange::Start(uuid) => {
                let view = self.network_by_uuid(uuid)?;
                if view.is_active() {
                    return Err(EngineError::invalid("network is already active"));
                }
                let stored = view.stored.as_deref();
                let network = stored.ok_or_else(|| super::no_network(&format!("uuid '{uuid}'")))?;
                self.plan_start(network, Some(&view)).await
            }
            PlannedChange::Destroy(uuid) => self.plan_destroy(uuid).await,
            PlannedChange::Update(uuid, change) => self.plan_update(uuid, &change).await,
            PlannedChange::Attach {
                domain,
                xml,
                affect,
            } => self.plan_attach(domain, &xml, affect).await,
            PlannedChange::Rules { domain, policy } => self.plan_rules(domain, &policy).await,
        }
    }

    async fn plan_define(&self, xml: &str) -> Result<PlanText> {
        let view = self.define_network(xml, super::DefineMode::Check).await?;
        let network = view.stored.as_deref().cloned().unwrap_or_default();
        let active = self
            .network_by_uuid(view.uuid)
            .is_ok_and(|view| view.is_active());
        let mut plan = PlanText::default();
        plan.steps
            .push(format!("store definition of network '{}'", network.name));
        if active {
            plan.notes
                .push("the active network goes on as it is until it is started again".into());
        }
        plan.definition = Some(super::record::stored_xml(&network));
        Ok(plan)
    }

    async fn plan_start(&self, network: &Network, view: Option<&NetworkView>) -> Result<PlanText> {
        self.check_host(network)?;
        let bridge = network.bridge_name().unwrap_or_default().to_owned();
        let mut plan = PlanText::default();
        if network.kind().owns_bridge() {
            let mac = network
                .mac
                .as_ref()
                .map_or(Mac::default(), |mac| mac.address);
            let zone = self.choose_zone(network).await?;
            let steps = plan::start(network, &bridge, mac, zone.as_deref());
            plan.steps.extend(steps.iter().map(ToString::to_string));
            let uuid = view
                .map(|view| view.uuid)
                .or(network.uuid)
                .unwrap_or_default();
            self.plan_server(uuid, network, &bridge, &mut plan).await?;
            plan.tc = Some(bandwidth::batch(&bridge, network.bandwidth.as_ref()))
                .filter(|text| network.bandwidth.is_some() && !text.is_empty());
            let mut firewall = self.firewall();
            firewall.networks.push(NetworkRules {
                bridge,
                network: network.clone(),
            });
            let own = self.planned_rules(&firewall).await.unwrap_or_default();
            let text = own + &self.docker_exceptions(Some(network)).await;
            plan.nft = Some(text).filter(|text| !text.is_empty());
        } else {
            plan.notes
                .push("the network uses what the host has: nothing is made".into());
        }
        plan.notes.extend(self.firewall_warnings(network).await);
        Ok(plan)
    }

    async fn plan_server(
        &self,
        uuid: Uuid,
        network: &Network,
        bridge: &str,
        plan: &mut PlanText,
    ) -> Result<()> {
        if !is_wanted(network) {
            return Ok(());
        }
        let user = self.dnsmasq_user();
        let texts = texts(network, bridge, &self.dnsmasq_files(uuid), user.as_deref());
        super::dnsmasq::check_config(&texts.config).await?;
        plan.dnsmasq = Some(texts.config);
        plan.hosts = Some(texts.hosts).filter(|hosts| !hosts.is_empty());
        plan.names = Some(texts.names).filter(|names| !names.is_empty());
        Ok(())
    }

    async fn plan_destroy(&self, uuid: Uuid) -> Result<PlanText> {
        let view = self.network_by_uuid(uuid)?;
        let Some(live) = &view.live else {
            let message = format!("network '{}' is not active", view.name);
            return Err(EngineError::invalid(message));
        };
        let mut plan = PlanText::default();
        let LiveNetwork { definition, bridge } = &**live;
        if definition.kind().owns_bridge() {
            if is_wanted(definition) {
                plan.steps.push("dnsmasq stop".to_owned());
            }
            let bridge = bridge.as_deref().unwrap_or_default();
            plan.steps.push(format!("link delete {bridge}"));
            let mut firewall = self.firewall();
            firewall.networks.retain(|network| network.bridge != bridge);
            self.note_rules(&mut plan, &firewall).await;
        }
        let ports = self.network_ports(&view.name).len();
        if ports > 0 {
            plan.notes.push(format!(
                "{ports} interfaces of running machines lose their network"
            ));
        }
        if !view.is_persistent() {
            plan.notes
                .push("the network is transient: it is gone then".to_owned());
        }
        Ok(plan)
    }

    async fn plan_update(&self, uuid: Uuid, change: &SectionChange) -> Result<PlanText> {
        let view = self.network_by_uuid(uuid)?;
        let before = view.definition().cloned().unwrap_or_default();
        let mut network = before.clone();
        super::update::apply_section(&mut network, change)?;
        let mut plan = PlanText {
            definition: Some(super::record::stored_xml(&network)),
            ..PlanText::default()
        };
        let bridge = view.live.as_ref().and_then(|live| live.bridge.clone());
        if let Some(bridge) = bridge {
            self.plan_server(uuid, &network, &bridge, &mut plan).await?;
            if plan.dnsmasq.is_some() {
                plan.steps.push("dnsmasq reload".to_owned());
            }
            let mut firewall = self.firewall();
            for rules in firewall
                .networks
                .iter_mut()
                .filter(|rules| rules.bridge == bridge)
            {
                rules.network = network.clone();
            }
            self.note_rules(&mut plan, &firewall).await;
        }
        Ok(plan)
    }

    async fn plan_attach(&self, domain: Uuid, xml: &str, affect: Affect) -> Result<PlanText> {
        let handle = self.domain_by_uuid(domain)?;
        let view = handle.view();
        let affect = affect.of(view.live.is_some(), view.is_persistent())?;
        let mut plan = PlanText::default();
        if affect.config {
            let inactive = XmlOptions {
                inactive: true,
                ..XmlOptions::default()
            };
            let mut stored = Domain::parse(&handle.xml(inactive)?).map_err(xml_error)?;
            stored.attach_device(xml).map_err(xml_error)?;
            plan.steps
                .push(format!("store definition of machine '{}'", view.name));
            let flags = XmlFlags {
                inactive: true,
                ..XmlFlags::default()
            };
            plan.definition = Some(stored.to_xml(flags));
        }
        match &view.live {
            Some(live) if affect.live => {
                let running = Domain::clone(&live.definition());
                self.plan_plug(running, xml, &mut plan).await?;
            }
            _ => {}
        }
        Ok(plan)
    }

    /// What plugging an interface into a running machine takes.
    async fn plan_plug(
        &self,
        mut definition: Domain,
        xml: &str,
        plan: &mut PlanText,
    ) -> Result<()> {
        let before = definition.devices.interfaces.len();
        definition.attach_device(xml).map_err(xml_error)?;
        let Some(interface) = definition.devices.interfaces.get_mut(before) else {
            return Err(EngineError::new(
                ErrorKind::XmlError,
                "the device is no interface",
            ));
        };
        let network = match interface.kind {
            InterfaceType::Network => {
                let source = interface.source.as_ref();
                let name = source
                    .and_then(|source| source.network.clone())
                    .unwrap_or_default();
                Some(self.network_by_name(&name)?)
            }
            _ => None,
        };
        let fresh = [Uuid::new_v4(), Uuid::new_v4()];
        match network.as_deref().and_then(|view| view.live.as_deref()) {
            Some(live) => plug::settle(interface, &live.definition, live.bridge.as_deref(), fresh)
                .map_err(super::attach::refused)?,
            None => plug::settle_alone(interface, fresh[0]),
        }
        if let Some(view) = network.filter(|view| !view.is_active()) {
            plan.notes.push(format!(
                "network '{}' is not active: it must be started first",
                view.name
            ));
        }
        let device = name_of(interface);
        let plugged = plug::plug(interface).map_err(super::attach::refused)?;
        plan.steps.extend(
            plugged
                .iter()
                .flat_map(|plug| plan::plug_steps(&device, plug)),
        );
        self.check_filters(&definition)?;
        let ports = self.ports_of_machine(&definition);
        let mut firewall = self.firewall();
        firewall
            .machines
            .retain(|port| !ports.iter().any(|p| p.device == port.device));
        firewall.machines.extend(ports);
        self.note_rules(plan, &firewall).await;
        plan.steps.push("netdev_add, device_add in QEMU".to_owned());
        Ok(())
    }

    async fn plan_rules(&self, domain: Uuid, policy: &str) -> Result<PlanText> {
        let handle = self.domain_by_uuid(domain)?;
        let view = handle.view();
        let policy = match policy {
            "" => Policy::default(),
            text => Policy::parse(text).map_err(xml_error)?,
        };
        let mut plan = PlanText::default();
        plan.steps
            .push(format!("metadata of '{}': {}", view.name, policy.to_xml()));
        let Some(live) = &view.live else {
            plan.notes
                .push("the machine does not run: the rules come with its start".into());
            return Ok(plan);
        };
        self.check_reach(&live.definition(), &policy)?;
        let own = self.ports_of_machine(&live.definition());
        let mut firewall = self.firewall();
        for port in &mut firewall.machines {
            if own.iter().any(|p| p.device == port.device) {
                port.policy = policy.clone();
            }
        }
        self.note_rules(&mut plan, &firewall).await;
        Ok(plan)
    }

    async fn note_rules(&self, plan: &mut PlanText, firewall: &Firewall) {
        plan.nft = self.planned_rules(firewall).await;
        if plan.nft.is_some() {
            plan.steps.push("firewall change".to_owned());
        }
    }
}

/// The device an interface gets; the kernel chooses a name where none is given.
fn name_of(interface: &mut Interface) -> String {
    let target = interface.target.get_or_insert_with(Default::default);
    target
        .dev
        .get_or_insert_with(|| "vnet%d".to_owned())
        .clone()
}
