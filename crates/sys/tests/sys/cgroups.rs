//! Control groups of the host the tests run on.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use sys::cgroup::{Cgroup, Controller, CpuBandwidth, Manager, Version, detect, group_name};
use sys::process::Process;
use sys::spawn::{Child, Descriptors, SpawnPlan, spawn};

use rustix::event::{PollFd, PollFlags, poll};

/// A group of this test, where the host lets us make one.
fn group(test: &str) -> Option<Cgroup> {
    let found = detect(None);
    let Some(manager) = found.manager else {
        assert!(!found.notes.is_empty(), "no groups, and no word why");
        return None;
    };
    let name = group_name("stead-test", std::process::id() as i32, test);
    Some(manager.create(&name).unwrap())
}

fn sleeper(group: Option<&Cgroup>) -> Child {
    let log = sys::unix::memory_file("log").unwrap();
    let mut plan = SpawnPlan::new("/bin/sleep");
    plan.argv.push("1000".into());
    plan.cgroups = group.map(Cgroup::procs_files).unwrap_or_default();
    spawn(
        &plan,
        Descriptors {
            output: log.as_fd(),
            inherited: &[],
        },
    )
    .unwrap()
}

fn end(child: &Child) {
    poll(&mut [PollFd::new(&child.process, PollFlags::IN)], None).unwrap();
    child.process.exit().unwrap().unwrap();
}

#[test]
fn holds_accounts_kills_and_goes() {
    let Some(group) = group("life") else { return };
    let inside = sleeper(Some(&group));
    let moved = sleeper(None);
    group.add(moved.id().pid).unwrap();
    let mut both = [inside.id().pid, moved.id().pid];
    both.sort_unstable();
    assert_eq!(group.pids().unwrap(), both);
    assert!(group.cpu_usage().unwrap().total_ns > 0);
    assert_eq!(group.remove().unwrap_err().kind(), ErrorKind::ResourceBusy);

    let found = Manager::of_process(inside.id().pid, group.name())
        .unwrap()
        .unwrap();
    assert_eq!(found.version(), group.version());
    let mut files = found.procs_files();
    let mut own = group.procs_files();
    files.sort();
    own.sort();
    assert_eq!(files, own, "found again by the process in it");
    let none = Manager::of_process(std::process::id() as i32, group.name()).unwrap();
    assert_eq!(none, None);

    group.kill().unwrap();
    end(&inside);
    end(&moved);
    detect(None).manager.unwrap().remove(group.name()).unwrap();
    group.remove().unwrap();
    assert!(Process::open(inside.id()).unwrap().is_none());
}

#[test]
fn limits_read_back_as_they_were_set() {
    let Some(group) = group("limits") else { return };
    let has = |controller| {
        detect(None)
            .manager
            .unwrap()
            .controllers()
            .contains(&controller)
    };
    if has(Controller::Cpu) {
        group.set_cpu_shares(512).unwrap();
        assert_eq!(group.cpu_shares().unwrap(), 512);
        let half = CpuBandwidth {
            period_us: 50_000,
            quota_us: Some(25_000),
        };
        group.set_cpu_bandwidth(half).unwrap();
        assert_eq!(group.cpu_bandwidth().unwrap(), half);
        group
            .set_cpu_bandwidth(CpuBandwidth {
                quota_us: None,
                ..half
            })
            .unwrap();
        assert_eq!(group.cpu_bandwidth().unwrap().quota_us, None);
    }
    if has(Controller::Memory) {
        assert_eq!(group.memory_max().unwrap(), None);
        group.set_memory_max(Some(64 << 20)).unwrap();
        assert_eq!(group.memory_max().unwrap(), Some(64 << 20));
        group.set_memory_max(None).unwrap();
        assert_eq!(group.memory_max().unwrap(), None);
        let (half, whole) = (Some(32 << 20), Some(64 << 20));
        if group.set_memory_and_swap_max(half, whole).is_ok() {
            assert_eq!(group.memory_and_swap_max().unwrap(), whole);
            // Upwards the bound on both must go first, downwards the other.
            group
                .set_memory_and_swap_max(whole, Some(96 << 20))
                .unwrap();
            group.set_memory_and_swap_max(half, half).unwrap();
            assert_eq!(group.memory_max().unwrap(), half);
        }
        group.memory_usage().unwrap();
    } else {
        let error = group.set_memory_max(Some(1 << 30)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    if has(Controller::CpuSet) {
        group.set_cpus("0").unwrap();
        group.set_memory_nodes("0").unwrap();
        assert_eq!(group.memory_nodes().unwrap(), "0");
    }
    if has(Controller::Devices) && group.version() == Version::V1 {
        use sys::cgroup::DeviceRule;
        let null = DeviceRule::of(std::path::Path::new("/dev/null")).unwrap();
        group.allow_devices_only(&[null]).unwrap();
        group.deny_device(null).unwrap();
    }
    group.remove().unwrap();
}

#[test]
fn threads_are_bounded_within_the_group() {
    let Some(group) = group("threads") else {
        return;
    };
    if !group.has(Controller::Cpu) {
        let error = group.thread_group("vcpu0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        return group.remove().unwrap();
    }
    let child = sleeper(Some(&group));
    assert_eq!(group.existing_thread_group("vcpu0"), None);
    let threads = group.thread_group("vcpu0").unwrap();
    threads.add_thread(child.id().pid).unwrap();
    let tenth = CpuBandwidth {
        period_us: 100_000,
        quota_us: Some(10_000),
    };
    threads.set_cpu_bandwidth(tenth).unwrap();
    let again = group.existing_thread_group("vcpu0").unwrap();
    assert_eq!(again.cpu_bandwidth().unwrap(), tenth);
    // The machine's group is found by a process whose first thread is further in.
    let found = Manager::of_process(child.id().pid, group.name()).unwrap();
    assert_eq!(found.unwrap().name(), group.name());
    assert_eq!(group.pids().unwrap(), [child.id().pid]);
    group.kill().unwrap();
    end(&child);
    group.remove().unwrap();
}

#[test]
fn a_frozen_group_stands_still() {
    let Some(group) = group("freeze") else { return };
    let child = sleeper(Some(&group));
    match group.freeze(true) {
        Ok(()) => group.freeze(false).unwrap(),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Unsupported),
    }
    group.kill().unwrap();
    end(&child);
    group.remove().unwrap();
}

#[test]
fn a_group_in_use_is_not_taken_over_and_bad_names_are_refused() {
    let Some(group) = group("taken") else { return };
    let manager = detect(None).manager.unwrap();
    let child = sleeper(Some(&group));
    let error = manager.create(group.name()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(group.pids().unwrap(), [child.id().pid]);
    for bad in ["", "a/b", "../x"] {
        assert_eq!(
            manager.create(bad).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
    group.kill().unwrap();
    end(&child);
    group.remove().unwrap();
}
