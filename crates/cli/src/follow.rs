//! Long requests over REST: the daemon answers with a job, which is followed
//! here until it is over, with a bar on a terminal.

use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::Duration;

use client::api::{Job, JobState, Unit};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::interrupt::send_on_interrupt;
use crate::session::Session;

/// How often a bar moves although nothing is heard.
const TICK: Duration = Duration::from_millis(200);

/// Whether a person looks on, and the daemon has jobs to be watched: it is Stead's own, on this host.
pub(crate) fn is_watched(s: &mut Session) -> bool {
    !s.out.quiet && std::io::stderr().is_terminal() && s.rest().is_ok()
}

/// Follows a job to its end and gives back what it made. Ctrl-C cancels it.
///
/// # Errors
/// Why it failed; that it was cancelled.
pub(crate) fn follow<T: DeserializeOwned>(s: &mut Session, job: &Job) -> Result<T, Failure> {
    let ended = watch(s, job.id)?;
    let result = result_of(&ended)?;
    serde_json::from_value(result)
        .map_err(|e| Failure::said(format!("cannot read what job {} answered: {e}", job.id)))
}

/// As [`follow`], for jobs that make nothing to be told.
///
/// # Errors
/// As [`follow`].
pub(crate) fn follow_to_end(s: &mut Session, job: &Job) -> Result<(), Failure> {
    watch(s, job.id)
        .and_then(|ended| result_of(&ended))
        .map(drop)
}

/// Follows a job until it is at a step, or over.
///
/// # Errors
/// As [`follow`], if it is over before.
pub(crate) fn follow_to_step(s: &mut Session, job: &Job, step: &str) -> Result<(), Failure> {
    let seen = watch_until(s, job.id, |job| job.progress.step == step)?;
    match seen.state.is_over() {
        false => Ok(()),
        true => result_of(&seen).map(drop),
    }
}

/// What a job that is over gave back.
fn result_of(job: &Job) -> Result<serde_json::Value, Failure> {
    let said = match job.state {
        JobState::Completed => return Ok(job.result.clone().unwrap_or_default()),
        JobState::Failed => job.error.clone().unwrap_or_default(),
        JobState::Cancelled => format!("job {} was cancelled", job.id),
        JobState::Interrupted | JobState::Running => format!(
            "the daemon ended before job {} did; what it had begun was put in order: run it again",
            job.id
        ),
    };
    Err(Failure::said(said))
}

/// Shows a job until it is over.
///
/// # Errors
/// If the daemon is lost.
pub(crate) fn watch(s: &mut Session, id: u64) -> Result<Job, Failure> {
    watch_until(s, id, |_| false)
}

fn watch_until(s: &mut Session, id: u64, enough: impl Fn(&Job) -> bool) -> Result<Job, Failure> {
    s.out.flush();
    let (sink, interrupted) = mpsc::channel();
    send_on_interrupt(sink, ());
    let cancel_by = s.globals.clone();
    std::thread::spawn(move || {
        if interrupted.recv().is_ok() {
            cancel(cancel_by, id);
        }
    });
    let mut meter = Meter::new(s.out.quiet);
    let ended = s.rest()?.follow(id, |job| {
        meter.show(job);
        enough(job)
    });
    meter.end();
    Ok(ended?)
}

/// Cancels a job over a connection of its own: the other one follows it.
fn cancel(globals: crate::globals::Globals, id: u64) {
    let nowhere = crate::output::Output::to(Box::new(std::io::sink()), Box::new(std::io::sink()));
    let mut session = Session::new(globals, nowhere);
    if let Ok(rest) = session.rest() {
        // A job that is over by now needs no cancelling.
        _ = rest.post::<Job>(&format!("/jobs/{id}/cancel"), &());
    }
}

/// A bar on standard error, where that is a terminal.
struct Meter {
    bar: Option<ProgressBar>,
    unit: Option<Unit>,
}

impl Meter {
    fn new(quiet: bool) -> Meter {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.enable_steady_tick(TICK);
        }
        Meter { bar, unit: None }
    }

    fn show(&mut self, job: &Job) {
        let Some(bar) = &self.bar else {
            return;
        };
        let progress = &job.progress;
        let unit = (progress.total > 0).then_some(progress.unit);
        if self.unit != unit {
            self.unit = unit;
            if let Ok(style) = ProgressStyle::with_template(template(unit)) {
                bar.set_style(style);
            }
        }
        bar.set_message(match progress.step.is_empty() {
            true => format!("{} {}", job.kind, job.target),
            false => progress.step.clone(),
        });
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn template(unit: Option<Unit>) -> &'static str {
    match unit {
        None => "{spinner} {msg}",
        Some(Unit::Bytes) => "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        Some(Unit::Items) => "{msg} [{bar:30}] {pos}/{len} {eta}",
        Some(Unit::Percent) => "{msg} [{bar:30}] {percent} % {eta}",
    }
}
