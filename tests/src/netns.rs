//! Network namespaces: tests about networks run in one of their own, with
//! everything they start, so that neither the host nor another test is touched.

use std::process::Command;

use crate::clients::{self, Ran};

/// Set for the copy of the test program that runs in the namespace.
const INSIDE: &str = "STEAD_TEST_NETNS";

/// Runs a test, named as its program names it (`networks::NAME`), in a network namespace of its own.
///
/// # Panics
/// If the test fails there.
pub fn inside(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        let _ = ip("link set lo up");
        return body();
    }
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("the kernel knows"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{errors}"
    );
}

/// Runs `ip` with words that are separated by spaces; what it printed.
///
/// # Panics
/// If it fails.
pub fn ip(words: &str) -> String {
    run(&format!("ip {words}")).succeeds()
}

/// Runs a command line in the test's namespace.
pub fn run(line: &str) -> Ran {
    clients::run("sh", &["-c", line], &[])
}

/// A namespace beside the test's, joined to it by a cable: the world outside. Gone when dropped.
pub struct Outside {
    holder: std::process::Child,
}

impl Outside {
    /// A namespace behind the device `here`, whose own end of the cable is `eth0`.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn behind(here: &str) -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 600"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("unshare can be run");
        let mut outside = Self { holder };
        let mut line = [0];
        let stdout = outside.holder.stdout.as_mut().expect("it is piped");
        std::io::Read::read_exact(stdout, &mut line).expect("the namespace is there");
        let pid = outside.holder.id();
        let _ = ip(&format!(
            "link add {here} type veth peer name eth0 netns {pid}"
        ));
        let _ = ip(&format!("link set {here} up"));
        let _ = outside.run("ip link set lo up").succeeds();
        let _ = outside.run("ip link set eth0 up").succeeds();
        outside
    }

    /// Runs a command line there.
    pub fn run(&self, line: &str) -> Ran {
        let pid = self.holder.id().to_string();
        clients::run("nsenter", &["-t", &pid, "-n", "sh", "-c", line], &[])
    }

    /// A command that can be started there.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.holder.id().to_string(), "-n"])
            .args(["sh", "-c", line]);
        command
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
