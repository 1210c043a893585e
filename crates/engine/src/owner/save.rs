//! A machine's state goes to a file, its memory too.

use super::define::remove_file;
use super::errand::ErrandEnd;
use super::{Owner, Reply, answer};
use crate::crash::{Step, crash_point};
use crate::error::{EngineError, ErrorKind, Result};
use crate::intent::Intent;
use crate::job::JobOperation;
use crate::limits::{MIGRATION_POLL_MS, QMP_REPLY_TIMEOUT_MS};
use crate::live::LiveMachine;
use crate::monitor::Monitor;
use crate::options::{DumpOptions, SaveOptions};
use crate::saved::Saving;
use model::XmlFlags;
use qemu::machine::{Input, Operation, Status};
use qemu::qmp::commands::{self, Stream};
use qemu::qmp::reply::MigrationStatus;
use serde_json::Map;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The name under which QEMU knows the file it saves to.
const SAVE_FD: &str = "save";

impl Owner {
    pub(super) fn save(&mut self, options: SaveOptions, reply: Reply<()>) {
        match self.prepare_save(options) {
            Err(error) => answer(reply, Err(error)),
            Ok((live, plan)) => {
                let managed = plan.managed;
                live.begin_job(JobOperation::Save);
                self.intend(
                    &live,
                    Some(Intent::Save {
                        path: plan.path.clone(),
                        was_running: plan.is_running,
                    }),
                );
                crash_point(Step::SaveIntended);
                self.life.handle(Input::Saving(true));
                self.hold("save", async move {
                    let result = save_to(&live, plan).await;
                    ErrandEnd::Save {
                        reply,
                        result,
                        managed,
                    }
                });
            }
        }
    }

    fn prepare_save(&self, options: SaveOptions) -> Result<(Arc<LiveMachine>, SavePlan)> {
        self.admit(Operation::Save)?;
        let live = self.live()?;
        let view = self.entry.view();
        let managed = options.path.is_none();
        if managed && view.stored.is_none() {
            return Err(EngineError::invalid(
                "cannot do managed save for transient domain",
            ));
        }
        let path = options
            .path
            .unwrap_or_else(|| self.engine.places().managed_save(&view.name));
        let xml = match options.xml {
            Some(xml) => xml,
            None => {
                let flags = XmlFlags {
                    inactive: true,
                    secure: true,
                    migratable: true,
                };
                live.definition().to_xml(flags)
            }
        };
        let is_running = matches!(self.life.status(), Status::Running(_));
        let running_after = options.running.unwrap_or(is_running);
        Ok((
            live,
            SavePlan {
                path,
                xml,
                is_running,
                running_after,
                managed,
            },
        ))
    }

    pub(super) async fn save_ended(&mut self, reply: Reply<()>, result: Result<()>, managed: bool) {
        self.finish_job(&result);
        match result {
            Ok(()) => {
                if managed {
                    self.publish(|view| view.managed_save = true);
                }
                // Answered when QEMU is gone and everything is given back.
                self.waiting_for_end.push(reply);
                self.happen(Input::Saved).await;
            }
            Err(error) => {
                self.life.handle(Input::Saving(false));
                if let Some(live) = &self.live {
                    self.intend(live, None);
                }
                answer(reply, Err(error));
            }
        }
    }

    pub(super) fn remove_managed_save(&mut self) -> Result<()> {
        if self.entry.view().managed_save {
            self.delete_managed_save()
        } else {
            Ok(())
        }
    }

    pub(super) fn delete_managed_save(&mut self) -> Result<()> {
        let name = self.entry.view().name.clone();
        remove_file(&self.engine.places().managed_save(&name))?;
        self.publish(|view| view.managed_save = false);
        Ok(())
    }

    pub(super) fn dump(&mut self, options: DumpOptions, reply: Reply<()>) {
        match self.admit(Operation::Save).and_then(|_| self.live()) {
            Err(error) => answer(reply, Err(error)),
            Ok(live) => self.begin_dump(live, options, Some(reply)),
        }
    }

    /// The guest has crashed and its definition wants a dump before it ends.
    pub(super) fn dump_crashed(&mut self) {
        let Ok(live) = self.live() else { return };
        let name = self.entry.view().name.clone();
        let path = self
            .engine
            .places()
            .dump
            .join(format!("{name}-{}.core", live.id));
        let options = DumpOptions {
            path,
            memory_only: true,
            ..DumpOptions::default()
        };
        self.begin_dump(live, options, None);
    }

    fn begin_dump(
        &mut self,
        live: Arc<LiveMachine>,
        options: DumpOptions,
        reply: Option<Reply<()>>,
    ) {
        live.begin_job(JobOperation::Dump);
        self.life.handle(Input::Dumping(true));
        let was_running = matches!(self.life.status(), Status::Running(_));
        self.hold("dump", async move {
            let crash = options.crash;
            let result = dump_to(&live, &options, was_running).await;
            ErrandEnd::Dump {
                reply,
                result,
                crash,
            }
        });
    }

