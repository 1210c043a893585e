//! Volumes of storage pools.

use std::sync::Arc;

use engine::pools::Pool;
use engine::volumes::{Download, Piece, Range, Resize, Upload, Volume, WipeAlgorithm, Wishes};
use model::schema::Schema;
use model::storage::VolumeKind;
use wire::connection::StreamPacket;
use wire::remote::*;

use super::storage_pools::{of_storage, pool};
use super::{check_flags, validate};
use crate::client::Client;
use crate::dispatch::{Dispatch, Serve};
use crate::failure::{Answer, Failure};
use crate::stream::{FromClient, StreamEnd};

/// `VIR_STORAGE_VOL_GET_PHYSICAL`: the file's length instead of what it takes.
const GET_PHYSICAL: u32 = 1;

/// `VIR_STORAGE_VOL_CREATE_*`.
mod create {
    pub(super) const PREALLOC_METADATA: u32 = 1;
    pub(super) const REFLINK: u32 = 2;
    /// Asks that the XML be checked against the schema, as the parser does anyhow.
    pub(super) const VALIDATE: u32 = 4;
    pub(super) const ALL: u32 = 7;
}

/// `VIR_STORAGE_VOL_RESIZE_*`.
mod resize_flag {
    pub(super) const ALLOCATE: u32 = 1;
    pub(super) const DELTA: u32 = 2;
    pub(super) const SHRINK: u32 = 4;
    pub(super) const ALL: u32 = 7;
}

/// `VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM`, and the same of downloads.
const SPARSE_STREAM: u32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(lookup_by_name);
    dispatch.task(lookup_by_key);
    dispatch.task(lookup_by_path);
    dispatch.inline(get_info);
    dispatch.inline(get_info_flags);
    dispatch.inline(get_xml_desc);
    dispatch.inline(get_path);
    dispatch.task(create_xml);
    dispatch.task(create_xml_from);
    dispatch.task(delete);
    dispatch.task(resize);
    dispatch.task(|client, args: StorageVolWipeArgs| async move {
        check_flags(args.flags, 0, "storageVolWipe")?;
        wipe(&client, &args.vol, WipeAlgorithm::Zero).await
    });
    dispatch.task(|client, args: StorageVolWipePatternArgs| async move {
        check_flags(args.flags, 0, "storageVolWipePattern")?;
        let algorithm = WipeAlgorithm::ALL.get(args.algorithm as usize);
        let algorithm = algorithm.ok_or_else(|| {
            let what = format!("wiping algorithm {} not supported", args.algorithm);
            Failure::invalid_arg(what)
        })?;
        wipe(&client, &args.vol, *algorithm).await
    });
    dispatch.stream(upload);
    dispatch.stream(download);
}

pub(super) fn remote(pool: &str, volume: &Volume) -> RemoteStorageVol {
    RemoteStorageVol {
        pool: pool.to_owned(),
        name: volume.name().to_owned(),
        key: volume.path().to_owned(),
    }
}

/// The pool of the volume a client means.
fn pool_of(client: &Client, vol: &RemoteStorageVol) -> Answer<Pool> {
    client.engine.pool_by_name(&vol.pool).map_err(of_storage)
}

/// The volume a client means.
fn volume(client: &Client, vol: &RemoteStorageVol) -> Answer<Arc<Volume>> {
    pool_of(client, vol)?.volume(&vol.name).map_err(of_storage)
}

fn lookup_by_name(
    client: &Client,
    args: StorageVolLookupByNameArgs,
) -> Answer<StorageVolLookupByNameRet> {
    let pool = pool(client, &args.pool)?;
    let volume = pool.volume(&args.name).map_err(of_storage)?;
    Ok(StorageVolLookupByNameRet {
        vol: remote(&pool.view().name, &volume),
    })
}

async fn lookup_by_key(
    client: Arc<Client>,
    args: StorageVolLookupByKeyArgs,
) -> Answer<StorageVolLookupByKeyRet> {
    let found = client.engine.volume_by_path(&args.key).await;
    let (pool, volume) = found.map_err(|error| {
        let what = format!("no storage vol with matching key {}", args.key);
        engine::EngineError::new(error.kind, what)
    })?;
    Ok(StorageVolLookupByKeyRet {
        vol: remote(&pool.view().name, &volume),
    })
}

