//! Storage pools.

use std::sync::Arc;

use engine::pools::{BuildOverwrite, Pool, PoolView};
use model::schema::Schema;
use wire::errors::{ErrorCode, ErrorDomain};
use wire::remote::*;
use wire::xdr::{Encoder, Xdr};

use super::{check_flags, exclusive_flags, not_negative, states, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_STORAGE_POOL_DEFINE_VALIDATE`.
const DEFINE_VALIDATE: u32 = 1;
/// `VIR_STORAGE_POOL_INACTIVE`.
const STATE_INACTIVE: u8 = 0;
/// `VIR_STORAGE_POOL_RUNNING`.
const STATE_RUNNING: u8 = 2;

/// Volumes in one answer, at most, as the protocol has it.
const VOLUMES_MAX: usize = 16_384;
/// What a volume in an answer takes beside its texts: three lengths, and padding.
const VOLUME_FRAME_BYTES: usize = 21;

/// `VIR_CONNECT_LIST_STORAGE_POOLS_*`: the first of the kinds, and all of them.
mod list {
    pub(super) const KIND_FIRST: u32 = 64;
    pub(super) const KINDS: u32 = 0xf_ffc0;
}
/// `VIR_STORAGE_POOL_CREATE_WITH_BUILD`, and what happens to a file system that is there.
mod create_flag {
    pub(super) const BUILD: u32 = 1;
    pub(super) const BUILD_OVERWRITE: u32 = 2;
    pub(super) const BUILD_NO_OVERWRITE: u32 = 4;
    pub(super) const ALL: u32 = 7;
}
/// `VIR_STORAGE_POOL_BUILD_NO_OVERWRITE`.
const BUILD_NO_OVERWRITE: u32 = 4;
/// `VIR_STORAGE_POOL_BUILD_OVERWRITE`.
const BUILD_OVERWRITE: u32 = 8;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(lookup_by_name);
    dispatch.inline(lookup_by_uuid);
    dispatch.inline(lookup_by_volume);
    dispatch.inline(lookup_by_target_path);
    dispatch.inline(list_all);
    dispatch.inline(num_of_active);
    dispatch.inline(list_active);
    dispatch.inline(num_of_defined);
    dispatch.inline(list_defined);
    dispatch.inline(get_info);
    dispatch.inline(get_xml_desc);
    dispatch.inline(get_autostart);
    dispatch.inline(is_active);
    dispatch.inline(is_persistent);
    dispatch.inline(num_of_volumes);
    dispatch.inline(list_volumes);
    dispatch.inline_large(list_all_volumes);
    dispatch.task(refresh);
    dispatch.task(create);
    dispatch.task(destroy);
    dispatch.task(build);
    dispatch.task(delete);
    dispatch.inline(capabilities);
    dispatch.inline(find_sources);
    dispatch.task(|client, args: StoragePoolDefineXmlArgs| async move {
        check_flags(args.flags, DEFINE_VALIDATE, "storagePoolDefineXML")?;
        validate(args.flags, DEFINE_VALIDATE, Schema::Pool, &args.xml)?;
        let pool = client
            .engine
            .define_pool(&args.xml)
            .await
            .map_err(of_storage)?;
        Ok(StoragePoolDefineXmlRet {
            pool: remote(&pool),
        })
    });
    dispatch.task(|client, args: StoragePoolCreateXmlArgs| async move {
        let build = build_with_create(args.flags, "storagePoolCreateXML")?;
        let created = client.engine.create_pool(&args.xml, build).await;
        let pool = created.map_err(of_storage)?;
        Ok(StoragePoolCreateXmlRet {
            pool: remote(&pool),
        })
    });
    dispatch.task(|client, args: StoragePoolUndefineArgs| async move {
        pool(&client, &args.pool)?
            .undefine()
            .await
            .map_err(of_storage)
    });
    dispatch.task(|client, args: StoragePoolSetAutostartArgs| async move {
        let pool = pool(&client, &args.pool)?;
        pool.set_autostart(args.autostart != 0)
            .await
            .map_err(of_storage)
    });
}

/// An error of libvirt's storage driver.
pub(super) fn of_storage(error: engine::EngineError) -> Failure {
    let Failure(mut error) = error.into();
    error.domain = ErrorDomain::Storage.number();
    Failure(error)
}

/// The pool a client means, by uuid.
pub(super) fn pool(client: &Client, pool: &RemoteStoragePool) -> Answer<Pool> {
    let uuid = uuid::Uuid::from_bytes(pool.uuid);
    client.engine.pool_by_uuid(uuid).map_err(|error| {
        let detail = format!(
            "no storage pool with matching uuid '{uuid}' ({})",
            pool.name
        );
        engine::EngineError::new(error.kind, detail).into()
    })
}

pub(super) fn remote(pool: &Pool) -> RemoteStoragePool {
    let view = pool.view();
    RemoteStoragePool {
        name: view.name.to_string(),
        uuid: view.uuid.into_bytes(),
    }
}

fn lookup_by_name(
    client: &Client,
    args: StoragePoolLookupByNameArgs,
) -> Answer<StoragePoolLookupByNameRet> {
    let pool = remote(&client.engine.pool_by_name(&args.name)?);
    Ok(StoragePoolLookupByNameRet { pool })
}

fn lookup_by_uuid(
    client: &Client,
    args: StoragePoolLookupByUuidArgs,
) -> Answer<StoragePoolLookupByUuidRet> {
    let uuid = uuid::Uuid::from_bytes(args.uuid);
    let pool = remote(&client.engine.pool_by_uuid(uuid)?);
    Ok(StoragePoolLookupByUuidRet { pool })
}

fn lookup_by_volume(
    client: &Client,
    args: StoragePoolLookupByVolumeArgs,
) -> Answer<StoragePoolLookupByVolumeRet> {
    let pool = remote(&client.engine.pool_by_name(&args.vol.pool)?);
    Ok(StoragePoolLookupByVolumeRet { pool })
}

fn lookup_by_target_path(
    client: &Client,
    args: StoragePoolLookupByTargetPathArgs,
) -> Answer<StoragePoolLookupByTargetPathRet> {
    let path = args.path.trim_end_matches('/');
    let pool = remote(&client.engine.pool_by_path(path)?);
    Ok(StoragePoolLookupByTargetPathRet { pool })
}

fn list_all(
    client: &Client,
    args: ConnectListAllStoragePoolsArgs,
) -> Answer<ConnectListAllStoragePoolsRet> {
    let pools = client.engine.pools();
    let wanted = pools
        .iter()
        .filter(|pool| is_wanted(&pool.view(), args.flags));
    let (pools, ret) = states::listed(wanted.map(remote).collect(), args.need_results);
    Ok(ConnectListAllStoragePoolsRet { pools, ret })
}

fn is_wanted(pool: &PoolView, flags: u32) -> bool {
    let kind_fits = flags & list::KINDS == 0 || flags & kind_flag(pool) != 0;
    kind_fits && states::is_wanted(flags, pool.active, pool.persistent, pool.autostart)
}

/// libvirt's bit for the pool's kind; the bits are not in the order of the kinds.
fn kind_flag(pool: &PoolView) -> u32 {
    const ORDER: [&str; 14] = [
        "dir",
        "fs",
        "netfs",
        "logical",
        "disk",
        "iscsi",
        "scsi",
        "mpath",
        "rbd",
        "sheepdog",
        "gluster",
        "zfs",
        "vstorage",
        "iscsi-direct",
    ];
    let kind = pool.definition.kind.as_str();
    let place = ORDER.iter().position(|known| *known == kind);
    place.map_or(0, |place| list::KIND_FIRST << place)
}

fn names(client: &Client, active: bool) -> Vec<String> {
    let views = client.engine.pools().into_iter().map(|pool| pool.view());
    views
        .filter(|pool| pool.active == active)
        .map(|pool| pool.name.to_string())
        .collect()
}

fn num_of_active(
    client: &Client,
    _: ConnectNumOfStoragePoolsArgs,
) -> Answer<ConnectNumOfStoragePoolsRet> {
    Ok(ConnectNumOfStoragePoolsRet {
        num: names(client, true).len() as i32,
    })
}

fn list_active(
    client: &Client,
    args: ConnectListStoragePoolsArgs,
) -> Answer<ConnectListStoragePoolsRet> {
    let max = not_negative(args.maxnames, "maxnames", "virConnectListStoragePools")?;
    let names = names(client, true).into_iter().take(max).collect();
    Ok(ConnectListStoragePoolsRet { names })
}

fn num_of_defined(
    client: &Client,
    _: ConnectNumOfDefinedStoragePoolsArgs,
) -> Answer<ConnectNumOfDefinedStoragePoolsRet> {
    Ok(ConnectNumOfDefinedStoragePoolsRet {
        num: names(client, false).len() as i32,
    })
}

fn list_defined(
    client: &Client,
    args: ConnectListDefinedStoragePoolsArgs,
) -> Answer<ConnectListDefinedStoragePoolsRet> {
    let function = "virConnectListDefinedStoragePools";
    let max = not_negative(args.maxnames, "maxnames", function)?;
    let names = names(client, false).into_iter().take(max).collect();
    Ok(ConnectListDefinedStoragePoolsRet { names })
}

fn get_info(client: &Client, args: StoragePoolGetInfoArgs) -> Answer<StoragePoolGetInfoRet> {
    let pool = pool(client, &args.pool)?.view();
    Ok(StoragePoolGetInfoRet {
        state: match pool.active {
            true => STATE_RUNNING,
            false => STATE_INACTIVE,
        },
        capacity: pool.sizes.capacity,
        allocation: pool.sizes.allocation,
        available: pool.sizes.available,
    })
}

fn get_xml_desc(
    client: &Client,
    args: StoragePoolGetXmlDescArgs,
) -> Answer<StoragePoolGetXmlDescRet> {
    const INACTIVE: u32 = 1;
    check_flags(args.flags, INACTIVE, "storagePoolGetXMLDesc")?;
    let view = pool(client, &args.pool)?.view();
    Ok(StoragePoolGetXmlDescRet {
        xml: view.xml(args.flags & INACTIVE != 0),
    })
}

fn get_autostart(
    client: &Client,
    args: StoragePoolGetAutostartArgs,
) -> Answer<StoragePoolGetAutostartRet> {
    Ok(StoragePoolGetAutostartRet {
        autostart: i32::from(pool(client, &args.pool)?.view().autostart),
    })
}

fn is_active(client: &Client, args: StoragePoolIsActiveArgs) -> Answer<StoragePoolIsActiveRet> {
    Ok(StoragePoolIsActiveRet {
        active: i32::from(pool(client, &args.pool)?.view().active),
    })
}

fn is_persistent(
    client: &Client,
    args: StoragePoolIsPersistentArgs,
) -> Answer<StoragePoolIsPersistentRet> {
    Ok(StoragePoolIsPersistentRet {
        persistent: i32::from(pool(client, &args.pool)?.view().persistent),
    })
}

fn num_of_volumes(
    client: &Client,
    args: StoragePoolNumOfVolumesArgs,
) -> Answer<StoragePoolNumOfVolumesRet> {
    let count = pool(client, &args.pool)?
        .volume_count()
        .map_err(of_storage)?;
    Ok(StoragePoolNumOfVolumesRet {
        num: i32::try_from(count).unwrap_or(i32::MAX),
    })
}

fn list_volumes(
    client: &Client,
    args: StoragePoolListVolumesArgs,
) -> Answer<StoragePoolListVolumesRet> {
    let max = not_negative(args.maxnames, "maxnames", "virStoragePoolListVolumes")?;
    let volumes = pool(client, &args.pool)?.volumes().map_err(of_storage)?;
    let names = volumes.iter().take(max).map(|v| v.name().to_owned());
    Ok(StoragePoolListVolumesRet {
        names: names.collect(),
    })
}

fn list_all_volumes(
    client: &Client,
    args: StoragePoolListAllVolumesArgs,
) -> Answer<(usize, impl FnOnce(&mut Encoder) + use<>)> {
    check_flags(args.flags, 0, "storagePoolListAllVolumes")?;
    let pool = pool(client, &args.pool)?;
    let view = pool.view();
    let names = pool.volume_names().map_err(of_storage)?;
    let told = if args.need_results == 0 {
        0
    } else {
        names.len()
    };
    let room = match told {
        0 => 0,
        _ => names.text_bytes() + told * (view.name.len() + VOLUME_FRAME_BYTES),
    };
    let write = move |out: &mut Encoder| {
        let volumes = names.iter().take(told);
        let what = "StoragePoolListAllVolumesRet.vols";
        out.list_of(volumes, VOLUMES_MAX, what, |out, (name, path)| {
            out.text(&view.name);
            out.text(name);
            out.text(path);
        });
        u32::try_from(names.len()).unwrap_or(u32::MAX).encode(out);
    };
    Ok((room, write))
}

async fn refresh(client: Arc<Client>, args: StoragePoolRefreshArgs) -> Answer<()> {
    check_flags(args.flags, 0, "storagePoolRefresh")?;
    pool(&client, &args.pool)?
        .refresh()
        .await
        .map_err(of_storage)
}

/// What a create call says of building.
fn build_with_create(flags: u32, function: &str) -> Answer<Option<BuildOverwrite>> {
    check_flags(flags, create_flag::ALL, function)?;
    exclusive_flags(
        flags,
        (
            create_flag::BUILD_OVERWRITE,
            "VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE",
        ),
        (
            create_flag::BUILD_NO_OVERWRITE,
            "VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE",
        ),
    )?;
    Ok(match flags {
        _ if flags & create_flag::BUILD_OVERWRITE != 0 => Some(BuildOverwrite::Always),
        _ if flags & create_flag::BUILD_NO_OVERWRITE != 0 => Some(BuildOverwrite::Never),
        _ if flags & create_flag::BUILD != 0 => Some(BuildOverwrite::DirectoryOnly),
        _ => None,
    })
}

async fn create(client: Arc<Client>, args: StoragePoolCreateArgs) -> Answer<()> {
    let build = build_with_create(args.flags, "storagePoolCreate")?;
    pool(&client, &args.pool)?
        .start(build)
        .await
        .map_err(of_storage)
}

async fn destroy(client: Arc<Client>, args: StoragePoolDestroyArgs) -> Answer<()> {
    pool(&client, &args.pool)?.stop().await.map_err(of_storage)
}

async fn build(client: Arc<Client>, args: StoragePoolBuildArgs) -> Answer<()> {
    check_flags(
        args.flags,
        BUILD_OVERWRITE | BUILD_NO_OVERWRITE,
        "storagePoolBuild",
    )?;
    exclusive_flags(
        args.flags,
        (BUILD_OVERWRITE, "VIR_STORAGE_POOL_BUILD_OVERWRITE"),
        (BUILD_NO_OVERWRITE, "VIR_STORAGE_POOL_BUILD_NO_OVERWRITE"),
    )?;
    let overwrite = match args.flags {
        BUILD_OVERWRITE => BuildOverwrite::Always,
        BUILD_NO_OVERWRITE => BuildOverwrite::Never,
        _ => BuildOverwrite::DirectoryOnly,
    };
    pool(&client, &args.pool)?
        .build(overwrite)
        .await
        .map_err(of_storage)
}

async fn delete(client: Arc<Client>, args: StoragePoolDeleteArgs) -> Answer<()> {
    check_flags(args.flags, 0, "storagePoolDelete")?;
    pool(&client, &args.pool)?
        .delete()
        .await
        .map_err(of_storage)
}

fn capabilities(
    client: &Client,
    args: ConnectGetStoragePoolCapabilitiesArgs,
) -> Answer<ConnectGetStoragePoolCapabilitiesRet> {
    check_flags(args.flags, 0, "storageConnectGetStoragePoolCapabilities")?;
    Ok(ConnectGetStoragePoolCapabilitiesRet {
        capabilities: client.engine.pool_capabilities(),
    })
}

fn find_sources(
    client: &Client,
    args: ConnectFindStoragePoolSourcesArgs,
) -> Answer<ConnectFindStoragePoolSourcesRet> {
    check_flags(args.flags, 0, "storageConnectFindStoragePoolSources")?;
    let found = client.engine.find_pool_sources(&args.kind);
    Ok(ConnectFindStoragePoolSourcesRet {
        xml: found.map_err(|error| match error.kind {
            engine::ErrorKind::Unsupported => Failure(RpcError::new(
                ErrorCode::NoSupport,
                ErrorDomain::Storage,
                error.message,
            )),
            _ => of_storage(error),
        })?,
    })
}
