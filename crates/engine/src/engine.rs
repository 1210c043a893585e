//! The engine: one handle to everything a host's daemon knows and does.

use crate::binaries::Binaries;
use crate::config::Config;
use crate::definition::Definition;
use crate::error::{EngineError, ErrorKind, Result};
use crate::events::{EventHub, EventStream};
use crate::fd_groups::FdGroups;
use crate::handle::DomainHandle;
use crate::images::Library;
use crate::jobs::Jobs;
use crate::limits::DEFINITION_MAX_BYTES;
use crate::network::Networks;
use crate::nodedev::NodeDeviceHub;
use crate::notices::{NoticeHub, NoticeStream};
use crate::nwfilter::Filters;
use crate::options::{SessionId, StartOptions};
use crate::owner::{self, Request};
use crate::pools::Pools;
use crate::ports::Ports;
use crate::provision::Templates;
use crate::record::{Head, Records};
use crate::saved::SavedState;
use crate::secrets::Secrets;
use crate::table::{Entry, Table};
use crate::view::DomainView;
use model::domain::Domain;
use model::domain::complete::{DefineContext, FirmwareImage};
use qemu::machine::{OffReason, Status};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use store::Store;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

/// A handle to the engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    table: Table,
    records: Records,
    events: EventHub,
    binaries: Binaries,
    ports: Ports,
    networks: Networks,
    filters: Filters,
    jobs: Jobs,
    pools: Arc<Pools>,
    notices: NoticeHub,
    node_devices: NodeDeviceHub,
    secrets: Arc<Secrets>,
    library: Library,
    templates: Templates,
    boot: String,
    identity: Option<sys::spawn::Identity>,
    cgroups: Option<sys::cgroup::Manager>,
    cgroup_prefix: String,
    firmware: OnceLock<Vec<FirmwareImage>>,
    /// Why machines crashed last, for `dominfo` and the curious.
    crashes: Mutex<BTreeMap<Uuid, String>>,
    fd_groups: FdGroups,
    /// Set when the daemon goes down: owners let go of their machines.
    stopping: watch::Sender<bool>,
    /// Held for the daemon's life: one daemon on one root.
    _lock: sys::lockfile::LockFile,
}

impl Engine {
    /// Opens the state, takes over every machine that runs, and gives back a
    /// handle once each is known in its true state.
    pub async fn start(config: Config) -> Result<Self> {
        let lock = crate::setup::prepare(&config)?;
        let host = crate::setup::host_id(&config)?;
        let store =
            Store::open_sqlite(&config.places.database).map_err(crate::record::store_failed)?;
        let engine = Self {
            inner: Arc::new(Inner {
                table: Table::default(),
                records: Records::new(store, host),
                events: EventHub::new(),
                binaries: Binaries::new(&config),
                ports: Ports::default(),
                networks: Networks::default(),
                filters: Filters::default(),
                jobs: Jobs::default(),
                pools: Arc::default(),
                notices: NoticeHub::new(),
                node_devices: NodeDeviceHub::default(),
                secrets: Arc::default(),
                library: Library::default(),
                templates: Templates::default(),
                boot: sys::host::Host::new().boot_id().unwrap_or_default(),
                identity: crate::setup::qemu_identity(&config),
                cgroups: crate::setup::cgroups(&config),
                // Stable over restarts, and different for each daemon of a host.
                cgroup_prefix: format!("stead-{}", &host.simple().to_string()[..8]),
                firmware: OnceLock::new(),
                crashes: Mutex::default(),
                fd_groups: FdGroups::default(),
                stopping: watch::Sender::new(false),
                _lock: lock,
                config,
            }),
        };
        engine.remove_remains().await?;
        engine.load()?;
        engine.load_secrets()?;
        engine.load_filters()?;
        engine.load_networks().await?;
        engine.load_images()?;
        engine.load_templates()?;
        let going_on = engine.load_jobs().await?;
        engine.load_pools().await?;
        crate::adopt::take_over(&engine).await;
        crate::saved::remove_unfinished(&engine.places().save);
        crate::snapshots::recover::settle_all(&engine).await;
        engine.go_on_with_jobs(going_on);
        engine.guard_firewall();
        engine.follow_firewalld();
        engine.follow_machines();
        if let Err(error) = engine.apply_firewall().await {
            tracing::error!(%error, "the firewall's rules could not be put in force");
        }
        Ok(engine)
    }

