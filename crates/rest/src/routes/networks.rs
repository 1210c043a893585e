//! Networks: plans, addresses, sets of the firewall.

use crate::failure::{Answer, Failure};
use api::{FirewallSet, FirewallSetChange, Named, NetworkAddress, Plan, PlanRequest, Problem};
use axum::Json;
use axum::extract::{Path, Query, State};
use engine::Engine;
use engine::network::update::SectionChange;
use engine::network::{AddressSource, NamedSet, PlannedChange};
use engine::options::Affect;
use engine::{EngineError, ErrorKind};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(plan))
        .routes(routes!(addresses))
        .routes(routes!(warnings))
        .routes(routes!(sets))
        .routes(routes!(set, change_set, delete_set))
}

/// What a change of networks, interfaces or rules would do; nothing is done.
#[utoipa::path(post, path = "/plans", request_body = PlanRequest,
    responses((status = 200, body = Plan), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn plan(State(engine): State<Engine>, Json(asked): Json<PlanRequest>) -> Answer<Plan> {
    let change = planned(&engine, asked)?;
    let plan = engine.plan_change(change).await?;
    Ok(Json(Plan {
        steps: plan.steps,
        nft: plan.nft,
        dnsmasq: plan.dnsmasq,
        hosts: plan.hosts,
        names: plan.names,
        tc: plan.tc,
        definition: plan.definition,
        notes: plan.notes,
    }))
}

fn planned(engine: &Engine, asked: PlanRequest) -> Result<PlannedChange, Failure> {
    let network = |name: &str| engine.network_by_name(name).map(|view| view.uuid);
    let domain = |name: &str| engine.domain_by_name(name).map(|handle| handle.view().uuid);
    let invalid = |what: &str| EngineError::new(ErrorKind::InvalidArgument, what);
    Ok(match asked {
        PlanRequest::NetDefine { xml } => PlannedChange::Define(xml),
        PlanRequest::NetCreate { xml } => PlannedChange::Create(xml),
        PlanRequest::NetStart { network: name } => PlannedChange::Start(network(&name)?),
        PlanRequest::NetDestroy { network: name } => PlannedChange::Destroy(network(&name)?),
        PlanRequest::NetUpdate {
            network: name,
            command,
            section,
            parent,
            xml,
        } => {
            let change = SectionChange::of(command, section, parent, xml)
                .ok_or_else(|| invalid("there is no such command or section"))?;
            PlannedChange::Update(network(&name)?, change)
        }
        PlanRequest::AttachInterface {
            domain: name,
            xml,
            live,
            config,
        } => PlannedChange::Attach {
            domain: domain(&name)?,
            xml,
            affect: Affect { live, config },
        },
        PlanRequest::Firewall {
            domain: name,
            policy,
        } => PlannedChange::Rules {
            domain: domain(&name)?,
            policy,
        },
    })
}

#[derive(Debug, Deserialize)]
struct OfNetwork {
    network: Option<String>,
}

/// Who has which address on active networks.
#[utoipa::path(get, path = "/addresses", params(("network" = Option<String>, Query)),
    responses((status = 200, body = Vec<NetworkAddress>), (status = 404, body = Problem)))]
async fn addresses(
    State(engine): State<Engine>,
    Query(of): Query<OfNetwork>,
) -> Answer<Vec<NetworkAddress>> {
    let found = engine.network_addresses(of.network.as_deref()).await?;
    let shown = found.into_iter().map(|entry| {
        let host = entry.sources.contains(&AddressSource::Host);
        let leased = entry.sources.contains(&AddressSource::Lease) && !entry.fixed;
        let kind = match (host, leased) {
            (true, _) => "host",
            (false, true) => "leased",
            (false, false) => "static",
        };
        NetworkAddress {
            network: entry.network.to_string(),
            address: entry.address.to_string(),
            mac: entry.mac,
            machine: entry.machine,
            name: entry.name,
            kind: kind.to_owned(),
            known_from: entry
                .sources
                .iter()
                .map(|source| source.word().to_owned())
                .collect(),
            since_s: entry.since_s,
            expires_s: entry.expires_s,
        }
    });
    Ok(Json(shown.collect()))
}

/// What other programs' rules drop of a network's traffic, and what to do about it.
#[utoipa::path(get, path = "/networks/{name}/warnings", params(("name" = String, Path)),
    responses((status = 200, body = Vec<String>), (status = 404, body = Problem)))]
async fn warnings(State(engine): State<Engine>, Path(name): Path<String>) -> Answer<Vec<String>> {
    Ok(Json(engine.network_warnings(&name).await?))
}

fn shown(set: &NamedSet) -> FirewallSet {
    FirewallSet {
        name: set.name.clone(),
        elements: set.words(),
    }
}

/// Every named set.
#[utoipa::path(get, path = "/firewall/sets", responses((status = 200, body = Vec<FirewallSet>)))]
async fn sets(State(engine): State<Engine>) -> Answer<Vec<FirewallSet>> {
    Ok(Json(engine.firewall_sets().iter().map(shown).collect()))
}

/// One named set.
#[utoipa::path(get, path = "/firewall/sets/{name}", params(("name" = String, Path)),
    responses((status = 200, body = FirewallSet), (status = 400, body = Problem)))]
async fn set(State(engine): State<Engine>, Path(name): Path<String>) -> Answer<FirewallSet> {
    Ok(Json(shown(&engine.firewall_set(&name)?)))
}

/// Adds elements to a named set, which is made where it does not exist, and takes some out.
#[utoipa::path(put, path = "/firewall/sets/{name}", params(("name" = String, Path)),
    request_body = FirewallSetChange,
    responses((status = 200, body = FirewallSet), (status = 400, body = Problem)))]
async fn change_set(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    Json(change): Json<FirewallSetChange>,
) -> Answer<FirewallSet> {
    let set = engine
        .change_firewall_set(&name, &change.add, &change.remove)
        .await?;
    Ok(Json(shown(&set)))
}

/// Removes a named set that no running machine's rules speak of.
#[utoipa::path(delete, path = "/firewall/sets/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Named), (status = 409, body = Problem)))]
async fn delete_set(State(engine): State<Engine>, Path(name): Path<String>) -> Answer<Named> {
    engine.delete_firewall_set(&name).await?;
    Ok(Json(Named { name }))
}
