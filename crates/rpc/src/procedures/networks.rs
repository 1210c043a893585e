//! Networks: lists, life, definitions, leases.

use std::sync::Arc;

use engine::network::update::SectionChange;
use engine::network::{DefineMode, NetworkLease, NetworkView};
use engine::options::{Affect, MetadataItem};
use model::network::update::{Command, Section};
use model::schema::Schema;
use wire::errors::ErrorCode;
use wire::remote::*;

use super::{check_flags, not_negative, states, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_NETWORK_XML_INACTIVE`.
const XML_INACTIVE: u32 = 1;
/// `VIR_NETWORK_DEFINE_VALIDATE` and `VIR_NETWORK_CREATE_VALIDATE`.
const VALIDATE: u32 = 1;
/// `VIR_NETWORK_UPDATE_AFFECT_LIVE`.
const AFFECT_LIVE: u32 = 1;
/// `VIR_NETWORK_UPDATE_AFFECT_CONFIG`.
const AFFECT_CONFIG: u32 = 2;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(lookup_by_name);
    dispatch.inline(lookup_by_uuid);
    dispatch.inline(list_all);
    dispatch.inline(num_of_active);
    dispatch.inline(list_active);
    dispatch.inline(num_of_defined);
    dispatch.inline(list_defined);
    dispatch.inline(get_xml_desc);
    dispatch.inline(get_autostart);
    dispatch.inline(is_active);
    dispatch.inline(is_persistent);
    dispatch.inline(get_bridge_name);
    dispatch.inline(get_dhcp_leases);
    dispatch.inline(get_metadata);
    dispatch.task(|client, args: NetworkDefineXmlArgs| async move {
        let net = define(&client, &args.xml, 0).await?;
        Ok(NetworkDefineXmlRet { net })
    });
    dispatch.task(|client, args: NetworkDefineXmlFlagsArgs| async move {
        let net = define(&client, &args.xml, args.flags).await?;
        Ok(NetworkDefineXmlFlagsRet { net })
    });
    dispatch.task(|client, args: NetworkCreateXmlArgs| async move {
        let net = create(&client, &args.xml, 0).await?;
        Ok(NetworkCreateXmlRet { net })
    });
    dispatch.task(|client, args: NetworkCreateXmlFlagsArgs| async move {
        let net = create(&client, &args.xml, args.flags).await?;
        Ok(NetworkCreateXmlFlagsRet { net })
    });
    dispatch.task(|client, args: NetworkCreateArgs| async move {
        let uuid = network(&client, &args.net)?.uuid;
        Ok(client.engine.start_network(uuid).await?)
    });
    dispatch.task(|client, args: NetworkDestroyArgs| async move {
        let uuid = network(&client, &args.net)?.uuid;
        Ok(client.engine.stop_network(uuid).await?)
    });
    dispatch.task(|client, args: NetworkUndefineArgs| async move {
        let uuid = network(&client, &args.net)?.uuid;
        Ok(client.engine.undefine_network(uuid).await?)
    });
    dispatch.task(|client, args: NetworkSetAutostartArgs| async move {
        let uuid = network(&client, &args.net)?.uuid;
        let autostart = args.autostart != 0;
        Ok(client.engine.set_network_autostart(uuid, autostart).await?)
    });
    dispatch.task(update);
    dispatch.task(set_metadata);
}

/// The network a client means, by uuid.
pub(super) fn network(client: &Client, net: &RemoteNetwork) -> Answer<Arc<NetworkView>> {
    let uuid = uuid::Uuid::from_bytes(net.uuid);
    client.engine.network_by_uuid(uuid).map_err(|error| {
        let detail = format!("no network with matching uuid '{uuid}' ({})", net.name);
        engine::EngineError::new(error.kind, detail).into()
    })
}

pub(super) fn remote(view: &NetworkView) -> RemoteNetwork {
    RemoteNetwork {
        name: view.name.to_string(),
        uuid: view.uuid.into_bytes(),
    }
}

fn lookup_by_name(
    client: &Client,
    args: NetworkLookupByNameArgs,
) -> Answer<NetworkLookupByNameRet> {
    let net = remote(&*client.engine.network_by_name(&args.name)?);
    Ok(NetworkLookupByNameRet { net })
}

fn lookup_by_uuid(
    client: &Client,
    args: NetworkLookupByUuidArgs,
) -> Answer<NetworkLookupByUuidRet> {
    let uuid = uuid::Uuid::from_bytes(args.uuid);
    let net = remote(&*client.engine.network_by_uuid(uuid)?);
    Ok(NetworkLookupByUuidRet { net })
}

fn list_all(
    client: &Client,
    args: ConnectListAllNetworksArgs,
) -> Answer<ConnectListAllNetworksRet> {
    check_flags(args.flags, states::ALL, "virConnectListAllNetworks")?;
    let views = client.engine.networks();
    let wanted = views.iter().filter(|view| {
        let (active, persistent) = (view.is_active(), view.is_persistent());
        states::is_wanted(args.flags, active, persistent, view.autostart)
    });
    let nets = wanted.map(|view| remote(view)).collect();
    let (nets, ret) = states::listed(nets, args.need_results);
    Ok(ConnectListAllNetworksRet { nets, ret })
}

fn names(client: &Client, active: bool) -> Vec<String> {
    let views = client.engine.networks().into_iter();
    views
        .filter(|view| view.is_active() == active)
        .map(|view| view.name.to_string())
        .collect()
}

fn num_of_active(client: &Client, _: ConnectNumOfNetworksArgs) -> Answer<ConnectNumOfNetworksRet> {
    Ok(ConnectNumOfNetworksRet {
        num: names(client, true).len() as i32,
    })
}

fn list_active(client: &Client, args: ConnectListNetworksArgs) -> Answer<ConnectListNetworksRet> {
    let max = not_negative(args.maxnames, "maxnames", "virConnectListNetworks")?;
    Ok(ConnectListNetworksRet {
        names: names(client, true).into_iter().take(max).collect(),
    })
}

fn num_of_defined(
    client: &Client,
    _: ConnectNumOfDefinedNetworksArgs,
) -> Answer<ConnectNumOfDefinedNetworksRet> {
    Ok(ConnectNumOfDefinedNetworksRet {
        num: names(client, false).len() as i32,
    })
}

fn list_defined(
    client: &Client,
    args: ConnectListDefinedNetworksArgs,
) -> Answer<ConnectListDefinedNetworksRet> {
    let max = not_negative(args.maxnames, "maxnames", "virConnectListDefinedNetworks")?;
    Ok(ConnectListDefinedNetworksRet {
        names: names(client, false).into_iter().take(max).collect(),
    })
}

fn get_xml_desc(client: &Client, args: NetworkGetXmlDescArgs) -> Answer<NetworkGetXmlDescRet> {
    check_flags(args.flags, XML_INACTIVE, "networkGetXMLDesc")?;
    let view = network(client, &args.net)?;
    Ok(NetworkGetXmlDescRet {
        xml: client
            .engine
            .network_xml(&view, args.flags & XML_INACTIVE != 0),
    })
}

fn get_autostart(client: &Client, args: NetworkGetAutostartArgs) -> Answer<NetworkGetAutostartRet> {
    Ok(NetworkGetAutostartRet {
        autostart: i32::from(network(client, &args.net)?.autostart),
    })
}

fn is_active(client: &Client, args: NetworkIsActiveArgs) -> Answer<NetworkIsActiveRet> {
    Ok(NetworkIsActiveRet {
        active: i32::from(network(client, &args.net)?.is_active()),
    })
}

fn is_persistent(client: &Client, args: NetworkIsPersistentArgs) -> Answer<NetworkIsPersistentRet> {
    Ok(NetworkIsPersistentRet {
        persistent: i32::from(network(client, &args.net)?.is_persistent()),
    })
}

fn get_bridge_name(
    client: &Client,
    args: NetworkGetBridgeNameArgs,
) -> Answer<NetworkGetBridgeNameRet> {
    Ok(NetworkGetBridgeNameRet {
        name: network(client, &args.net)?.bridge()?,
    })
}

async fn define(client: &Client, xml: &str, flags: u32) -> Answer<RemoteNetwork> {
    check_flags(flags, VALIDATE, "networkDefineXMLFlags")?;
    validate(flags, VALIDATE, Schema::Network, xml)?;
    let view = client.engine.define_network(xml, DefineMode::Store).await?;
    Ok(remote(&view))
}

async fn create(client: &Client, xml: &str, flags: u32) -> Answer<RemoteNetwork> {
    check_flags(flags, VALIDATE, "networkCreateXMLFlags")?;
    validate(flags, VALIDATE, Schema::Network, xml)?;
    Ok(remote(&*client.engine.create_network(xml).await?))
}

fn get_dhcp_leases(
    client: &Client,
    args: NetworkGetDhcpLeasesArgs,
) -> Answer<NetworkGetDhcpLeasesRet> {
    check_flags(args.flags, 0, "networkGetDHCPLeases")?;
    let view = network(client, &args.net)?;
    let leases = client
        .engine
        .network_leases(view.uuid, args.mac.as_deref())?;
    let leases = leases.iter().map(remote_lease).collect();
    let (leases, ret) = states::listed(leases, args.need_results);
    Ok(NetworkGetDhcpLeasesRet { leases, ret })
}

fn remote_lease(lease: &NetworkLease) -> NetworkDhcpLease {
    /// `VIR_IP_ADDR_TYPE_IPV4`, and of IPv6.
    const KINDS: [i32; 2] = [0, 1];
    let own = &lease.lease;
    NetworkDhcpLease {
        iface: lease.bridge.clone(),
        expirytime: own.expires_s,
        kind: KINDS[usize::from(own.address.is_ipv6())],
        mac: own.mac.clone(),
        iaid: own.iaid.clone(),
        ipaddr: own.address.to_string(),
        prefix: u32::from(lease.prefix),
        hostname: own.name.clone(),
        clientid: own.client_id.clone(),
    }
}

fn affect(flags: u32, function: &str) -> Answer<Affect> {
    check_flags(flags, AFFECT_LIVE | AFFECT_CONFIG, function)?;
    Ok(Affect {
        live: flags & AFFECT_LIVE != 0,
        config: flags & AFFECT_CONFIG != 0,
    })
}

async fn update(client: Arc<Client>, args: NetworkUpdateArgs) -> Answer<()> {
    let affect = affect(args.flags, "networkUpdate")?;
    let uuid = network(&client, &args.net)?.uuid;
    let command = Command::of(args.command).ok_or_else(|| {
        Failure::operation_invalid(format!(
            "unrecognized network update command code {}",
            args.command
        ))
    })?;
    let section = Section::of(args.section).ok_or_else(|| {
        Failure::new(
            ErrorCode::OperationUnsupported,
            "can't update unrecognized section of network",
        )
    })?;
    let change = SectionChange {
        command,
        section,
        parent: usize::try_from(args.parent_index).ok(),
        xml: args.xml,
    };
    Ok(client.engine.update_network(uuid, change, affect).await?)
}

fn metadata_item(kind: i32, uri: Option<String>, function: &str) -> Answer<MetadataItem> {
    match (kind, uri) {
        (0, _) => Ok(MetadataItem::Description),
        (1, _) => Ok(MetadataItem::Title),
        (2, Some(uri)) => Ok(MetadataItem::Element { uri }),
        (2, None) => Err(Failure::invalid_arg(format!(
            "uri in {function} must not be NULL"
        ))),
        (other, _) => Err(Failure::invalid_arg(format!(
            "unknown metadata type {other}"
        ))),
    }
}

fn get_metadata(client: &Client, args: NetworkGetMetadataArgs) -> Answer<NetworkGetMetadataRet> {
    let affect = affect(args.flags, "networkGetMetadata")?;
    let item = metadata_item(args.kind, args.uri, "virNetworkGetMetadata")?;
    let uuid = network(client, &args.network)?.uuid;
    Ok(NetworkGetMetadataRet {
        metadata: client.engine.network_metadata(uuid, &item, affect)?,
    })
}

async fn set_metadata(client: Arc<Client>, args: NetworkSetMetadataArgs) -> Answer<()> {
    let affect = affect(args.flags, "networkSetMetadata")?;
    let item = metadata_item(args.kind, args.uri, "virNetworkSetMetadata")?;
    let is_element = matches!(item, MetadataItem::Element { .. });
    if is_element && args.metadata.is_some() && args.key.is_none() {
        return Err(Failure::invalid_arg(
            "key in virNetworkSetMetadata must not be NULL",
        ));
    }
    let uuid = network(&client, &args.network)?.uuid;
    Ok(client
        .engine
        .set_network_metadata(uuid, item, args.metadata, args.key, affect)
        .await?)
}
