//! What a domain is busy with.

use client::wire::remote::{self, TypedParam};
use client::wire::xdr::TypedParamValue;

use crate::args::Args;
use crate::domain::{flags, target};
use crate::failure::{Failure, Outcome};
use crate::output::{extra, fact, sayln};
use crate::params::{get, json, show, unsigned};
use crate::session::Session;
use crate::table::{DOMAIN, Verb, flag, number, text};
use crate::verbs::blocks::pretty;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "domdirtyrate-calc",
        "measure how fast a guest writes memory",
        dirtyrate,
    )
    .options(&[
        DOMAIN,
        number("seconds", "for how long to measure").bare(),
        text("mode", "how: page-sampling, dirty-bitmap or dirty-ring")
            .bare()
            .words(&["page-sampling", "dirty-bitmap", "dirty-ring"]),
    ]),
    Verb::new("domjobabort", "abort what a domain is busy with", abort).options(&[
        DOMAIN,
        flag("postcopy", "even a migration in its post-copy phase"),
    ]),
    Verb::new("domjobinfo", "how far a domain's job is", info)
        .options(&[
            DOMAIN,
            flag("completed", "of the last job that ended"),
            flag(
                "keep-completed",
                "do not forget it after this, with --completed",
            ),
            flag("anystats", "all there is, whatever the job's state"),
            flag("rawstats", "under the daemon's own names"),
        ])
        .tabular(),
];

fn abort(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    match flags(args, &[("postcopy", 1)]) {
        0 => s.call(&remote::DomainAbortJobArgs { dom })?,
        flags => s.call(&remote::DomainAbortJobFlagsArgs { dom, flags })?,
    }
    Ok(())
}

fn dirtyrate(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let seconds = args.number("seconds")?.unwrap_or(1);
    let flags = match args.text("mode")? {
        None | Some("page-sampling") => 0,
        Some("dirty-bitmap") => 1,
        Some("dirty-ring") => 2,
        Some(other) => {
            return Err(Failure::said(format!("Unknown calculation mode '{other}'")));
        }
    };
    s.call(&remote::DomainStartDirtyRateCalcArgs {
        dom,
        seconds,
        flags,
    })?;
    extra!(
        s,
        "Start to calculate domain's memory dirty rate successfully.\n"
    );
    Ok(())
}

const NONE: i32 = 0;
const BOUNDED: i32 = 1;
const UNBOUNDED: i32 = 2;
const COMPLETED: i32 = 3;
const KINDS: &[&str] = &[
    "None",
    "Bounded",
    "Unbounded",
    "Completed",
    "Failed",
    "Cancelled",
];
const OPERATIONS: &[&str] = &[
    "Unknown",
    "Start",
    "Save",
    "Restore",
    "Incoming migration",
    "Outgoing migration",
    "Snapshot",
    "Snapshot revert",
    "Dump",
    "Backup",
    "Snapshot delete",
];

