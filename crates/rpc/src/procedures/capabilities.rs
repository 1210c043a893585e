//! What the host and its machines can be, and versions.

use std::sync::Arc;

use engine::MachineQuestion;
use wire::errors::ErrorCode;
use wire::remote::*;

use super::check_flags;
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// Processors libvirt grants a machine that is emulated, whatever QEMU could do.
const EMULATED_VCPUS_MAX: i32 = 16;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(get_capabilities);
    dispatch.task(get_domain_capabilities);
    dispatch.task(get_version);
    dispatch.inline(get_max_vcpus);
    dispatch.inline(get_sysinfo);
    dispatch.inline(get_sev_info);
}

async fn get_capabilities(
    client: Arc<Client>,
    _: ConnectGetCapabilitiesArgs,
) -> Answer<ConnectGetCapabilitiesRet> {
    let capabilities = client.engine.capabilities().await?;
    Ok(ConnectGetCapabilitiesRet { capabilities })
}

async fn get_domain_capabilities(
    client: Arc<Client>,
    args: ConnectGetDomainCapabilitiesArgs,
) -> Answer<ConnectGetDomainCapabilitiesRet> {
    check_flags(args.flags, 0, "virConnectGetDomainCapabilities")?;
    let question = MachineQuestion {
        emulator: args.emulatorbin.map(Into::into),
        arch: args.arch,
        machine: args.machine,
        domain_type: args.virttype,
    };
    let capabilities = client.engine.domain_capabilities(&question).await?;
    Ok(ConnectGetDomainCapabilitiesRet { capabilities })
}

async fn get_version(
    client: Arc<Client>,
    _: ConnectGetVersionArgs,
) -> Answer<ConnectGetVersionRet> {
    let hv_ver = client.engine.qemu_version().await?;
    Ok(ConnectGetVersionRet { hv_ver })
}

fn get_max_vcpus(_: &Client, args: ConnectGetMaxVcpusArgs) -> Answer<ConnectGetMaxVcpusRet> {
    let kind = args.kind.unwrap_or_default().to_ascii_lowercase();
    let max_vcpus = match kind.as_str() {
        "" | "qemu" => EMULATED_VCPUS_MAX,
        "kvm" => sys::kvm::max_vcpus().unwrap_or(EMULATED_VCPUS_MAX),
        other => return Err(Failure::invalid_arg(format!("unknown type '{other}'"))),
    };
    Ok(ConnectGetMaxVcpusRet { max_vcpus })
}

fn get_sysinfo(client: &Client, args: ConnectGetSysinfoArgs) -> Answer<ConnectGetSysinfoRet> {
    check_flags(args.flags, 0, "virConnectGetSysinfo")?;
    let sysinfo = client.engine.sysinfo()?;
    Ok(ConnectGetSysinfoRet { sysinfo })
}

/// Encrypted memory is something machines cannot have here, whatever the host's processor could do.
fn get_sev_info(_: &Client, args: NodeGetSevInfoArgs) -> Answer<NodeGetSevInfoRet> {
    check_flags(args.flags, 0, "qemuNodeGetSEVInfo")?;
    Err(Failure::new(
        ErrorCode::OperationUnsupported,
        "QEMU does not support SEV guest",
    ))
}
