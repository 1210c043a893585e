//! What the QEMU binaries of this host can do. Each binary is asked once; the
//! answer is kept on disk until the binary, the kernel or the host's ability
//! to accelerate changes.

use crate::config::Config;
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::PROBE_TIMEOUT_MS;
use crate::monitor::Monitor;
use qemu::caps::{Accelerator, Probe, QemuCaps};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use sys::kvm::KvmSupport;

/// Names under which distributions install the system emulator for x86.
const EMULATOR_NAMES: [&str; 3] = ["qemu-system-x86_64", "qemu-kvm", "kvm"];
/// Directories that hold emulators besides those in `PATH`.
const EMULATOR_DIRECTORIES: [&str; 4] = ["/usr/bin", "/usr/libexec", "/usr/local/bin", "/bin"];

/// Which file it was that was asked, and on what ground its answer stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    path: PathBuf,
    inode: u64,
    size: u64,
    modified_ns: i128,
    kernel: String,
    kvm: bool,
    /// Parts of QEMU come as modules of their own, which are added and removed.
    modules_modified_ns: Vec<i128>,
}

/// Where distributions put QEMU's modules.
const MODULE_DIRECTORIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/qemu",
    "/usr/lib64/qemu-kvm",
    "/usr/lib64/qemu",
    "/usr/lib/qemu",
];

fn modified_ns(meta: &std::fs::Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

#[derive(Serialize, Deserialize)]
struct Cached {
    identity: Identity,
    caps: String,
}

#[derive(Debug, Clone)]
struct Known {
    identity: Identity,
    caps: Arc<QemuCaps>,
}

/// The emulators of this host.
#[derive(Debug)]
pub(crate) struct Binaries {
    cache: PathBuf,
    configured: Option<PathBuf>,
    kernel: String,
    kvm: OnceLock<KvmSupport>,
    /// Why acceleration failed in practice, once it has.
    kvm_failure: OnceLock<String>,
    known: Mutex<BTreeMap<PathBuf, Known>>,
    /// One probe at a time: two would do the same work.
    probing: tokio::sync::Mutex<()>,
}

impl Binaries {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            cache: config.places.cache.join("qemu"),
            configured: config.emulator.clone(),
            kernel: sys::host::Host::new().names().kernel,
            kvm: OnceLock::new(),
            kvm_failure: OnceLock::new(),
            known: Mutex::default(),
            probing: tokio::sync::Mutex::new(()),
        }
    }

    /// Whether hardware acceleration works here. What is there but cannot run
    /// a guest is said once.
    fn kvm(&self) -> &KvmSupport {
        self.kvm.get_or_init(|| {
            let support = sys::kvm::probe();
            if let KvmSupport::Unusable { reason } = &support {
                tracing::warn!(
                    reason,
                    "hardware acceleration is there but cannot run a guest: using emulation (TCG)"
                );
            }
            support
        })
    }

    /// Whether machines are to be started with hardware acceleration.
    pub(crate) fn kvm_works(&self) -> bool {
        self.kvm().is_usable() && self.kvm_failure.get().is_none()
    }

    /// Why they are not.
    pub(crate) fn kvm_reason(&self) -> String {
        match (self.kvm_failure.get(), self.kvm()) {
            (Some(failure), _) => failure.clone(),
            (None, kvm) => kvm.to_string(),
        }
    }

    /// A machine could not be started with it: none is tried again.
    pub(crate) fn kvm_failed(&self, why: &str) {
        if self.kvm_failure.set(why.to_owned()).is_ok() {
            tracing::warn!(
                why,
                "hardware acceleration does not work here: using emulation (TCG)"
            );
        }
    }

    /// The emulator for definitions that name none.
    pub(crate) fn default_emulator(&self) -> Result<PathBuf> {
        if let Some(path) = &self.configured {
            return Ok(path.clone());
        }
        let from_path = std::env::var_os("PATH").unwrap_or_default();
        let directories = EMULATOR_DIRECTORIES.iter().map(PathBuf::from);
        directories
            .chain(std::env::split_paths(&from_path))
            .flat_map(|directory| EMULATOR_NAMES.map(|name| directory.join(name)))
            .find(|path| path.is_file())
            .ok_or_else(|| {
                EngineError::new(
                    ErrorKind::ResourceUnavailable,
                    "no QEMU found (qemu-system-x86_64): install the package qemu-system-x86",
                )
            })
    }

    /// What this binary can do; asks it if that is not known yet.
    pub(crate) async fn caps(&self, emulator: &Path) -> Result<Arc<QemuCaps>> {
        let identity = self.identify(emulator)?;
        if let Some(caps) = self.remembered(&identity) {
            return Ok(caps);
        }
        let _one_at_a_time = self.probing.lock().await;
        if let Some(caps) = self.remembered(&identity) {
            return Ok(caps);
        }
        let caps = match self.read_cache(&identity) {
            Some(caps) => Arc::new(caps),
            None => {
                let caps = Arc::new(self.probe(emulator).await?);
                self.write_cache(&identity, &caps);
                // QEMU's answers are long and are not asked for again.
                sys::memory::release_unused();
                caps
            }
        };
        let known = Known {
            identity,
            caps: caps.clone(),
        };
        self.known().insert(emulator.to_owned(), known);
        Ok(caps)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, identity: &Identity) -> Option<Arc<QemuCaps>> {
        let known = self.known();
        known
            .get(&identity.path)
            .filter(|k| k.identity == *identity)
            .map(|k| k.caps.clone())
    }

    fn identify(&self, emulator: &Path) -> Result<Identity> {
        let meta = std::fs::metadata(emulator).map_err(|e| {
            EngineError::new(
                ErrorKind::ResourceUnavailable,
                format!("Cannot check QEMU binary {}: {e}", emulator.display()),
            )
        })?;
        Ok(Identity {
            path: emulator.to_owned(),
            inode: meta.ino(),
            size: meta.size(),
            modified_ns: modified_ns(&meta),
            kernel: self.kernel.clone(),
            kvm: self.kvm().is_usable(),
            modules_modified_ns: MODULE_DIRECTORIES
                .iter()
                .filter_map(|directory| std::fs::metadata(directory).ok())
                .map(|meta| modified_ns(&meta))
                .collect(),
        })
    }

    fn cache_file(&self, emulator: &Path) -> PathBuf {
        let name: String = emulator
            .to_string_lossy()
            .chars()
            .map(|c| if c == '/' { '_' } else { c })
            .collect();
        self.cache.join(format!("{name}.json"))
    }

    fn read_cache(&self, identity: &Identity) -> Option<QemuCaps> {
        let text = std::fs::read(self.cache_file(&identity.path)).ok()?;
        let cached: Cached = serde_json::from_slice(&text).ok()?;
        if cached.identity != *identity {
            return None;
        }
        QemuCaps::from_json(&cached.caps)
    }

    fn write_cache(&self, identity: &Identity, caps: &QemuCaps) {
        let cached = Cached {
            identity: identity.clone(),
            caps: caps.to_json(),
        };
        let written = serde_json::to_vec(&cached)
            .map_err(std::io::Error::other)
            .and_then(|text| {
                std::fs::create_dir_all(&self.cache)?;
                sys::atomic::write(&self.cache_file(&identity.path), &text, 0o644)
                    .map_err(std::io::Error::other)
            });
        if let Err(error) = written {
            tracing::warn!(%error, "what QEMU can do could not be cached; it will be asked again");
        }
    }

    async fn probe(&self, emulator: &Path) -> Result<QemuCaps> {
        let mut caps = probe_with(emulator, Accelerator::Tcg).await?;
        if self.kvm().is_usable() {
            match probe_with(emulator, Accelerator::Kvm).await {
                Ok(accelerated) => caps.merge_accelerators(accelerated),
                Err(error) => tracing::warn!(%error, "QEMU does not start with KVM: using TCG"),
            }
        }
        Ok(caps)
    }
}

