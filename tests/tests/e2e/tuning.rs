//! What machines may use of their host: set at the start, changed while they run, kept over a
//! restart of the daemon. The kernel and QEMU are asked whether it is so.

use std::fs;

use stead_tests::{Host, guest, netns};

/// A machine with an I/O thread, a disk, and limits of every kind; the guest has two processors.
fn tuned_machine(host: &Host, name: &str) -> String {
    let disk = host.file("disk.img", &"\0".repeat(4096));
    guest::bare_machine(name)
        .replace(
            "<vcpu>1</vcpu>",
            "<vcpu cpuset='0'>2</vcpu><iothreads>1</iothreads>
             <cputune><shares>600</shares><quota>70000</quota><emulator_period>50000</emulator_period>
             <emulator_quota>40000</emulator_quota><vcpupin vcpu='1' cpuset='0'/><emulatorpin cpuset='0'/></cputune>
             <memtune><hard_limit unit='MiB'>700</hard_limit></memtune><numatune><memory nodeset='0'/></numatune>",
        )
        .replace(
            "<devices>",
            &format!(
                "<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>
                 <target dev='vda' bus='virtio'/><iotune><total_iops_sec>500</total_iops_sec></iotune></disk>"
            ),
        )
}

/// Whether machines can be bounded here: where a host has no control groups they cannot.
fn has_groups() -> bool {
    fs::read_to_string("/proc/self/cgroup")
        .is_ok_and(|text| text.contains(":cpu:") || text.contains(":cpu,"))
}

/// The threads of a process by name, with the processors each may run on.
fn threads(pid: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .expect("it runs")
        .flatten();
    let one = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some((name.trim().to_owned(), list.trim().to_owned()))
    };
    tasks.filter_map(one).collect()
}

fn allowed(pid: u32, thread: &str) -> String {
    let all = threads(pid);
    let found = all.iter().find(|(name, _)| name.starts_with(thread));
    found
        .unwrap_or_else(|| panic!("no thread {thread} in {all:?}"))
        .1
        .clone()
}

/// The value virsh shows after `name`.
fn shown(host: &Host, words: &[&str], name: &str) -> String {
    let text = host.virsh(words).succeeds();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
        .to_owned()
}

