//! The host's long operations: imports, clones, installations. Operations on
//! one running machine are `domjobinfo`'s.

use client::api::{Job, Progress, Unit};

use crate::args::Args;
use crate::failure::Outcome;
use crate::follow;
use crate::output::sayln;
use crate::session::Session;
use crate::table::{Opt, Verb, arg_number, flag};

const JOB: Opt = arg_number("job", "the number of the job").of_things(crate::table::Thing::Job);

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("jobs", "list the host's long operations", jobs)
        .about(
            "Lists imports, clones and the like, under way and over. A job that the daemon did \
             not see to its end is shown as interrupted.",
        )
        .options(&[flag("running", "only those under way")])
        .over_rest()
        .tabular(),
    Verb::new("job show", "show one long operation", show)
        .options(&[JOB])
        .over_rest()
        .tabular(),
    Verb::new("job wait", "follow a long operation to its end", wait)
        .about("Shows how far it is and fails if it does. Ctrl-C cancels the job.")
        .options(&[JOB])
        .over_rest(),
    Verb::new("job cancel", "cancel a long operation", cancel)
        .about("What it has begun is undone.")
        .options(&[JOB])
        .over_rest(),
];

fn jobs(s: &mut Session, args: &Args) -> Outcome {
    let mut jobs: Vec<Job> = s.rest()?.get("/jobs")?;
    if args.has("running") {
        jobs.retain(|job| !job.state.is_over());
    }
    let rows: Vec<_> = jobs.iter().map(row).collect();
    s.out
        .table(&["Id", "Kind", "Target", "State", "Progress"], &rows);
    Ok(())
}

fn row(job: &Job) -> Vec<String> {
    vec![
        job.id.to_string(),
        job.kind.clone(),
        job.target.clone(),
        job.state.word().to_owned(),
        match job.state.is_over() {
            true => "-".to_owned(),
            false => percent(&job.progress),
        },
    ]
}

fn percent(progress: &Progress) -> String {
    match (progress.unit, progress.total) {
        (_, 0) => "-".to_owned(),
        (Unit::Items, total) => format!("{}/{total}", progress.done),
        (_, total) => format!("{} %", progress.done.saturating_mul(100) / total),
    }
}

fn show(s: &mut Session, args: &Args) -> Outcome {
    let id: u64 = args.need_number("job")?;
    let job: Job = s.rest()?.get(&format!("/jobs/{id}"))?;
    let mut pairs = vec![
        ("Id:", job.id.to_string()),
        ("Kind:", job.kind.clone()),
        ("Target:", job.target.clone()),
        ("State:", job.state.word().to_owned()),
        ("Progress:", percent(&job.progress)),
        ("Started:", time(job.started_ms)),
    ];
    if let Some(ended) = job.ended_ms {
        pairs.push(("Ended:", time(ended)));
    }
    if let Some(error) = &job.error {
        pairs.push(("Error:", error.clone()));
    }
    s.out.pairs(15, &pairs);
    Ok(())
}

fn time(ms: u64) -> String {
    let stamp = i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(
        || ms.to_string(),
        |stamp| {
            let here = stamp.to_zoned(jiff::tz::TimeZone::system());
            here.strftime("%Y-%m-%d %H:%M:%S").to_string()
        },
    )
}

fn wait(s: &mut Session, args: &Args) -> Outcome {
    let id: u64 = args.need_number("job")?;
    let job: Job = s.rest()?.get(&format!("/jobs/{id}"))?;
    follow::follow_to_end(s, &job)?;
    sayln!(s, "Job {id} completed");
    Ok(())
}

fn cancel(s: &mut Session, args: &Args) -> Outcome {
    let id: u64 = args.need_number("job")?;
    let job: Job = s.rest()?.post(&format!("/jobs/{id}/cancel"), &())?;
    sayln!(s, "Job {} is being cancelled", job.id);
    Ok(())
}
