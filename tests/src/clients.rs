//! Runs client programs and keeps what they said.

use crate::Host;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// No client call takes this long; one that hangs is ended and its test fails.
const CLIENT_TIMEOUT_S: &str = "90";

/// The exit status that `timeout` gives a program it had to end.
const TIMED_OUT: i32 = 124;

/// What a client program did.
#[derive(Debug)]
pub struct Ran {
    /// The command, for messages.
    pub command: String,
    /// Its exit status.
    pub status: i32,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output of a command that must succeed.
    ///
    /// # Panics
    /// If it failed.
    #[must_use]
    pub fn succeeds(self) -> String {
        assert_eq!(
            self.status, 0,
            "{} failed:\n{}{}",
            self.command, self.stdout, self.stderr
        );
        self.stdout
    }

    /// Standard error of a command that must fail by itself.
    ///
    /// # Panics
    /// If it succeeded, or had to be ended.
    #[must_use]
    pub fn fails(self) -> String {
        assert_ne!(
            self.status, 0,
            "{} succeeded:\n{}",
            self.command, self.stdout
        );
        assert_ne!(self.status, TIMED_OUT, "{} hung", self.command);
        self.stderr
    }
}

/// Runs a program to its end, with an end to patience and no terminal.
///
/// # Panics
/// If the program cannot be run.
pub fn run(program: impl AsRef<OsStr>, words: &[&str], environment: &[(&str, &str)]) -> Ran {
    run_within(CLIENT_TIMEOUT_S, program, words, environment)
}

/// The same, with another end to patience in seconds.
///
/// # Panics
/// If the program cannot be run.
pub fn run_within(
    seconds: &str,
    program: impl AsRef<OsStr>,
    words: &[&str],
    environment: &[(&str, &str)],
) -> Ran {
    let program = program.as_ref();
    let output = Command::new("timeout")
        .arg("--kill-after=5")
        .arg(seconds)
        .arg(program)
        .args(words)
        .envs(environment.iter().copied())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("coreutils' timeout is there");
    Ran {
        command: format!("{} {}", program.display(), words.join(" ")),
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program of `tests/clients`, run by Debian's Python, which is the one that has libvirt's binding.
pub fn python(script: &str, words: &[&str]) -> Ran {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(script);
    let path = path.to_string_lossy();
    run("/usr/bin/python3", &[&["-B", &path], words].concat(), &[])
}

/// Debian's virt-install, which knows nothing of Stead. The machine is on QEMU's own network, unless
/// the words say otherwise.
pub fn virt_install(host: &Host, name: &str, words: &[&str]) -> Ran {
    let (uri, home) = (host.uri(), host.folder().to_string_lossy().into_owned());
    let common = [
        "--connect",
        &uri,
        "--name",
        name,
        "--memory",
        "160",
        "--vcpus",
        "1",
        "--virt-type",
        "qemu",
        "--osinfo",
        "detect=on,require=off",
        "--graphics",
        "none",
        "--noautoconsole",
    ];
    let network: &[&str] = match words.contains(&"--network") {
        true => &[],
        false => &["--network", "user"],
    };
    let all = [&common[..], network, words].concat();
    run("virt-install", &all, &[("HOME", &home)])
}