#[test]
fn a_definitions_limits_hold_from_the_start_and_outlive_the_daemon() {
    if !has_groups() {
        return;
    }
    let mut host = Host::start();
    host.define(&tuned_machine(&host, "web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let pid = host.qemu_of("web1");
    let check = |host: &Host, vcpu_quota: &str| {
        assert_eq!(allowed(pid, "CPU 1/"), "0");
        assert_eq!(allowed(pid, "qemu-system"), "0");
        assert_eq!(shown(host, &["schedinfo", "web1"], "cpu_shares"), "600");
        assert_eq!(
            shown(host, &["schedinfo", "web1"], "vcpu_quota"),
            vcpu_quota
        );
        assert_eq!(
            shown(host, &["schedinfo", "web1"], "emulator_period"),
            "50000"
        );
        assert_eq!(shown(host, &["memtune", "web1"], "hard_limit"), "716800");
        assert_eq!(shown(host, &["numatune", "web1"], "numa_nodeset"), "0");
        let limits = [
            "qemu-monitor-command",
            "web1",
            r#"{"execute":"query-block"}"#,
        ];
        assert!(host.virsh(&limits).succeeds().contains(r#""iops":500,"#));
    };
    check(&host, "70000");
    // The kernel's own view: every processor in a group of its own, all in the machine's.
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    assert!(group.contains("/emulator"), "{group}");

    host.kill_daemon();
    host.start_daemon();
    assert_eq!(host.state("web1"), "running");
    check(&host, "70000");
    let _ = host
        .virsh(&["schedinfo", "web1", "--live", "vcpu_quota=30000"])
        .succeeds();
    check(&host, "30000");
    let _ = host.virsh(&["destroy", "web1"]).succeeds();
    assert_eq!(host.qemus(), Vec::<u32>::new());
}

#[test]
fn limits_are_changed_while_a_machine_runs() {
    if !has_groups() {
        return;
    }
    let host = Host::start();
    host.define(&tuned_machine(&host, "web1"));
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let pid = host.qemu_of("web1");
    let all = fs::read_to_string("/sys/devices/system/cpu/online").expect("sysfs");
    let all = all.trim();

    let _ = host
        .stead(&["vcpupin", "web1", "1", "r", "--live"])
        .succeeds();
    assert_eq!(allowed(pid, "CPU 1/"), all);
    let _ = host
        .stead(&["emulatorpin", "web1", "r", "--live"])
        .succeeds();
    assert_eq!(allowed(pid, "qemu-system"), all);
    let _ = host.stead(&["iothreadpin", "web1", "1", "0"]).succeeds();
    assert_eq!(allowed(pid, "IO iothread1"), "0");
    assert!(
        host.stead(&["iothreadinfo", "web1"])
            .succeeds()
            .contains("1             0\n")
    );
    assert!(
        host.virsh(&["vcpupin", "web1", "7", "0"])
            .fails()
            .contains("out of range of live cpu count 2")
    );

    let _ = host
        .stead(&["memtune", "web1", "--hard-limit", "-1", "--live"])
        .succeeds();
    assert_eq!(
        shown(&host, &["memtune", "web1", "--live"], "hard_limit"),
        "unlimited"
    );
    assert_eq!(
        shown(&host, &["memtune", "web1", "--config"], "hard_limit"),
        "716800"
    );

    let tune = [
        "blkdeviotune",
        "web1",
        "vda",
        "--total-iops-sec",
        "0",
        "--read-bytes-sec",
        "1M",
    ];
    let _ = host
        .stead(&[&tune[..], &["--live", "--config"]].concat())
        .succeeds();
    let limits = [
        "qemu-monitor-command",
        "web1",
        r#"{"execute":"query-block"}"#,
    ];
    let answer = host.virsh(&limits).succeeds();
    assert!(
        answer.contains(r#""iops":0,"#) && answer.contains(r#""bps_rd":1048576"#),
        "{answer}"
    );
    assert_eq!(
        shown(
            &host,
            &["blkdeviotune", "web1", "vda", "--config"],
            "read_bytes_sec"
        ),
        "1048576"
    );
    let both = [
        "blkdeviotune",
        "web1",
        "vda",
        "--total-bytes-sec",
        "5",
        "--read-bytes-sec",
        "5",
    ];
    assert!(
        host.virsh(&both)
            .fails()
            .contains("cannot be set at the same time")
    );

    // Nothing was changed behind the back of the stored definition.
    assert_eq!(
        host.stead(&["schedinfo", "web1", "--config"]).succeeds(),
        host.virsh(&["schedinfo", "web1", "--config"]).succeeds()
    );
    assert!(
        host.virsh(&["dumpxml", "web1", "--inactive"])
            .succeeds()
            .contains("<vcpupin vcpu='1' cpuset='0'/>")
    );
    assert!(
        host.stead(&["cpu-stats", "web1", "--total"])
            .succeeds()
            .contains("cpu_time")
    );
    assert_eq!(
        host.virsh(&["domblkerror", "web1"]).succeeds().trim(),
        "No errors found"
    );
}

#[test]
fn interfaces_and_balloons_are_tuned_in_the_definition() {
    let host = Host::start();
    let xml = guest::bare_machine("web1").replace(
        "<memballoon model='none'/>",
        "<interface type='bridge'><source bridge='br0'/><mac address='52:54:00:00:00:01'/></interface>
         <memballoon model='virtio'/>",
    );
    host.define(&xml);
    let mac = "52:54:00:00:00:01";
    let _ = host
        .virsh(&[
            "domiftune",
            "web1",
            mac,
            "--inbound",
            "100,200,300",
            "--config",
        ])
        .succeeds();
    assert_eq!(
        shown(&host, &["domiftune", "web1", mac], "inbound.peak"),
        "200"
    );
    let _ = host
        .stead(&[
            "domiftune",
            "web1",
            mac,
            "--inbound",
            "0",
            "--outbound",
            "50",
        ])
        .succeeds();
    assert_eq!(
        shown(&host, &["domiftune", "web1", mac], "inbound.average"),
        "0"
    );
    assert_eq!(
        shown(&host, &["domiftune", "web1", mac], "outbound.average"),
        "50"
    );
    let _ = host
        .virsh(&["dommemstat", "web1", "--period", "7", "--config"])
        .succeeds();
    assert!(
        host.virsh(&["dumpxml", "web1"])
            .succeeds()
            .contains("<stats period='7'/>")
    );
    assert!(
        host.virsh(&["domiftune", "web1", "nic9", "--outbound", "1"])
            .fails()
            .contains("'nic9' is not a known interface")
    );
}

#[test]
fn a_running_cards_traffic_is_limited_and_let_go() {
    netns::inside(
        "tuning::a_running_cards_traffic_is_limited_and_let_go",
        || {
            let host = Host::start();
            let _ = netns::ip("link add br-tune type bridge");
            let _ = netns::ip("link set br-tune up");
            let card = "<interface type='bridge'><mac address='52:54:00:00:00:77'/>
            <source bridge='br-tune'/><target dev='tap-tune'/></interface></devices>";
            host.define(&guest::bare_machine("web1").replace("</devices>", card));
            let _ = host.virsh(&["start", "web1"]).succeeds();
            let limit = |words: &[&str]| {
                let all = [&["domiftune", "web1", "52:54:00:00:00:77", "--live"], words].concat();
                let _ = host.virsh(&all).succeeds();
            };
            let classes = || netns::run("tc class show dev tap-tune").succeeds();
            let rules = || netns::run("nft list ruleset").succeeds();
            limit(&["--inbound", "1000,2000,512", "--outbound", "300"]);
            assert!(
                classes().contains("rate 8Mbit ceil 16Mbit"),
                "{}",
                classes()
            );
            assert!(rules().contains("300 kbytes/second"), "{}", rules());
            let words = ["domiftune", "web1", "tap-tune"];
            assert_eq!(shown(&host, &words, "inbound.peak"), "2000");
            assert_eq!(shown(&host, &words, "outbound.average"), "300");
            limit(&["--inbound", "0", "--outbound", "0"]);
            assert!(!classes().contains("rate 8Mbit"), "{}", classes());
            assert!(!rules().contains("300 kbytes/second"), "{}", rules());
        },
    );
}

#[test]
fn disks_share_the_limits_of_a_group() {
    let host = Host::start();
    let disk = host.file("disk.img", &"\0".repeat(4096));
    let xml = guest::bare_machine("web1").replace(
        "<devices>",
        &format!(
            "<throttlegroups><throttlegroup><group_name>slow</group_name>
                 <total_iops_sec>100</total_iops_sec></throttlegroup></throttlegroups>
                 <devices><disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/>
                 <target dev='vda' bus='virtio'/><throttlefilters><throttlefilter group='slow'/>
                 </throttlefilters></disk>"
        ),
    );
    host.define(&xml);
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let limits = |group: &str| {
        let command = format!(
            r#"{{"execute":"qom-get","arguments":{{"path":"/objects/throttle-{group}","property":"limits"}}}}"#
        );
        host.virsh(&["qemu-monitor-command", "web1", &command])
    };
    assert!(limits("slow").succeeds().contains(r#""iops-total":100"#));
    let client = Host::virsh_or_stead("domthrottlegroupset");
    let set = |group: &str, words: &[&str]| {
        let all = [&["domthrottlegroupset", "web1", group], words].concat();
        client(&host, &all)
    };
    let both = ["--live", "--config", "--total-iops-sec", "250"];
    let _ = set("slow", &both).succeeds();
    assert!(limits("slow").succeeds().contains(r#""iops-total":250"#));
    let _ = set("other", &["--live", "--read-bytes-sec", "4M"]).succeeds();
    assert!(limits("other").succeeds().contains(r#""bps-read":4194304"#));
    for command in [client, Host::stead] {
        let list = command(&host, &["domthrottlegrouplist", "web1"]).succeeds();
        assert!(list.contains("slow") && list.contains("other"), "{list}");
        let info = command(&host, &["domthrottlegroupinfo", "web1", "slow"]).succeeds();
        assert!(
            info.contains("total_iops_sec") && info.contains("250"),
            "{info}"
        );
    }
    let delete = |group, what| client(&host, &["domthrottlegroupdel", "web1", group, what]);
    let used = delete("slow", "--live").fails();
    assert!(
        used.contains("throttle group 'slow' is still being used by disk vda"),
        "{used}"
    );
    let _ = host
        .stead(&["domthrottlegroupdel", "web1", "other", "--live"])
        .succeeds();
    assert!(limits("other").succeeds().contains("DeviceNotFound"));
    // What is not there is away already.
    for change in ["--live", "--config"] {
        let _ = delete("nobody", change).succeeds();
    }
    let stored = host.virsh(&["dumpxml", "web1", "--inactive"]).succeeds();
    assert!(
        stored.contains("<total_iops_sec>250</total_iops_sec>"),
        "{stored}"
    );
    let odd = host.file("odd.xml", &xml.replace("group='slow'", "group='gone'"));
    let refused = host.virsh(&["define", &odd]).fails();
    assert!(
        refused.contains("throttle group 'gone' not found"),
        "{refused}"
    );
}

/// The value of one event among a machine's statistics.
fn counted(host: &Host, event: &str) -> Option<u64> {
    let stats = host.virsh(&["domstats", "web1", "--perf"]).succeeds();
    let prefix = format!("perf.{event}=");
    let value = stats
        .lines()
        .find_map(|line| line.trim().strip_prefix(&prefix));
    value.map(|value| value.parse().expect("a number"))
}

#[test]
fn events_of_the_host_are_counted_for_a_machine() {
    let mut host = Host::start();
    let perf = "<perf><event name='page_faults' enabled='yes'/></perf>";
    let xml = guest::bare_machine("web1").replace("<devices>", &format!("{perf}<devices>"));
    host.define(&xml);
    let started = host.virsh(&["start", "web1"]);
    if started.status != 0 {
        // A kernel that lets nobody count says so, and nothing runs.
        let refused = started.fails();
        let words = "unable to open host cpu perf event for page_faults: ";
        assert!(refused.contains(words), "{refused}");
        assert!(host.virsh(&["list", "--name"]).succeeds().trim().is_empty());
        return;
    }
    assert!(counted(&host, "page_faults") > Some(0));
    assert_eq!(counted(&host, "context_switches"), None);
    let change = [
        "perf",
        "web1",
        "--live",
        "--enable",
        "context_switches,task_clock",
    ];
    let _ = host.virsh(&change).succeeds();
    // Being asked makes QEMU work.
    let _ = host
        .virsh(&["qemu-monitor-command", "web1", "--hmp", "info version"])
        .succeeds();
    assert!(counted(&host, "context_switches") > Some(0));
    let _ = host
        .stead(&["perf", "web1", "--live", "--disable", "task_clock"])
        .succeeds();
    assert_eq!(counted(&host, "task_clock"), None);
    let _ = host.stop_daemon();
    host.start_daemon();
    let _ = host
        .virsh(&["qemu-monitor-command", "web1", "--hmp", "info version"])
        .succeeds();
    assert!(counted(&host, "context_switches") > Some(0));

    // What the processor counts is there where this host's can: if not, the kernel's reason is told.
    let cycles = host.virsh(&["perf", "web1", "--live", "--enable", "cpu_cycles"]);
    if cycles.status == 0 {
        assert!(counted(&host, "cpu_cycles").is_some());
    } else {
        let refused = cycles.fails();
        let words = "unable to open host cpu perf event for cpu_cycles: ";
        assert!(refused.contains(words), "{refused}");
        assert_eq!(counted(&host, "cpu_cycles"), None);
    }
    let refused = host
        .virsh(&["perf", "web1", "--live", "--enable", "cmt"])
        .fails();
    let words = "unable to enable host cpu perf event for cmt";
    assert!(refused.contains(words), "{refused}");
    assert!(counted(&host, "page_faults").is_some());
}

#[test]
fn io_threads_are_among_the_statistics() {
    let host = Host::start();
    host.define(
        &tuned_machine(&host, "web1")
            .replace("<iothreads>1</iothreads>", "<iothreads>2</iothreads>"),
    );
    let _ = host.virsh(&["start", "web1"]).succeeds();
    let stats = host.virsh(&["domstats", "web1", "--iothread"]).succeeds();
    for line in [
        "iothread.count=2",
        "iothread.1.poll-max-ns=32768",
        "iothread.2.poll-grow=0",
    ] {
        assert!(stats.lines().any(|shown| shown.trim() == line), "{stats}");
    }
}
