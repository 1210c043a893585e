//! Jobs on the images of a running machine's disks: commit, pull, copy.

use std::io::Write;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use client::wire::remote::{self, DomainGetBlockJobInfoRet, RemoteDomain, TypedParam};
use client::wire::xdr::TypedParamValue;

use crate::args::Args;
use crate::domain::{flags, read_file, target};
use crate::element::Element;
use crate::failure::{Failure, Outcome};
use crate::interrupt::send_on_interrupt;
use crate::output::{extra, fact, sayln};
use crate::params::param;
use crate::session::Session;
use crate::table::{Completes, DOMAIN, Opt, Verb, arg, flag, number, text};
use crate::verbs::blocks::pretty;

const PATH: Opt =
    arg("path", "the disk: its target or source").of_things(crate::table::Thing::Disk);
const BANDWIDTH: Opt = text("bandwidth", "at most so many MiB each second").bare();
const BYTES: Opt = flag("bytes", "the bandwidth is in bytes");
const BASE: Opt = text("base", "the image that stays").bare();
const WAIT: Opt = flag("wait", "wait until it is done");
const VERBOSE: Opt = flag("verbose", "with --wait, show how far it is");
const TIMEOUT: Opt = number("timeout", "with --wait, give up after so many seconds");
const PIVOT: Opt = flag("pivot", "with --wait, go over to the new image at its end");
const KEEP: Opt = flag(
    "keep-overlay",
    "with --wait, stay with the old image at its end",
);
const ASYNC: Opt = flag("async", "with --wait, do not wait for the end of giving up");
const RELATIVE: Opt = flag("keep-relative", "keep names of images below relative");

/// Between two looks at a job.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PIVOT_FLAG: u32 = 2;
const ASYNC_FLAG: u32 = 1;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "blockcommit",
        "write a disk's images into one below",
        commit,
    )
    .options(&[
        DOMAIN,
        PATH,
        BANDWIDTH,
        BASE,
        flag("shallow", "into the next image below"),
        text("top", "the uppermost image that is committed").bare(),
        flag("active", "the disk's present image too"),
        flag("delete", "remove the images that were committed"),
        WAIT,
        VERBOSE,
        TIMEOUT,
        PIVOT,
        KEEP,
        ASYNC,
        RELATIVE,
        BYTES,
    ]),
    Verb::new("blockcopy", "copy a disk to another image", copy).options(&[
        DOMAIN,
        PATH,
        text("dest", "the copy's file")
            .bare()
            .completes(Completes::File),
        BANDWIDTH,
        flag("shallow", "the disk's own image only"),
        flag("reuse-external", "the file is there already"),
        flag("blockdev", "the copy is a block device"),
        WAIT,
        VERBOSE,
        TIMEOUT,
        PIVOT,
        flag("finish", "with --wait, stay with the old image at its end"),
        ASYNC,
        text("xml", "a file with the copy's <disk>").completes(Completes::File),
        text("format", "the copy's format"),
        text("granularity", "bytes copied as one"),
        text("buf-size", "bytes under way at once"),
        BYTES,
        flag(
            "transient-job",
            "the job need not outlive the machine's run",
        ),
        flag("synchronous-writes", "each write reaches both images"),
        flag("print-xml", "print the copy's XML and change nothing"),
    ]),
    Verb::new("blockpull", "fill a disk's image from those below", pull).options(&[
        DOMAIN, PATH, BANDWIDTH, BASE, WAIT, VERBOSE, TIMEOUT, ASYNC, RELATIVE, BYTES,
    ]),
    Verb::new("blockjob", "show, end or slow a job on a disk", blockjob)
        .options(&[
            DOMAIN,
            PATH,
            flag("abort", "end it"),
            flag("async", "with --abort, do not wait for its end"),
            flag("pivot", "go over to the new image"),
            flag("info", "show it"),
            BYTES,
            flag("raw", "as bare values"),
            BANDWIDTH,
        ])
        .tabular(),
    Verb::new(
        "blockresize",
        "give a running machine's disk another size",
        resize,
    )
    .options(&[
        DOMAIN,
        PATH,
        arg("size", "the size, in KiB unless it has a unit"),
    ]),
];

fn bandwidth(args: &Args) -> Result<u64, Failure> {
    if args.has("bytes") {
        return Ok(args.scaled("bandwidth", 1, i64::MAX as u64)?.unwrap_or(0));
    }
    Ok(args.number::<u64>("bandwidth")?.unwrap_or(0))
}

fn text_of(args: &Args, name: &str) -> Result<Option<String>, Failure> {
    Ok(args.text(name)?.map(str::to_owned))
}

