//! Inside the disks of machines that do not run: list, print, copy, mount,
//! prepare, change.

use client::api::{At, Change, Job, LookInside, Profile, Said, WorkInside};
use client::segment;

use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::follow;
use crate::output::{extra, fact};
use crate::session::Session;
use crate::table::{Completes, DOMAIN, Opt, Verb, arg, flag, many, rest, text};

const PATH: Opt = arg("path", "the path in the guest");
const HOSTNAME: Opt = text("hostname", "its host name");
const ROOT_PASSWORD: Opt = text(
    "root-password",
    "root's password: password:WORD, file:FILE, random or disabled",
);
const PASSWORD: Opt = many("password", "an account's password: USER:password:WORD");
const SSH_INJECT: Opt = many("ssh-inject", "a public key for an account: USER:string:KEY");
const UPLOAD: Opt = many("upload", "a file of the host, put at a place: FILE:PLACE");
const RUN_COMMAND: Opt = many("run-command", "a line of a shell, run in the guest");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("image ls", "list a directory inside a machine's disks", ls)
        .options(&[
            DOMAIN,
            arg("path", "the directory in the guest"),
            flag(
                "long",
                "with permissions, owners, sizes and all that lies below",
            ),
        ])
        .over_rest()
        .tabular(),
    Verb::new("image cat", "print a file inside a machine's disks", cat)
        .options(&[DOMAIN, PATH])
        .over_rest(),
    Verb::new(
        "image copy-in",
        "copy files into a machine's disks",
        copy_in,
    )
    .options(&[
        DOMAIN,
        arg("to", "the directory in the guest"),
        rest("file", "files of the daemon's host")
            .completes(Completes::File)
            .required(),
    ])
    .over_rest(),
    Verb::new(
        "image copy-out",
        "copy files out of a machine's disks",
        copy_out,
    )
    .options(&[
        DOMAIN,
        arg("to", "the directory on the daemon's host").completes(Completes::File),
        rest("file", "files in the guest").required(),
    ])
    .over_rest(),
    Verb::new("image mount", "mount a machine's disks on the host", mount)
        .about("Until `stead image unmount`. To be read only, unless --rw is given.")
        .options(&[
            DOMAIN,
            arg("directory", "where on the daemon's host").completes(Completes::File),
            flag("rw", "to be written to"),
        ])
        .over_rest(),
    Verb::new(
        "image grow",
        "grow a guest's root partition and file system",
        grow,
    )
    .about(
        "The root's partition, which must be the last one on its disk, and its file system (ext2, \
         ext3, ext4, xfs, btrfs; on a logical volume too) take all of the disk. With --size the \
         disk grows first.",
    )
    .options(&[
        DOMAIN,
        text("size", "the disk's new size, in bytes or with a unit: 20G"),
    ])
    .over_rest(),
    Verb::new("image unmount", "end a mount", unmount)
        .options(&[arg("directory", "where it is").completes(Completes::File)])
        .over_rest(),
    Verb::new(
        "sysprep",
        "take away what makes a guest this one guest",
        sysprep,
    )
    .about(
        "Host keys, machine id, logs, leases, … so that clones of it are guests of their own. \
             --list-operations tells what there is, --operations chooses.",
    )
    .options(&[
        DOMAIN_OR_NONE,
        flag("list-operations", "list what there is"),
        text(
            "operations",
            "what to do, separated by commas; all that is usual without",
        ),
        HOSTNAME,
        ROOT_PASSWORD,
        PASSWORD,
        SSH_INJECT,
        UPLOAD,
        RUN_COMMAND,
    ])
    .over_rest()
    .tabular(),
    Verb::new(
        "customize",
        "change what is in a machine's disks",
        customize,
    )
    .about(
        "Packages are installed first, then the profile's changes are made, then the others in \
             the order of the options below. The profile virtual-guest gives a shell on the serial \
             port, a short boot menu, an orderly end by the power button, the settings of tuned's \
             profile of that name, the guest agent where it is installed, and switches off \
             services that only real hardware needs.",
    )
    .options(&[
        DOMAIN,
        text("profile", "a ready set of changes").words(Profile::NAMES),
        HOSTNAME,
        text("timezone", "its time zone"),
        ROOT_PASSWORD,
        PASSWORD,
        SSH_INJECT,
        many("mkdir", "a directory to make"),
        UPLOAD,
        many("write", "a file with this content: PLACE:CONTENT"),
        many("append-line", "a line at the end of a file: PLACE:LINE"),
        many("chmod", "the permissions of a file: 0644:PLACE"),
        many(
            "install",
            "packages, separated by commas; needs the network",
        ),
        many("uninstall", "packages that go, separated by commas"),
        RUN_COMMAND,
        many(
            "firstboot-command",
            "a line of a shell, run at its next start",
        ),
        many("delete", "a file or directory that goes"),
    ])
    .over_rest(),
];

const DOMAIN_OR_NONE: Opt =
    crate::table::maybe("domain", "the domain: its name or uuid").completes(Completes::Domain);

fn look(s: &mut Session, args: &Args, what: &LookInside) -> Result<String, Failure> {
    let path = format!("/machines/{}/look-inside", segment(args.need("domain")?));
    Ok(s.rest()?
        .post(&path, what)
        .map(|answer: Said| answer.said)?)
}

