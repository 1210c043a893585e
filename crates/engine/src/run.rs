//! What one run of one machine takes of the host: its directory, sockets,
//! ports, files, cgroup and process. All of it is recorded before QEMU is
//! started, so that a crash at any moment leaves nothing unknown.

use crate::crash::{Step, crash_point};
use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::facts;
use crate::files;
use crate::intent::Intent;
use crate::launch::{FIRST_PHASE, StartFrom, monitor_path};
use crate::live::LiveMachine;
use crate::log;
use crate::options::StartOptions;
use crate::process::Process;
use crate::status::{Holdings, Phase, RunRecord};
use crate::table::Entry;
use model::XmlFlags;
use model::domain::{Domain, DomainType};
use model::secret::SecretUse;
use qemu::caps::{Accelerator, QemuCaps};
use qemu::command_line::{
    Descriptor, DescriptorPurpose, Launch, LaunchContext, NodeSecret, command_line,
};
use qemu::machine::{PausedReason, Status};
use qemu::qmp::Command;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use sys::spawn::{Descriptors, Resource, ResourceLimit, SpawnPlan};
use tokio::task::JoinHandle;

/// A run that is ready to be spawned.
pub(crate) struct Run {
    pub(crate) id: i32,
    pub(crate) domain: Domain,
    pub(crate) directory: PathBuf,
    pub(crate) accelerator: Accelerator,
    pub(crate) setup: Vec<Command>,
    pub(crate) notes: Vec<String>,
    pub(crate) cgroup: Option<sys::cgroup::Cgroup>,
    pub(crate) holdings: Holdings,
    plan: SpawnPlan,
    joining: Option<JoinHandle<sys::SysResult<()>>>,
    pub(crate) connecting: Connecting,
    descriptors: Vec<(RawFd, OwnedFd)>,
    shown_command: String,
}

/// What lets the machine's cards reach what they may, done while QEMU comes up.
pub(crate) struct Connecting(Option<JoinHandle<Result<()>>>);

impl Connecting {
    /// Waits until it is done; nothing the second time.
    pub(crate) async fn done(&mut self) -> Result<()> {
        let Some(task) = &mut self.0 else {
            return Ok(());
        };
        let done = task.await;
        self.0 = None;
        done.map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))?
    }
}

/// Where QEMU's own words of this run are.
pub(crate) struct Words {
    file: File,
    start: u64,
}

impl Words {
    /// What it said, without time stamps.
    pub(crate) fn said(&self) -> String {
        log::words_since(&self.file, self.start)
    }
}

/// Makes everything a run needs but the process. On an error nothing is left.
pub(crate) async fn prepare(
    engine: &Engine,
    mut domain: Domain,
    from: &StartFrom,
    options: StartOptions,
) -> Result<Run> {
    let emulator = emulator(engine, &domain)?;
    let caps = engine.binaries().caps(&emulator).await?;
    engine.give_cards(&mut domain, |_| true).await?;
    let uuid = facts::uuid(&domain);
    let id = engine.table().next_id();
    let directory = engine.places().machine_run(id, &domain.name);
    let announced = domain.clone();
    let made = make_run(
        engine, domain, from, options, id, &directory, &emulator, &caps,
    );
    let made = match made {
        // QEMU comes up meanwhile: its processors stand still until this is done.
        Ok(mut run) => {
            let connecting = connect(engine.clone(), run.domain.clone());
            run.connecting = Connecting(Some(tokio::spawn(connecting)));
            Ok(run)
        }
        failed => failed,
    };
    if made.is_err() {
        engine.free_devices(uuid);
        if RunRecord::read(&directory).is_none() {
            engine.free_functions(&announced);
            engine.withdraw_ports(&announced, |_| true).await;
        }
        engine.release_run_dir(&directory).await;
    }
    made
}

/// Lets a machine's cards reach what they may, before its processors run and so
/// before it can send anything.
async fn connect(engine: Engine, domain: Domain) -> Result<()> {
    engine.join_switches(&domain, |_| true).await?;
    engine.rule_machine(&domain).await
}

