//! Talking to a real QEMU over its standard streams.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};

use serde_json::Value;
use stead_qemu::caps::{Accelerator, Probe, QemuCaps};
use stead_qemu::qmp::{Command, LineDecoder, Message, QMP_LINE_MAX_BYTES, commands};

/// The QEMU to test with: `STEAD_QEMU`, or the installed one; none if there is none.
pub(crate) fn binary() -> Option<String> {
    let path =
        std::env::var("STEAD_QEMU").unwrap_or_else(|_| "/usr/bin/qemu-system-x86_64".to_owned());
    if std::path::Path::new(&path).exists() {
        return Some(path);
    }
    // A test that was skipped must say so.
    #[allow(clippy::print_stderr)]
    {
        eprintln!("skipped: there is no {path}; set STEAD_QEMU");
    }
    None
}

/// A QEMU process with QMP on its standard streams.
pub(crate) struct Qemu {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
    decoder: LineDecoder,
    next_id: u64,
}

impl Qemu {
    /// Starts QEMU; in `arguments` the character device called `id` is replaced by the standard
    /// streams. The error is what QEMU said.
    pub(crate) fn start(binary: &str, arguments: &[String], id: &str) -> Result<Self, String> {
        let socket = format!("socket,id={id},");
        let arguments = arguments.iter().map(|argument| {
            if argument.starts_with(&socket) {
                format!("stdio,id={id}")
            } else {
                argument.clone()
            }
        });
        let mut process = Process::new(binary)
            .args(arguments)
            .args(
                std::env::var("STEAD_QEMU_ARGS")
                    .unwrap_or_default()
                    .split_whitespace(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("QEMU can be started");
        let input = process.stdin.take().expect("stdin is piped");
        let output = process.stdout.take().expect("stdout is piped");
        let decoder = LineDecoder::new(QMP_LINE_MAX_BYTES);
        let mut qemu = Self {
            process,
            input,
            output,
            decoder,
            next_id: 1,
        };
        match qemu.read() {
            Some(Message::Greeting(_)) => {}
            other => return Err(format!("{other:?} {}", qemu.last_words())),
        }
        qemu.ask(&commands::qmp_capabilities().untyped())
            .map(|_| qemu)
    }

    /// Sends a command and waits for its reply.
    pub(crate) fn ask(&mut self, command: &Command) -> Result<Value, String> {
        self.next_id += 1;
        self.input
            .write_all(&command.encode(self.next_id))
            .expect("QEMU takes commands");
        loop {
            match self.read() {
                Some(Message::Return { id, value }) if id == Some(self.next_id) => {
                    return Ok(value);
                }
                Some(Message::Error { desc, .. }) => return Err(desc),
                Some(_) => {}
                None => return Err(self.last_words()),
            }
        }
    }

    fn read(&mut self) -> Option<Message> {
        loop {
            if let Some(line) = self.decoder.next_line() {
                let line = line.expect("QEMU's lines are short enough");
                // QEMU tells on the same stream where pseudo terminals are.
                if line.starts_with(b"char device redirected") {
                    continue;
                }
                return Some(Message::parse(&line).expect("QEMU speaks QMP"));
            }
            let mut buffer = [0; 65536];
            match self
                .output
                .read(&mut buffer)
                .expect("QEMU's output can be read")
            {
                0 => return None,
                read => self.decoder.push(&buffer[..read]),
            }
        }
    }

    fn last_words(&mut self) -> String {
        let mut words = String::new();
        if let Some(mut errors) = self.process.stderr.take() {
            let _ = errors.read_to_string(&mut words);
        }
        words
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// Each test takes in this module and not all need this function.
#[allow(dead_code)]
/// Asks a QEMU what it can do under TCG.
pub(crate) fn probe(binary: &str) -> QemuCaps {
    let arguments = Probe::arguments(Accelerator::Tcg, 3);
    let mut qemu = Qemu::start(binary, &arguments, "monitor").expect("QEMU starts");
    let mut probe = Probe::new(Accelerator::Tcg);
    loop {
        let commands = probe.commands();
        if commands.is_empty() {
            return probe.finish();
        }
        let replies = commands.iter().map(|command| qemu.ask(command)).collect();
        probe.take(replies).expect("this QEMU can be used");
    }
}
