//! Events of the host's processors that are counted for a machine.

use std::sync::Arc;

use engine::tuning::{PERF_EVENTS, Tuning, perf_event_is_on};
use wire::remote::*;
use wire::xdr::TypedParamValue;

use super::domain;
use super::parameters::{Asked, Kind, affect_only, asked, check};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_perf_events);
    dispatch.task(set_perf_events);
}

async fn get_perf_events(
    client: Arc<Client>,
    args: DomainGetPerfEventsArgs,
) -> Answer<DomainGetPerfEventsRet> {
    let handle = domain(&client, &args.dom)?;
    let Asked { definition, .. } = asked(&handle, args.flags, "qemuDomainGetPerfEvents")?;
    let event = |name: &&str| TypedParam::new(*name, perf_event_is_on(&definition, name));
    let params = PERF_EVENTS.iter().map(event).collect();
    Ok(DomainGetPerfEventsRet { params })
}

async fn set_perf_events(client: Arc<Client>, args: DomainSetPerfEventsArgs) -> Answer<()> {
    let affect = affect_only(args.flags, "qemuDomainSetPerfEvents")?;
    check(&args.params, &PERF_EVENTS.map(|name| (name, Kind::Boolean)))?;
    let change = |param: TypedParam| match param.value {
        TypedParamValue::Boolean(on) => Some((param.field, on)),
        _ => None,
    };
    let changes = args.params.into_iter().filter_map(change).collect();
    let handle = domain(&client, &args.dom)?;
    Ok(handle.tune(Tuning::Perf(changes), affect).await?)
}
