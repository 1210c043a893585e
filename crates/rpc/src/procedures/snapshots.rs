//! Snapshots of domains.

use std::sync::Arc;

use engine::options::{SnapshotCreate, SnapshotDelete, SnapshotRevert};
use engine::snapshots::{SnapshotHead, SnapshotTree};
use engine::{DomainHandle, EngineError, ErrorKind};
use model::schema::Schema;
use wire::consts::flags::*;
use wire::remote::*;

use super::{check_flags, domain, exclusive_flags, not_negative, remote_domain, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    register_lists(dispatch);
    dispatch.inline(|client, args: DomainSnapshotGetXmlDescArgs| {
        let known = VIR_DOMAIN_SNAPSHOT_XML_SECURE;
        check_flags(args.flags, known, "qemuDomainSnapshotGetXMLDesc")?;
        let secure = args.flags & VIR_DOMAIN_SNAPSHOT_XML_SECURE != 0;
        if secure && client.is_read_only() {
            return Err(EngineError::new(
                ErrorKind::AccessDenied,
                "virDomainSnapshotGetXMLDesc with secure flag",
            )
            .into());
        }
        let handle = domain(client, &args.snap.dom)?;
        let xml = handle.snapshot_xml(&args.snap.name, secure)?;
        Ok(DomainSnapshotGetXmlDescRet { xml })
    });
    dispatch.inline(|client, args: DomainSnapshotLookupByNameArgs| {
        check_flags(args.flags, 0, "qemuDomainSnapshotLookupByName")?;
        let handle = domain(client, &args.dom)?;
        let snap = remote_snapshot(&handle, &handle.snapshot(&args.name)?.name);
        Ok(DomainSnapshotLookupByNameRet { snap })
    });
    dispatch.inline(|client, args: DomainHasCurrentSnapshotArgs| {
        check_flags(args.flags, 0, "qemuDomainHasCurrentSnapshot")?;
        let tree = domain(client, &args.dom)?.snapshots();
        let result = tree.current().is_some().into();
        Ok(DomainHasCurrentSnapshotRet { result })
    });
    dispatch.inline(|client, args: DomainSnapshotCurrentArgs| {
        check_flags(args.flags, 0, "qemuDomainSnapshotCurrent")?;
        let handle = domain(client, &args.dom)?;
        let tree = handle.snapshots();
        let current = tree
            .current()
            .ok_or_else(|| no_snapshot("the domain does not have a current snapshot"))?;
        let snap = remote_snapshot(&handle, current);
        Ok(DomainSnapshotCurrentRet { snap })
    });
    dispatch.inline(|client, args: DomainSnapshotGetParentArgs| {
        check_flags(args.flags, 0, "qemuDomainSnapshotGetParent")?;
        let handle = domain(client, &args.snap.dom)?;
        let head = handle.snapshot(&args.snap.name)?;
        let parent = head.parent.as_deref().ok_or_else(|| {
            no_snapshot(&format!("snapshot '{}' does not have a parent", head.name))
        })?;
        let snap = remote_snapshot(&handle, parent);
        Ok(DomainSnapshotGetParentRet { snap })
    });
    dispatch.inline(|client, args: DomainSnapshotIsCurrentArgs| {
        check_flags(args.flags, 0, "qemuDomainSnapshotIsCurrent")?;
        let handle = domain(client, &args.snap.dom)?;
        let head = handle.snapshot(&args.snap.name)?;
        let current = (handle.snapshots().current() == Some(&head.name)).into();
        Ok(DomainSnapshotIsCurrentRet { current })
    });
    dispatch.inline(|client, args: DomainSnapshotHasMetadataArgs| {
        check_flags(args.flags, 0, "qemuDomainSnapshotHasMetadata")?;
        domain(client, &args.snap.dom)?.snapshot(&args.snap.name)?;
        // Whatever we know of is metadata of ours.
        Ok(DomainSnapshotHasMetadataRet { metadata: 1 })
    });
    dispatch.task(create);
    dispatch.task(revert);
    dispatch.task(delete);
}