async fn lookup_by_path(
    client: Arc<Client>,
    args: StorageVolLookupByPathArgs,
) -> Answer<StorageVolLookupByPathRet> {
    let (pool, volume) = client.engine.volume_by_path(&args.path).await?;
    Ok(StorageVolLookupByPathRet {
        vol: remote(&pool.view().name, &volume),
    })
}

/// libvirt's number of a volume's kind.
fn kind_number(kind: VolumeKind) -> i8 {
    let place = VolumeKind::ALL.iter().position(|known| *known == kind);
    place
        .and_then(|place| i8::try_from(place).ok())
        .unwrap_or(0)
}

fn get_info(client: &Client, args: StorageVolGetInfoArgs) -> Answer<StorageVolGetInfoRet> {
    let volume = volume(client, &args.vol)?;
    Ok(StorageVolGetInfoRet {
        kind: kind_number(volume.definition.kind),
        capacity: volume.definition.capacity,
        allocation: volume.definition.allocation.unwrap_or(0),
    })
}

fn get_info_flags(
    client: &Client,
    args: StorageVolGetInfoFlagsArgs,
) -> Answer<StorageVolGetInfoFlagsRet> {
    check_flags(args.flags, GET_PHYSICAL, "storageVolGetInfoFlags")?;
    let volume = volume(client, &args.vol)?;
    let definition = &volume.definition;
    let shown = match args.flags & GET_PHYSICAL {
        0 => definition.allocation,
        _ => definition.physical,
    };
    Ok(StorageVolGetInfoFlagsRet {
        kind: kind_number(definition.kind),
        capacity: definition.capacity,
        allocation: shown.unwrap_or(0),
    })
}

fn get_xml_desc(
    client: &Client,
    args: StorageVolGetXmlDescArgs,
) -> Answer<StorageVolGetXmlDescRet> {
    check_flags(args.flags, 0, "storageVolGetXMLDesc")?;
    Ok(StorageVolGetXmlDescRet {
        xml: volume(client, &args.vol)?.definition.to_xml(),
    })
}

fn get_path(client: &Client, args: StorageVolGetPathArgs) -> Answer<StorageVolGetPathRet> {
    Ok(StorageVolGetPathRet {
        name: volume(client, &args.vol)?.path().to_owned(),
    })
}

async fn delete(client: Arc<Client>, args: StorageVolDeleteArgs) -> Answer<()> {
    check_flags(args.flags, 0, "storageVolDelete")?;
    let pool = pool_of(&client, &args.vol)?;
    let deleted = pool.delete_volume(&client.engine, &args.vol.name).await;
    deleted.map_err(of_storage)
}

async fn resize(client: Arc<Client>, args: StorageVolResizeArgs) -> Answer<()> {
    check_flags(args.flags, resize_flag::ALL, "storageVolResize")?;
    let resize = Resize {
        bytes: args.capacity,
        delta: args.flags & resize_flag::DELTA != 0,
        shrink: args.flags & resize_flag::SHRINK != 0,
        allocate: args.flags & resize_flag::ALLOCATE != 0,
    };
    let pool = pool_of(&client, &args.vol)?;
    let resized = pool.resize_volume(&client.engine, &args.vol.name, resize);
    resized.await.map_err(of_storage)
}

async fn wipe(client: &Client, vol: &RemoteStorageVol, algorithm: WipeAlgorithm) -> Answer<()> {
    let pool = pool_of(client, vol)?;
    let wiped = pool.wipe_volume(&client.engine, &vol.name, algorithm);
    wiped.await.map_err(of_storage)
}

fn wishes(flags: u32, xml: &str, function: &str) -> Answer<Wishes> {
    check_flags(flags, create::ALL, function)?;
    validate(flags, create::VALIDATE, Schema::Volume, xml)?;
    Ok(Wishes {
        metadata: flags & create::PREALLOC_METADATA != 0,
        reflink: flags & create::REFLINK != 0,
    })
}

