//! Firewalls of other programs in a test's namespace: a real firewalld on a bus of its own, and a real Docker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::clients::{self, Ran};
use crate::wait;

/// Within this time either of them has made its rules.
const READY_TIMEOUT: Duration = Duration::from_secs(40);

/// A program of a test's, ended by SIGTERM when dropped, so that it ends what it started itself.
struct Program(Child);

impl Program {
    /// Runs a script in a mount namespace of its own, its output going to `log`.
    fn spawn(script: &str, log: &Path, variables: &[(&str, &str)]) -> Self {
        let log = fs::File::create(log).expect("the folder is ours");
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-ec", script])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor is free"))
            .stderr(log)
            .spawn()
            .expect("unshare can be run");
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = clients::run("kill", &["-TERM", &self.0.id().to_string()], &[]);
        let ended = wait::within(READY_TIMEOUT, || matches!(self.0.try_wait(), Ok(Some(_))));
        if !ended {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=SOCKET</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>"#;

/// A bus of a test's own.
pub struct Bus {
    folder: PathBuf,
    _daemon: Program,
}

impl Bus {
    /// A bus that listens.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("bus.sock");
        let config = folder.join("bus.conf");
        fs::write(&config, BUS.replace("SOCKET", &socket.to_string_lossy()))
            .expect("there is room");
        let script = format!(
            "exec dbus-daemon --nofork --config-file={}",
            config.display()
        );
        let daemon = Program::spawn(&script, &folder.join("bus.log"), &[]);
        wait::until("the bus listens", READY_TIMEOUT, || socket.exists());
        Self {
            folder: folder.to_owned(),
            _daemon: daemon,
        }
    }

    /// The variable that leads programs to it.
    #[must_use]
    pub fn variable(&self) -> (&'static str, String) {
        let socket = self.folder.join("bus.sock");
        let address = format!("unix:path={}", socket.display());
        ("DBUS_SYSTEM_BUS_ADDRESS", address)
    }
}

/// A firewalld with Debian's configuration and the zones of the package; gone when dropped.
pub struct Firewalld<'a> {
    bus: &'a Bus,
    _daemon: Program,
}

impl<'a> Firewalld<'a> {
    /// A firewalld whose rules are in force.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(bus: &'a Bus) -> Self {
        let zones = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/firewalld");
        let script = format!(
            "mount -t tmpfs none /etc/firewalld; cp -r {}/* /etc/firewalld/; mount -t tmpfs none /var/log; \
             exec firewalld --nofork --nopid",
            zones.display()
        );
        let (name, value) = bus.variable();
        let log = bus.folder.join("firewalld.log");
        let daemon = Program::spawn(&script, &log, &[(name, &value)]);
        let firewalld = Self {
            bus,
            _daemon: daemon,
        };
        wait::until("firewalld runs", READY_TIMEOUT, || {
            firewalld.cmd("--state").status == 0
        });
        firewalld
    }

    /// Runs `firewall-cmd` with words that are separated by spaces.
    pub fn cmd(&self, words: &str) -> Ran {
        let (name, value) = self.bus.variable();
        let words: Vec<&str> = words.split(' ').collect();
        clients::run("firewall-cmd", &words, &[(name, &value)])
    }
}

/// A Docker without containers, whose rules are in force; gone when dropped (its rules stay, as they do).
pub struct Docker {
    _daemon: Program,
}

impl Docker {
    /// A Docker that lets the host forward, and so drops what it does not know.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("docker");
        fs::create_dir_all(&folder).expect("the folder is ours");
        let at = folder.display();
        let script = format!(
            "mount -t tmpfs none /run; mkdir /run/lock; exec dockerd --iptables --storage-driver vfs \
             --data-root {at}/data --exec-root {at}/exec --host unix://{at}/d.sock --pidfile {at}/pid"
        );
        let _ = fs::remove_file(folder.join("d.sock"));
        let docker = Self {
            _daemon: Program::spawn(&script, &folder.join("log"), &[]),
        };
        wait::until("Docker answers", READY_TIMEOUT, || {
            let address = format!("unix://{at}/d.sock");
            clients::run("docker", &["--host", &address, "version"], &[]).status == 0
        });
        docker
    }
}