fn register_lists(dispatch: &mut Dispatch) {
    dispatch.inline(|client, args: DomainSnapshotNumArgs| {
        let (_, heads) = of_domain(client, &args.dom, args.flags)?;
        Ok(DomainSnapshotNumRet {
            num: count(heads.len()),
        })
    });
    dispatch.inline(|client, args: DomainSnapshotListNamesArgs| {
        let max = not_negative(args.maxnames, "nameslen", "virDomainSnapshotListNames")?;
        let (_, heads) = of_domain(client, &args.dom, args.flags)?;
        Ok(DomainSnapshotListNamesRet {
            names: names(&heads, max),
        })
    });
    dispatch.inline(|client, args: DomainListAllSnapshotsArgs| {
        let (handle, heads) = of_domain(client, &args.dom, args.flags)?;
        let (snapshots, ret) = all(&handle, &heads, args.need_results);
        Ok(DomainListAllSnapshotsRet { snapshots, ret })
    });
    dispatch.inline(|client, args: DomainSnapshotNumChildrenArgs| {
        let (_, heads) = of_snapshot(client, &args.snap, args.flags)?;
        Ok(DomainSnapshotNumChildrenRet {
            num: count(heads.len()),
        })
    });
    dispatch.inline(|client, args: DomainSnapshotListChildrenNamesArgs| {
        let max = not_negative(
            args.maxnames,
            "nameslen",
            "virDomainSnapshotListChildrenNames",
        )?;
        let (_, heads) = of_snapshot(client, &args.snap, args.flags)?;
        Ok(DomainSnapshotListChildrenNamesRet {
            names: names(&heads, max),
        })
    });
    dispatch.inline(|client, args: DomainSnapshotListAllChildrenArgs| {
        let (handle, heads) = of_snapshot(client, &args.snapshot, args.flags)?;
        let (snapshots, ret) = all(&handle, &heads, args.need_results);
        Ok(DomainSnapshotListAllChildrenRet { snapshots, ret })
    });
}

type Heads = Vec<Arc<SnapshotHead>>;

/// All that list flags have in common: from the first to the last.
const LIST_KNOWN: u32 = VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL * 2 - 1;

fn of_domain(client: &Client, dom: &RemoteDomain, flags: u32) -> Answer<(DomainHandle, Heads)> {
    check_flags(flags, LIST_KNOWN, "qemuDomainListAllSnapshots")?;
    let handle = domain(client, dom)?;
    let tree = handle.snapshots();
    let heads = if flags & VIR_DOMAIN_SNAPSHOT_LIST_ROOTS != 0 {
        tree.roots()
    } else if flags & VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL != 0 {
        tree.descendants(None)
    } else {
        tree.all().cloned().collect()
    };
    let heads = filtered(&tree, heads, flags);
    Ok((handle, heads))
}

fn of_snapshot(
    client: &Client,
    snap: &RemoteDomainSnapshot,
    flags: u32,
) -> Answer<(DomainHandle, Heads)> {
    check_flags(flags, LIST_KNOWN, "qemuDomainSnapshotListAllChildren")?;
    let handle = domain(client, &snap.dom)?;
    let name = &handle.snapshot(&snap.name)?.name;
    let tree = handle.snapshots();
    let heads = match flags & VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS {
        0 => tree.children(name),
        _ => tree.descendants(Some(name)),
    };
    let heads = filtered(&tree, heads, flags);
    Ok((handle, heads))
}

