//! Long operations of the host: progress, cancelling, and what a daemon that
//! comes after says of them.

use serde_json::json;
use std::path::Path;
use stead_engine::jobs::{JobSpec, JobState, JobUnit};
use stead_engine::places::Places;
use stead_engine::{Config, Engine, EngineError, ErrorKind, Mode};

fn config(root: &Path) -> Config {
    Config::new(Mode::System, Places::below(root))
}

fn spec(target: &str) -> JobSpec {
    JobSpec {
        kind: "test",
        target: target.into(),
        plan: None,
    }
}

/// Waits until the job is over.
async fn over(engine: &Engine, id: u64) -> std::sync::Arc<stead_engine::jobs::JobView> {
    let mut news = engine.job_news();
    loop {
        let view = engine.job(id).expect("job");
        if view.state != JobState::Running {
            return view;
        }
        news.next().await.expect("news");
    }
}

#[tokio::test]
async fn a_job_tells_how_far_it_is_and_what_it_made() {
    let root = tempfile::tempdir().expect("directory");
    let engine = Engine::start(config(root.path())).await.expect("engine");
    let mut news = engine.job_news();
    let job = engine
        .start_job(spec("a"), |job| async move {
            job.step("copying", 10, JobUnit::Bytes);
            job.done(4);
            assert_eq!(job.id(), 1);
            Ok(json!({"made": 1}))
        })
        .await
        .expect("job");
    let ended = over(&engine, job.id).await;
    assert_eq!(ended.state, JobState::Completed);
    assert_eq!(ended.result, Some(json!({"made": 1})));
    assert_eq!((ended.progress.done, ended.progress.total), (4, 10));
    let first = news.next().await.expect("news");
    assert_eq!((first.id, first.state), (1, JobState::Running));
    let second = news.next().await.expect("news");
    assert_eq!(second.progress.step, "copying");
}

#[tokio::test]
async fn failed_cancelled_and_broken_jobs_say_so() {
    let root = tempfile::tempdir().expect("directory");
    let engine = Engine::start(config(root.path())).await.expect("engine");
    let failing = engine
        .start_job(spec("f"), |_| async { Err(EngineError::failed("no luck")) })
        .await
        .expect("job");
    let ended = over(&engine, failing.id).await;
    assert_eq!(ended.error.as_ref().expect("error").message, "no luck");

    let endless = engine
        .start_job(spec("e"), |job| async move {
            job.unless_cancelled(std::future::pending()).await
        })
        .await
        .expect("job");
    engine.cancel_job(endless.id).expect("cancelled");
    assert_eq!(over(&engine, endless.id).await.state, JobState::Cancelled);
    let again = engine.cancel_job(endless.id).expect_err("over");
    assert_eq!(again.kind, ErrorKind::OperationInvalid);
    assert_eq!(
        engine.cancel_job(99).expect_err("none").kind,
        ErrorKind::NoJob
    );

    let broken = engine
        .start_job(spec("b"), |_| async { panic!("a fault") })
        .await
        .expect("job");
    assert_eq!(over(&engine, broken.id).await.state, JobState::Failed);
}

#[test]
fn the_next_daemon_knows_what_was_done_and_what_was_not() {
    let root = tempfile::tempdir().expect("directory");
    // A runtime of its own: it goes as a killed daemon does.
    let before = tokio::runtime::Runtime::new().expect("runtime");
    before.block_on(async {
        let engine = Engine::start(config(root.path())).await.expect("engine");
        let done = engine.start_job(spec("done"), |_| async { Ok(json!(5)) });
        let done = done.await.expect("job");
        over(&engine, done.id).await;
        let endless = engine.start_job(spec("endless"), |_| std::future::pending());
        endless.await.expect("job");
    });
    drop(before);
    let after = tokio::runtime::Runtime::new().expect("runtime");
    after.block_on(async {
        let engine = Engine::start(config(root.path())).await.expect("engine");
        let states: Vec<_> = engine
            .jobs()
            .iter()
            .map(|job| (job.id, job.state))
            .collect();
        assert_eq!(
            states,
            [(1, JobState::Completed), (2, JobState::Interrupted)]
        );
        assert_eq!(engine.job(1).expect("job").result, Some(json!(5)));
        let next = engine.start_job(spec("next"), |_| async { Ok(json!(null)) });
        assert_eq!(
            next.await.expect("job").id,
            3,
            "numbers are not given twice"
        );
    });
}