fn word(table: &[&'static str], number: i32) -> &'static str {
    usize::try_from(number)
        .ok()
        .and_then(|i| table.get(i))
        .copied()
        .unwrap_or("Unknown")
}

fn info(s: &mut Session, args: &Args) -> Outcome {
    args.requires("keep-completed", "completed")?;
    let dom = target(s, args)?.dom;
    let flags = flags(args, &[("completed", 1), ("keep-completed", 2)]);
    let got = s.call(&remote::DomainGetJobStatsArgs { dom, flags })?;
    if args.has("rawstats") || !s.out.is_text() {
        let word = word(KINDS, got.kind);
        fact!(s, "Job type:", word, "Job type: {}\n", got.kind);
        for p in &got.params {
            fact!(
                s,
                &p.field,
                json(&p.value),
                "{}: {}",
                p.field,
                show(&p.value)
            );
        }
        return Ok(());
    }
    sayln!(s, "{:<17} {:<12}", "Job type:", word(KINDS, got.kind));
    if got.kind == NONE {
        return Ok(());
    }
    let operation = match get(&got.params, "operation") {
        Some(TypedParamValue::Int(n)) => *n,
        _ => 0,
    };
    sayln!(
        s,
        "{:<17} {:<12}",
        "Operation:",
        word(OPERATIONS, operation)
    );
    let told =
        matches!(got.kind, BOUNDED | UNBOUNDED) || (args.has("completed") && got.kind == COMPLETED);
    if !told && !args.has("anystats") {
        return Ok(());
    }
    Report {
        s,
        params: &got.params,
    }
    .print(got.kind);
    Ok(())
}

struct Report<'a> {
    s: &'a mut Session,
    params: &'a [TypedParam],
}

impl Report<'_> {
    fn print(&mut self, kind: i32) {
        let elapsed = unsigned(self.params, "time_elapsed").unwrap_or(0);
        sayln!(self.s, "{:<17} {elapsed:<12} ms", "Time elapsed:");
        self.count("Time elapsed w/o network:", "time_elapsed_net", " ms");
        if kind == BOUNDED {
            let left = unsigned(self.params, "time_remaining").unwrap_or(0);
            sayln!(self.s, "{:<17} {left:<12} ms", "Time remaining:");
        }
        self.amounts("Data", "data");
        if self.amounts("Memory", "memory") {
            self.rate("Memory bandwidth:", "memory_bps");
            self.count("Dirty rate:", "memory_dirty_rate", " pages/s");
            self.count("Page size:", "memory_page_size", " bytes");
            self.count("Iteration:", "memory_iteration", "");
            self.count("Postcopy requests:", "memory_postcopy_requests", "");
        }
        if self.amounts("File", "disk") {
            self.rate("File bandwidth:", "disk_bps");
        }
        self.count("Constant pages:", "memory_constant", "");
        self.count("Normal pages:", "memory_normal", "");
        self.size("Normal data:", "memory_normal_bytes");
        let downtime = if kind == COMPLETED {
            "Total downtime:"
        } else {
            "Expected downtime:"
        };
        self.count(downtime, "downtime", " ms");
        self.count("Downtime w/o network:", "downtime_net", " ms");
        self.count("Setup time:", "setup_time", " ms");
        self.size("Compression cache:", "compression_cache");
        self.size("Compressed data:", "compression_bytes");
        for (label, field) in [
            ("Compressed pages:", "compression_pages"),
            ("Compression cache misses:", "compression_cache_misses"),
            ("Compression overflows:", "compression_overflow"),
            ("Auto converge throttle:", "auto_converge_throttle"),
        ] {
            if let Some(n) = unsigned(self.params, field) {
                sayln!(self.s, "{label:<17} {n:<13}");
            }
        }
        self.size("Temporary disk space use:", "disk_temp_used");
        self.size("Temporary disk space total:", "disk_temp_total");
        if let Some(TypedParamValue::String(message)) = get(self.params, "errmsg") {
            sayln!(self.s, "{:<17} {message}", "Error message:");
        }
    }

    fn count(&mut self, label: &str, field: &str, unit: &str) {
        if let Some(n) = unsigned(self.params, field) {
            sayln!(self.s, "{label:<17} {n:<12}{unit}");
        }
    }

    fn bytes(&mut self, label: &str, bytes: u64, per: &str) {
        let (value, unit) = pretty(bytes);
        sayln!(self.s, "{label:<17} {value:.3} {unit}{per}");
    }

    fn size(&mut self, label: &str, field: &str) {
        if let Some(n) = unsigned(self.params, field) {
            self.bytes(label, n, "");
        }
    }

    fn rate(&mut self, label: &str, field: &str) {
        if let Some(n) = unsigned(self.params, field).filter(|n| *n > 0) {
            self.bytes(label, n, "/s");
        }
    }

    /// Processed, remaining and total; false if all are zero.
    fn amounts(&mut self, label: &str, field: &str) -> bool {
        let parts = ["processed", "remaining", "total"];
        let values = parts.map(|p| unsigned(self.params, &format!("{field}_{p}")).unwrap_or(0));
        if values == [0; 3] {
            return false;
        }
        for (part, value) in parts.iter().zip(values) {
            self.bytes(&format!("{label} {part}:"), value, "");
        }
        true
    }
}