    /// Removes the files of domains whose undefine was broken off.
    async fn remove_remains(&self) -> Result<()> {
        for (uuid, files) in self.records().remains()? {
            tracing::info!(%uuid, "finishing an undefine that was under way");
            let removed = files.iter().try_for_each(|file| self.remove_remain(file));
            match removed {
                Ok(()) => self.records().files_removed(uuid).await?,
                Err(error) => tracing::error!(%error, "tried again at the next start"),
            }
        }
        Ok(())
    }

    /// Reads which domains there are; their definitions are read when needed.
    fn load(&self) -> Result<()> {
        let saved = crate::saved::managed_files(&self.places().save);
        let mut trees = self.inner.records.snapshot_trees()?;
        self.inner.records.for_each_head(|uuid, head| {
            let managed_save = saved.contains(&self.places().managed_save(&head.name));
            match self
                .inner
                .table
                .claim(stored_view(uuid, head, managed_save, trees.remove(&uuid)))
            {
                Ok(entry) => entry.set_listed(true),
                Err(error) => tracing::error!(%uuid, %error, "two records for one domain"),
            }
        })
    }

    /// Publishes what the store says of a domain once more: its snapshots and
    /// its definition have been changed behind its owner.
    pub(crate) fn reload_domain(&self, uuid: Uuid) -> Result<()> {
        let Some(entry) = self.inner.table.by_uuid(uuid) else {
            return Ok(());
        };
        let mut view = DomainView::clone(&entry.view());
        let mut trees = self.inner.records.snapshot_trees()?;
        view.snapshots = Arc::new(trees.remove(&uuid).unwrap_or_default());
        if view.stored.is_some() {
            let domain = self.parse_stored(&self.stored_xml(uuid)?)?;
            view.stored = Some(Arc::new(crate::view::Summary::of(&domain)));
        }
        entry.publish(view);
        Ok(())
    }

    /// Lets go of every machine; they run on, and the next engine finds them.
    pub fn stop(&self) {
        self.inner.stopping.send_replace(true);
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.inner.stopping.subscribe()
    }

    /// The settings the engine was started with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Where things live.
    pub fn places(&self) -> &crate::places::Places {
        &self.inner.config.places
    }

    pub(crate) fn table(&self) -> &Table {
        &self.inner.table
    }

    pub(crate) fn records(&self) -> &Records {
        &self.inner.records
    }

    pub(crate) fn events_hub(&self) -> &EventHub {
        &self.inner.events
    }

    pub(crate) fn pools_table(&self) -> &Arc<Pools> {
        &self.inner.pools
    }

    pub(crate) fn secrets_table(&self) -> &Arc<Secrets> {
        &self.inner.secrets
    }

    pub(crate) fn jobs_table(&self) -> &Jobs {
        &self.inner.jobs
    }

    pub(crate) fn filters_table(&self) -> &Filters {
        &self.inner.filters
    }

    pub(crate) fn networks_table(&self) -> &Networks {
        &self.inner.networks
    }

    /// The id of this host, of which every key in the store begins.
    pub(crate) fn host_id(&self) -> Uuid {
        self.inner.records.host()
    }

    pub(crate) fn library(&self) -> &Library {
        &self.inner.library
    }

    pub(crate) fn templates(&self) -> &Templates {
        &self.inner.templates
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.inner.ports
    }

    /// What the QEMU binaries of this host can do.
    pub(crate) fn binaries(&self) -> &Binaries {
        &self.inner.binaries
    }

    /// Everything that happens to domains from now on.
    pub fn events(&self) -> EventStream {
        self.inner.events.subscribe()
    }

    pub(crate) fn node_devices_hub(&self) -> &NodeDeviceHub {
        &self.inner.node_devices
    }

    pub(crate) fn notices_hub(&self) -> &NoticeHub {
        &self.inner.notices
    }

    /// Everything that happens to what is no domain from now on.
    pub fn notices(&self) -> NoticeStream {
        self.inner.notices.subscribe()
    }

    fn handle(&self, entry: Arc<Entry>) -> DomainHandle {
        DomainHandle {
            engine: self.clone(),
            entry,
        }
    }

    /// Every domain, in the order of their uuids.
    pub fn domains(&self) -> Vec<DomainHandle> {
        self.inner
            .table
            .all()
            .into_iter()
            .map(|entry| self.handle(entry))
            .collect()
    }

    /// How many domains are active, and how many are not.
    pub fn domain_counts(&self) -> (usize, usize) {
        self.inner.table.counts()
    }

