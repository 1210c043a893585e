//! Looks into a running machine: its memory, its disks' bytes, how fast it writes, its channels.

use std::sync::Arc;

use engine::inspect::{Addresses, DirtyRateMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use wire::connection::StreamPacket;
use wire::consts::flags::*;
use wire::errors::{ErrorCode, ErrorDomain};
use wire::remote::*;

use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::{Dispatch, Serve};
use crate::failure::{Answer, Failure};
use crate::stream::StreamEnd;

const MEMORY_VIRTUAL: u32 = 1;
const MEMORY_PHYSICAL: u32 = 2;
const DIRTY_RATE_BITMAP: u32 = 1;
const DIRTY_RATE_RING: u32 = 2;
/// `VIR_DOMAIN_GRAPHICS_RELOAD_TYPE_VNC`; 0 stands for any.
const RELOAD_VNC: u32 = 1;
/// `VIR_DOMAIN_CHANNEL_FORCE`.
const CHANNEL_FORCE: u32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(memory_peek);
    dispatch.task(block_peek);
    dispatch.task(start_dirty_rate_calc);
    dispatch.task(set_block_threshold);
    dispatch.task(graphics_reload);
    dispatch.task(get_launch_security_info);
    dispatch.inline(get_security_label_list);
    dispatch.stream(open_channel);
    dispatch.with_client_fds(open_graphics);
}

async fn memory_peek(
    client: Arc<Client>,
    args: DomainMemoryPeekArgs,
) -> Answer<DomainMemoryPeekRet> {
    let from = match args.flags {
        MEMORY_VIRTUAL => Addresses::Virtual,
        MEMORY_PHYSICAL => Addresses::Physical,
        _ => {
            return Err(Failure::invalid_arg(
                "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL",
            ));
        }
    };
    let handle = domain(&client, &args.dom)?;
    let buffer = handle.peek_memory(from, args.offset, args.size).await?;
    Ok(DomainMemoryPeekRet { buffer })
}

async fn block_peek(client: Arc<Client>, args: DomainBlockPeekArgs) -> Answer<DomainBlockPeekRet> {
    check_flags(args.flags, 0, "qemuDomainBlockPeek")?;
    let handle = domain(&client, &args.dom)?;
    let buffer = handle.peek_disk(&args.path, args.offset, args.size)?;
    Ok(DomainBlockPeekRet { buffer })
}

async fn start_dirty_rate_calc(
    client: Arc<Client>,
    args: DomainStartDirtyRateCalcArgs,
) -> Answer<()> {
    check_flags(
        args.flags,
        DIRTY_RATE_BITMAP | DIRTY_RATE_RING,
        "qemuDomainStartDirtyRateCalc",
    )?;
    super::exclusive_flags(
        args.flags,
        (DIRTY_RATE_BITMAP, "VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP"),
        (DIRTY_RATE_RING, "VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING"),
    )?;
    let mode = match args.flags {
        DIRTY_RATE_BITMAP => DirtyRateMode::DirtyBitmap,
        DIRTY_RATE_RING => DirtyRateMode::DirtyRing,
        _ => DirtyRateMode::PageSampling,
    };
    let handle = domain(&client, &args.dom)?;
    Ok(handle.measure_dirty_rate(args.seconds, mode).await?)
}

async fn set_block_threshold(client: Arc<Client>, args: DomainSetBlockThresholdArgs) -> Answer<()> {
    check_flags(args.flags, 0, "qemuDomainSetBlockThreshold")?;
    let handle = domain(&client, &args.dom)?;
    Ok(handle
        .set_block_threshold(&args.dev, args.threshold)
        .await?)
}

async fn graphics_reload(client: Arc<Client>, args: DomainGraphicsReloadArgs) -> Answer<()> {
    check_flags(args.flags, 0, "qemuDomainGraphicsReload")?;
    if args.kind > RELOAD_VNC {
        return Err(Failure::invalid_arg(format!(
            "unknown graphics type '{}' to reload",
            args.kind
        )));
    }
    Ok(domain(&client, &args.dom)?.reload_graphics().await?)
}

/// No machine runs with launch security here: its definition would have been refused.
async fn get_launch_security_info(
    client: Arc<Client>,
    args: DomainGetLaunchSecurityInfoArgs,
) -> Answer<DomainGetLaunchSecurityInfoRet> {
    check_flags(
        args.flags,
        VIR_TYPED_PARAM_STRING_OKAY,
        "qemuDomainGetLaunchSecurityInfo",
    )?;
    domain(&client, &args.dom)?.live()?;
    Ok(DomainGetLaunchSecurityInfoRet::default())
}

/// None, as where libvirt has no security driver.
fn get_security_label_list(
    client: &Client,
    args: DomainGetSecurityLabelListArgs,
) -> Answer<DomainGetSecurityLabelListRet> {
    domain(client, &args.dom)?;
    Ok(DomainGetSecurityLabelListRet::default())
}

async fn open_graphics(
    client: Arc<Client>,
    args: DomainOpenGraphicsArgs,
    fds: Vec<std::os::fd::OwnedFd>,
) -> Answer<()> {
    check_flags(
        args.flags,
        VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH,
        "qemuDomainOpenGraphics",
    )?;
    let skip_auth = args.flags & VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH != 0;
    let socket = fds.into_iter().next().ok_or_else(|| {
        Failure::invalid_arg("no file descriptor came with the call virDomainOpenGraphics")
    })?;
    let handle = domain(&client, &args.dom)?;
    Ok(handle
        .add_viewer(args.idx as usize, skip_auth, socket)
        .await?)
}

async fn open_channel(client: Arc<Client>, args: DomainOpenChannelArgs) -> Answer<((), Serve)> {
    check_flags(args.flags, CHANNEL_FORCE, "qemuDomainOpenChannel")?;
    let stream = domain(&client, &args.dom)?.open_channel(args.name.as_deref())?;
    let failed = |e: std::io::Error| {
        Failure::new(
            ErrorCode::SystemError,
            format!("cannot use the channel: {e}"),
        )
    };
    stream.set_nonblocking(true).map_err(failed)?;
    let stream = UnixStream::from_std(stream).map_err(failed)?;
    let serve: Serve = Box::new(move |end| Box::pin(serve_channel(end, stream)));
    Ok(((), serve))
}

/// Bytes of one piece of a channel's data.
const PIECE_BYTES: usize = 16 * 1024;

async fn serve_channel(mut end: StreamEnd, stream: UnixStream) {
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = vec![0; PIECE_BYTES];
    let failed = |e: std::io::Error| {
        RpcError::new(
            ErrorCode::OperationFailed,
            ErrorDomain::Streams,
            format!("the channel failed: {e}"),
        )
    };
    loop {
        tokio::select! {
            read = reader.read(&mut buffer) => match read {
                Ok(0) => return end.end_of_data(()).await,
                Ok(count) => {
                    if end.send(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
                Err(error) => return end.fail(failed(error)),
            },
            input = end.receive() => match input {
                Some(StreamPacket::Data(bytes)) => {
                    if let Err(error) = writer.write_all(&bytes).await {
                        return end.fail(failed(error));
                    }
                }
                Some(StreamPacket::Finish) => return end.finish(),
                Some(StreamPacket::Hole(_)) => {
                    let what = "a channel takes no holes";
                    return end.fail(RpcError::new(ErrorCode::OperationFailed, ErrorDomain::Streams, what));
                }
                Some(StreamPacket::Abort) | None => return,
            },
        }
    }
}
