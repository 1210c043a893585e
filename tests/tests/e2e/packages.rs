//! Machines as packages: out as an OVA, in again, and packages nobody should believe.

use std::path::{Path, PathBuf};

use stead_tests::{Host, clients};

fn tool(program: &str, words: &[&str]) -> String {
    clients::run(program, words, &[]).succeeds()
}

fn path(host: &Host, name: &str) -> String {
    host.folder().join(name).to_string_lossy().into_owned()
}

/// A machine with a qcow2 disk, and a raw one whose guest wrote the header of an image that builds
/// upon /etc/shadow into it.
fn machine(host: &Host) -> (String, String) {
    let (first, second) = (path(host, "first.qcow2"), path(host, "second.raw"));
    let _ = tool("qemu-img", &["create", "-q", "-f", "qcow2", &first, "64M"]);
    let _ = tool("qemu-io", &["-c", "write -P 7 1M 3M", &first]);
    let lying = [
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "/etc/shadow",
        "-F",
        "raw",
    ];
    let _ = tool("qemu-img", &[&lying[..], &[&second, "16M"]].concat());
    let file = std::fs::File::options()
        .write(true)
        .open(&second)
        .expect("it is there");
    file.set_len(4 << 20).expect("there is room");
    host.define(&format!(
        "<domain type='qemu'><name>web</name><description>by hand</description>
  <memory unit='MiB'>96</memory><vcpu>2</vcpu>
  <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{first}'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{second}'/><target dev='sda' bus='sata'/></disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>
    <interface type='user'><model type='virtio'/></interface>
    <interface type='user'><model type='e1000'/></interface>
  </devices>
</domain>"
    ));
    (first, second)
}

fn compare(format: &str, one: &str, other: &Path) {
    let other = other.to_string_lossy();
    let _ = tool(
        "qemu-img",
        &["compare", "-f", format, "-F", "qcow2", one, &other],
    );
}

fn images(host: &Host) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(host.root().join("images")).expect("it is there");
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn a_machine_goes_out_and_comes_in_again() {
    let host = Host::start();
    let (first, second) = machine(&host);
    let ova = path(&host, "web.ova");
    let _ = host.stead(&["image", "export", "web", &ova]).succeeds();
    let said = host.stead(&["image", "export", "web", &ova]).fails();
    assert!(said.contains("is there already"), "{said}");
    let names = tool("tar", &["-tf", &ova]);
    assert_eq!(names, "web.ovf\nweb.mf\nweb-disk1.vmdk\nweb-disk2.vmdk\n");

    let said = host
        .stead(&[
            "image",
            "import",
            &ova,
            "--name",
            "copy",
            "--network",
            "user",
        ])
        .succeeds();
    assert!(said.contains("Domain 'copy' imported"), "{said}");
    let root = host.root();
    compare("qcow2", &first, &root.join("images/copy.qcow2"));
    // The raw disk is what its definition says it is, not what its guest wrote.
    compare("raw", &second, &root.join("images/copy-1.qcow2"));
    let xml = host.virsh(&["dumpxml", "copy"]).succeeds();
    for part in [
        "<title>web</title>",
        "<description>by hand</description>",
        "<memory unit='KiB'>98304</memory>",
        ">2</vcpu>",
        "firmware='efi'",
        "<target dev='vda' bus='virtio'/>",
        "<target dev='sda' bus='sata'/>",
        "<target dev='sdb' bus='sata'/>",
        "<model type='virtio'/>",
        "<model type='e1000'/>",
    ] {
        assert!(xml.contains(part), "{part}: {xml}");
    }
    let _ = host.stead(&["start", "copy"]).succeeds();
    let said = host
        .stead(&["image", "export", "copy", &path(&host, "x.ova")])
        .fails();
    assert!(said.contains("is running"), "{said}");

    let plain = path(&host, "second.qcow2");
    let words = [
        "image", "export", "web", &plain, "--format", "qcow2", "--disk", "sda",
    ];
    let _ = host.stead(&words).succeeds();
    compare("raw", &second, Path::new(&plain));
    let said = host
        .stead(&["image", "export", "nobody", &path(&host, "n.ova")])
        .fails();
    assert!(said.contains("nobody"), "{said}");
}