    /// The domain with this name.
    pub fn domain_by_name(&self, name: &str) -> Result<DomainHandle> {
        let entry = self.inner.table.by_name(name);
        entry.map(|entry| self.handle(entry)).ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoDomain,
                format!("no domain with matching name '{name}'"),
            )
        })
    }

    /// The domain with this uuid.
    pub fn domain_by_uuid(&self, uuid: Uuid) -> Result<DomainHandle> {
        let entry = self.inner.table.by_uuid(uuid);
        entry.map(|entry| self.handle(entry)).ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoDomain,
                format!("no domain with matching uuid '{uuid}'"),
            )
        })
    }

    /// The running machine with this id.
    pub fn domain_by_id(&self, id: i32) -> Result<DomainHandle> {
        let entry = self.inner.table.by_id(id);
        entry.map(|entry| self.handle(entry)).ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoDomain,
                format!("no domain with matching id {id}"),
            )
        })
    }

    pub(crate) fn no_domain(&self, view: &DomainView) -> EngineError {
        EngineError::new(
            ErrorKind::NoDomain,
            format!(
                "no domain with matching uuid '{}' ({})",
                view.uuid, view.name
            ),
        )
    }

    /// Reads, completes and checks a definition as a user writes it.
    pub(crate) async fn complete(&self, xml: &str) -> Result<Definition> {
        if xml.len() > DEFINITION_MAX_BYTES {
            return Err(EngineError::new(
                ErrorKind::XmlError,
                format!("the definition is longer than {DEFINITION_MAX_BYTES} bytes"),
            ));
        }
        let mut domain = Domain::parse(xml).map_err(xml_error)?;
        owner::check_name(&domain.name)?;
        let context = self.define_context(&domain).await?;
        domain.complete(&context).map_err(xml_error)?;
        Ok(Definition::of(domain))
    }

    /// A definition that was complete when it was stored.
    pub(crate) fn parse_stored(&self, text: &str) -> Result<Domain> {
        let mut domain = Domain::parse(text).map_err(xml_error)?;
        self.place_known_volumes(&mut domain);
        Ok(domain)
    }

    pub(crate) fn stored_xml(&self, uuid: Uuid) -> Result<String> {
        self.inner.records.xml(uuid)?.ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoDomain,
                format!("no domain with matching uuid '{uuid}'"),
            )
        })
    }

    fn claim(&self, definition: &Definition) -> Result<Arc<Entry>> {
        self.inner.table.claim(fresh_view(&definition.domain))
    }

    async fn ask(
        &self,
        entry: &Arc<Entry>,
        request: impl FnOnce(owner::Reply<()>) -> Request,
    ) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        owner::send(self, entry, request(reply))?;
        answer.await.map_err(|_| EngineError::stopping())?
    }

    /// Stores a definition: a new one, or in place of the domain's old one.
    pub async fn define(&self, xml: &str) -> Result<DomainHandle> {
        let definition = self.complete(xml).await?;
        self.define_complete(definition).await
    }

    /// Stores a definition that is complete.
    pub(crate) async fn define_complete(&self, definition: Definition) -> Result<DomainHandle> {
        let definition = Box::new(definition);
        let entry = self.claim(&definition)?;
        self.ask(&entry, |reply| Request::Define { definition, reply })
            .await?;
        Ok(self.handle(entry))
    }

    /// Starts a machine from a definition that is not stored.
    pub async fn create(&self, xml: &str, options: StartOptions) -> Result<DomainHandle> {
        let definition = Box::new(self.complete(xml).await?);
        let entry = self.claim(&definition)?;
        self.ask(&entry, |reply| Request::StartTransient {
            definition,
            options,
            reply,
        })
        .await?;
        Ok(self.handle(entry))
    }

    /// Starts the machine whose state was saved in a file.
    pub async fn restore(
        &self,
        path: &Path,
        xml: Option<&str>,
        running: Option<bool>,
    ) -> Result<DomainHandle> {
        let saved = SavedState::open(path)?;
        let definition = Box::new(self.complete(xml.unwrap_or(&saved.xml)).await?);
        let entry = self.claim(&definition)?;
        let options = StartOptions {
            paused: !running.unwrap_or(saved.was_running),
            ..StartOptions::default()
        };
        self.ask(&entry, |reply| Request::Restore {
            definition,
            saved,
            options,
            reply,
        })
        .await?;
        Ok(self.handle(entry))
    }

    /// A client has come. Until [`Engine::session_closed`] it can give descriptors.
    pub fn session_opened(&self, session: SessionId) {
        self.inner.fd_groups.expect(session);
    }

    /// A client has gone: the machines that were to end with it do, and what it gave is let go of.
    pub async fn session_closed(&self, session: SessionId) {
        self.inner.fd_groups.forget(session);
        for domain in self.domains() {
            let view = domain.view();
            if view
                .live
                .as_ref()
                .is_some_and(|live| live.autodestroy == Some(session))
                && let Err(error) = domain.destroy(false).await
            {
                tracing::warn!(domain = %view.name, %error, "autodestroy failed");
            }
        }
    }

    /// The entry of a machine found running; a transient one is new to us.
    pub(crate) fn claim_running(&self, domain: &Domain) -> Result<Arc<Entry>> {
        self.inner.table.claim(fresh_view(domain))
    }

    /// The descriptors clients gave for images.
    pub(crate) fn fd_groups(&self) -> &FdGroups {
        &self.inner.fd_groups
    }

    /// Which boot of the host this is.
    pub(crate) fn boot_id(&self) -> &str {
        &self.inner.boot
    }

    /// Who QEMU runs as; none for the daemon's own user.
    pub(crate) fn qemu_identity(&self) -> Option<sys::spawn::Identity> {
        self.inner.identity.clone()
    }

    /// Makes cgroups, where there are any.
    pub(crate) fn cgroups(&self) -> Option<&sys::cgroup::Manager> {
        self.inner.cgroups.as_ref()
    }

    /// The name of a machine's cgroup, told apart from other daemons' machines.
    pub(crate) fn cgroup_name(&self, id: i32, name: &str) -> String {
        sys::cgroup::group_name(&self.inner.cgroup_prefix, id, name)
    }

    /// The firmware images of the host.
    pub(crate) fn firmware(&self) -> &[FirmwareImage] {
        self.inner.firmware.get_or_init(crate::firmware::images)
    }

    /// What completing a definition needs to know of this host, and the
    /// random choices it may make.
    pub(crate) async fn define_context(&self, domain: &Domain) -> Result<DefineContext> {
        let emulator = match &domain.devices.emulator {
            Some(path) => path.into(),
            None => self.inner.binaries.default_emulator()?,
        };
        let caps = self.inner.binaries.caps(&emulator).await?;
        Ok(crate::define_context::of(
            domain,
            &emulator,
            &caps,
            self.firmware(),
            self.places(),
        ))
    }

    pub(crate) fn note_crash(&self, uuid: Uuid, why: String) {
        self.inner
            .crashes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uuid, why);
    }

    /// Why the machine crashed last, if it did since the daemon started.
    pub fn crash_reason(&self, uuid: Uuid) -> Option<String> {
        self.inner
            .crashes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&uuid)
            .cloned()
    }

    pub(crate) fn forget_crash(&self, uuid: Uuid) {
        self.inner
            .crashes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&uuid);
    }
}

