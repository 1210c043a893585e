//! The project's own commands beside virsh: the same words, ssh, a console, completion.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use stead_tests::{Host, Ran, clients, guest, host};

/// Verbs whose answers do not change between two calls, on a running and a defined machine.
const STEADY: &[&str] = &[
    "list",
    "list --all",
    "list --all --title --uuid",
    "list --all --uuid --name --id",
    "list --inactive --persistent",
    "list --bogus",
    "list --table --name",
    "domname 1",
    "domid on",
    "domuuid on",
    "domstate on --reason",
    "domstate off --reason",
    "domcontrol on",
    "dominfo off",
    "dominfo nobody",
    "domblklist on --details",
    "domblkinfo on --all",
    "domblkerror on",
    "domiflist on",
    "domif-getlink on 52:54:00:00:00:01",
    "domifaddr on --source nowhere",
    "domstats off",
    "domstats on --state",
    "domjobinfo on",
    "domdisplay on",
    "vncdisplay off",
    "ttyconsole off",
    "dumpxml on",
    "dumpxml off --inactive",
    "dumpxml on --xpath //devices/emulator",
    "dumpxml on --xpath //serial --wrap",
    "desc on",
    "desc on --title",
    "metadata on http://example.org/none",
    "vcpucount on",
    "vcpucount off --maximum",
    "setvcpus on 0",
    "send-key on NO_KEY",
    "send-process-signal on 1 sigfoo",
    "screenshot off",
    "qemu-monitor-command on --return-value query-status",
    "qemu-monitor-command on --hmp info name",
    "event --list",
    "event",
    "start on",
    "start",
    "suspend off",
    "shutdown on --mode never",
    "undefine on --wipe-storage",
    "define /nowhere.xml",
    "managedsave-remove off",
    "nodeinfo",
    "nodecpumap",
    "freepages",
    "maxvcpus",
    "capabilities --xpath //uuid",
    "domcapabilities --xpath //loader",
    "hostname",
    "uri",
    "version --daemon",
    "echo --shell 'a b' c",
    "echo a ; echo b",
    "nonsense",
];

/// Those whose words changed up to virsh 11, whose words ours are: Debian 12 has an older one.
const CHANGED_UP_TO_VIRSH_11: &[&str] = &[
    "dominfo off",
    "metadata on http://example.org/none",
    "event --list",
    "capabilities --xpath //uuid",
    "domcapabilities --xpath //loader",
    "version --daemon",
];

fn virsh_is_older_than_11() -> bool {
    let version = clients::run("virsh", &["--version"], &[]).succeeds();
    version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major < 11)
}

fn both(host: &Host, line: &str) -> (Ran, Ran) {
    (host.virsh(&[line]), host.stead(&[line]))
}

#[test]
fn every_steady_verb_says_what_virsh_says() {
    let host = Host::start();
    host.define(&guest::bare_machine("on"));
    host.define(&guest::bare_machine("off"));
    let _ = host.stead(&["start", "on"]).succeeds();
    let is_older = virsh_is_older_than_11();
    let comparable = |line: &&&str| !(is_older && CHANGED_UP_TO_VIRSH_11.contains(*line));
    let differs = |line: &&&str| {
        let (virsh, stead) = both(&host, line);
        let same = (virsh.status, &virsh.stdout, &virsh.stderr)
            == (stead.status, &stead.stdout, &stead.stderr);
        !same
    };
    let different: Vec<_> = STEADY.iter().filter(comparable).filter(differs).collect();
    let shown: Vec<_> = different.iter().map(|line| both(&host, line)).collect();
    assert!(different.is_empty(), "{different:?}:\n{shown:#?}");
}

#[test]
fn changes_are_reported_in_virshs_words() {
    let host = Host::start();
    let xml = host.file("m.xml", &guest::bare_machine("m"));
    let said = |words: &[&str]| host.stead(words).succeeds();
    assert_eq!(
        said(&["define", &xml]),
        format!("Domain 'm' defined from {xml}\n\n")
    );
    assert_eq!(said(&["start", "m", "--paused"]), "Domain 'm' started\n\n");
    assert_eq!(said(&["resume", "m"]), "Domain 'm' resumed\n\n");
    assert_eq!(said(&["suspend", "m"]), "Domain 'm' suspended\n\n");
    assert_eq!(
        said(&["autostart", "m"]),
        "Domain 'm' marked as autostarted\n\n"
    );
    let updated = "Domain title updated successfully\n";
    assert_eq!(
        said(&["desc", "m", "--title", "--config", "a", "title"]),
        updated
    );
    assert_eq!(said(&["desc", "m", "--title", "--config"]), "a title\n");
    assert_eq!(said(&["destroy", "m"]), "Domain 'm' destroyed\n\n");
    assert_eq!(said(&["-q", "undefine", "m"]), "");
}

