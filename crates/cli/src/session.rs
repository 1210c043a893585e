//! One run of the program: its options, its output and its connection.

use std::os::fd::OwnedFd;

use client::wire::procedure::Call;
use client::{Connection, Options, Rest, Uri};

use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::globals::Globals;
use crate::output::{Format, Output};
use crate::parse::Command;
use crate::table::{Opt, Verb};

/// What handlers work with.
pub(crate) struct Session {
    /// Where output goes.
    pub out: Output,
    /// The options before the verb.
    pub globals: Globals,
    /// Whether `quit` was typed.
    pub quit: bool,
    /// Whether commands are typed one by one.
    pub at_prompt: bool,
    /// Whether the last attempt to connect failed.
    unreachable: bool,
    connection: Option<Connection>,
    rest: Option<Rest>,
}

impl Session {
    /// A session that has not connected yet.
    pub(crate) fn new(globals: Globals, mut out: Output) -> Session {
        out.quiet = globals.quiet;
        Session {
            out,
            globals,
            quit: false,
            at_prompt: false,
            unreachable: false,
            connection: None,
            rest: None,
        }
    }

    /// Everything of this session; an empty one stays behind.
    pub(crate) fn take(&mut self) -> Session {
        let nowhere = Output::to(Box::new(std::io::sink()), Box::new(std::io::sink()));
        std::mem::replace(self, Session::new(Globals::default(), nowhere))
    }

