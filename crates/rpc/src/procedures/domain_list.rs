//! Finding domains: by name, uuid, id, and all of them.

use engine::DomainView;
use engine::machine::Status;
use wire::consts::flags::*;
use wire::remote::*;

use super::{check_flags, not_negative, remote_domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(lookup_by_name);
    dispatch.inline(lookup_by_uuid);
    dispatch.inline(lookup_by_id);
    dispatch.inline(list_all);
    dispatch.inline(num_of_domains);
    dispatch.inline(list_domains);
    dispatch.inline(num_of_defined);
    dispatch.inline(list_defined);
}

fn lookup_by_name(client: &Client, args: DomainLookupByNameArgs) -> Answer<DomainLookupByNameRet> {
    let handle = client.engine.domain_by_name(&args.name)?;
    Ok(DomainLookupByNameRet {
        dom: remote_domain(&handle),
    })
}

fn lookup_by_uuid(client: &Client, args: DomainLookupByUuidArgs) -> Answer<DomainLookupByUuidRet> {
    let uuid = uuid::Uuid::from_bytes(args.uuid);
    let handle = client.engine.domain_by_uuid(uuid)?;
    Ok(DomainLookupByUuidRet {
        dom: remote_domain(&handle),
    })
}

fn lookup_by_id(client: &Client, args: DomainLookupByIdArgs) -> Answer<DomainLookupByIdRet> {
    let handle = client.engine.domain_by_id(args.id)?;
    Ok(DomainLookupByIdRet {
        dom: remote_domain(&handle),
    })
}

fn list_all(client: &Client, args: ConnectListAllDomainsArgs) -> Answer<ConnectListAllDomainsRet> {
    const ALL: u32 = VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT * 2 - 1;
    check_flags(args.flags, ALL, "virConnectListAllDomains")?;
    let domains: Vec<RemoteDomain> = client
        .engine
        .domains()
        .iter()
        .filter(|handle| is_wanted(&handle.view(), args.flags))
        .map(remote_domain)
        .collect();
    let ret = domains.len() as u32;
    Ok(ConnectListAllDomainsRet {
        domains: match args.need_results {
            0 => Vec::new(),
            _ => domains,
        },
        ret,
    })
}

/// Whether a domain passes the filter: each group of flags that has any set must be met.
pub(super) fn is_wanted(view: &DomainView, flags: u32) -> bool {
    // Checkpoints are not kept yet: no domain has any.
    let groups: [&[(u32, bool)]; 7] = [
        &[
            (VIR_CONNECT_LIST_DOMAINS_ACTIVE, view.is_active()),
            (VIR_CONNECT_LIST_DOMAINS_INACTIVE, !view.is_active()),
        ],
        &[
            (VIR_CONNECT_LIST_DOMAINS_PERSISTENT, view.is_persistent()),
            (VIR_CONNECT_LIST_DOMAINS_TRANSIENT, !view.is_persistent()),
        ],
        &[
            (
                VIR_CONNECT_LIST_DOMAINS_RUNNING,
                matches!(view.status, Status::Running(_)),
            ),
            (
                VIR_CONNECT_LIST_DOMAINS_PAUSED,
                matches!(view.status, Status::Paused(_)),
            ),
            (
                VIR_CONNECT_LIST_DOMAINS_SHUTOFF,
                matches!(view.status, Status::Off(_)),
            ),
            (
                VIR_CONNECT_LIST_DOMAINS_OTHER,
                !matches!(
                    view.status,
                    Status::Running(_) | Status::Paused(_) | Status::Off(_)
                ),
            ),
        ],
        &[
            (VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, view.managed_save),
            (VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE, !view.managed_save),
        ],
        &[
            (VIR_CONNECT_LIST_DOMAINS_AUTOSTART, view.autostart),
            (VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART, !view.autostart),
        ],
        &[
            (
                VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT,
                !view.snapshots.is_empty(),
            ),
            (
                VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT,
                view.snapshots.is_empty(),
            ),
        ],
        &[
            (VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT, false),
            (VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT, true),
        ],
    ];
    groups.iter().all(|group| {
        let asked = group.iter().any(|(flag, _)| flags & flag != 0);
        !asked || group.iter().any(|(flag, met)| flags & flag != 0 && *met)
    })
}

fn num_of_domains(client: &Client, _: ConnectNumOfDomainsArgs) -> Answer<ConnectNumOfDomainsRet> {
    Ok(ConnectNumOfDomainsRet {
        num: client.engine.domain_counts().0 as i32,
    })
}

fn list_domains(client: &Client, args: ConnectListDomainsArgs) -> Answer<ConnectListDomainsRet> {
    let max = not_negative(args.maxids, "maxids", "virConnectListDomains")?;
    let ids = client
        .engine
        .domains()
        .iter()
        .filter_map(|handle| handle.view().id())
        .take(max)
        .collect();
    Ok(ConnectListDomainsRet { ids })
}

fn num_of_defined(
    client: &Client,
    _: ConnectNumOfDefinedDomainsArgs,
) -> Answer<ConnectNumOfDefinedDomainsRet> {
    Ok(ConnectNumOfDefinedDomainsRet {
        num: client.engine.domain_counts().1 as i32,
    })
}

fn list_defined(
    client: &Client,
    args: ConnectListDefinedDomainsArgs,
) -> Answer<ConnectListDefinedDomainsRet> {
    let max = not_negative(args.maxnames, "maxnames", "virConnectListDefinedDomains")?;
    let names = client
        .engine
        .domains()
        .iter()
        .map(|handle| handle.view())
        .filter(|view| !view.is_active())
        .take(max)
        .map(|view| view.name.to_string())
        .collect();
    Ok(ConnectListDefinedDomainsRet { names })
}
