//! Volumes of storage pools.

use std::sync::Arc;

use engine::pools::Pool;
use engine::volumes;
use model::storage::Volume;
use wire::remote::*;

use super::check_flags;
use super::storage_pools::pool;
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

/// `VIR_STORAGE_VOL_FILE`.
const KIND_FILE: i8 = 0;
/// `VIR_STORAGE_VOL_GET_PHYSICAL`: the file's length instead of what it takes.
const GET_PHYSICAL: u32 = 1;
/// `VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA` and `…_REFLINK`: wishes that need no granting.
const CREATE_WISHES: u32 = 1 | 2;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(lookup_by_name);
    dispatch.inline(lookup_by_key);
    dispatch.inline(lookup_by_path);
    dispatch.inline(get_info);
    dispatch.inline(get_info_flags);
    dispatch.inline(get_xml_desc);
    dispatch.inline(get_path);
    dispatch.inline(delete);
    dispatch.task(create_xml);
    dispatch.task(create_xml_from);
}

pub(super) fn remote(pool: &Pool, volume: &Volume) -> RemoteStorageVol {
    RemoteStorageVol {
        pool: pool.name.clone(),
        name: volume.name.clone(),
        key: volume.path.clone(),
    }
}

/// The volume a client means.
fn volume(client: &Client, vol: &RemoteStorageVol) -> Answer<Volume> {
    let pool = client.engine.pool_by_name(&vol.pool)?;
    Ok(volumes::volume(&pool, &vol.name)?)
}

fn lookup_by_name(
    client: &Client,
    args: StorageVolLookupByNameArgs,
) -> Answer<StorageVolLookupByNameRet> {
    let pool = pool(client, &args.pool)?;
    let vol = remote(&pool, &volumes::volume(&pool, &args.name)?);
    Ok(StorageVolLookupByNameRet { vol })
}

fn lookup_by_key(
    client: &Client,
    args: StorageVolLookupByKeyArgs,
) -> Answer<StorageVolLookupByKeyRet> {
    let (pool, volume) = client.engine.volume_by_path(&args.key)?;
    let vol = remote(&pool, &volume);
    Ok(StorageVolLookupByKeyRet { vol })
}

fn lookup_by_path(
    client: &Client,
    args: StorageVolLookupByPathArgs,
) -> Answer<StorageVolLookupByPathRet> {
    let (pool, volume) = client.engine.volume_by_path(&args.path)?;
    let vol = remote(&pool, &volume);
    Ok(StorageVolLookupByPathRet { vol })
}

fn get_info(client: &Client, args: StorageVolGetInfoArgs) -> Answer<StorageVolGetInfoRet> {
    let volume = volume(client, &args.vol)?;
    Ok(StorageVolGetInfoRet {
        kind: KIND_FILE,
        capacity: volume.capacity,
        allocation: volume.allocation,
    })
}

fn get_info_flags(
    client: &Client,
    args: StorageVolGetInfoFlagsArgs,
) -> Answer<StorageVolGetInfoFlagsRet> {
    check_flags(args.flags, GET_PHYSICAL, "storageVolGetInfoFlags")?;
    let volume = volume(client, &args.vol)?;
    Ok(StorageVolGetInfoFlagsRet {
        kind: KIND_FILE,
        capacity: volume.capacity,
        allocation: match args.flags & GET_PHYSICAL {
            0 => volume.allocation,
            _ => volume.physical,
        },
    })
}

fn get_xml_desc(
    client: &Client,
    args: StorageVolGetXmlDescArgs,
) -> Answer<StorageVolGetXmlDescRet> {
    check_flags(args.flags, 0, "storageVolGetXMLDesc")?;
    Ok(StorageVolGetXmlDescRet {
        xml: volume(client, &args.vol)?.to_xml(),
    })
}

fn get_path(client: &Client, args: StorageVolGetPathArgs) -> Answer<StorageVolGetPathRet> {
    Ok(StorageVolGetPathRet {
        name: volume(client, &args.vol)?.path,
    })
}

fn delete(client: &Client, args: StorageVolDeleteArgs) -> Answer<()> {
    check_flags(args.flags, 0, "storageVolDelete")?;
    Ok(client.engine.delete_volume(&volume(client, &args.vol)?)?)
}

async fn create_xml(
    client: Arc<Client>,
    args: StorageVolCreateXmlArgs,
) -> Answer<StorageVolCreateXmlRet> {
    check_flags(args.flags, CREATE_WISHES, "storageVolCreateXML")?;
    let pool = pool(&client, &args.pool)?;
    let volume = client.engine.create_volume(&pool, &args.xml, None).await?;
    Ok(StorageVolCreateXmlRet {
        vol: remote(&pool, &volume),
    })
}

async fn create_xml_from(
    client: Arc<Client>,
    args: StorageVolCreateXmlFromArgs,
) -> Answer<StorageVolCreateXmlFromRet> {
    check_flags(args.flags, CREATE_WISHES, "storageVolCreateXMLFrom")?;
    let pool = pool(&client, &args.pool)?;
    let source = volume(&client, &args.clonevol)?;
    let engine = &client.engine;
    let volume = engine.create_volume(&pool, &args.xml, Some(source)).await?;
    Ok(StorageVolCreateXmlFromRet {
        vol: remote(&pool, &volume),
    })
}
