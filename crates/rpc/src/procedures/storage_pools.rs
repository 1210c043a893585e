//! Storage pools.

use std::path::Path;
use std::sync::Arc;

use engine::pools::Pool;
use engine::volumes;
use wire::remote::*;

use super::{check_flags, not_negative};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_STORAGE_POOL_INACTIVE`.
const STATE_INACTIVE: u8 = 0;
/// `VIR_STORAGE_POOL_RUNNING`.
const STATE_RUNNING: u8 = 2;

/// `VIR_CONNECT_LIST_STORAGE_POOLS_*`: the filters that say something here, and the kind `dir`.
mod list {
    pub(super) const INACTIVE: u32 = 1;
    pub(super) const ACTIVE: u32 = 2;
    pub(super) const PERSISTENT: u32 = 4;
    pub(super) const TRANSIENT: u32 = 8;
    pub(super) const AUTOSTART: u32 = 16;
    pub(super) const NO_AUTOSTART: u32 = 32;
    pub(super) const DIR: u32 = 64;
    pub(super) const KINDS: u32 = 0xff_ffc0;
}
/// `VIR_STORAGE_POOL_CREATE_WITH_BUILD` and its two variants.
const CREATE_WITH_BUILD: u32 = 7;

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
    dispatch.inline(list_all_volumes);
    dispatch.inline(refresh);
    dispatch.inline(destroy);
    dispatch.inline(build);
    dispatch.inline(delete);
    dispatch.task(|client, args: StoragePoolDefineXmlArgs| async move {
        check_flags(args.flags, 1, "storagePoolDefineXML")?;
        let pool = client.engine.define_pool(&args.xml).await?;
        Ok(StoragePoolDefineXmlRet {
            pool: remote(&pool),
        })
    });
    dispatch.task(|client, args: StoragePoolCreateXmlArgs| async move {
        check_flags(args.flags, CREATE_WITH_BUILD, "storagePoolCreateXML")?;
        let build = args.flags & CREATE_WITH_BUILD != 0;
        let pool = client.engine.create_pool(&args.xml, build).await?;
        Ok(StoragePoolCreateXmlRet {
            pool: remote(&pool),
        })
    });
    dispatch.task(create);
    dispatch.task(|client, args: StoragePoolUndefineArgs| async move {
        let pool = pool(&client, &args.pool)?;
        Ok(client.engine.undefine_pool(&pool).await?)
    });
    dispatch.task(|client, args: StoragePoolSetAutostartArgs| async move {
        let pool = pool(&client, &args.pool)?;
        let autostart = args.autostart != 0;
        Ok(client.engine.set_pool_autostart(pool, autostart).await?)
    });
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
    RemoteStoragePool {
        name: pool.name.clone(),
        uuid: pool.uuid.into_bytes(),
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
    let path = Path::new(args.path.trim_end_matches('/'));
    let pool = remote(&client.engine.pool_by_path(path)?);
    Ok(StoragePoolLookupByTargetPathRet { pool })
}

fn list_all(
    client: &Client,
    args: ConnectListAllStoragePoolsArgs,
) -> Answer<ConnectListAllStoragePoolsRet> {
    let pools: Vec<RemoteStoragePool> = client
        .engine
        .pools()
        .iter()
        .filter(|pool| is_wanted(pool, args.flags))
        .map(remote)
        .collect();
    let ret = pools.len() as u32;
    Ok(ConnectListAllStoragePoolsRet {
        pools: if args.need_results == 0 {
            Vec::new()
        } else {
            pools
        },
        ret,
    })
}

fn is_wanted(pool: &Pool, flags: u32) -> bool {
    let groups = [
        (list::ACTIVE, list::INACTIVE, pool.active),
        (list::PERSISTENT, list::TRANSIENT, pool.persistent),
        (list::AUTOSTART, list::NO_AUTOSTART, pool.autostart),
    ];
    let kind_fits = flags & list::KINDS == 0 || flags & list::DIR != 0;
    kind_fits
        && groups.iter().all(|(yes, no, is)| {
            flags & (yes | no) == 0 || flags & (if *is { yes } else { no }) != 0
        })
}

fn names(client: &Client, active: bool) -> Vec<String> {
    let pools = client.engine.pools().into_iter();
    pools
        .filter(|pool| pool.active == active)
        .map(|pool| pool.name)
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
    let pool = pool(client, &args.pool)?;
    let sizes = pool.sizes();
    Ok(StoragePoolGetInfoRet {
        state: if pool.active {
            STATE_RUNNING
        } else {
            STATE_INACTIVE
        },
        capacity: sizes.capacity,
        allocation: sizes.allocation,
        available: sizes.available,
    })
}

fn get_xml_desc(
    client: &Client,
    args: StoragePoolGetXmlDescArgs,
) -> Answer<StoragePoolGetXmlDescRet> {
    const INACTIVE: u32 = 1;
    check_flags(args.flags, INACTIVE, "storagePoolGetXMLDesc")?;
    Ok(StoragePoolGetXmlDescRet {
        xml: pool(client, &args.pool)?.xml(),
    })
}

fn get_autostart(
    client: &Client,
    args: StoragePoolGetAutostartArgs,
) -> Answer<StoragePoolGetAutostartRet> {
    Ok(StoragePoolGetAutostartRet {
        autostart: i32::from(pool(client, &args.pool)?.autostart),
    })
}

fn is_active(client: &Client, args: StoragePoolIsActiveArgs) -> Answer<StoragePoolIsActiveRet> {
    Ok(StoragePoolIsActiveRet {
        active: i32::from(pool(client, &args.pool)?.active),
    })
}

fn is_persistent(
    client: &Client,
    args: StoragePoolIsPersistentArgs,
) -> Answer<StoragePoolIsPersistentRet> {
    Ok(StoragePoolIsPersistentRet {
        persistent: i32::from(pool(client, &args.pool)?.persistent),
    })
}

fn num_of_volumes(
    client: &Client,
    args: StoragePoolNumOfVolumesArgs,
) -> Answer<StoragePoolNumOfVolumesRet> {
    let volumes = volumes::volumes(&pool(client, &args.pool)?)?;
    Ok(StoragePoolNumOfVolumesRet {
        num: volumes.len() as i32,
    })
}

fn list_volumes(
    client: &Client,
    args: StoragePoolListVolumesArgs,
) -> Answer<StoragePoolListVolumesRet> {
    let max = not_negative(args.maxnames, "maxnames", "virStoragePoolListVolumes")?;
    let volumes = volumes::volumes(&pool(client, &args.pool)?)?;
    let names = volumes.into_iter().take(max).map(|v| v.name).collect();
    Ok(StoragePoolListVolumesRet { names })
}

fn list_all_volumes(
    client: &Client,
    args: StoragePoolListAllVolumesArgs,
) -> Answer<StoragePoolListAllVolumesRet> {
    check_flags(args.flags, 0, "storagePoolListAllVolumes")?;
    let pool = pool(client, &args.pool)?;
    let vols: Vec<RemoteStorageVol> = volumes::volumes(&pool)?
        .iter()
        .map(|volume| super::storage_volumes::remote(&pool, volume))
        .collect();
    let ret = vols.len() as u32;
    Ok(StoragePoolListAllVolumesRet {
        vols: if args.need_results == 0 {
            Vec::new()
        } else {
            vols
        },
        ret,
    })
}

/// The directory is read whenever it is asked for: there is nothing to refresh.
fn refresh(client: &Client, args: StoragePoolRefreshArgs) -> Answer<()> {
    check_flags(args.flags, 0, "storagePoolRefresh")?;
    volumes::volumes(&pool(client, &args.pool)?)?;
    Ok(())
}

async fn create(client: Arc<Client>, args: StoragePoolCreateArgs) -> Answer<()> {
    check_flags(args.flags, CREATE_WITH_BUILD, "storagePoolCreate")?;
    let pool = pool(&client, &args.pool)?;
    if args.flags & CREATE_WITH_BUILD != 0 {
        client.engine.build_pool(&pool)?;
    }
    client.engine.start_pool(pool).await?;
    Ok(())
}

fn destroy(client: &Client, args: StoragePoolDestroyArgs) -> Answer<()> {
    Ok(client.engine.stop_pool(&pool(client, &args.pool)?)?)
}

fn build(client: &Client, args: StoragePoolBuildArgs) -> Answer<()> {
    /// Repair and resize mean nothing for a directory.
    const OVERWRITE_AND_NOT: u32 = 4 | 8;
    check_flags(args.flags, OVERWRITE_AND_NOT, "storagePoolBuild")?;
    let pool = pool(client, &args.pool)?;
    if pool.active {
        return Err(Failure::operation_invalid(format!(
            "storage pool '{}' is already active",
            pool.name
        )));
    }
    Ok(client.engine.build_pool(&pool)?)
}

fn delete(client: &Client, args: StoragePoolDeleteArgs) -> Answer<()> {
    check_flags(args.flags, 0, "storagePoolDelete")?;
    let pool = pool(client, &args.pool)?;
    Ok(client.engine.delete_pool_directory(&pool)?)
}