fn commit(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("pivot", "keep-overlay")?;
    let dom = target(s, args)?.dom;
    let disk = args.need("path")?.to_owned();
    let goes_over = args.has("pivot") || args.has("keep-overlay");
    let active = args.has("active") || goes_over;
    let mut bits = flags(
        args,
        &[
            ("shallow", 1),
            ("delete", 2),
            ("keep-relative", 8),
            ("bytes", 16),
        ],
    );
    bits |= if active { 4 } else { 0 };
    s.call(&remote::DomainBlockCommitArgs {
        dom: dom.clone(),
        disk: disk.clone(),
        base: text_of(args, "base")?,
        top: text_of(args, "top")?,
        bandwidth: bandwidth(args)?,
        flags: bits,
    })?;
    if !args.has("wait") && !args.has("verbose") && !goes_over {
        match active {
            true => extra!(s, "Active Block Commit started\n"),
            false => extra!(s, "Block Commit started\n"),
        }
        return Ok(());
    }
    if !wait(s, args, &dom, &disk, "Block commit", active)? {
        extra!(s, "\nCommit aborted\n");
        return Err(Failure::silent());
    }
    finish(s, args, &dom, &disk, active, "keep-overlay", "Commit")
}

fn pull(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let path = args.need("path")?.to_owned();
    let base = text_of(args, "base")?;
    let bits = flags(args, &[("keep-relative", 16), ("bytes", 64)]);
    let bandwidth = bandwidth(args)?;
    match (&base, bits & 16) {
        (None, 0) => s.call(&remote::DomainBlockPullArgs {
            dom: dom.clone(),
            path: path.clone(),
            bandwidth,
            flags: bits,
        })?,
        _ => s.call(&remote::DomainBlockRebaseArgs {
            dom: dom.clone(),
            path: path.clone(),
            base,
            bandwidth,
            flags: bits,
        })?,
    }
    if !args.has("wait") && !args.has("verbose") {
        extra!(s, "Block Pull started\n");
        return Ok(());
    }
    match wait(s, args, &dom, &path, "Block Pull", false)? {
        true => extra!(s, "\nPull complete\n"),
        false => {
            extra!(s, "\nPull aborted\n");
            return Err(Failure::silent());
        }
    }
    Ok(())
}

fn copy(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("dest", "xml")?;
    args.exclusive("pivot", "finish")?;
    let dom = target(s, args)?.dom;
    let path = args.need("path")?.to_owned();
    let destxml = match (args.text("dest")?, args.text("xml")?) {
        (_, Some(file)) => read_file(file)?,
        (Some(dest), None) => copy_xml(args, dest)?,
        (None, None) => return Err(Failure::said("need either --dest or --xml")),
    };
    if args.has("print-xml") {
        s.out.text(destxml);
        return Ok(());
    }
    let mut params: Vec<TypedParam> = Vec::new();
    let scale = if args.has("bytes") { 1 } else { 1024 * 1024 };
    if let Some(bytes) = args.scaled("bandwidth", scale, i64::MAX as u64)? {
        params.push(param("bandwidth", TypedParamValue::Ullong(bytes)));
    }
    if let Some(bytes) = args.scaled("granularity", 1, u64::from(u32::MAX))? {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        params.push(param("granularity", TypedParamValue::Uint(bytes)));
    }
    if let Some(bytes) = args.scaled("buf-size", 1, i64::MAX as u64)? {
        params.push(param("buf-size", TypedParamValue::Ullong(bytes)));
    }
    let table = [
        ("shallow", 1),
        ("reuse-external", 2),
        ("transient-job", 4),
        ("synchronous-writes", 8),
    ];
    s.call(&remote::DomainBlockCopyArgs {
        dom: dom.clone(),
        path: path.clone(),
        destxml,
        params,
        flags: flags(args, &table),
    })?;
    let goes_over = args.has("pivot") || args.has("finish");
    if !args.has("wait") && !args.has("verbose") && !goes_over {
        extra!(s, "Block Copy started\n");
        return Ok(());
    }
    if !wait(s, args, &dom, &path, "Block Copy", true)? {
        extra!(s, "\nCopy aborted\n");
        return Err(Failure::silent());
    }
    finish(s, args, &dom, &path, true, "finish", "Copy")
}

fn copy_xml(args: &Args, dest: &str) -> Result<String, Failure> {
    let (kind, place) = match args.has("blockdev") {
        true => ("block", "dev"),
        false => ("file", "file"),
    };
    let mut disk = Element::new("disk")
        .attr("type", Some(kind))
        .child(Element::new("source").attr(place, Some(dest)));
    if let Some(format) = args.text("format")? {
        disk = disk.child(Element::new("driver").attr("type", Some(format)));
    }
    Ok(disk.show())
}

fn job_info(
    s: &mut Session,
    dom: &RemoteDomain,
    path: &str,
    flags: u32,
) -> Result<DomainGetBlockJobInfoRet, client::Error> {
    s.call(&remote::DomainGetBlockJobInfoArgs {
        dom: dom.clone(),
        path: path.to_owned(),
        flags,
    })
}

