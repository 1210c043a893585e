//! The REST face: how the commands find it, what it says to others.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use stead_tests::{Host, clients, host};

/// One request by hand; the answer as it came.
fn ask(host: &Host, request: &str) -> String {
    let mut socket = UnixStream::connect(host.rest_socket()).expect("the daemon listens");
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer).expect("it answers");
    answer
}

fn get(host: &Host, path: &str) -> String {
    ask(
        host,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

#[test]
fn the_commands_find_both_sockets_from_either() {
    let host = Host::start();
    assert_eq!(
        host.stead(&["--format", "json", "jobs"]).succeeds().trim(),
        "[]"
    );
    let uri = format!("unix://{}", host.rest_socket().display());
    let stead =
        |words: &[&str]| clients::run(host::binary(), &[&["-c", &uri], words].concat(), &[]);
    assert_eq!(stead(&["list", "--name"]).succeeds().trim(), "");
    assert!(stead(&["jobs"]).succeeds().contains("Target"));
    let by_variable = clients::run(host::binary(), &["jobs"], &[("STEAD_URI", &uri)]);
    assert!(by_variable.succeeds().contains("Target"));
}

#[test]
fn who_may_connect_is_said_by_the_sockets_mode() {
    let host = Host::start();
    let mode = |path| {
        let metadata = std::fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(host.rest_socket()), mode(host.socket("")));
}

#[test]
fn without_stead_its_own_verbs_say_why_not() {
    let host = Host::without_daemon();
    let uri = format!(
        "qemu+unix:///system?socket={}/libvirt-sock",
        host.folder().display()
    );
    let said = clients::run(host::binary(), &["-c", &uri, "jobs"], &[]).fails();
    assert!(said.contains("a verb of Stead's own"), "{said}");
    assert!(said.contains("stead.sock"), "{said}");
}

#[test]
fn others_are_told_what_there_is() {
    let host = Host::start();
    let version = get(&host, "/api/v1/version");
    assert!(version.contains(r#""name":"stead""#), "{version}");
    let document = get(&host, "/api/v1/openapi.json");
    assert!(document.contains("/api/v1/jobs/{id}/cancel"), "{document}");
    let nowhere = get(&host, "/api/v1/nonsense");
    assert!(
        nowhere.starts_with("HTTP/1.1 404") && nowhere.contains("no-path"),
        "{nowhere}"
    );
    let no_job = get(&host, "/api/v1/jobs/7/events");
    assert!(no_job.contains("no job with number 7"), "{no_job}");
    let said = host.stead(&["job", "cancel", "7"]).fails();
    assert!(said.contains("no job with number 7"), "{said}");
    assert!(
        host.stead(&["-r", "job", "cancel", "7"])
            .fails()
            .contains("read-only")
    );
}

#[test]
fn strange_requests_end_their_own_connection_only() {
    let host = Host::start();
    for strange in [
        "\0\0\0\x1c\0\0\0\0",
        "GET",
        "POST /api/v1/jobs/1/cancel HTTP/1.1\r\n\r\n",
    ] {
        let mut socket = UnixStream::connect(host.rest_socket()).expect("the daemon listens");
        socket.write_all(strange.as_bytes()).expect("it reads");
        socket.shutdown(std::net::Shutdown::Write).expect("open");
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = socket.read_to_end(&mut answer);
    }
    assert!(get(&host, "/api/v1/version").starts_with("HTTP/1.1 200"));
}

fn post(host: &Host, path: &str, body: &serde_json::Value) -> serde_json::Value {
    let body = body.to_string();
    let said = ask(
        host,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    let answer = said.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(answer).unwrap_or_else(|_| panic!("no answer to {path}: {said}"))
}

#[test]
fn work_on_volumes_that_is_cancelled_leaves_what_was_there() {
    const LENGTH: u64 = 96 << 20;
    let host = Host::start();
    let folder = host.folder().join("pool");
    std::fs::create_dir(&folder).expect("there is room");
    let place = folder.to_string_lossy();
    let _ = host
        .virsh(&["pool-create-as", "p", "dir", "--target", &place])
        .succeeds();
    // What nothing makes smaller: its conversion takes a while.
    let random = std::fs::File::open("/dev/urandom").expect("the kernel's");
    let mut volume = std::fs::File::create(folder.join("v")).expect("there is room");
    std::io::copy(&mut random.take(LENGTH), &mut volume).expect("there is room");
    let _ = host.virsh(&["pool-refresh", "p"]).succeeds();
    let by_command = |id: &str| drop(host.stead(&["job", "cancel", id]).succeeds());
    // Without a command's start in between.
    let at_once = |id: &str| {
        let path = format!("/api/v1/jobs/{id}/cancel");
        drop(post(&host, &path, &serde_json::json!({})));
    };
    let cancelled = |path: &str, body: serde_json::Value, cancel: &dyn Fn(&str)| {
        let job = post(&host, &format!("/api/v1{path}"), &body);
        let id = job["id"].as_u64().expect("a job").to_string();
        cancel(&id);
        let said = host.stead(&["job", "wait", &id]).fails();
        assert!(said.contains("cancelled"), "{path}: {said}");
        let shown = host.stead(&["--format", "json", "jobs"]).succeeds();
        let jobs: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        let all = jobs.as_array().expect("rows").iter();
        let states: Vec<_> = all.map(|job| job["state"].clone()).collect();
        assert!(
            states.iter().all(|state| state == "cancelled"),
            "{states:?}"
        );
    };
    let copy = |format: &str| {
        let xml = format!(
            "<volume><name>copy</name><capacity>0</capacity><target><format type='{format}'/></target></volume>"
        );
        serde_json::json!({"pool": "p", "xml": xml, "source_pool": "p", "source": "v"})
    };
    cancelled("/volumes/copies", copy("raw"), &at_once);
    cancelled("/volumes/copies", copy("qcow2"), &at_once);
    // 35 passes: it is not over when the word comes.
    let wipe = serde_json::json!({"pool": "p", "name": "v", "algorithm": 5});
    cancelled("/volumes/wipes", wipe, &by_command);

    // A conversion, beside a volume and elsewhere.
    let from = folder.join("v");
    for target in [folder.join("converted"), host.folder().join("converted")] {
        let task = serde_json::json!({
            "image": from,
            "format": "raw",
            "task": {
                "do": "convert",
                "target": {"path": target, "format": "qcow2"},
                "compress": true,
                "options": [],
            },
        });
        cancelled("/images/tasks", task, &at_once);
    }
    let beside = std::fs::read_dir(host.folder())
        .expect("it is there")
        .flatten();
    let mut beside = beside.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert!(!beside.any(|name| name.contains("converted") || name.contains("unfinished")));

    let left = std::fs::read_dir(&folder).expect("it is there").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["v"]);
    let length = std::fs::metadata(folder.join("v")).expect("there").len();
    assert_eq!(length, LENGTH);
    // Nobody holds it any more.
    let _ = host.virsh(&["vol-delete", "v", "p"]).succeeds();
}