pub(crate) fn emulator(engine: &Engine, domain: &Domain) -> Result<PathBuf> {
    match &domain.devices.emulator {
        Some(path) => Ok(path.into()),
        None => engine.binaries().default_emulator(),
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "one place where all of a start comes together"
)]
fn make_run(
    engine: &Engine,
    mut domain: Domain,
    from: &StartFrom,
    options: StartOptions,
    id: i32,
    directory: &Path,
    emulator: &Path,
    caps: &QemuCaps,
) -> Result<Run> {
    crate::tuning::refuse_perf(&domain)?;
    let identity = engine.qemu_identity();
    make_directory(directory, identity.as_ref())?;
    crash_point(Step::StartDirectory);
    let mut notes = Vec::new();
    let wants_kvm = domain.kind == DomainType::Kvm;
    let accelerator = choose_accelerator(engine, &mut domain, caps, &mut notes);
    domain.id = Some(id);
    domain.assign_aliases();
    engine.place_volumes(&mut domain)?;
    crate::snapshots::spell::chains(engine, &mut domain)?;
    domain.number_images();
    facts::place_sockets(&mut domain, directory);
    let mut record = first_record(engine, &domain, id);
    record.write(directory)?;
    crash_point(Step::StartRecord);

    record.holdings.ports = crate::displays::take_ports(engine.ports(), &mut domain)?;
    record.write(directory)?;
    crash_point(Step::StartPorts);
    let context = LaunchContext {
        accelerator,
        without_kvm: wants_kvm && accelerator == Accelerator::Tcg,
        // They run when all is ready, or when the user says so.
        paused: true,
        incoming: matches!(from, StartFrom::Saved(_)),
        tpm_socket: crate::tpm::socket(&domain, directory),
        fd_groups: engine.fd_groups().of(&domain)?,
        ..launch_context(&domain, directory)
    };
    let launch = command_line(&domain, caps, &context)
        .map_err(|unsupported| EngineError::new(ErrorKind::ConfigUnsupported, unsupported.0))?;
    crate::firmware::make_variables(launch.variables.as_ref(), options.reset_nvram)?;
    crash_point(Step::StartVariables);
    files::check(&launch.files)?;
    record.holdings.files = files::to_lend(&launch.files, identity.as_ref());
    record.write(directory)?;
    crash_point(Step::StartLending);
    files::lend(&mut record.holdings.files, identity.as_ref())?;
    crash_point(Step::StartLent);
    if crate::taps::name_lasting(&mut domain, |_| true)? {
        record.xml = live_xml(&domain);
        record.write(directory)?;
    }
    let mut taps = crate::taps::make(&mut domain, |_| true)?;
    crash_point(Step::StartTaps);
    let cgroup = make_cgroup(engine, id, &domain.name, &mut notes);
    crash_point(Step::StartGroup);
    taps.extend(crate::passt::start(
        engine,
        &domain,
        cgroup.as_ref(),
        |_| true,
    )?);
    let descriptors = open_descriptors(engine, &domain, &launch.descriptors, directory, taps)?;
    crash_point(Step::StartSockets);
    crate::tuning::apply_groups(cgroup.as_ref(), &domain)?;
    record.notes.clone_from(&notes);
    record.xml = live_xml(&domain);
    record.write(directory)?;
    crash_point(Step::StartPrepared);
    crate::tpm::start(engine, &domain, directory, cgroup.as_ref())?;
    crash_point(Step::StartEmulator);
    let mut plan = spawn_plan(
        &launch,
        &facts::header_images(&domain),
        emulator,
        directory,
        identity,
    );
    plan.processors = crate::tuning::initial_cpus(&domain);
    let joins_first = crate::tuning::groups_confine(&domain);
    if let Some(group) = cgroup.as_ref().filter(|_| joins_first) {
        plan.cgroups = group.procs_files();
    }
    Ok(Run {
        id,
        accelerator,
        directory: directory.to_owned(),
        setup: launch.setup.clone(),
        notes,
        shown_command: shown(&launch),
        plan,
        joining: None,
        connecting: Connecting(None),
        cgroup,
        holdings: record.holdings,
        descriptors,
        domain,
    })
}

fn make_directory(directory: &Path, identity: Option<&sys::spawn::Identity>) -> Result<()> {
    let fail = |e| {
        EngineError::system(
            &format!("cannot create directory {}", directory.display()),
            e,
        )
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)
        .map_err(fail)?;
    match identity {
        Some(identity) => chown(directory, Some(identity.uid), Some(identity.gid)).map_err(fail),
        None => Ok(()),
    }
}

/// Hardware acceleration where the definition asks for it and it works;
/// emulation otherwise, and the running definition says so.
pub(crate) fn choose_accelerator(
    engine: &Engine,
    domain: &mut Domain,
    caps: &QemuCaps,
    notes: &mut Vec<String>,
) -> Accelerator {
    if domain.kind != DomainType::Kvm {
        return Accelerator::Tcg;
    }
    if engine.binaries().kvm_works() && caps.accelerator(Accelerator::Kvm).is_some() {
        return Accelerator::Kvm;
    }
    domain.kind = DomainType::Qemu;
    notes.push(format!(
        "hardware acceleration cannot be used here ({}): the machine is emulated and slow",
        engine.binaries().kvm_reason()
    ));
    Accelerator::Tcg
}