/// What libvirt puts in front of some of its refusals of documents.
const INTERNAL: &str = "internal error: ";

pub(crate) fn xml_error(error: model::XmlError) -> EngineError {
    let text = error.to_string();
    let kind = match error.kind {
        _ if text.starts_with(INTERNAL) => ErrorKind::XmlInternal,
        model::XmlErrorKind::Unsupported | model::XmlErrorKind::Unknown => {
            ErrorKind::ConfigUnsupported
        }
        _ => ErrorKind::XmlError,
    };
    // The kind says it; faces put their own words for it in front.
    let text = ["unsupported configuration: ", "XML error: ", INTERNAL]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(&text);
    EngineError::new(kind, text)
}

fn fresh_view(domain: &Domain) -> DomainView {
    DomainView {
        name: domain.name.as_str().into(),
        uuid: crate::facts::uuid(domain),
        status: Status::Off(OffReason::Unknown),
        stored: None,
        autostart: false,
        autostart_once: false,
        managed_save: false,
        snapshots: Arc::default(),
        live: None,
    }
}

fn stored_view(
    uuid: Uuid,
    head: Head,
    managed_save: bool,
    snapshots: Option<crate::snapshots::SnapshotTree>,
) -> DomainView {
    DomainView {
        name: head.name.into(),
        uuid,
        status: Status::Off(OffReason::Unknown),
        stored: Some(Arc::new(head.summary)),
        autostart: head.autostart,
        autostart_once: head.autostart_once,
        managed_save,
        snapshots: Arc::new(snapshots.unwrap_or_default()),
        live: None,
    }
}