#[test]
fn rows_come_as_json_and_yaml() {
    let host = Host::start();
    host.define(&guest::bare_machine("m"));
    let rows = host
        .stead(&["list", "--all", "--format", "json"])
        .succeeds();
    let rows: serde_json::Value = serde_json::from_str(&rows).expect("it is JSON");
    let want = serde_json::json!([{"id": null, "name": "m", "state": "shut off"}]);
    assert_eq!(rows, want);
    let info = host.stead(&["--format", "yaml", "dominfo", "m"]).succeeds();
    assert!(
        info.contains("name: m\n") && info.contains("id: null\n"),
        "{info}"
    );
}

/// Verbs that say what they know line by line, with a value each must tell of a running machine.
const TOLD_BY_LINE: &[(&str, &str)] = &[
    ("domstate on", "/state"),
    ("dommemstat on", "/actual"),
    ("vcpucount on", "/maximum_live"),
    ("vcpuinfo on", "/0/cpu_affinity"),
    ("cpu-stats on --total", "/0/cpu_time"),
    ("emulatorpin on", "/cpu_affinity"),
    ("schedinfo on", "/cpu_shares"),
    ("memtune on", "/hard_limit"),
    ("blkiotune on", "/weight"),
    ("numatune on", "/numa_mode"),
    ("domjobinfo on", "/job_type"),
    ("nodedev-list", "/0/name"),
    ("nodecpumap", "/cpu_map"),
    ("nodecpustats", "/user"),
    ("nodememstats", "/total"),
    ("freecell", "/total"),
    ("freepages --all", "/0/4kib"),
    ("maxvcpus", "/max_vcpus"),
    ("version", "/running_hypervisor"),
    ("hostname", "/hostname"),
];

#[test]
fn what_is_told_by_line_comes_as_json_too() {
    let host = Host::start();
    host.define(&guest::bare_machine("on"));
    let _ = host.stead(&["start", "on"]).succeeds();
    let lacks = |(line, place): &&(&str, &str)| {
        let said = host.stead(&["--format", "json", line]);
        let value = serde_json::from_str::<serde_json::Value>(&said.stdout);
        !value.is_ok_and(|value| value.pointer(place).is_some_and(|found| !found.is_null()))
    };
    let lacking: Vec<_> = TOLD_BY_LINE.iter().filter(lacks).collect();
    let said: Vec<_> = lacking
        .iter()
        .map(|(line, _)| host.stead(&["--format", "json", line]))
        .collect();
    assert!(lacking.is_empty(), "{lacking:?}: {said:#?}");
    let none = host
        .stead(&["--format", "json", "domblkerror on"])
        .succeeds();
    assert_eq!(none.trim(), "[]");
}

/// An `ssh` that runs the far side's command here.
const FAKE_SSH: &str =
    "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec sh -c \"$*\"\n";

#[test]
fn qemu_plus_ssh_reaches_the_daemon_through_a_shell() {
    let host = Host::start();
    host.define(&guest::bare_machine("far"));
    let ssh = host.file("ssh", FAKE_SSH);
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("it is ours");
    // Without netcat and socat, the far side's own `stead` copies to the socket.
    let stead = host.folder().join("stead");
    std::os::unix::fs::symlink(host::binary(), stead).expect("the folder is ours");
    for tools in ["/usr/bin:/bin".to_owned(), few_tools(&host)] {
        let path = format!("{}:{tools}", host.folder().display());
        let uri = format!(
            "qemu+ssh://me@far:22/system?socket={}",
            host.socket("").display()
        );
        let words = ["-c", &uri, "list", "--all", "--name"];
        let ran = clients::run(host::binary(), &words, &[("PATH", &path)]);
        assert_eq!(ran.succeeds(), "far\n\n");
    }
    let words = ["-c", "qemu+ssh://far/system?socket=/nowhere", "list"];
    let path = format!("{}:/usr/bin:/bin", host.folder().display());
    let error = clients::run(host::binary(), &words, &[("PATH", &path)]).fails();
    assert!(
        error.contains("/nowhere"),
        "what the far side said is repeated: {error}"
    );
}

