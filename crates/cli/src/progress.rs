//! Long calls: the call runs on a thread of its own while this one looks how far it is.

use std::io::{IsTerminal, Write};
use std::sync::mpsc;
use std::time::Duration;

use client::wire::procedure::Call;
use client::wire::remote::{self, RemoteDomain};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::interrupt::send_on_interrupt;
use crate::session::Session;

/// Between two looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(500);

enum Meter {
    /// A bar, on a terminal.
    Bar(ProgressBar),
    /// virsh's percentage on standard error.
    Percent(&'static str),
    /// Nothing.
    Silent,
}

impl Meter {
    fn new(label: &'static str, verbose: bool) -> Meter {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template(
                "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(label);
            return Meter::Bar(bar);
        }
        if verbose {
            Meter::Percent(label)
        } else {
            Meter::Silent
        }
    }

    fn show(&self, remaining: u64, total: u64) {
        match self {
            Meter::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(total.saturating_sub(remaining));
            }
            Meter::Percent(label) => {
                let done = match remaining {
                    0 => 100.0,
                    left => (100.0 - left as f64 * 100.0 / total as f64).min(99.99),
                };
                let cut = (done * 100.0).floor() / 100.0;
                _ = write!(std::io::stderr(), "\r{label}: [{cut:5.2} %]");
            }
            Meter::Silent => {}
        }
    }

    fn end(&self, ok: bool) {
        match self {
            Meter::Bar(bar) => bar.finish_and_clear(),
            Meter::Percent(_) if ok => self.show(0, 1),
            _ => {}
        }
    }
}

enum News<T> {
    Done(Result<T, client::Error>),
    Interrupted,
}

/// Makes a call that takes long, showing the domain's job meanwhile; Ctrl-C aborts the job.
///
/// # Errors
/// The call's.
pub(crate) fn watch<A: Call + Sync>(
    s: &mut Session,
    dom: &RemoteDomain,
    call: &A,
    label: &'static str,
    verbose: bool,
) -> Result<A::Ret, Failure>
where
    A::Ret: Send + 'static,
{
    s.out.flush();
    let conn = s.conn()?;
    let meter = Meter::new(label, verbose);
    let look = remote::DomainGetJobInfoArgs { dom: dom.clone() };
    let result = std::thread::scope(|scope| {
        let (sink, news) = mpsc::channel();
        send_on_interrupt(sink.clone(), News::Interrupted);
        scope.spawn(move || sink.send(News::Done(conn.call(call))));
        loop {
            match news.recv_timeout(LOOK_EVERY) {
                Ok(News::Done(result)) => return result,
                Ok(News::Interrupted) => {
                    // The call itself then ends with the daemon's word for it.
                    _ = conn.call(&remote::DomainAbortJobArgs { dom: dom.clone() });
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(client::Error::closed());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Ok(job) = conn.call(&look)
                        && job.data_total > 0
                    {
                        meter.show(job.data_remaining, job.data_total);
                    }
                }
            }
        }
    });
    meter.end(result.is_ok());
    Ok(result?)
}
