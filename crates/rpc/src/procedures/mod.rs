//! The procedures, by group. Each file registers its own.

mod block_jobs;
mod capabilities;
mod connect;
mod cpu_models;
mod domain_agent;
mod domain_console;
mod domain_cpus;
mod domain_define;
mod domain_devices;
mod domain_disk_limits;
mod domain_guest;
mod domain_info;
mod domain_inspect;
mod domain_iothreads;
mod domain_life;
mod domain_limits;
mod domain_list;
mod domain_metadata;
mod domain_perf;
mod domain_save;
mod domain_scheduler;
mod domain_stats;
mod domain_tune;
mod host_interfaces;
pub(crate) mod job;
mod monitor_events;
mod network_ports;
mod networks;
mod node;
mod node_devices;
mod node_memory;
mod nwfilters;
mod parameters;
mod secrets;
pub(crate) mod session;
mod snapshots;
mod states;
mod storage_pools;
mod storage_volumes;

use engine::{DomainHandle, EngineError, ErrorKind};
use model::XmlErrorKind;
use model::schema::Schema;
pub(crate) use secrets::remote as remote_secret;
use wire::connection::Procedure;
use wire::errors::{ErrorCode, ErrorDomain};
use wire::remote::{RemoteDomain, RpcError};

use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(crate) use session::{before_open, by_connection};

/// Fills the table.
pub(crate) fn register(dispatch: &mut Dispatch) {
    block_jobs::register(dispatch);
    capabilities::register(dispatch);
    connect::register(dispatch);
    cpu_models::register(dispatch);
    node::register(dispatch);
    node_devices::register(dispatch);
    domain_list::register(dispatch);
    domain_info::register(dispatch);
    domain_define::register(dispatch);
    domain_devices::register(dispatch);
    domain_life::register(dispatch);
    domain_save::register(dispatch);
    domain_metadata::register(dispatch);
    domain_tune::register(dispatch);
    domain_scheduler::register(dispatch);
    domain_limits::register(dispatch);
    domain_perf::register(dispatch);
    domain_guest::register(dispatch);
    domain_inspect::register(dispatch);
    domain_iothreads::register(dispatch);
    node_memory::register(dispatch);
    domain_disk_limits::register(dispatch);
    domain_stats::register(dispatch);
    domain_cpus::register(dispatch);
    domain_console::register(dispatch);
    domain_agent::register(dispatch);
    job::register(dispatch);
    monitor_events::register(dispatch);
    snapshots::register(dispatch);
    networks::register(dispatch);
    network_ports::register(dispatch);
    nwfilters::register(dispatch);
    host_interfaces::register(dispatch);
    secrets::register(dispatch);
    storage_pools::register(dispatch);
    storage_volumes::register(dispatch);
}

/// The domain a client means: by uuid, as libvirt does, so that a rename does not confuse it.
pub(crate) fn domain(client: &Client, dom: &RemoteDomain) -> Answer<DomainHandle> {
    let uuid = uuid::Uuid::from_bytes(dom.uuid);
    client.engine.domain_by_uuid(uuid).map_err(|error| {
        if error.kind != ErrorKind::NoDomain {
            return error.into();
        }
        let detail = format!("no domain with matching uuid '{uuid}' ({})", dom.name);
        EngineError::new(ErrorKind::NoDomain, detail).into()
    })
}

/// The domain as it is told to clients.
pub(crate) fn remote_domain(handle: &DomainHandle) -> RemoteDomain {
    let view = handle.view();
    RemoteDomain {
        name: view.name.to_string(),
        uuid: view.uuid.into_bytes(),
        id: view.id().unwrap_or(-1),
    }
}

/// Looks whether a document has only what its kind knows, where `flag` of `flags` asks for that.
pub(crate) fn validate(flags: u32, flag: u32, schema: Schema, xml: &str) -> Answer<()> {
    if flags & flag == 0 {
        return Ok(());
    }
    schema.check(xml).map_err(|error| {
        let code = match error.kind {
            XmlErrorKind::Schema => ErrorCode::XmlInvalidSchema,
            _ => ErrorCode::XmlError,
        };
        Failure(RpcError::new(code, ErrorDomain::Xml, error.to_string()))
    })
}

/// Refuses flags that the call does not know.
pub(crate) fn check_flags(flags: u32, known: u32, function: &str) -> Answer<()> {
    match flags & !known {
        0 => Ok(()),
        unknown => Err(Failure::invalid_arg(format!(
            "unsupported flags (0x{unknown:x}) in function {function}"
        ))),
    }
}

/// Refuses two flags that exclude each other.
pub(crate) fn exclusive_flags(flags: u32, a: (u32, &str), b: (u32, &str)) -> Answer<()> {
    match flags & a.0 != 0 && flags & b.0 != 0 {
        false => Ok(()),
        true => Err(Failure::invalid_arg(format!(
            "Flags '{}' and '{}' are mutually exclusive",
            a.1, b.1
        ))),
    }
}

/// An argument that must be at least one.
pub(crate) fn positive(value: i32, name: &str, function: &str) -> Answer<usize> {
    match usize::try_from(value) {
        Ok(value) if value > 0 => Ok(value),
        _ => Err(must(name, function, "be greater than zero")),
    }
}

/// An argument that must not be negative.
pub(crate) fn not_negative(value: i32, name: &str, function: &str) -> Answer<usize> {
    usize::try_from(value).map_err(|_| must(name, function, "be zero or greater"))
}

fn must(name: &str, function: &str, what: &str) -> Failure {
    Failure::new(
        ErrorCode::InvalidArg,
        format!("{name} in {function} must {what}"),
    )
}

/// Which part of libvirt an error about this procedure comes from.
pub(crate) fn error_domain(procedure: Procedure) -> ErrorDomain {
    let name = match procedure {
        Procedure::Remote(procedure) => procedure.name(),
        Procedure::Qemu(_) => return ErrorDomain::Domain,
    };
    const PREFIXES: &[(&str, ErrorDomain)] = &[
        ("DOMAIN_SNAPSHOT_", ErrorDomain::DomainSnapshot),
        ("DOMAIN_CHECKPOINT_", ErrorDomain::DomainCheckpoint),
        ("NETWORK_", ErrorDomain::Network),
        ("STORAGE_", ErrorDomain::Storage),
        ("NODE_DEVICE_", ErrorDomain::Nodedev),
        ("INTERFACE_", ErrorDomain::Interface),
        ("SECRET_", ErrorDomain::Secret),
        ("NWFILTER_", ErrorDomain::Nwfilter),
    ];
    PREFIXES
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map_or(ErrorDomain::Domain, |(_, domain)| *domain)
}