#[test]
fn packages_of_others_and_damaged_ones() {
    let host = Host::start();
    let (first, _) = machine(&host);
    let ova = path(&host, "web.ova");
    let _ = host.stead(&["image", "export", "web", &ova]).succeeds();
    let before = images(&host);
    let import = |source: &str| {
        host.stead(&[
            "image",
            "import",
            source,
            "--name",
            "in",
            "--network",
            "user",
        ])
    };

    // A byte of a disk is another one.
    let mut bytes = std::fs::read(&ova).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = path(&host, "damaged.ova");
    std::fs::write(&damaged, &bytes).expect("there is room");
    let said = import(&damaged).fails();
    assert!(
        said.contains("as the manifest says: the package is damaged"),
        "{said}"
    );
    std::fs::write(&damaged, &bytes[..middle]).expect("there is room");
    let said = import(&damaged).fails();
    assert!(said.contains("cut short"), "{said}");

    let folder = host.folder().join("unpacked");
    std::fs::create_dir(&folder).expect("there is room");
    let place = folder.to_string_lossy().into_owned();
    let _ = tool("tar", &["-xf", &ova, "-C", &place]);

    // A manifest without end is not read.
    let manifest = folder.join("web.mf");
    let line = format!("SHA256(web.ovf)= {}\n", "0".repeat(64));
    for (lines, limit) in [(100_000, "4194304 bytes"), (50_001, "50000 lines")] {
        std::fs::write(&manifest, line.repeat(lines)).expect("there is room");
        let pack = ["-cf", &damaged, "-C", &place, "web.ovf", "web.mf"];
        let _ = tool(
            "tar",
            &[&pack[..], &["web-disk1.vmdk", "web-disk2.vmdk"]].concat(),
        );
        let said = import(&damaged).fails();
        assert!(said.contains(limit), "{lines}: {said}");
    }

    // Unpacked, with devices of VMware's and a manifest of old.
    let ovf = folder.join("web.ovf");
    let text = std::fs::read_to_string(&ovf).expect("it is there");
    let text = text
        .replace(">AHCI<", ">VirtualSCSI<")
        .replace(">20<", ">6<");
    let text = text
        .replace(">E1000<", ">VmxNet3<")
        .replace("SteadDevices", "Others");
    let text = text.replace("vmw:value='efi'", "vmw:value='bios'");
    std::fs::write(&ovf, &text).expect("there is room");
    let sums = |names: &[&str]| {
        let line = |name: &&str| {
            let sum = tool("sha1sum", &[&format!("{place}/{name}")]);
            format!("SHA1({name})= {}\n", &sum[..40])
        };
        let text: String = names.iter().map(line).collect();
        std::fs::write(folder.join("web.mf"), text).expect("there is room");
    };
    sums(&["web.ovf", "web-disk1.vmdk"]);
    let ovf = ovf.to_string_lossy().into_owned();
    let said = import(&ovf).fails();
    assert!(
        said.contains("does not name the file 'web-disk2.vmdk'"),
        "{said}"
    );
    sums(&["web.ovf", "web-disk1.vmdk", "web-disk2.vmdk"]);
    let _ = import(&ovf).succeeds();
    compare("qcow2", &first, &host.root().join("images/in.qcow2"));
    let xml = host.virsh(&["dumpxml", "in"]).succeeds();
    assert!(
        xml.contains("model='vmpvscsi'") && xml.contains("<model type='vmxnet3'/>"),
        "{xml}"
    );
    assert!(
        xml.contains("<target dev='sdb' bus='scsi'/>") && !xml.contains("firmware='efi'"),
        "{xml}"
    );
    let _ = host.stead(&["start", "in"]).succeeds();
    let _ = host.stead(&["destroy", "in"]).succeeds();
    let _ = host.stead(&["undefine", "in"]).succeeds();
    for disk in ["in.qcow2", "in-1.qcow2"] {
        std::fs::remove_file(host.root().join("images").join(disk)).expect("it is there");
    }

    // A link beside the descriptor leads nowhere, and no path is followed.
    let disk = folder.join("web-disk2.vmdk");
    std::fs::remove_file(&disk).expect("it is there");
    std::os::unix::fs::symlink("/etc/passwd", &disk).expect("there is room");
    let said = import(&ovf).fails();
    assert!(
        said.contains("'web-disk2.vmdk' is not in the package"),
        "{said}"
    );
    std::fs::write(
        &ovf,
        text.replace("href='web-disk2.vmdk'", "href='../../etc/passwd'"),
    )
    .expect("room");
    let said = import(&ovf).fails();
    assert!(said.contains("no name of a file in the package"), "{said}");
    assert_eq!(
        images(&host).len(),
        before.len(),
        "what failed left nothing"
    );
    let names = host.virsh(&["list", "--all", "--name"]).succeeds();
    assert_eq!(names.split_whitespace().collect::<Vec<_>>(), ["web"]);
}

