//! What was acknowledged survives a kill; what a full disk refused is not there.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use store::{Store, StoreError, Txn};

/// Set for the copy of this program that writes and gets killed.
const CHILD: &str = "STEAD_STORE_TEST_DATABASE";

/// Runs this very test in a process of its own, with [`CHILD`] set, below
/// the given command line.
fn rerun(test: &str, below: &[&str], database: &std::path::Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut words = below
        .iter()
        .map(std::ffi::OsStr::new)
        .chain([program.as_os_str()]);
    Command::new(words.next().unwrap())
        .args(words)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, database)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Four threads write for ever; each says what was acknowledged.
fn write_for_ever(database: &std::path::Path) {
    let store = Store::open_sqlite(database).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0u64.. {
                    let (a, b) = (format!("t{thread}/{n}"), format!("u{thread}/{n}"));
                    let txn = Txn::new().put(a, n.to_string()).put(b, vec![7; 500]);
                    let revision = store.txn_blocking(txn).unwrap().into_result().unwrap();
                    let line = format!("ack {thread} {n} {revision}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn whatever_was_acknowledged_is_there_after_a_kill() {
    if let Some(database) = std::env::var_os(CHILD) {
        return write_for_ever(database.as_ref());
    }
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state.db");
    let name = "durability::whatever_was_acknowledged_is_there_after_a_kill";
    // The second round recovers from the first one's log.
    let mut floor = 0;
    for acknowledgements in [150, 400] {
        let mut child = rerun(name, &[], &database);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        while lines.len() < acknowledgements {
            let mut line = String::new();
            assert!(
                output.read_line(&mut line).unwrap() > 0,
                "the writer ended by itself"
            );
            lines.push(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        let complete = rest.rfind('\n').map_or("", |end| &rest[..=end]);
        lines.extend(complete.lines().map(str::to_owned));

        let store = Store::open_sqlite(&database).unwrap();
        let mut checked = 0;
        for line in lines {
            let Some(line) = line.trim_end().strip_prefix("ack ") else {
                continue;
            };
            let fields: Vec<u64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
            let [thread, n, revision] = fields[..] else {
                panic!("{line}")
            };
            assert!(store.revision() >= revision && revision > floor);
            let entry = store
                .get_blocking(&format!("t{thread}/{n}"))
                .unwrap()
                .unwrap();
            assert_eq!(
                (&*entry.value, entry.mod_revision),
                (n.to_string().as_bytes(), revision)
            );
            let other = store
                .get_blocking(&format!("u{thread}/{n}"))
                .unwrap()
                .unwrap();
            assert_eq!(other.mod_revision, revision);
            checked += 1;
        }
        assert!(checked >= acknowledgements - 5, "{checked}");
        floor = store.revision();
    }
}

/// On a disk of one megabyte: fills it, and looks at what is there.
fn fill(directory: &std::path::Path) {
    let store = Store::open_sqlite(&directory.join("state.db")).unwrap();
    let block = vec![1; 40_000];
    let mut written = 0;
    let error = loop {
        let pair = Txn::new().put(format!("a/{written}"), block.clone());
        match store.txn_blocking(pair.put(format!("b/{written}"), block.clone())) {
            Ok(_) => written += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
    assert!(written > 1 && written < 20, "{written}");
    assert_eq!(store.revision(), written);
    let mut keys = Vec::new();
    store
        .for_each_blocking("", |entry| keys.push(entry.key.to_string()))
        .unwrap();
    assert_eq!(
        keys.len() as u64,
        2 * written,
        "half a transaction: {keys:?}"
    );

    drop(store);
    let store = Store::open_sqlite(&directory.join("state.db")).unwrap();
    assert_eq!(store.revision(), written);
}

#[test]
fn a_full_disk_is_a_typed_error_and_leaves_nothing_half_written() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return fill(directory.as_ref());
    }
    let directory = tempfile::tempdir().unwrap();
    let name = "durability::a_full_disk_is_a_typed_error_and_leaves_nothing_half_written";
    let mount = format!(
        "mount -t tmpfs -o size=1m none {} && exec \"$0\" \"$@\"",
        directory.path().display()
    );
    let below = ["unshare", "--map-root-user", "--mount", "sh", "-c", &mount];
    let mut child = rerun(name, &below, directory.path());
    let mut output = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{output}");
    assert!(output.contains("1 passed"), "{output}");
}
