//! `--format json`: what programs read of Stead's own commands.

use std::fs;
use std::os::unix::fs::FileExt;

use serde_json::{Value, json};
use stead_tests::netns::inside;
use stead_tests::{Host, guest};

use crate::guest_calls::wait_for_agent;
use crate::networks::{LAB, on_network, start_network};

/// What the command prints with `--format json` before it.
fn json(host: &Host, words: &[&str]) -> Value {
    let ran = host.stead(&[&["--format", "json"], words].concat());
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}: {ran:?}"))
}

#[test]
fn what_is_found_out_about_images_comes_as_json() {
    let host = Host::start();
    let path = |name: &str| host.folder().join(name).to_string_lossy().into_owned();
    let (base, top, copy) = (path("base.qcow2"), path("top.qcow2"), path("copy.raw"));
    let image = |words: &[&str]| host.stead(&[&["image"], words].concat()).succeeds();
    let found = |words: &[&str]| json(&host, &[&["image"], words].concat());
    let _ = image(&["create", &base, "8M", "--options", "cluster_size=128k"]);
    let _ = image(&["snapshot", &base, "--create", "one"]);
    let behind = ["--backing", &base, "--backing-format", "qcow2"];
    let _ = image(&[&["create", &top][..], &behind].concat());
    // Where a verb prints nothing, --format can only mean the image's.
    let _ = image(&["create", &copy, "8M", "--format", "raw"]);

    assert_eq!(found(&["info", &base])["cluster-size"], 128 << 10);
    let as_raw = found(&["info", &base, "--image-format", "raw"]);
    assert_eq!(as_raw["format"], "raw");
    let chain = found(&["info", &top, "--backing-chain"]);
    assert_eq!(chain[1]["filename"], base);
    assert_eq!(found(&["map", &base])[0]["length"], 8 << 20);
    let measured = found(&["measure", &base, "--to", "raw"]);
    assert_eq!(measured["required"], 8 << 20);
    assert_eq!(found(&["check", &base])["check-errors"], 0);
    assert_eq!(found(&["snapshot", &base])[0]["name"], "one");
    assert_eq!(found(&["snapshot", &top]), json!([]));
    let same = json!({"identical": true, "same-size": true});
    assert_eq!(found(&["compare", &base, &copy]), same);
    let written = fs::File::options().write(true).open(&copy).expect("there");
    written.write_all_at(b"x", 4096).expect("written");
    let differ = host.stead(&["image", "compare", &base, &copy, "--format", "json"]);
    assert_eq!(differ.status, 1, "{differ:?}");
    let differ: Value = serde_json::from_str(&differ.stdout).expect("it is JSON");
    assert_eq!(differ["mismatch-offset"], 4096);

    let refused = host.stead(&["image", "info", &base, "--format", "qcow2"]);
    assert!(
        refused.status == 1 && refused.stderr.contains("is given with --image-format"),
        "{refused:?}"
    );
}