    /// The connection, opened on first use.
    ///
    /// # Errors
    /// If the daemon cannot be reached.
    pub(crate) fn conn(&mut self) -> Result<&Connection, Failure> {
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            let again = self.connection.take().is_some();
            self.unreachable = true;
            self.connection = Some(self.open(self.globals.uri.as_deref()).map_err(|e| {
                e.context(if again {
                    "Failed to reconnect to the hypervisor"
                } else {
                    "failed to connect to the hypervisor"
                })
            })?);
            self.unreachable = false;
            if again {
                self.out.error("Reconnected to the hypervisor");
            }
        }
        self.connection.as_ref().ok_or_else(Failure::silent)
    }

    /// The connection to the REST API of the same daemon, opened on first use.
    ///
    /// # Errors
    /// If no Stead can be reached there.
    pub(crate) fn rest(&mut self) -> Result<&mut Rest, Failure> {
        if self.rest.as_ref().is_none_or(Rest::is_closed) {
            self.rest = None;
            self.unreachable = true;
            let uri = self.uri(self.globals.uri.as_deref())?;
            let rest = Rest::open(&uri, self.globals.readonly).map_err(with_hint)?;
            self.rest = Some(rest);
            self.unreachable = false;
        }
        self.rest.as_mut().ok_or_else(Failure::silent)
    }

    /// Whether the connection is gone.
    pub(crate) fn closed(&self) -> bool {
        self.connection.as_ref().is_none_or(Connection::is_closed)
    }

    /// Calls the daemon.
    ///
    /// # Errors
    /// The daemon's, or what happened to the connection.
    pub(crate) fn call<A: Call>(&mut self, args: &A) -> Result<A::Ret, client::Error> {
        match &self.connection {
            Some(connection) => connection.call(args),
            None => Err(client::Error::closed()),
        }
    }

    /// Calls the daemon, with descriptors.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(crate) fn call_with<A: Call>(
        &mut self,
        args: &A,
        descriptors: Vec<OwnedFd>,
    ) -> Result<A::Ret, client::Error> {
        match &self.connection {
            Some(connection) => connection.call_with(args, descriptors),
            None => Err(client::Error::closed()),
        }
    }

    /// Calls a procedure many times, several calls under way at once.
    ///
    /// # Errors
    /// The first call's that failed.
    pub(crate) fn call_all<A: Call>(&mut self, all: &[A]) -> Result<Vec<A::Ret>, client::Error> {
        match &self.connection {
            Some(connection) => connection.call_all(all),
            None => Err(client::Error::closed()),
        }
    }

    fn uri(&self, uri: Option<&str>) -> Result<Uri, Failure> {
        let uri = match uri {
            Some(uri) => Uri::parse(uri),
            None => Uri::default_here(),
        };
        uri.map_err(|e| Failure::from(client::Error::from(e)))
    }

    fn open(&self, uri: Option<&str>) -> Result<Connection, Failure> {
        let uri = self.uri(uri)?;
        let options = Options {
            readonly: self.globals.readonly,
            keepalive_interval_s: self.globals.keepalive_interval,
            keepalive_count: self.globals.keepalive_count,
        };
        Connection::open(&uri, &options).map_err(with_hint)
    }

    /// Leaves the connection there is and opens another, for `connect`.
    ///
    /// # Errors
    /// If the daemon cannot be reached.
    pub(crate) fn reconnect(&mut self, uri: Option<String>, readonly: bool) -> Outcome {
        self.connection = None;
        self.rest = None;
        if uri.is_some() {
            self.globals.uri = uri;
            self.globals.readonly = readonly;
        } else {
            self.globals.readonly |= readonly;
        }
        self.conn().map(|_| ())
    }

    /// Runs commands in order; the result is the last one's.
    pub(crate) fn run(&mut self, commands: Vec<Command>) -> bool {
        let mut ok = true;
        for command in commands {
            let started = std::time::Instant::now();
            ok = match command {
                Command::Help(verb) => {
                    self.out.text(crate::help::verb(verb));
                    true
                }
                Command::Verb(args) => self.run_verb(&args),
            };
            // Like virsh: without a daemon the rest is not tried, unless at a prompt.
            if self.quit || (self.unreachable && !self.at_prompt) {
                break;
            }
            if self.globals.timing {
                let ms = started.elapsed().as_secs_f64() * 1000.0;
                match self.out.is_text() {
                    true => self.out.args(format_args!("\n(Time: {ms:.3} ms)\n\n")),
                    false => self.out.note(&format!("(Time: {ms:.3} ms)")),
                }
            } else {
                self.out.extra(format_args!("\n"));
            }
            self.out.format = Format::Table;
            self.out.flush();
            if self.out.broken() {
                break;
            }
        }
        self.out.flush();
        ok
    }

    fn run_verb(&mut self, args: &Args) -> bool {
        let done = self.try_verb(args);
        if let Err(failure) = &done {
            self.report(failure);
        }
        done.is_ok()
    }

    fn try_verb(&mut self, args: &Args) -> Outcome {
        self.out.format = match &args.format {
            Some(name) => Format::parse(name).map_err(|e| not_an_image_format(e, args.verb))?,
            None if args.verb.tabular => self.globals.format,
            None => Format::Table,
        };
        self.out.tabular = args.verb.tabular;
        if args.verb.connects {
            self.conn()?;
        }
        let done = (args.verb.run)(self, args);
        self.out.print_facts();
        done
    }

    /// Prints a failure as virsh does: own lines, then the server's message.
    pub(crate) fn report(&mut self, failure: &Failure) {
        for line in &failure.lines {
            self.out.error(line);
        }
        if let Some(cause) = &failure.cause {
            self.out.error(&cause.to_string());
        }
        if let Some(hint) = &failure.hint {
            self.out.note(&format!("hint: {hint}"));
        }
    }
}

/// A way to print that there is none of: perhaps an image's format was meant.
fn not_an_image_format(said: String, verb: &Verb) -> Failure {
    let meant = |o: &&Opt| o.name == "image-format";
    let failure = Failure::said(said);
    match verb.options.iter().find(meant) {
        Some(opt) => failure.hint(format!("an image's format is given with --{}", opt.name)),
        None => failure,
    }
}

/// A connection that could not be made, with what to do about it.
fn with_hint(error: client::Error) -> Failure {
    let hint = error.hint();
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