/// Those that pass: each group of flags that has any set must be met.
fn filtered(tree: &SnapshotTree, heads: Heads, flags: u32) -> Heads {
    let passes = |head: &SnapshotHead| {
        let is_leaf = tree.children(&head.name).is_empty();
        let groups: [&[(u32, bool)]; 4] = [
            &[
                (VIR_DOMAIN_SNAPSHOT_LIST_METADATA, true),
                (VIR_DOMAIN_SNAPSHOT_LIST_NO_METADATA, false),
            ],
            &[
                (VIR_DOMAIN_SNAPSHOT_LIST_LEAVES, is_leaf),
                (VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES, !is_leaf),
            ],
            &[
                (VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE, head.is_inactive()),
                (VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY, head.is_disk_only()),
                (
                    VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE,
                    !head.is_inactive() && !head.is_disk_only(),
                ),
            ],
            &[
                (VIR_DOMAIN_SNAPSHOT_LIST_INTERNAL, !head.external),
                (VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL, head.external),
            ],
        ];
        groups.iter().all(|group| {
            let asked = group.iter().any(|(flag, _)| flags & flag != 0);
            !asked || group.iter().any(|(flag, met)| flags & flag != 0 && *met)
        })
    };
    heads.into_iter().filter(|head| passes(head)).collect()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn names(heads: &Heads, max: usize) -> Vec<String> {
    heads
        .iter()
        .take(max)
        .map(|head| head.name.clone())
        .collect()
}

fn all(
    handle: &DomainHandle,
    heads: &Heads,
    need_results: i32,
) -> (Vec<RemoteDomainSnapshot>, i32) {
    let snapshots = match need_results {
        0 => Vec::new(),
        _ => heads
            .iter()
            .map(|head| remote_snapshot(handle, &head.name))
            .collect(),
    };
    (snapshots, count(heads.len()))
}

fn remote_snapshot(handle: &DomainHandle, name: &str) -> RemoteDomainSnapshot {
    RemoteDomainSnapshot {
        name: name.to_owned(),
        dom: remote_domain(handle),
    }
}

fn no_snapshot(why: &str) -> Failure {
    EngineError::new(ErrorKind::NoSnapshot, why).into()
}

async fn create(
    client: Arc<Client>,
    args: DomainSnapshotCreateXmlArgs,
) -> Answer<DomainSnapshotCreateXmlRet> {
    /// All of them, from the first to the last.
    const KNOWN: u32 = VIR_DOMAIN_SNAPSHOT_CREATE_VALIDATE * 2 - 1;
    let flags = args.flags;
    check_flags(flags, KNOWN, "qemuDomainSnapshotCreateXML")?;
    let has = |flag| flags & flag != 0;
    let required = |flag: (u32, &str), needed: (u32, &str)| match has(flag.0) && !has(needed.0) {
        false => Ok(()),
        true => Err(Failure::invalid_arg(format!(
            "Flag '{}' is required by flag '{}'",
            needed.1, flag.1
        ))),
    };
    let redefine = (
        VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE,
        "VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE",
    );
    required(
        (
            VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT,
            "VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT",
        ),
        redefine,
    )?;
    required(
        (
            VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE,
            "VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE",
        ),
        (
            VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY,
            "VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY",
        ),
    )?;
    for other in [
        (
            VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA,
            "VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA",
        ),
        (
            VIR_DOMAIN_SNAPSHOT_CREATE_HALT,
            "VIR_DOMAIN_SNAPSHOT_CREATE_HALT",
        ),
    ] {
        exclusive_flags(flags, redefine, other)?;
    }
    exclusive_flags(
        flags,
        (
            VIR_DOMAIN_SNAPSHOT_CREATE_LIVE,
            "VIR_DOMAIN_SNAPSHOT_CREATE_LIVE",
        ),
        (
            VIR_DOMAIN_SNAPSHOT_CREATE_HALT,
            "VIR_DOMAIN_SNAPSHOT_CREATE_HALT",
        ),
    )?;
    let options = SnapshotCreate {
        redefine: has(VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE),
        current: has(VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT),
        no_metadata: has(VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA),
        halt: has(VIR_DOMAIN_SNAPSHOT_CREATE_HALT),
        disk_only: has(VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY),
        reuse: has(VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT),
        quiesce: has(VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE),
        live: has(VIR_DOMAIN_SNAPSHOT_CREATE_LIVE),
    };
    let validated = VIR_DOMAIN_SNAPSHOT_CREATE_VALIDATE;
    validate(flags, validated, Schema::Snapshot, &args.xml_desc)?;
    let handle = domain(&client, &args.dom)?;
    let name = handle.create_snapshot(&args.xml_desc, options).await?;
    Ok(DomainSnapshotCreateXmlRet {
        snap: remote_snapshot(&handle, &name),
    })
}

async fn revert(client: Arc<Client>, args: DomainRevertToSnapshotArgs) -> Answer<()> {
    /// All of them, from the first to the last.
    const KNOWN: u32 = VIR_DOMAIN_SNAPSHOT_REVERT_RESET_NVRAM * 2 - 1;
    let flags = args.flags;
    check_flags(flags, KNOWN, "qemuDomainRevertToSnapshot")?;
    exclusive_flags(
        flags,
        (
            VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING,
            "VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING",
        ),
        (
            VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED,
            "VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED",
        ),
    )?;
    let options = SnapshotRevert {
        running: flags & VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING != 0,
        paused: flags & VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED != 0,
        force: flags & VIR_DOMAIN_SNAPSHOT_REVERT_FORCE != 0,
        reset_nvram: flags & VIR_DOMAIN_SNAPSHOT_REVERT_RESET_NVRAM != 0,
    };
    let handle = domain(&client, &args.snap.dom)?;
    Ok(handle.revert_to_snapshot(&args.snap.name, options).await?)
}

async fn delete(client: Arc<Client>, args: DomainSnapshotDeleteArgs) -> Answer<()> {
    /// All of them, from the first to the last.
    const KNOWN: u32 = VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY * 2 - 1;
    let flags = args.flags;
    check_flags(flags, KNOWN, "qemuDomainSnapshotDelete")?;
    exclusive_flags(
        flags,
        (
            VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN,
            "VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN",
        ),
        (
            VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY,
            "VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY",
        ),
    )?;
    let options = SnapshotDelete {
        children: flags & VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN != 0,
        children_only: flags & VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY != 0,
        metadata_only: flags & VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY != 0,
    };
    let handle = domain(&client, &args.snap.dom)?;
    Ok(handle.delete_snapshot(&args.snap.name, options).await?)
}
