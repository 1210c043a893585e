//! Changes of memory and processors.

use std::sync::Arc;

use wire::consts::flags::*;
use wire::remote::*;

use super::domain_guest::{is_of_guest, use_guest_vcpus};
use super::parameters::affect;
use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(|client, args: DomainSetMemoryArgs| {
        set_memory(client, args.dom, args.memory, VIR_DOMAIN_MEM_LIVE)
    });
    dispatch.task(|client, args: DomainSetMemoryFlagsArgs| {
        set_memory(client, args.dom, args.memory, args.flags)
    });
    dispatch.task(|client, args: DomainSetMaxMemoryArgs| {
        set_memory(client, args.dom, args.memory, VIR_DOMAIN_MEM_MAXIMUM)
    });
    dispatch.task(|client, args: DomainSetVcpusArgs| {
        set_vcpus(client, args.dom, args.nvcpus, VIR_DOMAIN_VCPU_LIVE)
    });
    dispatch.task(|client, args: DomainSetVcpusFlagsArgs| {
        set_vcpus(client, args.dom, args.nvcpus, args.flags)
    });
}

async fn set_memory(client: Arc<Client>, dom: RemoteDomain, kib: u64, flags: u32) -> Answer<()> {
    const KNOWN: u32 = VIR_DOMAIN_MEM_LIVE | VIR_DOMAIN_MEM_CONFIG | VIR_DOMAIN_MEM_MAXIMUM;
    check_flags(flags, KNOWN, "qemuDomainSetMemoryFlags")?;
    if kib == 0 {
        return Err(Failure::invalid_arg(
            "memory in virDomainSetMemory must not be zero",
        ));
    }
    let maximum = flags & VIR_DOMAIN_MEM_MAXIMUM != 0;
    let handle = domain(&client, &dom)?;
    Ok(handle.set_memory(kib, maximum, affect(flags)).await?)
}

async fn set_vcpus(client: Arc<Client>, dom: RemoteDomain, count: u32, flags: u32) -> Answer<()> {
    const KNOWN: u32 = VIR_DOMAIN_VCPU_LIVE
        | VIR_DOMAIN_VCPU_CONFIG
        | VIR_DOMAIN_VCPU_MAXIMUM
        | VIR_DOMAIN_VCPU_GUEST
        | VIR_DOMAIN_VCPU_HOTPLUGGABLE;
    check_flags(flags, KNOWN, "qemuDomainSetVcpusFlags")?;
    if count == 0 {
        return Err(Failure::invalid_arg(
            "nvcpus in virDomainSetVcpus must not be zero",
        ));
    }
    if is_of_guest(flags)? {
        return use_guest_vcpus(&client, &dom, count).await;
    }
    let maximum = flags & VIR_DOMAIN_VCPU_MAXIMUM != 0;
    let handle = domain(&client, &dom)?;
    Ok(handle.set_vcpus(count, maximum, affect(flags)).await?)
}