/// Waits until a job is over or, if it `mirrors`, until both images are the
/// same; false if it was given up.
fn wait(
    s: &mut Session,
    args: &Args,
    dom: &RemoteDomain,
    path: &str,
    label: &str,
    mirrors: bool,
) -> Result<bool, Failure> {
    let limit = args.number::<u64>("timeout")?.map(Duration::from_secs);
    let begun = Instant::now();
    let (sink, interrupted) = mpsc::channel();
    send_on_interrupt(sink.clone(), ());
    loop {
        let job = job_info(s, dom, path, 0)?;
        let is_over = job.found == 0 || (mirrors && job.cur == job.end && job.end > 0);
        if args.has("verbose") {
            let done = match job.end {
                _ if is_over => 100.0,
                0 => 0.0,
                end => (job.cur as f64 * 100.0 / end as f64).min(99.99),
            };
            s.out.flush();
            _ = write!(std::io::stderr(), "\r{label}: [{done:5.2} %]");
        }
        if is_over {
            return Ok(job.found == 1 || !mirrors);
        }
        let given_up = interrupted.recv_timeout(LOOK_EVERY).is_ok();
        if given_up || limit.is_some_and(|limit| begun.elapsed() > limit) {
            drop(sink);
            let flags = if args.has("async") { ASYNC_FLAG } else { 0 };
            abort(s, dom, path, flags)?;
            return Ok(false);
        }
    }
}

fn abort(s: &mut Session, dom: &RemoteDomain, path: &str, flags: u32) -> Result<(), client::Error> {
    s.call(&remote::DomainBlockJobAbortArgs {
        dom: dom.clone(),
        path: path.to_owned(),
        flags,
    })
}

/// Both images are the same: goes over, stays, or leaves it at that.
fn finish(
    s: &mut Session,
    args: &Args,
    dom: &RemoteDomain,
    path: &str,
    mirrors: bool,
    stay: &str,
    what: &str,
) -> Outcome {
    if mirrors && args.has("pivot") {
        abort(s, dom, path, PIVOT_FLAG)?;
        extra!(s, "\nSuccessfully pivoted\n");
    } else if mirrors && args.has(stay) {
        abort(s, dom, path, 0)?;
        match what {
            "Copy" => extra!(s, "\nSuccessfully copied\n"),
            _ => extra!(s, "\nCommit complete, overlay image kept\n"),
        }
    } else if mirrors {
        extra!(s, "\nNow in synchronized phase\n");
    } else {
        extra!(s, "\n{what} complete\n");
    }
    Ok(())
}

fn blockjob(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let path = args.need("path")?.to_owned();
    if args.has("abort") || args.has("pivot") || args.has("async") {
        abort(
            s,
            &dom,
            &path,
            flags(args, &[("async", ASYNC_FLAG), ("pivot", PIVOT_FLAG)]),
        )?;
        return Ok(());
    }
    if args.has("bandwidth") {
        s.call(&remote::DomainBlockJobSetSpeedArgs {
            dom,
            path,
            bandwidth: bandwidth(args)?,
            flags: flags(args, &[("bytes", 1)]),
        })?;
        return Ok(());
    }
    let job = job_info(s, &dom, &path, 1)?;
    if !s.out.is_text() {
        s.out.many_records();
        if job.found != 0 {
            s.out.next_record();
            fact!(s, "type", kind(job.kind), "");
            fact!(s, "bandwidth", job.bandwidth, "");
            fact!(s, "cur", job.cur, "");
            fact!(s, "end", job.end, "");
        }
        return Ok(());
    }
    if job.found == 0 {
        if args.has("raw") {
            return Ok(());
        }
        extra!(s, "No current block job for {path}\n");
        return Ok(());
    }
    if args.has("raw") {
        sayln!(
            s,
            " type={}\n bandwidth={}\n cur={}\n end={}",
            kind(job.kind),
            job.bandwidth,
            job.cur,
            job.end
        );
        return Ok(());
    }
    let done = match job.end {
        0 => 0.0,
        end => job.cur as f64 * 100.0 / end as f64,
    };
    s.out.flush();
    _ = write!(std::io::stderr(), "\r{}: [{done:5.2} %]", kind(job.kind));
    if job.bandwidth > 0 {
        let (value, unit) = pretty(job.bandwidth);
        let bytes = job.bandwidth;
        s.out.text(format!(
            "    Bandwidth limit: {bytes} bytes/s ({value:.3} {unit}/s)"
        ));
    }
    s.out.text("\n");
    Ok(())
}

fn kind(number: i32) -> &'static str {
    match number {
        1 => "Block Pull",
        2 => "Block Copy",
        3 => "Block Commit",
        4 => "Active Block Commit",
        5 => "Backup",
        _ => "Unknown job",
    }
}

fn resize(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let path = args.need("path")?.to_owned();
    args.need("size")?;
    let size = args.scaled("size", 1024, u64::MAX)?.unwrap_or(0);
    s.call(&remote::DomainBlockResizeArgs {
        dom,
        disk: path.clone(),
        size,
        flags: 1,
    })?;
    extra!(s, "Block device '{path}' is resized");
    Ok(())
}
