//! Images made to do harm: whatever they name is not opened, and what is too large is not read.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stead_tests::{Host, clients, guest};

/// A file of the host that is nobody's image, though it could be one by its length.
const SECRET: &str = "not for guests. ";

fn tool(program: &str, words: &[&str]) -> String {
    clients::run(program, words, &[]).succeeds()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

struct Den {
    host: Host,
    pool: PathBuf,
    secret: String,
}

impl Den {
    fn open() -> Den {
        let host = Host::start();
        let pool = host.folder().join("pool");
        fs::create_dir(&pool).expect("there is room");
        let place = text(&pool);
        let _ = host
            .virsh(&["pool-create-as", "p", "dir", "--target", &place])
            .succeeds();
        let elsewhere = host.folder().join("elsewhere");
        fs::create_dir(&elsewhere).expect("there is room");
        let secret = elsewhere.join("secret");
        // Of no whole sectors: by its length it can be no disk.
        fs::write(&secret, SECRET.repeat(4096) + "!").expect("there is room");
        Den {
            host,
            pool,
            secret: text(&secret),
        }
    }

    fn image(&self, name: &str) -> String {
        text(&self.pool.join(name))
    }

    fn create(&self, name: &str, words: &[&str]) -> String {
        let image = self.image(name);
        let words = [&["create", "-q", "-f", "qcow2"], words, &[&image, "1M"]].concat();
        let _ = tool("qemu-img", &words);
        image
    }

    /// Nothing that reads the image's content on anybody's behalf gets past its header.
    fn leads_nowhere(&self, name: &str, format: &str) {
        let (host, image) = (&self.host, self.image(name));
        let secret = Path::new(&self.secret);
        let owner = || {
            let metadata = fs::metadata(secret).expect("it is there");
            (metadata.uid(), metadata.mode(), metadata.len())
        };
        let before = owner();
        let begun = Instant::now();

        let _ = host.virsh(&["pool-refresh", "p"]).succeeds();
        let _ = host.virsh(&["vol-info", name, "p"]).succeeds();
        let said = host
            .stead(&["image", "import", &image, "--name", "in"])
            .fails();
        assert!(!said.contains(SECRET), "{name}: {said}");
        let copy = host.file(
            "copy.xml",
            "<volume><name>copy</name><capacity>0</capacity><target><format type='raw'/></target></volume>",
        );
        let words = ["vol-create-from", "p", &copy, name, "--inputpool", "p"];
        let _ = host.virsh(&words).fails();
        let disk = format!(
            "<devices><disk type='file'><driver name='qemu' type='{format}'/>\
             <source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
        );
        host.define(&guest::bare_machine("curious").replace("<devices>", &disk));
        let _ = host.virsh(&["start", "curious"]).fails();
        let _ = host.virsh(&["undefine", "curious"]).succeeds();

        assert_eq!(owner(), before, "{name}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{name}");
        let left = fs::read_dir(&self.pool).expect("it is there").flatten();
        let left: Vec<String> = left
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|file| file == "copy" || file.starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{name} left {left:?}");
        fs::remove_file(image).expect("it is there");
    }
}

#[test]
fn names_in_headers_lead_nowhere() {
    let den = Den::open();
    let secret = den.secret.clone();
    let json = format!("json:{{\"driver\":\"file\",\"filename\":\"{secret}\"}}");
    for (name, backing) in [
        ("plain", secret.as_str()),
        ("json", &json),
        ("url", "nbd://127.0.0.1:1/x"),
        ("up", "../elsewhere/secret"),
    ] {
        let _ = den.create(name, &["-u", "-b", backing, "-F", "raw"]);
        den.leads_nowhere(name, "qcow2");
    }

    // An image behind an image: the first is harmless, what it builds upon is not.
    let inner = den.create("inner", &["-u", "-b", &secret, "-F", "raw"]);
    let _ = den.create("nested", &["-u", "-b", &inner, "-F", "qcow2"]);
    den.leads_nowhere("nested", "qcow2");
    fs::remove_file(inner).expect("it is there");

    // Its own data somewhere else.
    let data = den.image("data.raw");
    let option = format!("data_file={data}");
    let image = den.create("data", &["-o", &option]);
    let option = format!("data_file={secret}");
    let _ = tool(
        "qemu-img",
        &["amend", "-q", "-f", "qcow2", "-o", &option, &image],
    );
    fs::remove_file(data).expect("it is there");
    den.leads_nowhere("data", "qcow2");
}

#[test]
fn extents_of_other_files_are_not_read() {
    let den = Den::open();
    let kinds = [
        ("monolithicFlat", "FLAT", format!("\"{}\" 0", den.secret)),
        (
            "twoGbMaxExtentFlat",
            "FLAT",
            "\"../elsewhere/secret\" 0".to_owned(),
        ),
        ("monolithicSparse", "SPARSE", format!("\"{}\"", den.secret)),
    ];
    for (kind, extent, place) in kinds {
        let descriptor = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
             createType=\"{kind}\"\n\nRW 64 {extent} {place}\n"
        );
        fs::write(den.image(kind), descriptor).expect("there is room");
        den.leads_nowhere(kind, "vmdk");
    }
}

