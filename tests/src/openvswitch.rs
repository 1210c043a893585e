//! An Open vSwitch of a test's own: database and switch in its own folder,
//! with the datapath that needs no kernel module.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Host;
use crate::clients::{self, Ran};
use crate::wait;

/// Within this time the switch has come up.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// A running switch; gone when dropped.
pub struct OpenVswitch {
    folder: PathBuf,
    programs: Vec<Child>,
}

impl OpenVswitch {
    /// A host whose daemon knows a switch of its own, which has this bridge.
    ///
    /// # Panics
    /// If either does not come up.
    #[must_use]
    pub fn with_host(bridge: &str) -> (Host, Self) {
        let mut host = Host::without_daemon();
        let switch = Self::start(host.folder());
        switch.add_bridge(bridge);
        for (name, value) in switch.variables() {
            host.set_variable(name, &value);
        }
        host.start_daemon();
        (host, switch)
    }

    /// A switch without any bridge.
    fn start(folder: &Path) -> Self {
        let folder = folder.join("ovs");
        std::fs::create_dir_all(&folder).expect("the folder is ours");
        let mut switch = Self {
            folder,
            programs: Vec::new(),
        };
        let database = switch.path("conf.db");
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        let _ = clients::run("ovsdb-tool", &["create", &database, schema], &[]).succeeds();
        let remote = format!("--remote=punix:{}", switch.path("db.sock"));
        switch.spawn("ovsdb-server", &[&database, &remote, "--no-chdir"]);
        wait::until("the switch's database", READY_TIMEOUT, || {
            switch.folder.join("db.sock").exists()
        });
        let _ = switch.vsctl("--no-wait init").succeeds();
        let socket = format!("unix:{}", switch.path("db.sock"));
        switch.spawn("ovs-vswitchd", &[&socket, "--no-chdir"]);
        switch
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    fn spawn(&mut self, program: &str, words: &[&str]) {
        let child = Command::new(program)
            .args(words)
            .arg(format!(
                "--pidfile={}",
                self.path(&format!("{program}.pid"))
            ))
            .envs(self.variables())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openvswitch-switch is installed");
        self.programs.push(child);
    }

    /// What its programs, and those that talk to it, find it by.
    #[must_use]
    fn variables(&self) -> [(&'static str, String); 3] {
        ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR"]
            .map(|name| (name, self.folder.to_string_lossy().into_owned()))
    }

    /// Runs `ovs-vsctl` with words that are separated by spaces.
    pub fn vsctl(&self, words: &str) -> Ran {
        let words: Vec<&str> = words.split(' ').collect();
        let variables = self.variables();
        let variables = variables
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        clients::run(
            "ovs-vsctl",
            &[&["--timeout=20"], &words[..]].concat(),
            &variables,
        )
    }

    /// Makes a bridge without a place in the kernel.
    ///
    /// # Panics
    /// If that fails.
    fn add_bridge(&self, name: &str) {
        let words = format!("add-br {name} -- set bridge {name} datapath_type=netdev");
        let _ = self.vsctl(&words).succeeds();
    }

    /// The ports of a bridge.
    ///
    /// # Panics
    /// If there is no such bridge.
    #[must_use]
    pub fn ports(&self, bridge: &str) -> Vec<String> {
        let listed = self.vsctl(&format!("list-ports {bridge}")).succeeds();
        listed.lines().map(str::to_owned).collect()
    }
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        for program in self.programs.iter_mut().rev() {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}