async fn probe_with(emulator: &Path, accelerator: Accelerator) -> Result<QemuCaps> {
    let timeout = Duration::from_millis(PROBE_TIMEOUT_MS);
    tokio::time::timeout(timeout, dialogue(emulator, accelerator))
        .await
        .map_err(|_| {
            EngineError::new(
                ErrorKind::OperationTimeout,
                format!(
                    "{} did not say within {PROBE_TIMEOUT_MS} ms what it can do",
                    emulator.display()
                ),
            )
        })?
}

/// The number of the monitor's socket in a probed QEMU.
const MONITOR_FD: i32 = 3;

async fn dialogue(emulator: &Path, accelerator: Accelerator) -> Result<QemuCaps> {
    let failed = |e: &dyn std::fmt::Display| {
        EngineError::new(
            ErrorKind::ResourceUnavailable,
            format!("cannot find out what {} can do: {e}", emulator.display()),
        )
    };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|e| failed(&e))?;
    let words = sys::unix::memory_file("probe").map_err(|e| failed(&e))?;
    let mut plan = sys::spawn::SpawnPlan::new(emulator);
    plan.argv.extend(
        Probe::arguments(accelerator, MONITOR_FD)
            .into_iter()
            .map(Into::into),
    );
    plan.dies_with_parent = true;
    let descriptors = sys::spawn::Descriptors {
        output: words.as_fd(),
        inherited: &[(MONITOR_FD, theirs.as_fd())],
    };
    let child = sys::spawn::spawn(&plan, descriptors).map_err(|e| failed(&e))?;
    drop(theirs);
    let process = crate::process::Process::watch(child.process)?;
    let answer = converse(ours, accelerator).await;
    process.signal(crate::process::Signal::KILL);
    process.exited().await;
    process.reap();
    answer.map_err(|e| {
        let said = crate::launch::tail(&words);
        if said.is_empty() {
            failed(&e)
        } else {
            failed(&format!("{e}: {said}"))
        }
    })
}

async fn converse(
    socket: std::os::unix::net::UnixStream,
    accelerator: Accelerator,
) -> Result<QemuCaps> {
    let timeout = Duration::from_millis(PROBE_TIMEOUT_MS);
    let (monitor, _news) = Monitor::over(socket, timeout).await?;
    let mut probe = Probe::new(accelerator);
    loop {
        let commands = probe.commands();
        if commands.is_empty() {
            return Ok(probe.finish());
        }
        let mut replies = Vec::with_capacity(commands.len());
        for command in &commands {
            let answer = monitor.ask_raw(command, None, timeout).await?;
            replies.push(answer.map_err(|failure| failure.desc));
        }
        probe
            .take(replies)
            .map_err(|e| EngineError::failed(e.to_string()))?;
    }
}
