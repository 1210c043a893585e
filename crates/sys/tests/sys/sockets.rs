//! Listening, stale names, peers, travelling descriptors.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use sys::unix::{
    MESSAGE_FDS_MAX, SocketAccess, connect_to, listen_at, memory_file, pair, peer,
    receive_with_fds, send_with_fds,
};

const OURS: SocketAccess = SocketAccess {
    mode: 0o660,
    uid: None,
    gid: None,
};

#[test]
fn listens_with_its_mode_and_goes_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let listening = listen_at(&path, OURS).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    let client = connect_to(&path).unwrap();
    let (server, _) = listening.listener.accept().unwrap();
    let own = rustix::process::getuid().as_raw();
    assert_eq!(peer(&server).unwrap().uid, own);
    assert_eq!(peer(&client).unwrap().pid, std::process::id() as i32);

    let error = listen_at(&path, OURS).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    drop(listening);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_stale_name_is_replaced_and_a_foreign_file_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = listen_at(&path, OURS).unwrap();
    let (listener, file) = first.into_parts();
    drop(listener);
    // Stale again: another takes it over, and the first leaves it alone.
    let second = listen_at(&path, OURS).unwrap();
    drop(file);
    assert!(path.exists());
    connect_to(&path).unwrap();
    drop(second);

    std::fs::write(&path, "mine").unwrap();
    assert_eq!(
        listen_at(&path, OURS).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn paths_too_long_for_an_address_work() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("sock");
    let listening = listen_at(&path, OURS).unwrap();
    connect_to(&path).unwrap();
    assert!(listening.listener.accept().is_ok());
}

#[test]
fn descriptors_travel_and_nothing_waits() {
    let (left, right) = pair().unwrap();
    let mut file = memory_file("note").unwrap();
    file.write_all(b"from afar").unwrap();
    assert_eq!(
        send_with_fds(&left, b"here", &[file.as_fd(), left.as_fd()]).unwrap(),
        4
    );
    let (mut bytes, mut fds) = ([0; 16], Vec::new());
    assert_eq!(receive_with_fds(&right, &mut bytes, &mut fds).unwrap(), 4);
    assert_eq!((&bytes[..4], fds.len()), (&b"here"[..], 2));
    for fd in &fds {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let mut copy = std::fs::File::from(fds.remove(0));
    std::io::Seek::rewind(&mut copy).unwrap();
    let mut text = String::new();
    copy.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from afar");

    let error = receive_with_fds(&right, &mut bytes, &mut fds).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop((left, fds));
    assert_eq!(
        receive_with_fds(&right, &mut bytes, &mut Vec::new()).unwrap(),
        0
    );
}

#[test]
fn too_many_descriptors_are_refused() {
    let (left, right) = UnixStream::pair().unwrap();
    let many = vec![left.as_fd(); MESSAGE_FDS_MAX + 1];
    assert_eq!(
        send_with_fds(&left, b"x", &many).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let most = vec![left.as_fd(); MESSAGE_FDS_MAX];
    send_with_fds(&left, b"x", &most).unwrap();
    let mut fds = Vec::new();
    receive_with_fds(&right, &mut [0; 4], &mut fds).unwrap();
    assert_eq!(fds.len(), MESSAGE_FDS_MAX);
}