#[test]
fn tables_too_large_to_be_true_are_not_read() {
    let den = Den::open();
    // Offsets in the header: entries of the L1 table, clusters of the table of refcounts, snapshots.
    for (name, at, value) in [
        ("l1", 36, 0x1000_0000u32),
        ("refcounts", 56, 0xffff_ffff),
        ("snapshots", 60, 0xffff_ffff),
        ("clusters", 20, 63),
        ("header", 100, 0xffff_fff0),
    ] {
        let image = den.create(name, &[]);
        let file = fs::File::options().write(true).open(&image);
        let file = file.expect("it is there");
        file.write_all_at(&value.to_be_bytes(), at)
            .expect("written");
        den.leads_nowhere(name, "qcow2");
    }
}

#[test]
fn a_bomb_takes_no_more_than_it_is_worth() {
    let den = Den::open();
    let host = &den.host;
    let bomb = text(&host.folder().join("bomb.raw"));
    let file = fs::File::create(&bomb).expect("there is room");
    file.set_len(256 << 20).expect("there is room");
    let _ = tool("gzip", &["-1", &bomb]);
    let words = ["image", "import", &format!("{bomb}.gz"), "--name", "b"];
    let _ = host.stead(&words).succeeds();
    let made = host.root().join("images/library");
    let taken = |file: fs::DirEntry| file.metadata().map_or(0, |data| data.blocks() * 512);
    let taken: u64 = fs::read_dir(made)
        .expect("there")
        .flatten()
        .map(taken)
        .sum();
    assert!(taken < 16 << 20, "256 MiB of zeros take {taken} bytes");
}

#[test]
fn bombs_of_every_packer_are_kept_within_bounds() {
    let den = Den::open();
    let host = &den.host;
    let zeros = host.folder().join("zeros");
    let file = fs::File::create(&zeros).expect("there is room");
    file.set_len(96 << 20).expect("there is room");
    let import = |file: &str, name: &str| host.stead(&["image", "import", file, "--name", name]);
    let library = host.root().join("images/library");
    let taken = || -> u64 {
        let files = fs::read_dir(&library).into_iter().flatten().flatten();
        files
            .map(|file| file.metadata().map_or(0, |data| data.blocks() * 512))
            .sum()
    };
    for (packer, level) in [("xz", "-0"), ("zstd", "-1"), ("bzip2", "-1")] {
        let packed = text(&host.folder().join(format!("zeros.{packer}")));
        let line = format!("{packer} {level} -c <'{}' >'{packed}'", text(&zeros));
        let _ = tool("sh", &["-c", &line]);
        let _ = import(&packed, packer).succeeds();
        assert!(taken() < 16 << 20, "{packer}: {} bytes", taken());
    }
    // Unpacked it would need more memory than it is given.
    let greedy = text(&host.folder().join("greedy.xz"));
    let line = format!("xz --lzma2=dict=1GiB -c <'{}' >'{greedy}'", text(&zeros));
    let _ = tool("sh", &["-c", &line]);
    let said = import(&greedy, "greedy").fails();
    assert!(said.contains("Memory usage limit reached"), "{said}");
    // An archive of another kind is no image, whatever is in it.
    let archive = text(&host.folder().join("zeros.zip"));
    let script = "import sys, zipfile\n\
                  with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z: z.write(sys.argv[2])";
    let _ = tool("/usr/bin/python3", &["-c", script, &archive, &text(&zeros)]);
    let said = import(&archive, "archive").fails();
    assert!(said.contains("it is an archive (zip)"), "{said}");
    let mut left = fs::read_dir(&library).expect("it is there").flatten();
    let left = left.find(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.contains("greedy") || name.contains("archive")
    });
    assert!(left.is_none(), "{left:?}");
}