fn first_record(engine: &Engine, domain: &Domain, id: i32) -> RunRecord {
    RunRecord {
        boot: engine.boot_id().to_owned(),
        id,
        uuid: facts::uuid(domain),
        name: domain.name.clone(),
        phase: FIRST_PHASE,
        xml: live_xml(domain),
        notes: Vec::new(),
        holdings: Holdings::default(),
        intent: None,
    }
}

pub(crate) fn live_xml(domain: &Domain) -> String {
    domain.to_xml(XmlFlags {
        inactive: false,
        secure: true,
        migratable: false,
    })
}

/// Makes the descriptors QEMU gets at its start.
fn open_descriptors(
    engine: &Engine,
    domain: &Domain,
    wanted: &[Descriptor],
    directory: &Path,
    mut taps: crate::taps::Queues,
) -> Result<Vec<(RawFd, OwnedFd)>> {
    let mut descriptors = Vec::with_capacity(wanted.len());
    for descriptor in wanted {
        let opened = match &descriptor.purpose {
            DescriptorPurpose::Monitor => listen(&monitor_path(directory))?,
            DescriptorPurpose::Listener { path, .. } => listen(path)?,
            DescriptorPurpose::Output { path, append } => open_output(path, *append)?,
            DescriptorPurpose::Tap { alias, queue } => {
                taps.remove(&(alias.clone(), *queue)).ok_or_else(|| {
                    EngineError::new(
                        ErrorKind::Internal,
                        format!("no tap was made for '{alias}'"),
                    )
                })?
            }
            DescriptorPurpose::Given { group, index } => {
                engine.fd_groups().take(domain, group, *index)?
            }
            DescriptorPurpose::Secret(secret) => secret_file(engine, secret)?,
            DescriptorPurpose::VhostNet { .. } => open_device("/dev/vhost-net")?,
            DescriptorPurpose::VhostVsock { .. } => open_device("/dev/vhost-vsock")?,
        };
        descriptors.push((descriptor.number, opened));
    }
    Ok(descriptors)
}

/// A file in memory with the value of a secret.
fn secret_file(engine: &Engine, secret: &NodeSecret) -> Result<OwnedFd> {
    let value = engine.referred_secret(&secret.reference, SecretUse::Volume)?;
    crate::secrets::memory_file(&value).map(OwnedFd::from)
}

/// A socket that listens at a path of its own.
pub(crate) fn listen(path: &Path) -> Result<OwnedFd> {
    let fail = |e| EngineError::system(&format!("cannot listen at {}", path.display()), e);
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    UnixListener::bind(path).map(OwnedFd::from).map_err(fail)
}

/// Opens a file that a machine writes to, as the daemon: QEMU's user could not make it.
fn open_output(path: &Path, append: bool) -> Result<OwnedFd> {
    let mut options = std::fs::OpenOptions::new();
    let options = options.create(true).mode(0o600);
    let options = if append {
        options.append(true)
    } else {
        options.write(true).truncate(true)
    };
    let opened = options.open(path).map(OwnedFd::from);
    opened.map_err(|e| EngineError::system(&format!("cannot open {}", path.display()), e))
}

pub(crate) fn open_device(path: &str) -> Result<OwnedFd> {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path);
    opened
        .map(OwnedFd::from)
        .map_err(|e| EngineError::system(&format!("cannot open {path}"), e))
}

fn make_cgroup(
    engine: &Engine,
    id: i32,
    name: &str,
    notes: &mut Vec<String>,
) -> Option<sys::cgroup::Cgroup> {
    let manager = engine.cgroups()?;
    match manager.create(&engine.cgroup_name(id, name)) {
        Ok(cgroup) => Some(cgroup),
        Err(error) => {
            tracing::warn!(%error, "the machine runs without a cgroup of its own");
            notes.push(format!("the machine has no cgroup of its own: {error}"));
            None
        }
    }
}

fn spawn_plan(
    launch: &Launch,
    images: &[PathBuf],
    emulator: &Path,
    directory: &Path,
    identity: Option<sys::spawn::Identity>,
) -> SpawnPlan {
    let mut plan = SpawnPlan::new(emulator);
    plan.argv.extend(launch.arguments.iter().map(Into::into));
    plan.env = launch
        .environment
        .iter()
        .map(|(k, v)| (k.into(), v.into()))
        .collect();
    plan.limits = vec![ResourceLimit {
        resource: Resource::CoreDump,
        limit: Some(0),
    }];
    plan.paths = Some(files::rules(&launch.files, images, emulator, directory));
    plan.identity = identity;
    plan
}

