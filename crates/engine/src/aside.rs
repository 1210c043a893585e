//! Work that may hang, each piece on a thread of its own.
//!
//! A directory on a dead server keeps whoever touches it for ever. Such a thread must be nobody
//! else's: the runtime's few blocking threads serve the store and the whole daemon.

use crate::error::{EngineError, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often work is asked whether it goes on.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs work on a thread of its own and waits for its end.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("aside".into())
        .spawn(move || end.send(work()))
        .map_err(|e| EngineError::system("cannot start a thread", e))?;
    ended
        .await
        .map_err(|_| EngineError::failed("the work was broken off; the log says more"))
}

/// By this, work that goes on says so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The work has come a step further.
    pub(crate) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Work that did not end, still on its thread.
#[derive(Debug, Clone)]
pub(crate) struct Stuck {
    since: Instant,
    ended: Arc<AtomicBool>,
}

impl Stuck {
    /// For how long nothing was heard of it; none once it has ended after all.
    pub(crate) fn for_how_long(&self) -> Option<Duration> {
        (!self.ended.load(Ordering::Relaxed)).then(|| self.since.elapsed())
    }
}

/// Runs work that beats a pulse; gives up waiting when `silence_max` passes without a beat.
pub(crate) async fn aside_with_pulse<T: Send + 'static>(
    silence_max: Duration,
    work: impl FnOnce(&Pulse) -> T + Send + 'static,
) -> Result<std::result::Result<T, Stuck>> {
    let pulse = Pulse::default();
    let ended = Arc::new(AtomicBool::new(false));
    let task = {
        let (pulse, ended) = (pulse.clone(), ended.clone());
        aside(move || {
            let result = work(&pulse);
            ended.store(true, Ordering::Relaxed);
            result
        })
    };
    tokio::pin!(task);
    let mut last = (0, Instant::now());
    loop {
        match tokio::time::timeout(LOOK_EVERY.min(silence_max), &mut task).await {
            Ok(result) => return result.map(Ok),
            Err(_) => {
                let now = pulse.0.load(Ordering::Relaxed);
                if now != last.0 {
                    last = (now, Instant::now());
                } else if last.1.elapsed() >= silence_max {
                    return Ok(Err(Stuck {
                        since: last.1,
                        ended,
                    }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silent_work_is_left_and_its_end_is_seen() {
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let left = aside_with_pulse(Duration::from_millis(30), move |_| wait.recv()).await;
        let stuck = left.expect("a thread").expect_err("it hangs");
        assert!(stuck.for_how_long().is_some());
        let_go.send(()).expect("the thread waits");
        while stuck.for_how_long().is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn work_that_beats_is_waited_for() {
        let done = aside_with_pulse(Duration::from_millis(300), |pulse| {
            let (_never, wait) = std::sync::mpsc::channel::<()>();
            for _ in 0..5 {
                // Nothing comes: this only lets time pass.
                let _ = wait.recv_timeout(Duration::from_millis(150));
                pulse.beat();
            }
            7
        });
        assert_eq!(done.await.expect("a thread").expect("it ends"), 7);
    }
}
