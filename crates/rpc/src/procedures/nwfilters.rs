//! Network filters and their bindings.

use engine::nwfilter::{Binding, Filter};
use model::schema::Schema;
use wire::remote::*;

use super::{check_flags, not_negative, states, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

/// `VIR_NWFILTER_DEFINE_VALIDATE` and `VIR_NWFILTER_BINDING_CREATE_VALIDATE`.
const VALIDATE: u32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(lookup_by_name);
    dispatch.inline(lookup_by_uuid);
    dispatch.inline(get_xml_desc);
    dispatch.inline(list_all);
    dispatch.inline(count);
    dispatch.inline(names);
    dispatch.inline(binding_lookup);
    dispatch.inline(binding_xml);
    dispatch.inline(list_bindings);
    dispatch.task(|client, args: NwfilterDefineXmlArgs| async move {
        let nwfilter = remote(&client.engine.define_filter(&args.xml).await?);
        Ok(NwfilterDefineXmlRet { nwfilter })
    });
    dispatch.task(|client, args: NwfilterDefineXmlFlagsArgs| async move {
        check_flags(args.flags, VALIDATE, "virNWFilterDefineXMLFlags")?;
        validate(args.flags, VALIDATE, Schema::Filter, &args.xml)?;
        let nwfilter = remote(&client.engine.define_filter(&args.xml).await?);
        Ok(NwfilterDefineXmlFlagsRet { nwfilter })
    });
    dispatch.task(|client, args: NwfilterUndefineArgs| async move {
        let uuid = uuid::Uuid::from_bytes(args.nwfilter.uuid);
        Ok(client.engine.undefine_filter(uuid).await?)
    });
    dispatch.task(|client, args: NwfilterBindingCreateXmlArgs| async move {
        check_flags(args.flags, VALIDATE, "virNWFilterBindingCreateXML")?;
        validate(args.flags, VALIDATE, Schema::FilterBinding, &args.xml)?;
        let nwfilter = remote_binding(&client.engine.bind_filter(&args.xml).await?);
        Ok(NwfilterBindingCreateXmlRet { nwfilter })
    });
    dispatch.task(|client, args: NwfilterBindingDeleteArgs| async move {
        Ok(client.engine.unbind_filter(&args.nwfilter.portdev).await?)
    });
}

fn remote(filter: &Filter) -> RemoteNwfilter {
    RemoteNwfilter {
        name: filter.name.clone(),
        uuid: filter.uuid.unwrap_or_default().into_bytes(),
    }
}

fn remote_binding(binding: &Binding) -> RemoteNwfilterBinding {
    RemoteNwfilterBinding {
        portdev: binding.portdev.name.clone(),
        filtername: binding.filterref.filter.clone(),
    }
}

fn lookup_by_name(
    client: &Client,
    args: NwfilterLookupByNameArgs,
) -> Answer<NwfilterLookupByNameRet> {
    let nwfilter = remote(&client.engine.filter_by_name(&args.name)?);
    Ok(NwfilterLookupByNameRet { nwfilter })
}

fn lookup_by_uuid(
    client: &Client,
    args: NwfilterLookupByUuidArgs,
) -> Answer<NwfilterLookupByUuidRet> {
    let uuid = uuid::Uuid::from_bytes(args.uuid);
    let nwfilter = remote(&client.engine.filter_by_uuid(uuid)?);
    Ok(NwfilterLookupByUuidRet { nwfilter })
}

fn get_xml_desc(client: &Client, args: NwfilterGetXmlDescArgs) -> Answer<NwfilterGetXmlDescRet> {
    check_flags(args.flags, 0, "nwfilterGetXMLDesc")?;
    let uuid = uuid::Uuid::from_bytes(args.nwfilter.uuid);
    Ok(NwfilterGetXmlDescRet {
        xml: client.engine.filter_by_uuid(uuid)?.to_xml(),
    })
}

fn list_all(
    client: &Client,
    args: ConnectListAllNwfiltersArgs,
) -> Answer<ConnectListAllNwfiltersRet> {
    check_flags(args.flags, 0, "connectListAllNWFilters")?;
    let filters = client.engine.filters().iter().map(remote).collect();
    let (filters, ret) = states::listed(filters, args.need_results);
    Ok(ConnectListAllNwfiltersRet { filters, ret })
}

fn count(client: &Client, _: ConnectNumOfNwfiltersArgs) -> Answer<ConnectNumOfNwfiltersRet> {
    Ok(ConnectNumOfNwfiltersRet {
        num: client.engine.filters().len() as i32,
    })
}

fn names(client: &Client, args: ConnectListNwfiltersArgs) -> Answer<ConnectListNwfiltersRet> {
    let max = not_negative(args.maxnames, "maxnames", "virConnectListNWFilters")?;
    let filters = client.engine.filters().into_iter();
    Ok(ConnectListNwfiltersRet {
        names: filters.map(|filter| filter.name).take(max).collect(),
    })
}

fn binding_lookup(
    client: &Client,
    args: NwfilterBindingLookupByPortDevArgs,
) -> Answer<NwfilterBindingLookupByPortDevRet> {
    let nwfilter = remote_binding(&client.engine.binding_of(&args.name)?.binding);
    Ok(NwfilterBindingLookupByPortDevRet { nwfilter })
}

fn binding_xml(
    client: &Client,
    args: NwfilterBindingGetXmlDescArgs,
) -> Answer<NwfilterBindingGetXmlDescRet> {
    check_flags(args.flags, 0, "nwfilterBindingGetXMLDesc")?;
    let bound = client.engine.binding_of(&args.nwfilter.portdev)?;
    Ok(NwfilterBindingGetXmlDescRet {
        xml: bound.binding.to_xml(),
    })
}

fn list_bindings(
    client: &Client,
    args: ConnectListAllNwfilterBindingsArgs,
) -> Answer<ConnectListAllNwfilterBindingsRet> {
    check_flags(args.flags, 0, "connectListAllNWFilterBindings")?;
    let bound = client.engine.bindings();
    let bindings = bound
        .iter()
        .map(|bound| remote_binding(&bound.binding))
        .collect();
    let (bindings, ret) = states::listed(bindings, args.need_results);
    Ok(ConnectListAllNwfilterBindingsRet { bindings, ret })
}
