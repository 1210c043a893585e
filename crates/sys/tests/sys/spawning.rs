//! Children as the plan wants them.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use sys::landlock::{Access, PathRule};
use sys::process::{Exit, Process, Signal};
use sys::spawn::{Descriptors, Identity, Resource, ResourceLimit, SpawnPlan, spawn};
use sys::unix::memory_file;

fn root() -> bool {
    rustix::process::getuid().is_root()
}

fn shell(script: &str) -> SpawnPlan {
    let mut plan = SpawnPlan::new("/bin/sh");
    plan.argv = ["sh", "-c", script].map(Into::into).to_vec();
    plan.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    plan
}

fn wait(process: &Process) -> Exit {
    assert_eq!(
        poll(&mut [PollFd::new(process, PollFlags::IN)], None).unwrap(),
        1
    );
    process.exit().unwrap().unwrap()
}

/// Runs a plan to its end: how it ended and what it said.
fn run(plan: &SpawnPlan) -> (Exit, String) {
    let mut log = memory_file("log").unwrap();
    let child = spawn(
        plan,
        Descriptors {
            output: log.as_fd(),
            inherited: &[],
        },
    )
    .unwrap();
    let exit = wait(&child.process);
    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    (exit, text)
}

#[test]
fn runs_in_its_own_session_with_what_it_was_given_only() {
    let leak = File::open("/").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let mut plan = shell(
        "echo $A-$HOME-$(pwd)-$(umask); ls /proc/self/fd | tr '\\n' ' '; read x || echo no input; \
         cut -d' ' -f6 /proc/$$/stat; echo $$; exec grep -E 'Sig(Blk|Ign)' /proc/self/status",
    );
    plan.env.push(("A".into(), "1".into()));
    plan.directory = "/usr".into();
    plan.umask = 0o027;
    let (exit, text) = run(&plan);
    assert_eq!(exit, Exit::Code(0));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "1--/usr-0027");
    assert_eq!(
        lines[1], "0 1 2 3 no input",
        "3 is the listed directory itself: {text}"
    );
    assert_eq!(lines[2], lines[3], "leads its session");
    assert_eq!(lines[4], "SigBlk:\t0000000000000000");
    assert_eq!(lines[5], "SigIgn:\t0000000000000000");
}

#[test]
fn descriptors_arrive_at_their_numbers_whatever_theirs_are() {
    let mut files: Vec<File> = Vec::new();
    for n in 0..3 {
        let mut file = memory_file("inherited").unwrap();
        write!(file, "file {n}").unwrap();
        file.rewind().unwrap();
        files.push(file);
    }
    // Targets that are each other's sources.
    use std::os::fd::AsRawFd;
    let numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let inherited = [
        (numbers[1], files[0].as_fd()),
        (numbers[2], files[1].as_fd()),
        (numbers[0], files[2].as_fd()),
    ];
    let script = format!(
        "cat /proc/self/fd/{} /proc/self/fd/{} /proc/self/fd/{}",
        numbers[1], numbers[2], numbers[0]
    );
    let mut log = memory_file("log").unwrap();
    let child = spawn(
        &shell(&script),
        Descriptors {
            output: log.as_fd(),
            inherited: &inherited,
        },
    )
    .unwrap();
    assert_eq!(wait(&child.process), Exit::Code(0));
    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    assert_eq!(text, "file 0file 1file 2");

    let twice = [(5, files[0].as_fd()), (5, files[1].as_fd())];
    assert!(
        spawn(
            &shell(""),
            Descriptors {
                output: log.as_fd(),
                inherited: &twice
            }
        )
        .is_err()
    );
}