/// What a command line depends on besides the definition, for a machine of
/// this host that boots at once.
pub(crate) fn launch_context(domain: &Domain, directory: &Path) -> LaunchContext {
    let now = jiff::Zoned::now();
    LaunchContext {
        accelerator: if domain.kind == DomainType::Kvm {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        },
        now_seconds: now.timestamp().as_second(),
        local_offset_seconds: i64::from(now.offset().seconds()),
        state_dir: directory.to_owned(),
        tpm_socket: None,
        without_kvm: false,
        vhost_net: Path::new("/dev/vhost-net").exists(),
        huge_pages: Vec::new(),
        paused: false,
        incoming: false,
        fd_groups: BTreeMap::default(),
    }
}

/// The command line as a person would type it.
fn shown(launch: &Launch) -> String {
    let arguments: Vec<_> = launch.arguments.iter().map(|a| quoted(a)).collect();
    format!(
        "command: {} {}",
        launch.program.display(),
        arguments.join(" ")
    )
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,.:/+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

impl Run {
    /// Starts QEMU.
    pub(crate) fn spawn(&mut self, engine: &Engine) -> Result<(Process, Words)> {
        let path = engine.places().machine_log(&self.domain.name);
        let (file, start) = log::open_for_run(&path, &self.shown_command)?;
        let inherited: Vec<(RawFd, BorrowedFd<'_>)> = self
            .descriptors
            .iter()
            .map(|(number, fd)| (*number, fd.as_fd()))
            .collect();
        let descriptors = Descriptors {
            output: file.as_fd(),
            inherited: &inherited,
        };
        let child = sys::spawn::spawn(&self.plan, descriptors)
            .map_err(|e| EngineError::system("cannot start QEMU", e))?;
        self.notes.extend(child.notes);
        // Ours are closed, so that a QEMU that dies is seen as a closed monitor.
        self.descriptors.clear();
        let process = Process::watch(child.process)?;
        // Joining can take the kernel longer than QEMU takes to come up, so it
        // goes on meanwhile.
        let pid = process.id().pid;
        let later = self.cgroup.clone().filter(|_| self.plan.cgroups.is_empty());
        self.joining = later.map(|cgroup| tokio::task::spawn_blocking(move || cgroup.add(pid)));
        Ok((process, Words { file, start }))
    }

    /// Records that the machine runs, before its guest does, since it cannot
    /// go back to the state it came from once it has run.
    pub(crate) fn record_restored(
        &self,
        engine: &Engine,
        process: &Process,
        used_up: Option<&Path>,
    ) -> Result<()> {
        let id = process.id();
        let record = RunRecord {
            phase: Phase::Running {
                pid: id.pid,
                start_time: id.start_time,
                status: Status::Paused(PausedReason::StartingUp),
            },
            notes: self.notes.clone(),
            holdings: self.holdings.clone(),
            intent: used_up.map(|saved| Intent::UseUp {
                saved: saved.to_owned(),
            }),
            ..first_record(engine, &self.domain, self.id)
        };
        record.write(&self.directory)
    }

    /// Waits until QEMU is in its cgroup.
    pub(crate) async fn joined(&mut self) {
        let Some(joining) = self.joining.take() else {
            return;
        };
        if let Ok(Err(error)) = joining.await {
            tracing::warn!(%error, domain = self.domain.name, "the machine is not in its cgroup");
            self.notes
                .push(format!("the machine is not in its cgroup: {error}"));
        }
    }
}

impl Engine {
    /// Records how the machine is, for the next daemon.
    pub(crate) fn write_status(&self, live: &LiveMachine, entry: &Entry, status: Status) {
        let id = live.process.id();
        let record = RunRecord {
            boot: self.boot_id().to_owned(),
            id: live.id,
            uuid: entry.uuid,
            name: entry.view().name.to_string(),
            phase: Phase::Running {
                pid: id.pid,
                start_time: id.start_time,
                status,
            },
            xml: live_xml(&live.definition()),
            notes: live.notes.clone(),
            holdings: live.holdings.clone(),
            intent: live.intent(),
        };
        if let Err(error) = record.write(&live.run_dir) {
            tracing::error!(%error, "the state of a running machine could not be recorded");
        }
    }

    /// What a machine's QEMU said last.
    pub(crate) fn last_words(&self, name: &str) -> String {
        log::last_words(&self.places().machine_log(name))
    }
}
