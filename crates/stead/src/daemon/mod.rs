//! `stead daemon`: puts the engine and its faces together and keeps them
//! running until it is told to stop. Machines are left as they are.

mod log;
mod options;
mod sockets;

use engine::Engine;
use options::Options;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Threads that serve clients. Each request is short; more threads only cost
/// memory.
const WORKERS_MAX: usize = 4;

/// Runs the daemon until it is told to stop.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match options::parse(arguments) {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    if let Err(error) = log::start(options.log_format, options.log_level.as_deref()) {
        return fail(&*error);
    }
    if let Err(error) = arm_crash() {
        return fail(&*error);
    }
    if let Err(error) = sys::open_files::raise_limit() {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(WORKERS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(workers * 2)
        .thread_stack_size(1024 * 1024)
        .enable_all()
        .build();
    let served = runtime.map_err(Into::into).and_then(|runtime| {
        let served = runtime.block_on(serve(options));
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

/// Tests of faults make the daemon die at a named step.
fn arm_crash() -> Result<(), Box<dyn Error>> {
    match std::env::var("STEAD_CRASH_AT") {
        Err(std::env::VarError::NotPresent) => Ok(()),
        text => Ok(engine::crash::arm(&text?)?),
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "stead daemon: {error}");
    ExitCode::FAILURE
}

async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let engine = Engine::start(options.engine.clone()).await?;
    let server = rpc::Server::new(engine.clone(), sys::user::current_uid());
    let _listening = sockets::listen(&server, &options)?;
    let _rest = sockets::listen_rest(&rest::Server::new(engine.clone()), &options)?;
    let (active, inactive) = engine.domain_counts();
    tracing::info!(active, inactive, "serving");
    notify("READY=1");
    let autostart = tokio::spawn({
        let engine = engine.clone();
        async move {
            engine.autostart().await;
            // The start is over: what only it needed is not needed to serve.
            sys::memory::release_unused();
        }
    });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify("STOPPING=1");
    autostart.abort();
    engine.stop();
    tracing::info!("stopping; machines go on");
    Ok(())
}

/// Tells the service manager, where there is one.
fn notify(state: &str) {
    if let Err(error) = sys::notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
