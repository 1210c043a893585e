//! Jobs on the images of a running machine's disks, and a disk's size.

use std::sync::Arc;

use engine::EngineError;
use engine::options::{BlockAsk, BlockCommit, BlockCopy, BlockPull, BlockWork};
use wire::consts::flags::*;
use wire::remote::*;
use wire::typed_params;

use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(commit);
    dispatch.task(copy);
    dispatch.task(|client, args: DomainBlockPullArgs| async move {
        check_flags(
            args.flags,
            VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES,
            "qemuDomainBlockPull",
        )?;
        let in_bytes = args.flags & VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES != 0;
        let pull = BlockPull {
            base: None,
            bandwidth: speed(args.bandwidth, in_bytes)?,
        };
        begin(&client, &args.dom, &args.path, BlockWork::Pull(pull)).await
    });
    dispatch.task(rebase);
    dispatch.task(|client, args: DomainBlockJobAbortArgs| async move {
        const KNOWN: u32 = VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC | VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT;
        check_flags(args.flags, KNOWN, "qemuDomainBlockJobAbort")?;
        let ask = BlockAsk::Abort {
            pivot: args.flags & VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT != 0,
            wait: args.flags & VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC == 0,
        };
        Ok(domain(&client, &args.dom)?.block(&args.path, ask).await?)
    });
    dispatch.task(|client, args: DomainBlockJobSetSpeedArgs| async move {
        check_flags(args.flags, 1, "qemuDomainBlockJobSetSpeed")?;
        let ask = BlockAsk::SetSpeed {
            bytes: speed(args.bandwidth, args.flags & 1 != 0)?,
        };
        Ok(domain(&client, &args.dom)?.block(&args.path, ask).await?)
    });
    dispatch.task(job_info);
    dispatch.task(|client, args: DomainBlockResizeArgs| async move {
        check_flags(
            args.flags,
            VIR_DOMAIN_BLOCK_RESIZE_BYTES,
            "qemuDomainBlockResize",
        )?;
        let bytes = match args.flags & VIR_DOMAIN_BLOCK_RESIZE_BYTES {
            0 => args.size.checked_mul(1024),
            _ => Some(args.size),
        };
        let bytes = bytes.ok_or_else(|| Failure::invalid_arg("size must be less than 2^54"))?;
        let handle = domain(&client, &args.dom)?;
        Ok(handle.block(&args.disk, BlockAsk::Resize { bytes }).await?)
    });
}

/// Bytes per second of a bandwidth that is in MiB unless a flag says bytes.
fn speed(bandwidth: u64, in_bytes: bool) -> Answer<u64> {
    match in_bytes {
        true => Some(bandwidth),
        false => bandwidth.checked_mul(1024 * 1024),
    }
    .filter(|bytes| i64::try_from(*bytes).is_ok())
    .ok_or_else(|| Failure::invalid_arg("bandwidth must be less than 2^63 bytes per second"))
}

async fn begin(client: &Client, machine: &RemoteDomain, disk: &str, work: BlockWork) -> Answer<()> {
    let handle = domain(client, machine)?;
    Ok(handle.block(disk, BlockAsk::Begin(Box::new(work))).await?)
}

async fn commit(client: Arc<Client>, args: DomainBlockCommitArgs) -> Answer<()> {
    /// All of them, from the first to the last.
    const KNOWN: u32 = VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES * 2 - 1;
    check_flags(args.flags, KNOWN, "qemuDomainBlockCommit")?;
    let has = |flag| args.flags & flag != 0;
    let commit = BlockCommit {
        bandwidth: speed(args.bandwidth, has(VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES))?,
        shallow: has(VIR_DOMAIN_BLOCK_COMMIT_SHALLOW),
        active: has(VIR_DOMAIN_BLOCK_COMMIT_ACTIVE),
        remove: has(VIR_DOMAIN_BLOCK_COMMIT_DELETE),
        base: args.base,
        top: args.top,
    };
    begin(&client, &args.dom, &args.disk, BlockWork::Commit(commit)).await
}

async fn rebase(client: Arc<Client>, args: DomainBlockRebaseArgs) -> Answer<()> {
    /// All of them, from the first to the last.
    const KNOWN: u32 = VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES * 2 - 1;
    check_flags(args.flags, KNOWN, "qemuDomainBlockRebase")?;
    let has = |flag| args.flags & flag != 0;
    let bandwidth = speed(args.bandwidth, has(VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES))?;
    if !has(VIR_DOMAIN_BLOCK_REBASE_COPY) {
        let pull = BlockPull {
            base: args.base,
            bandwidth,
        };
        return begin(&client, &args.dom, &args.path, BlockWork::Pull(pull)).await;
    }
    let path = args
        .base
        .ok_or_else(|| Failure::invalid_arg("base in virDomainBlockRebase must not be NULL"))?;
    let raw = has(VIR_DOMAIN_BLOCK_REBASE_COPY_RAW);
    let copy = BlockCopy {
        path,
        format: raw.then_some(model::domain::storage::ImageFormat::Raw),
        reuse: has(VIR_DOMAIN_BLOCK_REBASE_REUSE_EXT),
        shallow: has(VIR_DOMAIN_BLOCK_REBASE_SHALLOW),
        bandwidth,
        ..BlockCopy::default()
    };
    begin(&client, &args.dom, &args.path, BlockWork::Copy(copy)).await
}

async fn copy(client: Arc<Client>, args: DomainBlockCopyArgs) -> Answer<()> {
    /// All of them, from the first to the last.
    const KNOWN: u32 = VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES * 2 - 1;
    check_flags(args.flags, KNOWN, "qemuDomainBlockCopy")?;
    let has = |flag| args.flags & flag != 0;
    let wanted = model::snapshot::CopyTarget::parse(&args.destxml).map_err(|error| {
        Failure::from(EngineError::new(
            engine::ErrorKind::XmlError,
            error.to_string(),
        ))
    })?;
    let number = |field| typed_params::get_unsigned(&args.params, field);
    let copy = BlockCopy {
        path: wanted.path,
        format: wanted.format,
        encryption: wanted.encryption,
        reuse: has(VIR_DOMAIN_BLOCK_COPY_REUSE_EXT),
        shallow: has(VIR_DOMAIN_BLOCK_COPY_SHALLOW),
        synchronous: has(VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES),
        bandwidth: number("bandwidth").unwrap_or(0),
        granularity: number("granularity").filter(|n| *n > 0),
        buf_size: number("buf-size").filter(|n| *n > 0),
    };
    begin(&client, &args.dom, &args.path, BlockWork::Copy(copy)).await
}

async fn job_info(
    client: Arc<Client>,
    args: DomainGetBlockJobInfoArgs,
) -> Answer<DomainGetBlockJobInfoRet> {
    check_flags(
        args.flags,
        VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES,
        "qemuDomainGetBlockJobInfo",
    )?;
    let in_bytes = args.flags & VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES != 0;
    let found = domain(&client, &args.dom)?.block_job(&args.path).await?;
    Ok(match found {
        None => DomainGetBlockJobInfoRet {
            found: 0,
            kind: 0,
            bandwidth: 0,
            cur: 0,
            end: 0,
        },
        Some(job) => DomainGetBlockJobInfoRet {
            found: 1,
            kind: job.kind,
            bandwidth: match in_bytes {
                true => job.bandwidth,
                false => job.bandwidth.div_ceil(1024 * 1024),
            },
            cur: job.current,
            end: job.end,
        },
    })
}