/// What the daemon leaves behind it: files that begin to be something else.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("it is there").flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| {
            let name = path.to_string_lossy();
            ["unfinished", "packed"]
                .iter()
                .any(|part| name.contains(part))
        })
        .collect()
}

#[test]
fn packages_come_and_go_whole_or_not_at_all_wherever_the_daemon_dies() {
    let mut host = Host::start();
    let (first, _) = machine(&host);
    let ova = path(&host, "web.ova");
    for (step, is_there) in [
        ("export/converted", false),
        ("export/converted:2", false),
        ("export/filled", false),
        ("export/named", true),
    ] {
        let _ = host.stop_daemon();
        host.start_daemon_to_crash_at(step);
        let _ = host.stead(&["image", "export", "web", &ova]).fails();
        host.wait_for_crash(step);
        host.start_daemon();
        assert_eq!(Path::new(&ova).exists(), is_there, "{step}");
        assert_eq!(unfinished(host.folder()), Vec::<PathBuf>::new(), "{step}");
    }

    // A package whose first disk is packed once more.
    let folder = host.folder().join("package");
    std::fs::create_dir(&folder).expect("there is room");
    let place = folder.to_string_lossy().into_owned();
    let _ = tool("tar", &["-xf", &ova, "-C", &place]);
    let disk = folder.join("web-disk1.vmdk").to_string_lossy().into_owned();
    let _ = tool("gzip", &["-1n", "-S", ".z", &disk]);
    std::fs::rename(format!("{disk}.z"), &disk).expect("it was just packed");
    let ovf = folder.join("web.ovf");
    let text = std::fs::read_to_string(&ovf).expect("it is there");
    let href = "ovf:href='web-disk1.vmdk'";
    assert!(text.contains(href), "{text}");
    let text = text.replace(href, &format!("{href} ovf:compression='gzip'"));
    std::fs::write(&ovf, text).expect("there is room");
    std::fs::remove_file(folder.join("web.mf")).expect("it is there");
    let ovf = ovf.to_string_lossy().into_owned();
    let words = ["image", "import", &ovf, "--name", "in", "--network", "user"];
    let images = host.root().join("images");
    for step in [
        "package-import/planned",
        "package-import/unpacked",
        "package-import/disk-made",
        "package-import/disk-made:2",
        "package-import/defined",
    ] {
        let _ = host.stop_daemon();
        host.start_daemon_to_crash_at(step);
        let _ = host.stead(&words).fails();
        host.wait_for_crash(step);
        host.start_daemon();
        let is_defined = step == "package-import/defined";
        let names = host.virsh(&["list", "--all", "--name"]).succeeds();
        let is_listed = names.split_whitespace().any(|name| name == "in");
        assert_eq!(is_listed, is_defined, "{step}");
        for disk in ["in.qcow2", "in-1.qcow2"] {
            assert_eq!(images.join(disk).exists(), is_defined, "{step}: {disk}");
        }
        assert_eq!(unfinished(&images), Vec::<PathBuf>::new(), "{step}");
    }
    compare("qcow2", &first, &images.join("in.qcow2"));

    // An image that is converted, where no pool looks for leavings.
    let copy = path(&host, "copy.qcow2");
    for (step, is_there) in [
        ("image-task/begun", false),
        ("image-task/filled", false),
        ("image-task/named", true),
    ] {
        let _ = host.stop_daemon();
        host.start_daemon_to_crash_at(step);
        let _ = host.stead(&["image", "convert", &first, &copy]).fails();
        host.wait_for_crash(step);
        host.start_daemon();
        assert_eq!(Path::new(&copy).exists(), is_there, "{step}");
        assert_eq!(unfinished(host.folder()), Vec::<PathBuf>::new(), "{step}");
    }
}