    pub(super) async fn dump_ended(
        &mut self,
        reply: Option<Reply<()>>,
        result: Result<()>,
        crash: bool,
    ) {
        self.finish_job(&result);
        self.life.handle(Input::Dumping(false));
        if let (Err(error), None) = (&result, &reply) {
            tracing::error!(domain = %self.entry.view().name, %error, "the crashed guest could not be dumped");
        }
        let ends = crash && result.is_ok();
        match reply {
            // Answered when QEMU is gone and everything is given back.
            Some(reply) if ends => self.waiting_for_end.push(reply),
            Some(reply) => answer(reply, result),
            None => {}
        }
        if ends {
            self.happen(Input::DumpedToEnd).await;
        }
    }
}

struct SavePlan {
    path: PathBuf,
    xml: String,
    is_running: bool,
    running_after: bool,
    managed: bool,
}

async fn save_to(live: &LiveMachine, plan: SavePlan) -> Result<()> {
    let monitor = live.monitor()?;
    let mut saving = Saving::create(&plan.path, &plan.xml, plan.running_after)?;
    crash_point(Step::SaveBegun);
    if plan.is_running {
        monitor.execute(&commands::stop()).await?;
    }
    crash_point(Step::SaveStopped);
    let saved = async {
        monitor
            .ask_with_descriptor(&commands::getfd(SAVE_FD), OwnedFd::from(saving.stream()?))
            .await?;
        unbound_bandwidth(monitor).await?;
        monitor
            .execute(&commands::migrate(&Stream::Descriptor(SAVE_FD.to_owned())))
            .await?;
        crash_point(Step::SaveWriting);
        follow(Some(live), monitor).await?;
        crash_point(Step::SaveWritten);
        saving.finish(&plan.xml, plan.running_after)?;
        crash_point(Step::SaveComplete);
        Ok(())
    };
    let result = saved.await;
    if result.is_err() && plan.is_running {
        // It goes on as if nothing had been asked.
        monitor.execute(&commands::cont()).await?;
    }
    result
}

/// Writes the machine's state into a file that was begun; it stands still afterwards.
pub(crate) async fn write_state(live: &LiveMachine, saving: &mut Saving) -> Result<()> {
    let monitor = live.monitor()?;
    monitor
        .ask_with_descriptor(&commands::getfd(SAVE_FD), OwnedFd::from(saving.stream()?))
        .await?;
    unbound_bandwidth(monitor).await?;
    monitor
        .execute(&commands::migrate(&Stream::Descriptor(SAVE_FD.to_owned())))
        .await?;
    follow(Some(live), monitor).await
}

/// A file takes what the disk takes: QEMU's default bound is for networks.
async fn unbound_bandwidth(monitor: &Monitor) -> Result<()> {
    let mut parameters = Map::new();
    parameters.insert(
        "max-bandwidth".to_owned(),
        (i64::MAX as u64 / 1024 / 1024 * 1024).into(),
    );
    monitor
        .execute(&commands::migrate_set_parameters(parameters))
        .await
        .map(drop)
}

/// Follows a migration to its end and records how far it is.
pub(crate) async fn follow(live: Option<&LiveMachine>, monitor: &Monitor) -> Result<()> {
    let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
    loop {
        let info = monitor.ask(&commands::query_migrate(), timeout).await?;
        if let (Some(live), Some(ram)) = (live, &info.ram) {
            live.advance_job(ram.total, ram.transferred, ram.remaining);
        }
        match info.status {
            Some(MigrationStatus::Completed) => return Ok(()),
            Some(MigrationStatus::Cancelled) => {
                return Err(EngineError::new(
                    ErrorKind::OperationAborted,
                    "operation aborted: canceled by client",
                ));
            }
            Some(MigrationStatus::Failed) => {
                let why = info
                    .error_desc
                    .unwrap_or_else(|| "QEMU gave no reason".to_owned());
                let why = if live.is_some_and(LiveMachine::job_abort_wanted) {
                    "canceled by client".to_owned()
                } else {
                    why
                };
                return Err(EngineError::failed(format!(
                    "the machine's state could not be written: {why}"
                )));
            }
            _ => tokio::time::sleep(Duration::from_millis(MIGRATION_POLL_MS)).await,
        }
    }
}

async fn dump_to(live: &LiveMachine, options: &DumpOptions, was_running: bool) -> Result<()> {
    let monitor = live.monitor()?;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&options.path)
        .map_err(|e| {
            EngineError::system(
                &format!("Failed to create file '{}'", options.path.display()),
                crate::error::advice(&e),
            )
        })?;
    if was_running && !options.live {
        monitor.execute(&commands::stop()).await?;
    }
    let written = async {
        monitor
            .ask_with_descriptor(&commands::getfd(SAVE_FD), OwnedFd::from(file))
            .await?;
        if options.memory_only {
            let command = commands::dump_guest_memory(&format!("fd:{SAVE_FD}"), "elf", false);
            // As long as writing the memory takes; the job can be watched and aborted.
            monitor
                .ask(&command, Duration::from_secs(3600))
                .await
                .map(drop)
        } else {
            unbound_bandwidth(monitor).await?;
            monitor
                .execute(&commands::migrate(&Stream::Descriptor(SAVE_FD.to_owned())))
                .await?;
            follow(Some(live), monitor).await
        }
    };
    let result = written.await;
    if result.is_err() {
        remove_file(&options.path)?;
    }
    if options.reset && result.is_ok() {
        monitor.execute(&commands::system_reset()).await?;
    }
    if was_running && !options.live && !options.crash {
        monitor.execute(&commands::cont()).await?;
    }
    result
}