/// Every verb that takes `--format`, called so that it has something to tell. `DIR` is the folder
/// of the pool `p`.
const TELLS: &[&str] = &[
    "attach-interface on network lab --config --dry-run",
    "blkdeviotune on vda",
    "blkiotune on",
    "blockjob on vda",
    "cpu-compare DIR/cpu.xml",
    "cpu-models x86_64",
    "cpu-stats on",
    "domblkerror on",
    "domblkinfo on --all",
    "domblkinfo on vda",
    "domblklist on --details",
    "domblkstat on vda",
    "domblkstat on vda --human",
    "domcontrol on",
    "domdisplay on",
    "domdisplay on --all",
    "domfsinfo on",
    "domhostname on --source agent",
    "domid on",
    "domid off",
    "domif-getlink on 52:54:00:aa:00:07",
    "domifaddr on --source agent",
    "domiflist on",
    "domifstat on 52:54:00:aa:00:07",
    "domiftune on 52:54:00:aa:00:07",
    "dominfo on",
    "domjobinfo on",
    "domlaunchsecinfo on",
    "dommemstat on",
    "domname 1",
    "domstate on --reason",
    "domstats",
    "domstats off --state",
    "domthrottlegroupinfo on slow",
    "domthrottlegrouplist on",
    "domtime on",
    "domtime on --pretty",
    "domuuid on",
    "emulatorpin on",
    "event --list",
    "firewall list",
    "firewall set list",
    "firewall set show offices",
    "firewall show on",
    "freecell --all",
    "freepages --all",
    "get-user-sshkeys on root",
    "guestinfo on",
    "guestvcpus on",
    "hostname",
    "hypervisor-cpu-compare DIR/cpu.xml",
    "hypervisor-cpu-models",
    "iface-list --all",
    "iface-mac lo",
    "iface-name 00:00:00:00:00:00",
    "image check DIR/v.qcow2",
    "image compare DIR/v.qcow2 DIR/v.qcow2",
    "image info DIR/v.qcow2",
    "image list",
    "image ls on /",
    "image map DIR/v.qcow2",
    "image measure DIR/v.qcow2",
    "image show lib",
    "image snapshot DIR/v.qcow2",
    "iothreadinfo on",
    "job show 1",
    "jobs",
    "list --all",
    "list --all --name",
    "maxvcpus",
    "memtune on",
    "net-addresses lab",
    "net-create-as other --nat 10.9.0.0/24 --dry-run",
    "net-define DIR/other.xml --dry-run",
    "net-dhcp-leases lab",
    "net-event --list",
    "net-info lab",
    "net-list --all",
    "net-list --all --name",
    "net-list --all --uuid",
    "net-name lab",
    "net-port-list lab",
    "net-port-list lab --uuid",
    "net-update lab add ip-dhcp-host --xml '<host mac=\"52:54:00:aa:00:09\" ip=\"192.168.50.9\"/>' --dry-run",
    "net-uuid lab",
    "node-memory-tune",
    "nodecpumap",
    "nodecpustats",
    "nodecpustats --percent",
    "nodedev-event --list",
    "nodedev-info net_lo_00_00_00_00_00_00",
    "nodedev-list",
    "nodedev-list --tree",
    "nodeinfo",
    "nodememstats",
    "nodesevinfo",
    "numatune on",
    "nwfilter-binding-list",
    "nwfilter-list",
    "perf on",
    "perf on --enable page_faults",
    "pool-event --list",
    "pool-info p",
    "pool-list --all",
    "pool-list --all --details",
    "pool-list --name",
    "pool-list --uuid --name",
    "pool-name POOLUUID",
    "pool-uuid p",
    "qemu-monitor-event on --event STOP --timeout 1",
    "schedinfo on",
    "secret-event --list",
    "secret-get-value 11111111-2222-3333-4444-555555555555",
    "secret-list",
    "snapshot-current off",
    "snapshot-current off --name",
    "snapshot-info off two",
    "snapshot-list off",
    "snapshot-list off --name",
    "snapshot-list off --parent",
    "snapshot-list off --tree",
    "snapshot-parent off two",
    "storage fsck",
    "sysprep off --list-operations",
    "template-list",
    "ttyconsole on",
    "uri",
    "vcpucount on",
    "vcpucount on --maximum",
    "vcpuinfo off",
    "vcpuinfo on",
    "vcpuinfo on --pretty",
    "vcpupin on",
    "version --daemon",
    "vncdisplay on",
    "vol-info v.qcow2 p",
    "vol-key v.qcow2 p",
    "vol-list p",
    "vol-list p --details",
    "vol-name DIR/v.qcow2",
    "vol-path v.qcow2 p",
    "vol-pool DIR/v.qcow2",
    "vol-pool DIR/v.qcow2 --uuid",
];

/// Those that a host or a guest may have no answer for; then they print nothing but the error.
const MAY_FAIL: &[&str] = &[
    "domlaunchsecinfo",
    "get-user-sshkeys",
    "guestvcpus",
    "image ls",
    "nodesevinfo",
    "perf",
    "qemu-monitor-event",
    "sysprep",
];

/// The verbs that take `--format`, as the page made of the verb table has them.
fn tabular_verbs() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verbs.md");
    let page = fs::read_to_string(page).expect("docs/verbs.md is there");
    let rows = page.lines().filter(|line| line.contains("(`--format`)"));
    rows.filter_map(|row| Some(row.split('`').nth(1)?.to_owned()))
        .collect()
}