#[test]
fn a_program_that_cannot_run_is_reported_with_its_reason() {
    let log = memory_file("log").unwrap();
    let descriptors = Descriptors {
        output: log.as_fd(),
        inherited: &[],
    };
    let error = spawn(&SpawnPlan::new("/no/such/qemu"), descriptors).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot execute /no/such/qemu: No such file or directory"
    );
    let error = spawn(&SpawnPlan::new("/etc/passwd"), descriptors).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);

    let mut plan = shell("true");
    plan.directory = "/no/such/directory".into();
    let error = spawn(&plan, descriptors).unwrap_err();
    assert!(
        error.to_string().contains("enter the working directory"),
        "{error}"
    );
    let mut plan = shell("true");
    plan.argv.push("a\0b".into());
    assert!(spawn(&plan, descriptors).is_err());
}

#[test]
fn limits_and_oom_score_hold() {
    let mut plan = shell("ulimit -n; ulimit -c; cat /proc/self/oom_score_adj");
    plan.limits = vec![
        ResourceLimit {
            resource: Resource::OpenFiles,
            limit: Some(99),
        },
        ResourceLimit {
            resource: Resource::CoreDump,
            limit: Some(0),
        },
    ];
    plan.oom_score_adj = Some(321);
    assert_eq!(run(&plan), (Exit::Code(0), "99\n0\n321\n".to_owned()));
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_ne!(own.trim(), "321", "the parent's stays");
}

#[test]
fn another_user_has_nothing_left_of_root() {
    if !root() {
        return;
    }
    let mut plan = shell(
        "id -u; id -g; id -G; grep -E 'Cap|NoNewPrivs' /proc/self/status | tr -s '\\t\\n' ' '",
    );
    plan.identity = Some(Identity {
        uid: 4242,
        gid: 4343,
        groups: vec![4343, 4444],
    });
    let (exit, text) = run(&plan);
    let none = "0000000000000000";
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(
        text,
        format!(
            "4242\n4343\n4343 4444\nCapInh: {none} CapPrm: {none} CapEff: {none} \
             CapBnd: {none} CapAmb: {none} NoNewPrivs: 1 "
        )
    );
    assert!(
        rustix::process::getuid().is_root(),
        "the parent stays who it is"
    );
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Uid:\t0\t0\t0\t0"), "{status}");
    }
}

#[test]
fn landlock_leaves_the_given_paths_only() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (
        directory.path().join("ours"),
        directory.path().join("theirs"),
    );
    std::fs::create_dir(&ours).unwrap();
    std::fs::write(&theirs, "secret").unwrap();
    let script = format!(
        "echo x > {ours}/new && echo written; cat {theirs} || echo refused; \
         echo y > /usr/bin/new || echo refused",
        ours = ours.display(),
        theirs = theirs.display()
    );
    let mut plan = shell(&script);
    let rule = |path: &Path, access| PathRule {
        path: path.to_owned(),
        access,
    };
    let mut rules: Vec<PathRule> = ["/usr", "/bin", "/lib", "/lib64", "/etc"]
        .iter()
        .map(|path| rule(Path::new(path), Access::Execute))
        .collect();
    rules.push(rule(&ours, Access::Write));
    plan.paths = Some(rules);
    if sys::landlock::abi().is_none() {
        let log = memory_file("log").unwrap();
        let child = spawn(
            &plan,
            Descriptors {
                output: log.as_fd(),
                inherited: &[],
            },
        )
        .unwrap();
        assert!(child.notes[0].contains("no landlock"), "{:?}", child.notes);
        wait(&child.process);
        return;
    }
    let (_, text) = run(&plan);
    assert!(
        text.contains("written") && text.matches("refused").count() == 2,
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn can_be_signalled_and_found_again() {
    let log = memory_file("log").unwrap();
    let plan = shell("exec sleep 1000");
    let child = spawn(
        &plan,
        Descriptors {
            output: log.as_fd(),
            inherited: &[],
        },
    )
    .unwrap();
    let found = Process::open(child.id()).unwrap().unwrap();
    assert!(!found.has_ended());
    assert!(found.signal(Signal::TERM).unwrap());
    assert_eq!(
        wait(&child.process),
        Exit::Signal {
            number: 15,
            core_dumped: false
        }
    );
    assert!(Process::open(child.id()).unwrap().is_none());
}
