//! Long operations: how far they are, ending them.

use engine::job::{JobEnd, JobStats};
use wire::consts::domain::*;
use wire::consts::flags::{VIR_DOMAIN_JOB_STATS_COMPLETED, VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED};
use wire::errors::ErrorCode;
use wire::remote::*;

use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(get_info);
    dispatch.inline(get_stats);
    dispatch.task(|client, args: DomainAbortJobArgs| async move {
        Ok(domain(&client, &args.dom)?.abort_job().await?)
    });
    dispatch.task(|client, args: DomainAbortJobFlagsArgs| async move {
        if args.flags != 0 {
            return Err(Failure::new(
                ErrorCode::ArgumentUnsupported,
                "only migrations can be aborted after their switch-over, which are not supported",
            ));
        }
        Ok(domain(&client, &args.dom)?.abort_job().await?)
    });
}

fn job_type(stats: &JobStats) -> i32 {
    match stats.end {
        None if stats.total_bytes > 0 => VIR_DOMAIN_JOB_BOUNDED,
        None => VIR_DOMAIN_JOB_UNBOUNDED,
        Some(JobEnd::Completed) => VIR_DOMAIN_JOB_COMPLETED,
        Some(JobEnd::Failed) => VIR_DOMAIN_JOB_FAILED,
        Some(JobEnd::Cancelled) => VIR_DOMAIN_JOB_CANCELLED,
    }
}

/// A job as libvirt's typed parameters.
pub(crate) fn params(stats: &JobStats) -> Vec<TypedParam> {
    let mut params = vec![
        TypedParam::new("operation", stats.operation as i32),
        TypedParam::new("time_elapsed", stats.elapsed_ms),
    ];
    if let Some(end) = stats.end {
        params.push(TypedParam::new("success", end == JobEnd::Completed));
    }
    for (field, bytes) in [
        ("data_total", stats.total_bytes),
        ("data_processed", stats.processed_bytes),
        ("data_remaining", stats.remaining_bytes),
        ("memory_total", stats.total_bytes),
        ("memory_processed", stats.processed_bytes),
        ("memory_remaining", stats.remaining_bytes),
    ] {
        params.push(TypedParam::new(field, bytes));
    }
    params
}

fn get_info(client: &Client, args: DomainGetJobInfoArgs) -> Answer<DomainGetJobInfoRet> {
    let live = domain(client, &args.dom)?.live()?;
    let Some(stats) = live.job() else {
        return Ok(DomainGetJobInfoRet {
            kind: VIR_DOMAIN_JOB_NONE,
            ..DomainGetJobInfoRet::default()
        });
    };
    Ok(DomainGetJobInfoRet {
        kind: job_type(&stats),
        time_elapsed: stats.elapsed_ms,
        data_total: stats.total_bytes,
        data_processed: stats.processed_bytes,
        data_remaining: stats.remaining_bytes,
        mem_total: stats.total_bytes,
        mem_processed: stats.processed_bytes,
        mem_remaining: stats.remaining_bytes,
        ..DomainGetJobInfoRet::default()
    })
}

fn get_stats(client: &Client, args: DomainGetJobStatsArgs) -> Answer<DomainGetJobStatsRet> {
    const KNOWN: u32 = VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED;
    check_flags(args.flags, KNOWN, "qemuDomainGetJobStats")?;
    let live = domain(client, &args.dom)?.live()?;
    let stats = match args.flags & VIR_DOMAIN_JOB_STATS_COMPLETED {
        0 => live.job(),
        _ => live.last_job(),
    };
    Ok(match stats {
        None => DomainGetJobStatsRet {
            kind: VIR_DOMAIN_JOB_NONE,
            params: Vec::new(),
        },
        Some(stats) => DomainGetJobStatsRet {
            kind: job_type(&stats),
            params: params(&stats),
        },
    })
}
