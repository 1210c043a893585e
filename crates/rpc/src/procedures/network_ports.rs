//! Ports of networks: what each interface of a machine has of its network.

use engine::network::Port;
use model::network::port::NetworkPort;
use model::schema::Schema;
use wire::remote::*;
use wire::xdr::TypedParamValue;

use super::domain_limits::bandwidth;
use super::networks::network;
use super::{check_flags, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

/// `VIR_NETWORK_PORT_CREATE_RECLAIM`.
const RECLAIM: u32 = 1;
/// `VIR_NETWORK_PORT_CREATE_VALIDATE`.
const VALIDATE: u32 = 2;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(list_all);
    dispatch.inline(lookup);
    dispatch.inline(get_xml);
    dispatch.inline(get_parameters);
    dispatch.task(|client, args: NetworkPortCreateXmlArgs| async move {
        check_flags(args.flags, RECLAIM | VALIDATE, "networkPortCreateXML")?;
        validate(args.flags, VALIDATE, Schema::NetworkPort, &args.xml)?;
        let view = network(&client, &args.network)?;
        let uuid = client.engine.make_port(&view, &args.xml).await?;
        Ok(NetworkPortCreateXmlRet {
            port: RemoteNetworkPort {
                net: args.network,
                uuid: uuid.into_bytes(),
            },
        })
    });
    dispatch.task(|client, args: NetworkPortSetParametersArgs| async move {
        check_flags(args.flags, 0, "networkPortSetParameters")?;
        let view = network(&client, &args.port.net)?;
        let uuid = uuid::Uuid::from_bytes(args.port.uuid);
        let bandwidth = bandwidth(&args.params)?;
        Ok(client.engine.limit_port(&view, uuid, bandwidth).await?)
    });
    dispatch.task(|client, args: NetworkPortDeleteArgs| async move {
        check_flags(args.flags, 0, "networkPortDelete")?;
        let view = network(&client, &args.port.net)?;
        let uuid = uuid::Uuid::from_bytes(args.port.uuid);
        Ok(client.engine.remove_port(&view, uuid).await?)
    });
}

fn ports(client: &Client, net: &RemoteNetwork) -> Answer<Vec<Port>> {
    let view = network(client, net)?;
    Ok(client.engine.ports_of(&view))
}

fn list_all(client: &Client, args: NetworkListAllPortsArgs) -> Answer<NetworkListAllPortsRet> {
    check_flags(args.flags, 0, "virNetworkListAllPorts")?;
    let ports: Vec<RemoteNetworkPort> = ports(client, &args.network)?
        .into_iter()
        .map(|port| RemoteNetworkPort {
            net: args.network.clone(),
            uuid: port.uuid.into_bytes(),
        })
        .collect();
    let ret = ports.len() as u32;
    Ok(NetworkListAllPortsRet {
        ports: match args.need_results {
            0 => Vec::new(),
            _ => ports,
        },
        ret,
    })
}

fn find(client: &Client, net: &RemoteNetwork, uuid: [u8; 16]) -> Answer<NetworkPort> {
    let view = network(client, net)?;
    let uuid = uuid::Uuid::from_bytes(uuid);
    Ok(client.engine.port(&view, uuid)?)
}

fn lookup(
    client: &Client,
    args: NetworkPortLookupByUuidArgs,
) -> Answer<NetworkPortLookupByUuidRet> {
    find(client, &args.network, args.uuid)?;
    Ok(NetworkPortLookupByUuidRet {
        port: RemoteNetworkPort {
            net: args.network,
            uuid: args.uuid,
        },
    })
}

fn get_xml(client: &Client, args: NetworkPortGetXmlDescArgs) -> Answer<NetworkPortGetXmlDescRet> {
    check_flags(args.flags, 0, "networkPortGetXMLDesc")?;
    let port = find(client, &args.port.net, args.port.uuid)?;
    Ok(NetworkPortGetXmlDescRet { xml: port.to_xml() })
}

/// The limits of a port's traffic, in libvirt's names.
fn get_parameters(
    client: &Client,
    args: NetworkPortGetParametersArgs,
) -> Answer<NetworkPortGetParametersRet> {
    let port = find(client, &args.port.net, args.port.uuid)?;
    let bandwidth = port.bandwidth.unwrap_or_default();
    let mut params = Vec::new();
    for (direction, limit) in [
        ("inbound", bandwidth.inbound),
        ("outbound", bandwidth.outbound),
    ] {
        let Some(limit) = limit else { continue };
        for (name, value) in [
            ("average", limit.average),
            ("peak", limit.peak),
            ("burst", limit.burst),
            ("floor", limit.floor),
        ] {
            if (direction, name) == ("outbound", "floor") {
                continue;
            }
            params.push(TypedParam {
                field: format!("{direction}.{name}"),
                value: TypedParamValue::Uint(value.unwrap_or(0) as u32),
            });
        }
    }
    // Here libvirt's clients ask for all at once: none of them asks how many there are.
    let nparams = params.len() as i32;
    Ok(NetworkPortGetParametersRet { params, nparams })
}
