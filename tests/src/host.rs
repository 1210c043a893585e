//! A daemon of its own for each test, below a temporary folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::clients::{self, Ran};
use crate::{guest, wait};

/// Within this time a daemon answers on its sockets.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is checked meanwhile that the daemon still lives.
const READY_POLL: Duration = Duration::from_millis(250);

/// Within this time a process that was told to stop is gone.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// The number of the signal that nothing survives.
const SIGKILL: i32 = 9;

/// A running `stead daemon`. When dropped, the daemon and every QEMU it started are gone.
pub struct Host {
    folder: TempDir,
    daemon: Option<Child>,
    environment: Vec<(String, String)>,
}

impl Host {
    /// A daemon that has said it is ready.
    ///
    /// # Panics
    /// If it does not come up; the message holds its log.
    #[must_use]
    pub fn start() -> Self {
        let mut host = Self::without_daemon();
        host.start_daemon();
        host
    }

    /// The folder for a daemon that is not started yet.
    ///
    /// # Panics
    /// If there is no room for it.
    #[must_use]
    pub fn without_daemon() -> Self {
        // Short, since the paths of unix sockets are; open to QEMU's own user.
        let folder = tempfile::Builder::new()
            .prefix("st")
            .tempdir_in("/tmp")
            .expect("/tmp can be written");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self {
            folder,
            daemon: None,
            environment: Vec::new(),
        }
    }