async fn create_xml(
    client: Arc<Client>,
    args: StorageVolCreateXmlArgs,
) -> Answer<StorageVolCreateXmlRet> {
    let wishes = wishes(args.flags, &args.xml, "storageVolCreateXML")?;
    let pool = pool(&client, &args.pool)?;
    let made = pool.create_volume(&client.engine, &args.xml, wishes).await;
    Ok(StorageVolCreateXmlRet {
        vol: remote(&pool.view().name, &*made.map_err(of_storage)?),
    })
}

async fn create_xml_from(
    client: Arc<Client>,
    args: StorageVolCreateXmlFromArgs,
) -> Answer<StorageVolCreateXmlFromRet> {
    let wishes = wishes(args.flags, &args.xml, "storageVolCreateXMLFrom")?;
    let pool = pool(&client, &args.pool)?;
    let from = pool_of(&client, &args.clonevol)?;
    let name = &args.clonevol.name;
    let made = pool.copy_volume(&client.engine, &args.xml, &from, name, wishes);
    Ok(StorageVolCreateXmlFromRet {
        vol: remote(&pool.view().name, &*made.await.map_err(of_storage)?),
    })
}

async fn download(client: Arc<Client>, args: StorageVolDownloadArgs) -> Answer<((), Serve)> {
    check_flags(args.flags, SPARSE_STREAM, "storageVolDownload")?;
    let range = Range {
        offset: args.offset,
        length: args.length,
        holes: args.flags & SPARSE_STREAM != 0,
    };
    let pool = pool_of(&client, &args.vol)?;
    let begun = pool.download(&args.vol.name, range);
    let download = begun.await.map_err(of_storage)?;
    let serve: Serve = Box::new(move |end| Box::pin(serve_download(end, download)));
    Ok(((), serve))
}

async fn serve_download(mut end: StreamEnd, mut download: Download) {
    loop {
        let sent = match download.next().await {
            Ok(Some(Piece::Data(content))) => end.send_content(content),
            Ok(Some(Piece::Hole(length))) => end.send_hole(length).await,
            Ok(None) => break,
            Err(error) => {
                let Failure(error) = of_storage(error);
                return end.fail(error);
            }
        };
        if sent.is_err() {
            return;
        }
    }
    // Some is on its way still, as pages of the volume that nobody may change meanwhile.
    end.end_of_data(download).await;
}

async fn upload(client: Arc<Client>, args: StorageVolUploadArgs) -> Answer<((), Serve)> {
    check_flags(args.flags, SPARSE_STREAM, "storageVolUpload")?;
    let range = Range {
        offset: args.offset,
        length: args.length,
        holes: args.flags & SPARSE_STREAM != 0,
    };
    let pool = pool_of(&client, &args.vol)?;
    let begun = pool.upload(&client.engine, &args.vol.name, range).await;
    let upload = begun.map_err(of_storage)?;
    let serve: Serve = Box::new(move |end| Box::pin(serve_upload(end, upload)));
    Ok(((), serve))
}

async fn serve_upload(mut end: StreamEnd, mut upload: Upload) {
    let failed = |error| {
        let Failure(error) = of_storage(error);
        error
    };
    end.take_socket();
    loop {
        let written = match end.next().await {
            Some(FromClient::Socket(lent)) => upload.write_all_of(lent).await,
            Some(FromClient::Packet(StreamPacket::Data(bytes))) => {
                upload.write(Piece::Data(bytes)).await
            }
            Some(FromClient::Packet(StreamPacket::Hole(length))) => {
                upload.write(Piece::Hole(length)).await
            }
            Some(FromClient::Packet(StreamPacket::Finish)) => {
                return match upload.finish().await {
                    Ok(()) => end.finish(),
                    Err(error) => end.fail(failed(error)),
                };
            }
            // Given up: the volume stays as it was.
            Some(FromClient::Packet(StreamPacket::Abort)) | None => return,
        };
        if let Err(error) = written {
            return end.fail(failed(error));
        }
    }
}