fn ls(s: &mut Session, args: &Args) -> Outcome {
    let what = LookInside::List {
        path: args.need("path")?.to_owned(),
        long: args.has("long"),
    };
    let said = look(s, args, &what)?;
    match s.out.is_text() {
        true => s.out.text(said),
        false => s.out.names("entry", said.lines()),
    }
    Ok(())
}

fn cat(s: &mut Session, args: &Args) -> Outcome {
    let what = LookInside::Cat {
        path: args.need("path")?.to_owned(),
    };
    let said = look(s, args, &what)?;
    s.out.text(said);
    Ok(())
}

fn begin(s: &mut Session, args: &Args, what: &WorkInside) -> Result<Job, Failure> {
    let path = format!("/machines/{}/work-inside", segment(args.need("domain")?));
    Ok(s.rest()?.post(&path, what)?)
}

fn work(s: &mut Session, args: &Args, what: &WorkInside, done: &str) -> Outcome {
    let job = begin(s, args, what)?;
    follow::follow_to_end(s, &job)?;
    extra!(s, "Domain '{}' {done}\n", args.need("domain")?);
    Ok(())
}

/// A path as the daemon knows it.
pub(super) fn absolute(path: &str) -> Result<String, Failure> {
    let absolute = std::path::absolute(path);
    let path =
        absolute.map_err(|e| Failure::said(format!("{path}: {}", client::os_message(&e))))?;
    Ok(path.to_string_lossy().into_owned())
}

fn copy_in(s: &mut Session, args: &Args) -> Outcome {
    let from = args.many("file").iter().map(|file| absolute(file));
    let what = WorkInside::CopyIn {
        from: from.collect::<Result<_, _>>()?,
        to: args.need("to")?.to_owned(),
    };
    work(s, args, &what, "has the files")
}

fn copy_out(s: &mut Session, args: &Args) -> Outcome {
    let what = WorkInside::CopyOut {
        from: args.many("file").to_vec(),
        to: absolute(args.need("to")?)?,
    };
    work(s, args, &what, "was copied from")
}

/// The step from which on the mount can be used.
const MOUNTED: &str = "mounted";

fn mount(s: &mut Session, args: &Args) -> Outcome {
    let at = absolute(args.need("directory")?)?;
    let what = WorkInside::Mount {
        at: at.clone(),
        writable: args.has("rw"),
    };
    let job = begin(s, args, &what)?;
    follow::follow_to_step(s, &job, MOUNTED)?;
    extra!(s, "Mounted at {at}; `stead image unmount {at}` ends it\n");
    Ok(())
}

fn grow(s: &mut Session, args: &Args) -> Outcome {
    let size = args.text("size")?.map(super::vol_make::size).transpose()?;
    work(s, args, &WorkInside::Grow { size }, "has grown")
}

fn unmount(s: &mut Session, args: &Args) -> Outcome {
    let asked = At {
        at: absolute(args.need("directory")?)?,
    };
    let done: At = s.rest()?.post("/unmount", &asked)?;
    extra!(s, "Nothing is mounted at {} any more\n", done.at);
    Ok(())
}

fn sysprep(s: &mut Session, args: &Args) -> Outcome {
    if args.has("list-operations") {
        return operations(s);
    }
    let operations = args.text("operations")?.unwrap_or_default().split(',');
    let what = WorkInside::Sysprep {
        operations: operations
            .filter(|o| !o.is_empty())
            .map(str::to_owned)
            .collect(),
        changes: changes(args, |name| COMMON.contains(&name))?,
    };
    work(s, args, &what, "is prepared")
}

/// Lists virt-sysprep's operations: a line each of a name, a star if it is done unless told
/// otherwise, and what it does.
fn operations(s: &mut Session) -> Outcome {
    let answer: Said = s.rest()?.get("/sysprep-operations")?;
    if s.out.is_text() {
        s.out.text(answer.said + "\n");
        return Ok(());
    }
    s.out.many_records();
    for line in answer.said.lines() {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        let described = rest.strip_prefix('*');
        s.out.next_record();
        fact!(s, "operation", name, "");
        fact!(s, "default", described.is_some(), "");
        fact!(s, "description", described.unwrap_or(rest).trim(), "");
    }
    Ok(())
}

fn customize(s: &mut Session, args: &Args) -> Outcome {
    let what = WorkInside::Customize {
        profile: args.text("profile")?.map(profile).transpose()?,
        changes: changes(args, |_| true)?,
    };
    work(s, args, &what, "is changed")
}

fn profile(name: &str) -> Result<Profile, Failure> {
    Profile::find(name).ok_or_else(|| {
        let there = Profile::NAMES.join(", ");
        Failure::said(format!("there is no profile '{name}': there is {there}"))
    })
}

/// Changes that sysprep makes besides.
const COMMON: [&str; 6] = [
    "hostname",
    "root-password",
    "password",
    "ssh-inject",
    "upload",
    "run-command",
];

/// The changes asked for by those of the options that a verb has.
fn changes(args: &Args, known: impl Fn(&str) -> bool) -> Result<Vec<Change>, Failure> {
    let mut all = Vec::new();
    for (option, make) in Change::OPTIONS.iter().filter(|(name, _)| known(name)) {
        all.extend(args.text(option)?.map(str::to_owned).map(make));
        all.extend(args.many(option).iter().cloned().map(make));
    }
    for change in &mut all {
        if let Some(file) = change.host_file() {
            let file = absolute(file)?;
            change.set_host_file(&file);
        }
    }
    Ok(all)
}
