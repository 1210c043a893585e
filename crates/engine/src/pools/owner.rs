//! The one task that changes a pool.
//!
//! Requests are served one after the other. Long work on volumes is not the owner's: it is done
//! beside it by whoever holds a [`Claim`], and the owner only keeps the list of claims.

use super::claim::{Claim, Claims, Purpose};
use super::host::{self, Overwrite};
use super::record::PoolRecords;
use super::{Entry, PoolView, Pools, scan};
use crate::aside::{Pulse, Stuck, aside_with_pulse};
use crate::crash::{Step, crash_point};
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::POOL_SILENCE_MAX_MS;
use crate::notices::{Notice, NoticeHub, PoolHappening};
use crate::secrets::Secrets;
use crate::volumes::Volume;
use model::storage::{Permissions, PoolDefinition, PoolSizes};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// What is asked of a pool's owner.
#[derive(Debug)]
pub(crate) enum Request {
    Start {
        build: Option<Overwrite>,
        reply: Reply<()>,
    },
    Stop {
        reply: Reply<()>,
    },
    Refresh {
        reply: Reply<()>,
    },
    Build {
        overwrite: Overwrite,
        reply: Reply<()>,
    },
    Delete {
        reply: Reply<()>,
    },
    Undefine {
        reply: Reply<()>,
    },
    Define {
        definition: Box<PoolDefinition>,
        reply: Reply<()>,
    },
    Autostart {
        autostart: bool,
        reply: Reply<()>,
    },
    /// The last daemon of this boot used the pool.
    Resume {
        reply: Reply<()>,
    },
    Claim {
        claim: Claim,
        reply: Reply<Claim>,
    },
    Release {
        name: String,
        purpose: Purpose,
        reply: Option<Reply<Option<Arc<Volume>>>>,
    },
    /// A file of this name may have come or gone.
    Look {
        name: String,
        reply: Reply<()>,
    },
}

/// What an owner needs of the engine.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) records: PoolRecords,
    pub(super) notices: NoticeHub,
    pub(super) secrets: Arc<Secrets>,
    pub(super) pools: Weak<Pools>,
}

pub(super) struct Owner {
    entry: Arc<Entry>,
    around: Surroundings,
    /// Who works on which volume; readers are counted.
    claims: Claims,
    /// Work on the directory that nothing was heard of.
    stuck: Option<Stuck>,
}

type Scanned = (PoolSizes, Permissions, Vec<Volume>);

impl Owner {
    pub(super) fn new(entry: Arc<Entry>, around: Surroundings) -> Self {
        Self {
            entry,
            around,
            claims: Claims::default(),
            stuck: None,
        }
    }