/// A folder with a shell and `timeout`, and nothing else.
fn few_tools(host: &Host) -> String {
    let folder = host.folder().join("tools");
    fs::create_dir(&folder).expect("the folder is ours");
    for tool in ["sh", "timeout"] {
        let target = fs::canonicalize(format!("/usr/bin/{tool}")).expect("it is installed");
        std::os::unix::fs::symlink(target, folder.join(tool)).expect("the folder is ours");
    }
    folder.to_string_lossy().into_owned()
}

#[test]
fn completion_offers_the_names_of_this_daemon() {
    let host = Host::start();
    host.define(&guest::bare_machine("web1"));
    host.define(&guest::bare_machine("db"));
    let uri = host.uri();
    let offered = host
        .stead(&["complete", "--", "-c", &uri, "start", "w"])
        .succeeds();
    assert_eq!(offered, "web1\n");
    let offered = host
        .stead(&[
            "complete",
            "--",
            "-c",
            &uri,
            "nwfilter-dumpxml",
            "clean-traffic-g",
        ])
        .succeeds();
    assert_eq!(offered, "clean-traffic-gateway\n");
    // Bash takes the address of the daemon apart at its colons, and the names of cards too.
    let card = "<interface type='user'><mac address='52:54:00:00:00:07'/></interface>";
    host.define(&guest::bare_machine("carded").replace("<devices>", &format!("<devices>{card}")));
    let bash = |typed: &str| {
        let stead = host::binary();
        let stead = stead.display();
        let script = format!(
            "source <({stead} completion bash); COMP_LINE='{stead} -c {uri} {typed}'
             COMP_POINT=${{#COMP_LINE}}; _stead; echo \"${{COMPREPLY[@]}}\""
        );
        clients::run("bash", &["-c", &script], &[]).succeeds()
    };
    assert_eq!(bash("start w"), "web1\n");
    assert_eq!(bash("--format js"), "json\n");
    assert_eq!(bash("domifstat carded 52:54:00:0"), "00:00:07\n");
}

#[test]
fn a_console_is_left_with_its_escape() {
    let host = Host::start();
    host.define(&guest::bare_machine("m"));
    let _ = host.stead(&["start", "m"]).succeeds();
    let stead = host::binary().to_string_lossy().into_owned();
    let ran = clients::python("terminal.py", &[&stead, "-c", &host.uri(), "console", "m"]);
    let shown = ran.succeeds();
    assert!(shown.contains("Connected to domain 'm'"), "{shown}");
    assert!(
        shown.contains("Escape character is ^] (Ctrl + ])"),
        "{shown}"
    );
}

#[test]
fn the_hosts_devices_are_listed_and_described() {
    let host = Host::start();
    let all = host.virsh(&["nodedev-list"]).succeeds();
    assert!(all.lines().any(|line| line == "computer"), "{all}");
    let ours = host.stead(&["nodedev-list"]).succeeds();
    assert_eq!(ours.trim(), all.trim());
    for words in [
        &["nodedev-list", "--tree"][..],
        &["nodedev-info", "computer"],
    ] {
        let (theirs, ours) = (host.virsh(words).succeeds(), host.stead(words).succeeds());
        assert_eq!(ours.trim_end(), theirs.trim_end(), "{words:?}");
    }
    let nets = host.virsh(&["nodedev-list", "--cap", "net"]).succeeds();
    let loopback = nets.lines().find(|line| line.starts_with("net_lo"));
    let loopback = loopback.expect("every host has one");
    for name in all.split_whitespace() {
        let xml = host.virsh(&["nodedev-dumpxml", name]).succeeds();
        assert!(xml.contains(&format!("<name>{name}</name>")), "{xml}");
    }
    let xml = host.stead(&["nodedev-dumpxml", loopback]).succeeds();
    assert!(xml.contains("<interface>lo</interface>"), "{xml}");
    let error = host.virsh(&["nodedev-detach", "computer"]).fails();
    assert!(error.contains("not a PCI device"), "{error}");
    let error = host.virsh(&["nodedev-dumpxml", "nosuch"]).fails();
    assert!(
        error.contains("no node device with matching name 'nosuch'"),
        "{error}"
    );
}
