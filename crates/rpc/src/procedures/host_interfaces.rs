//! Interfaces of the host: what there is. They are changed by the host's own means.

use engine::network::HostInterface;
use wire::errors::{ErrorCode, ErrorDomain};
use wire::remote::*;

use super::{check_flags, not_negative};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_CONNECT_LIST_INTERFACES_INACTIVE` and `_ACTIVE`.
const INACTIVE: u32 = 1;
const ACTIVE: u32 = 2;
/// `VIR_INTERFACE_XML_INACTIVE`.
const XML_INACTIVE: u32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(|client: &Client, args: ConnectListAllInterfacesArgs| {
        check_flags(args.flags, INACTIVE | ACTIVE, "virConnectListAllInterfaces")?;
        let all = interfaces(client)?.into_iter();
        let wanted = all.filter(|i| match args.flags {
            0 => true,
            flags => flags & (if i.active { ACTIVE } else { INACTIVE }) != 0,
        });
        let ifaces: Vec<RemoteInterface> = wanted.map(|i| remote(&i)).collect();
        let ret = ifaces.len() as u32;
        let ifaces = if args.need_results == 0 {
            Vec::new()
        } else {
            ifaces
        };
        Ok(ConnectListAllInterfacesRet { ifaces, ret })
    });
    dispatch.inline(|client: &Client, _: ConnectNumOfInterfacesArgs| {
        let num = names(client, true)?.len() as i32;
        Ok(ConnectNumOfInterfacesRet { num })
    });
    dispatch.inline(|client: &Client, args: ConnectListInterfacesArgs| {
        let max = not_negative(args.maxnames, "maxnames", "virConnectListInterfaces")?;
        let names = names(client, true)?.into_iter().take(max).collect();
        Ok(ConnectListInterfacesRet { names })
    });
    dispatch.inline(|client: &Client, _: ConnectNumOfDefinedInterfacesArgs| {
        let num = names(client, false)?.len() as i32;
        Ok(ConnectNumOfDefinedInterfacesRet { num })
    });
    dispatch.inline(|client: &Client, args: ConnectListDefinedInterfacesArgs| {
        let max = not_negative(args.maxnames, "maxnames", "virConnectListDefinedInterfaces")?;
        let names = names(client, false)?.into_iter().take(max).collect();
        Ok(ConnectListDefinedInterfacesRet { names })
    });
    dispatch.inline(|client: &Client, args: InterfaceLookupByNameArgs| {
        let iface = remote(&by_name(client, &args.name)?);
        Ok(InterfaceLookupByNameRet { iface })
    });
    dispatch.inline(|client: &Client, args: InterfaceLookupByMacStringArgs| {
        let found = interfaces(client)?.into_iter();
        let found = found
            .into_iter()
            .find(|i| i.mac.eq_ignore_ascii_case(&args.mac));
        let found = found.ok_or_else(|| {
            missing(format!(
                "couldn't find interface with MAC address '{}'",
                args.mac
            ))
        })?;
        let iface = remote(&found);
        Ok(InterfaceLookupByMacStringRet { iface })
    });
    dispatch.inline(|client: &Client, args: InterfaceGetXmlDescArgs| {
        check_flags(args.flags, XML_INACTIVE, "interfaceGetXMLDesc")?;
        let found = by_name(client, &args.iface.name)?;
        Ok(InterfaceGetXmlDescRet { xml: found.xml() })
    });
    dispatch.inline(|client: &Client, args: InterfaceCreateArgs| {
        switch(client, &args.iface.name, true, args.flags)
    });
    dispatch.inline(|client: &Client, args: InterfaceDestroyArgs| {
        switch(client, &args.iface.name, false, args.flags)
    });
    dispatch.inline(|client: &Client, args: InterfaceIsActiveArgs| {
        let found = by_name(client, &args.iface.name)?;
        let active = i32::from(found.active);
        Ok(InterfaceIsActiveRet { active })
    });
}

/// Switches an interface of the host on or off. Nothing is stored: how it is
/// configured is the host's own business, so there is nothing to define either.
fn switch(client: &Client, name: &str, on: bool, flags: u32) -> Answer<()> {
    check_flags(
        flags,
        0,
        if on {
            "virInterfaceCreate"
        } else {
            "virInterfaceDestroy"
        },
    )?;
    by_name(client, name)?;
    Ok(client.engine.switch_host_interface(name, on)?)
}

fn interfaces(client: &Client) -> Answer<Vec<HostInterface>> {
    Ok(client.engine.host_interfaces()?)
}

fn names(client: &Client, active: bool) -> Answer<Vec<String>> {
    let all = interfaces(client)?.into_iter();
    Ok(all.filter(|i| i.active == active).map(|i| i.name).collect())
}

fn by_name(client: &Client, name: &str) -> Answer<HostInterface> {
    let found = interfaces(client)?.into_iter().find(|i| i.name == name);
    found.ok_or_else(|| missing(format!("couldn't find interface named '{name}'")))
}

fn missing(message: String) -> Failure {
    Failure(RpcError::new(
        ErrorCode::NoInterface,
        ErrorDomain::Interface,
        message,
    ))
}

fn remote(interface: &HostInterface) -> RemoteInterface {
    RemoteInterface {
        name: interface.name.clone(),
        mac: interface.mac.clone(),
    }
}