    /// Serves requests until the pool is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) {
        while let Some(request) = inbox.recv().await {
            self.serve(request).await;
            if self.is_over() {
                break;
            }
        }
    }

    fn view(&self) -> Arc<PoolView> {
        self.entry.view()
    }

    /// Changes what readers see.
    fn change(&self, change: impl FnOnce(&mut PoolView)) {
        let mut view = (*self.view()).clone();
        change(&mut view);
        self.entry.publish(view);
    }

    fn tell(&self, what: PoolHappening) {
        self.around.notices.tell(Notice::Pool {
            name: self.view().name.clone(),
            uuid: self.entry.uuid,
            what,
        });
    }

    /// A pool that is neither stored nor in use is gone.
    fn is_over(&self) -> bool {
        let view = self.view();
        let is_over = !view.persistent && !view.active;
        if is_over && let Some(pools) = self.around.pools.upgrade() {
            pools.lock().remove(&self.entry.uuid);
        }
        is_over
    }

    async fn serve(&mut self, request: Request) {
        // Nobody waiting for an answer is no error.
        match request {
            Request::Start { build, reply } => _ = reply.send(self.start(build).await),
            Request::Stop { reply } => _ = reply.send(self.stop().await),
            Request::Refresh { reply } => _ = reply.send(self.refresh().await),
            Request::Build { overwrite, reply } => _ = reply.send(self.build(overwrite).await),
            Request::Delete { reply } => _ = reply.send(self.delete().await),
            Request::Undefine { reply } => _ = reply.send(self.undefine().await),
            Request::Define { definition, reply } => {
                _ = reply.send(self.define(*definition).await);
            }
            Request::Autostart { autostart, reply } => {
                _ = reply.send(self.autostart(autostart).await);
            }
            Request::Resume { reply } => _ = reply.send(self.resume().await),
            Request::Claim { claim, reply } => {
                let answer = self.claim(&claim).map(|()| claim.granted());
                // An answer that reaches nobody gives the claim back by itself.
                _ = reply.send(answer);
            }
            Request::Release {
                name,
                purpose,
                reply,
            } => {
                let answer = self.release(&name, purpose).await;
                if let Some(reply) = reply {
                    _ = reply.send(answer);
                }
            }
            Request::Look { name, reply } => {
                let looked = match self.claims.is_made(&name) {
                    // What is half-made is no volume.
                    true => Ok(()),
                    false => self.look(&name).await.map(drop),
                };
                _ = reply.send(looked);
            }
        }
    }

    /// Whether nothing has been heard of the directory for long.
    fn check_answers(&mut self) -> Result<()> {
        let silence = self.stuck.as_ref().and_then(Stuck::for_how_long);
        match silence {
            Some(silence) => Err(self.does_not_answer(silence)),
            None => {
                self.stuck = None;
                Ok(())
            }
        }
    }

    fn does_not_answer(&self, silence: Duration) -> EngineError {
        let view = self.view();
        let what = format!(
            "the directory '{}' of storage pool '{}' has not answered for {} s; \
             check what is mounted there",
            view.path(),
            view.name,
            silence.as_secs()
        );
        EngineError::new(ErrorKind::OperationTimeout, what)
    }

    /// Does something to the host that may hang.
    async fn on_host<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Pulse) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check_answers()?;
        let silence_max = Duration::from_millis(POOL_SILENCE_MAX_MS);
        match aside_with_pulse(silence_max, work).await? {
            Ok(result) => result,
            Err(stuck) => {
                let silence = stuck.for_how_long().unwrap_or(silence_max);
                self.stuck = Some(stuck);
                Err(self.does_not_answer(silence))
            }
        }
    }

    fn need_inactive(&self) -> Result<()> {
        let view = self.view();
        match view.active {
            false => Ok(()),
            true => Err(EngineError::invalid(format!(
                "storage pool '{}' is still active",
                view.name
            ))),
        }
    }

    fn need_idle(&self) -> Result<()> {
        match self.claims.is_empty() {
            true => Ok(()),
            false => Err(EngineError::new(
                ErrorKind::Internal,
                format!("pool '{}' has asynchronous jobs running.", self.view().name),
            )),
        }
    }

    async fn start(&mut self, build: Option<Overwrite>) -> Result<()> {
        let view = self.view();
        if view.active {
            return Err(EngineError::invalid(format!(
                "storage pool '{}' is already active",
                view.name
            )));
        }
        if let Some(overwrite) = build {
            self.build(overwrite).await?;
        }
        let definition = view.definition.clone();
        self.on_host(move |_| host::start(&definition)).await?;
        let scanned = self.scan().await;
        let noted = scanned.and_then(|scanned| {
            let records = &self.around.records;
            records.note_in_use(view.uuid, &view.definition)?;
            Ok(scanned)
        });
        match noted {
            Ok(scanned) => self.show(scanned),
            Err(error) => {
                let definition = view.definition.clone();
                let undone = self.on_host(move |_| host::stop(&definition)).await;
                if let Err(error) = undone {
                    tracing::warn!(pool = %view.name, %error, "a failed start was not undone");
                }
                return Err(error);
            }
        }
        self.tell(PoolHappening::Started);
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        let definition = self.view().definition.clone();
        let is_started = self
            .on_host(move |_| Ok(host::is_started(&definition)))
            .await?;
        match is_started {
            false => self.start(None).await,
            true => {
                let scanned = self.scan().await?;
                self.show(scanned);
                Ok(())
            }
        }
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from(self.view().path())
    }

    async fn scan(&mut self) -> Result<Scanned> {
        let definition = self.view().definition.clone();
        let (directory, host) = (self.directory(), self.around.records.host());
        self.on_host(move |pulse| {
            host::check_started(&definition)?;
            // Nobody makes volumes here meanwhile: what is unfinished, nobody will finish.
            crate::volumes::remove_own_strays(&directory, host);
            let (sizes, permissions) = host::measure(&definition)?;
            let volumes = scan::scan(&directory, pulse).map_err(|e| {
                EngineError::io(
                    &format!("cannot open directory '{}'", directory.display()),
                    &e,
                )
            })?;
            Ok((sizes, permissions, volumes))
        })
        .await
    }

    fn show(&self, (sizes, permissions, volumes): Scanned) {
        let named = volumes
            .into_iter()
            .map(|volume| self.with_secret(volume))
            .map(|volume| (volume.definition.name.clone(), Arc::new(volume)));
        let volumes: BTreeMap<_, _> = named.collect();
        let old = self
            .entry
            .change_volumes(|shown| std::mem::replace(shown, volumes));
        drop(old);
        self.change(|view| {
            view.active = true;
            view.sizes = sizes;
            view.permissions = Some(permissions);
        });
    }

    /// An encrypted volume with the secret that is for it.
    fn with_secret(&self, mut volume: Volume) -> Volume {
        let path = volume.path().to_owned();
        if let Some(encryption) = &mut volume.definition.target.encryption
            && encryption.secrets.is_empty()
            && let Some(reference) = self.around.secrets.of_volume(&path)
        {
            encryption.secrets.push(reference);
        }
        volume
    }

    async fn stop(&mut self) -> Result<()> {
        let view = self.view();
        view.need_active()?;
        self.need_idle()?;
        let definition = view.definition.clone();
        // A directory that hangs is let go of as well: only the kernel's list is asked here.
        self.stuck = None;
        self.on_host(move |_| host::stop(&definition)).await?;
        self.around.records.note_stopped(view.uuid);
        self.change(|view| {
            view.active = false;
            view.sizes = PoolSizes::default();
            view.permissions = None;
            if let Some(next) = view.next.take() {
                view.definition = next;
            }
        });
        self.entry.change_volumes(BTreeMap::clear);
        self.tell(PoolHappening::Stopped);
        Ok(())
    }

    async fn refresh(&mut self) -> Result<()> {
        self.view().need_active()?;
        self.need_idle()?;
        let scanned = self.scan().await?;
        self.show(scanned);
        self.tell(PoolHappening::Refreshed);
        Ok(())
    }

    async fn build(&mut self, overwrite: Overwrite) -> Result<()> {
        let view = self.view();
        if view.active {
            return Err(EngineError::invalid(format!(
                "storage pool '{}' is already active",
                view.name
            )));
        }
        let definition = view.definition.clone();
        self.on_host(move |_| host::build(&definition, overwrite))
            .await?;
        self.tell(PoolHappening::Created);
        Ok(())
    }

    async fn delete(&mut self) -> Result<()> {
        self.need_inactive()?;
        let definition = self.view().definition.clone();
        self.on_host(move |_| host::delete(&definition)).await?;
        self.tell(PoolHappening::Deleted);
        Ok(())
    }

    async fn undefine(&mut self) -> Result<()> {
        self.need_inactive()?;
        self.around.records.delete(self.entry.uuid).await?;
        self.change(|view| view.persistent = false);
        self.tell(PoolHappening::Undefined);
        Ok(())
    }

    /// A pool in use keeps what it is until it is stopped.
    async fn define(&mut self, definition: PoolDefinition) -> Result<()> {
        let view = self.view();
        crash_point(Step::PoolDefineChecked);
        self.around
            .records
            .put(view.uuid, &definition, view.autostart)
            .await?;
        crash_point(Step::PoolDefineStored);
        let definition = Arc::new(definition);
        self.change(|view| {
            view.persistent = true;
            match view.active {
                true => view.next = Some(definition),
                false => view.definition = definition,
            }
        });
        self.tell(PoolHappening::Defined);
        Ok(())
    }

    async fn autostart(&mut self, autostart: bool) -> Result<()> {
        let view = self.view();
        if !view.persistent {
            return Err(EngineError::new(
                ErrorKind::Internal,
                "pool has no config file",
            ));
        }
        let stored = view.next.as_ref().unwrap_or(&view.definition);
        self.around
            .records
            .put(view.uuid, stored, autostart)
            .await?;
        self.change(|view| view.autostart = autostart);
        Ok(())
    }

    fn claim(&mut self, claim: &Claim) -> Result<()> {
        let name = &claim.name;
        let view = self.view();
        view.need_active()?;
        self.check_answers()?;
        host::check_started(&view.definition)?;
        let is_there = self.entry.volumes().contains_key(name);
        self.claims.grant(claim, is_there)
    }

    /// Somebody is done with a volume: it is shown as it is now.
    async fn release(&mut self, name: &str, purpose: Purpose) -> Result<Option<Arc<Volume>>> {
        self.claims.release(name, purpose);
        match purpose {
            Purpose::Read => Ok(self.entry.volumes().get(name).cloned()),
            _ => self.look(name).await,
        }
    }

    /// Shows a volume as it is now, or no more.
    async fn look(&mut self, name: &str) -> Result<Option<Arc<Volume>>> {
        if !self.view().active {
            return Ok(None);
        }
        let definition = self.view().definition.clone();
        let (directory, wanted) = (self.directory(), name.to_owned());
        let (sizes, volume) = self
            .on_host(move |_| {
                let (sizes, _) = host::measure(&definition)?;
                Ok((sizes, scan::describe(&directory, &wanted)))
            })
            .await?;
        self.change(|view| view.sizes = sizes);
        let volume = volume.map(|volume| Arc::new(self.with_secret(volume)));
        self.entry.change_volumes(|shown| match &volume {
            Some(volume) => _ = shown.insert(name.to_owned(), volume.clone()),
            None => _ = shown.remove(name),
        });
        Ok(volume)
    }
}