#[test]
fn every_verb_that_prints_rows_tells_programs_the_same() {
    inside(
        "formats::every_verb_that_prints_rows_tells_programs_the_same",
        || {
            let host = busy_host();
            let folder = host.folder().join("images");
            let pool = host.stead(&["pool-uuid", "p"]).succeeds();
            let verbs = tabular_verbs();
            let calls = |verb: &str, line: &str| {
                let rest = line.strip_prefix(verb);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            };
            let unheard = verbs
                .iter()
                .filter(|verb| !TELLS.iter().any(|line| calls(verb, line)));
            let unheard: Vec<_> = unheard.collect();
            assert!(unheard.is_empty(), "say how these are called: {unheard:?}");
            let mut wrong = Vec::new();
            for line in TELLS {
                let words = line
                    .replace("DIR", &folder.to_string_lossy())
                    .replace("POOLUUID", pool.trim());
                for format in ["json", "yaml"] {
                    let ran = host.stead(&["--format", format, &words]);
                    let may_fail = MAY_FAIL.iter().any(|verb| calls(verb, line));
                    let fine = match format {
                        _ if ran.stdout.is_empty() => {
                            may_fail && ran.status == 1 && !ran.stderr.is_empty()
                        }
                        "json" => serde_json::from_str::<Value>(&ran.stdout).is_ok(),
                        _ => ran.status <= 1,
                    };
                    if !fine {
                        wrong.push((words.clone(), ran));
                    }
                }
            }
            assert!(wrong.is_empty(), "{wrong:#?}");
        },
    );
}

/// A host with a booted guest, a machine that is off, a pool, a network and the like.
fn busy_host() -> Host {
    let host = Host::start();
    let folder = host.folder().join("images");
    fs::create_dir(&folder).expect("the folder is ours");
    let stead = |line: &str| host.stead(&[line]).succeeds();
    let _ = stead(&format!(
        "pool-define-as p dir --target {}",
        folder.display()
    ));
    let _ = stead("pool-start p");
    for name in ["v.qcow2", "w.qcow2"] {
        let _ = stead(&format!("vol-create-as p {name} 8M --format qcow2"));
    }
    start_network(&host, "lab", LAB);
    let _ = host.file(
        "images/other.xml",
        &LAB.replace("lab", "other").replace(".50.", ".51."),
    );
    let _ = host.file(
        "images/cpu.xml",
        "<cpu><arch>x86_64</arch><model>qemu64</model></cpu>",
    );
    let secret = "<secret ephemeral='no' private='no'>
        <uuid>11111111-2222-3333-4444-555555555555</uuid></secret>";
    let secret = host.file("secret.xml", secret);
    let _ = stead(&format!("secret-define {secret}"));
    let _ = stead("secret-set-value 11111111-2222-3333-4444-555555555555 --base64 eA==");
    let _ = stead("firewall set add offices 192.0.2.0/24");
    let image = folder.join("w.qcow2");
    let _ = stead(&format!("image import {} --name lib", image.display()));
    let disk = |name: &str| {
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
             <source file='{}/{name}'/><target dev='vda' bus='virtio'/></disk>",
            folder.display()
        )
    };
    let card = on_network("lab", "52:54:00:aa:00:07");
    let user = "<interface type='user'><model type='virtio'/></interface>";
    let _ = (host.guest_file("vmlinuz"), host.guest_file("initrd"));
    let on = guest::small_guest("on", host.folder())
        .replace("<vcpu>", "<iothreads>1</iothreads><vcpu>")
        .replace(
            user,
            &format!("{}{card}<graphics type='vnc'/>", disk("v.qcow2")),
        );
    host.define(&on);
    let off = guest::bare_machine("off");
    host.define(&off.replace("<devices>", &format!("<devices>{}", disk("w.qcow2"))));
    let _ = stead("snapshot-create-as off one");
    let _ = stead("snapshot-create-as off two");
    let _ = stead("start on");
    let _ = stead("domthrottlegroupset on slow --total-iops-sec 100 --live");
    let _ = stead("perf on --live --disable page_faults");
    let _ = stead("firewall join on web");
    wait_for_agent(&host, "on");
    host
}

#[test]
fn events_come_as_a_line_of_json_each() {
    let host = Host::start();
    host.define(&guest::bare_machine("m"));
    let told = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let words = "event --all --loop --timeout 8";
            host.stead(&["--format", "json", words])
        });
        while !watch.is_finished() {
            let _ = host.stead(&["start", "m"]).succeeds();
            let _ = host.stead(&["destroy", "m"]).succeeds();
        }
        watch.join().expect("the watcher ends")
    });
    let told = told.succeeds();
    let events: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let started = events.iter().any(|event| {
        (&event["event"], &event["domain"], &event["details"])
            == (&json!("lifecycle"), &json!("m"), &json!("Started Booted"))
            && event["time"].is_string()
    });
    assert!(started, "{told}");
}