    /// Gives the daemons that are started from now on a variable.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The temporary folder: free for the test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the daemon has as `--root`.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("r")
    }

    /// The socket for reading and writing, or with `-ro` the other one.
    #[must_use]
    pub fn socket(&self, suffix: &str) -> PathBuf {
        self.root().join(format!("run/libvirt-sock{suffix}"))
    }

    /// The socket of the REST API.
    #[must_use]
    pub fn rest_socket(&self) -> PathBuf {
        self.root().join("run/stead.sock")
    }

    /// The address for libvirt's clients.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.socket("").display())
    }

    /// Whether a daemon was started and not yet ended.
    #[must_use]
    pub fn has_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    /// The daemon's process.
    ///
    /// # Panics
    /// If no daemon runs.
    #[must_use]
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon runs").id()
    }

    /// Starts the daemon and waits until it says that it is ready, as a service manager would.
    ///
    /// # Panics
    /// If it ends or says nothing.
    pub fn start_daemon(&mut self) {
        let command = self.daemon_command();
        self.start_this_daemon(command);
    }

    /// Starts a daemon that dies, as if killed, when it reaches a step of the engine's table.
    ///
    /// # Panics
    /// If it ends before it is ready, or says nothing.
    pub fn start_daemon_to_crash_at(&mut self, step: &str) {
        let mut command = self.daemon_command();
        command.env("STEAD_CRASH_AT", step);
        self.start_this_daemon(command);
    }

    /// Waits until the daemon has died at the step it was to die at.
    ///
    /// # Panics
    /// If it does not: the step was not reached.
    pub fn wait_for_crash(&mut self, step: &str) {
        let mut child = self.daemon.take().expect("a daemon runs");
        let mut ended = None;
        let reached = wait::within(STOP_TIMEOUT, || {
            ended = child.try_wait().expect("it is our child");
            ended.is_some()
        });
        self.daemon = ended.is_none().then_some(child);
        assert!(reached, "the step {step} was never reached");
        let signal = ended.and_then(|status| status.signal());
        assert_eq!(signal, Some(SIGKILL), "at {step}");
    }

    fn start_this_daemon(&mut self, mut command: Command) {
        let notify = self.folder.path().join("notify");
        let _ = fs::remove_file(&notify);
        let inbox = UnixDatagram::bind(&notify).expect("the folder is ours");
        inbox
            .set_read_timeout(Some(READY_POLL))
            .expect("the period is not zero");
        let mut child = command
            .env("NOTIFY_SOCKET", &notify)
            .spawn()
            .expect("stead can be run");
        let mut message = [0; 4096];
        wait::until("the daemon's READY=1", READY_TIMEOUT, || {
            if let Some(status) = child.try_wait().expect("it is our child") {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            // Errors here are the read time-out; the next round looks again.
            inbox.recv(&mut message).is_ok_and(|length| {
                String::from_utf8_lossy(&message[..length])
                    .lines()
                    .any(|line| line == "READY=1")
            })
        });
        self.daemon = Some(child);
    }

    /// `stead daemon` on this root, its output going to the log.
    ///
    /// # Panics
    /// If the log cannot be opened.
    #[must_use]
    pub fn daemon_command(&self) -> Command {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the folder is ours");
        let mut command = Command::new(binary());
        command
            .args(["daemon", "--listen", "none", "--root"])
            .arg(self.root())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor is free"))
            .stderr(log);
        command
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("daemon.log")
    }

    /// What the daemon has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Tells the daemon to stop (SIGTERM) and waits for its end; its machines go on.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop_daemon(&mut self) -> ExitStatus {
        self.end_daemon("TERM")
    }

    /// Kills the daemon on the spot (SIGKILL).
    ///
    /// # Panics
    /// If no daemon runs.
    pub fn kill_daemon(&mut self) -> ExitStatus {
        self.end_daemon("KILL")
    }

    fn end_daemon(&mut self, with: &str) -> ExitStatus {
        let mut child = self.daemon.take().expect("a daemon runs");
        signal(child.id(), with);
        wait::for_value("the daemon's end", STOP_TIMEOUT, || {
            child.try_wait().expect("it is our child")
        })
    }

    /// Debian's virsh against this daemon.
    pub fn virsh(&self, words: &[&str]) -> Ran {
        clients::run("virsh", &[&["-c", &self.uri()], words].concat(), &[])
    }

    /// What `verb` is asked of: virsh, or our own commands where Debian's virsh does not know it yet.
    pub fn virsh_or_stead(verb: &str) -> fn(&Self, &[&str]) -> Ran {
        match clients::run("virsh", &["help", verb], &[]).status == 0 {
            true => Self::virsh,
            false => Self::stead,
        }
    }

    /// The project's own commands against this daemon.
    pub fn stead(&self, words: &[&str]) -> Ran {
        clients::run(binary(), &[&["-c", &self.uri()], words].concat(), &[])
    }

    /// A program of `tests/clients` against this daemon: its first argument is the address.
    pub fn python(&self, script: &str, words: &[&str]) -> Ran {
        clients::python(script, &[&[self.uri().as_str()], words].concat())
    }

    /// Writes a definition into the folder; returns its path.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the folder is ours");
        path.to_string_lossy().into_owned()
    }

    /// A copy of a file of the small guest ("vmlinuz", "initrd", "disk.qcow2") that QEMU's user can reach
    /// wherever this tree lies.
    ///
    /// # Panics
    /// If the guest cannot be built or there is no room.
    pub fn guest_file(&self, name: &str) -> String {
        let copy = self.folder.path().join(name);
        if !copy.exists() {
            fs::copy(guest::images().join(name), &copy).expect("there is room");
        }
        copy.to_string_lossy().into_owned()
    }

    /// Defines the small real guest.
    ///
    /// # Panics
    /// If that is refused.
    pub fn define_small_guest(&self, name: &str) {
        self.guest_file("vmlinuz");
        self.guest_file("initrd");
        self.define(&guest::small_guest(name, self.folder()));
    }

    /// Defines a machine from its XML.
    ///
    /// # Panics
    /// If that is refused.
    pub fn define(&self, xml: &str) {
        let path = self.file("definition.xml", xml);
        let _ = self.virsh(&["define", &path]).succeeds();
    }

    /// The QEMU processes of this daemon: those that have their home below its root.
    ///
    /// # Panics
    /// If /proc cannot be read.
    #[must_use]
    pub fn qemus(&self) -> Vec<u32> {
        let home = format!("HOME={}/", self.root().display());
        processes_with("environ", |variable| variable.starts_with(home.as_bytes()))
    }

    /// The emulators of TPMs that this daemon started.
    ///
    /// # Panics
    /// If /proc cannot be read.
    #[must_use]
    pub fn tpm_emulators(&self) -> Vec<u32> {
        let run = format!("STEAD_RUN={}/", self.root().display());
        processes_with("environ", |variable| variable.starts_with(run.as_bytes()))
    }

    /// The dnsmasq processes of this daemon's networks.
    fn servers(&self) -> Vec<u32> {
        let config = format!("--conf-file={}/", self.root().display());
        processes_with("cmdline", |word| word.starts_with(config.as_bytes()))
    }

    /// The QEMU of one machine.
    ///
    /// # Panics
    /// If it does not run exactly once.
    #[must_use]
    pub fn qemu_of(&self, machine: &str) -> u32 {
        let wanted = format!("guest={machine},");
        let of_machine = processes_with("cmdline", |word| word.starts_with(wanted.as_bytes()));
        let ours: Vec<u32> = self
            .qemus()
            .into_iter()
            .filter(|pid| of_machine.contains(pid))
            .collect();
        assert_eq!(ours.len(), 1, "QEMU processes of {machine}: {ours:?}");
        ours[0]
    }

    /// The control groups of this daemon's machines, one for each controller.
    #[must_use]
    pub fn groups(&self) -> Vec<PathBuf> {
        let Ok(id) = fs::read_to_string(self.root().join("host-id")) else {
            return Vec::new();
        };
        let ours = format!("stead-{:.8}", id.trim());
        let controllers = fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        let slices =
            controllers.filter_map(|tree| fs::read_dir(tree.path().join("machine.slice")).ok());
        let groups = slices
            .flatten()
            .flatten()
            .filter(|group| group.file_name().to_string_lossy().starts_with(&ours));
        groups.map(|group| group.path()).collect()
    }

    /// The directories of runs below the daemon's root.
    #[must_use]
    pub fn run_directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root().join("run/qemu"))
            .into_iter()
            .flatten();
        entries.flatten().map(|entry| entry.path()).collect()
    }

    /// The state of a machine in virsh's words.
    ///
    /// # Panics
    /// If the machine is not known.
    #[must_use]
    pub fn state(&self, machine: &str) -> String {
        self.virsh(&["domstate", machine])
            .succeeds()
            .trim()
            .to_owned()
    }

    /// Waits until a machine is in a state, given in virsh's words.
    ///
    /// # Panics
    /// After `limit`.
    pub fn wait_for_state(&self, machine: &str, state: &str, limit: Duration) {
        wait::until(&format!("{machine} {state}"), limit, || {
            self.state(machine) == state
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            signal(child.id(), "KILL");
            let _ = child.wait();
        }
        for pid in self.qemus() {
            signal(pid, "KILL");
            wait::until("the end of QEMU", STOP_TIMEOUT, || !is_alive(pid));
        }
        for pid in self.servers() {
            signal(pid, "KILL");
        }
        for group in self.groups() {
            // Left by a daemon that was killed. One that still holds a process stays.
            for threads in fs::read_dir(&group).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(threads.path());
            }
            let _ = fs::remove_dir(group);
        }
        if std::thread::panicking() {
            // The harness captures this and shows it with the failure.
            let mut output = std::io::stderr().lock();
            let _ = std::io::Write::write_all(&mut output, self.log().as_bytes());
        }
    }
}

/// The program under test: `$STEAD_BIN`, else the one cargo built beside this test.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(binary) = std::env::var_os("STEAD_BIN") {
        return PathBuf::from(binary);
    }
    let test = std::env::current_exe().expect("the kernel knows");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests run from target/PROFILE/deps");
    let binary = profile.join("stead");
    assert!(
        binary.exists(),
        "{} is missing: run cargo build -p stead",
        binary.display()
    );
    binary
}

/// Sends a signal, by its name without SIG. A process that is gone already needs none.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Whether a process is there and not just waiting to be reaped.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = status
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// The processes one of whose words matches: arguments ("cmdline") or variables ("environ").
fn processes_with(file: &str, matches: impl Fn(&[u8]) -> bool) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|words| words.split(|byte| *byte == 0).any(&matches))
    })
    .filter(|pid| is_alive(*pid))
    .collect()
}
