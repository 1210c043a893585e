//! A connection against a daemon made of a script: answers, errors, streams, events, silence.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::thread::JoinHandle;

use stead_client::wire::errors::{ErrorCode, ErrorDomain};
use stead_client::wire::frame::{self, Header, Kind, Packet, Reader, Status};
use stead_client::wire::keepalive;
use stead_client::wire::procedure::{Call, Event};
use stead_client::wire::remote::{self, RpcError};
use stead_client::wire::xdr::Xdr;
use stead_client::{Connection, Options, Origin, Piece, Uri};

/// One end of the conversation.
struct Daemon {
    socket: UnixStream,
    reader: Reader,
}

impl Daemon {
    /// The next packet; nothing at the end.
    fn next(&mut self) -> Option<Packet> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(packet) = self
                .reader
                .next_packet()
                .expect("the client keeps to the protocol")
            {
                return Some(packet);
            }
            match self.socket.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self
                    .reader
                    .push(&buffer[..n], [])
                    .expect("no descriptors come"),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the client listens");
    }

    fn answer<T: Xdr>(&mut self, to: Header, body: &T) {
        let bytes = frame::packet(to.reply(Status::Ok), body).expect("it fits");
        self.send(&bytes);
    }

    /// Answers what every client asks first; pings are wanted if `keepalive`.
    fn greet(&mut self, keepalive: bool) {
        let packet = self.next().expect("AUTH_LIST");
        assert_eq!(packet.header.procedure, remote::AuthListArgs::NUMBER);
        self.answer(packet.header, &remote::AuthListRet { types: vec![0] });
        let packet = self.next().expect("CONNECT_SUPPORTS_FEATURE");
        let supported = i32::from(keepalive);
        self.answer(
            packet.header,
            &remote::ConnectSupportsFeatureRet { supported },
        );
        let mut packet = self.next().expect("CONNECT_OPEN");
        while packet.header.program == keepalive::PROGRAM {
            packet = self.next().expect("CONNECT_OPEN");
        }
        let args: remote::ConnectOpenArgs = packet.decode().expect("it is well formed");
        assert_eq!(args.name.as_deref(), Some("qemu:///system"));
        self.answer(packet.header, &());
    }
}

/// Connects to a daemon that greets and then does what `script` says.
fn talk(
    options: &Options,
    script: impl FnOnce(&mut Daemon) + Send + 'static,
) -> (Connection, JoinHandle<()>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sock");
    let listener = UnixListener::bind(&path).expect("the folder is ours");
    let keepalive = options.keepalive_interval_s.is_some();
    let daemon = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("the client comes");
        let mut daemon = Daemon {
            socket,
            reader: Reader::default(),
        };
        daemon.greet(keepalive);
        script(&mut daemon);
    });
    let uri = Uri::parse(&format!("qemu+unix:///system?socket={}", path.display())).expect("a URI");
    (Connection::open(&uri, options).expect("it opens"), daemon)
}

#[test]
fn answers_and_errors_find_their_callers() {
    let (connection, daemon) = talk(&Options::default(), |daemon| {
        let first = daemon.next().expect("a call");
        let error = RpcError::new(ErrorCode::NoDomain, ErrorDomain::Qemu, "no domain with 'x'");
        let bytes = frame::error_packet(first.header.reply(Status::Error), &error);
        daemon.send(&bytes);
        let second = daemon.next().expect("a call");
        daemon.answer(
            second.header,
            &remote::ConnectGetHostnameRet {
                hostname: "h".into(),
            },
        );
    });
    let lookup = remote::DomainLookupByNameArgs { name: "x".into() };
    let error = connection.call(&lookup).expect_err("there is no x");
    assert!(error.is(ErrorCode::NoDomain), "{error:?}");
    assert!(error.to_string().contains("no domain with 'x'"), "{error}");
    let got = connection
        .call(&remote::ConnectGetHostnameArgs {})
        .expect("it is answered");
    assert_eq!(got.hostname, "h");
    drop(connection);
    daemon.join().expect("the script was kept to");
}

#[test]
fn a_daemon_that_goes_away_ends_every_call() {
    let (connection, daemon) = talk(&Options::default(), |daemon| {
        daemon.next().expect("a call");
    });
    let error = connection
        .call(&remote::ConnectGetHostnameArgs {})
        .expect_err("nobody answers");
    assert_eq!(error.origin, Origin::Lost);
    daemon.join().expect("the script was kept to");
    let error = connection
        .call(&remote::ConnectGetHostnameArgs {})
        .expect_err("nobody is there");
    assert_eq!(error.origin, Origin::Lost);
}

#[test]
fn garbage_ends_the_connection_with_a_word() {
    let (connection, daemon) = talk(&Options::default(), |daemon| {
        daemon.next().expect("a call");
        daemon.send(&[0xff; 64]);
        daemon.next();
    });
    let error = connection
        .call(&remote::ConnectGetHostnameArgs {})
        .expect_err("not an answer");
    assert_eq!(error.origin, Origin::Protocol, "{error}");
    drop(connection);
    daemon.join().expect("the script was kept to");
}

#[test]
fn a_stream_ends_with_an_empty_packet_and_a_confirmation() {
    let (connection, daemon) = talk(&Options::default(), |daemon| {
        let call = daemon.next().expect("a call").header;
        daemon.answer(
            call,
            &remote::DomainScreenshotRet {
                mime: Some("image/png".into()),
            },
        );
        for data in [&b"one"[..], b"two", b""] {
            let header = call.stream(Status::Continue);
            let bytes = frame::data_packet(header, data).expect("it fits");
            daemon.send(&bytes);
        }
        let end = daemon.next().expect("the end of the stream").header;
        assert_eq!(
            (end.kind, end.status, end.serial),
            (Kind::Stream, Status::Ok, call.serial)
        );
        let bytes = frame::data_packet(call.stream(Status::Ok), b"").expect("it fits");
        daemon.send(&bytes);
    });
    let args = remote::DomainScreenshotArgs::default();
    let (got, mut stream) = connection.open_stream(&args).expect("it opens");
    assert_eq!(got.mime.as_deref(), Some("image/png"));
    let mut all = Vec::new();
    while let Some(data) = stream.receive().expect("data comes") {
        all.extend(data);
    }
    assert_eq!(all, b"onetwo");
    stream.finish().expect("the end is confirmed");
    drop(connection);
    daemon.join().expect("the script was kept to");
}

#[test]
fn events_reach_the_sink_and_pings_are_answered() {
    let message = |procedure, program, version| Header {
        program,
        version,
        procedure,
        kind: Kind::Event,
        serial: 0,
        status: Status::Ok,
    };
    let (connection, daemon) = talk(&Options::default(), move |daemon| {
        let call = daemon.next().expect("a call").header;
        let ping = message(
            keepalive::PingMsg::NUMBER,
            keepalive::PROGRAM,
            keepalive::VERSION,
        );
        let bytes = frame::data_packet(ping, b"").expect("it fits");
        daemon.send(&bytes);
        let pong = daemon.next().expect("a pong").header;
        assert_eq!(pong.procedure, keepalive::PongMsg::NUMBER);
        let number = remote::DomainEventCallbackRebootMsg::NUMBER;
        let event = message(number, remote::PROGRAM, remote::VERSION);
        let body = remote::DomainEventCallbackRebootMsg {
            callback_id: 7,
            ..Default::default()
        };
        let bytes = frame::packet(event, &body).expect("it fits");
        daemon.send(&bytes);
        daemon.answer(call, &remote::ConnectGetHostnameRet::default());
    });
    let (sink, events) = mpsc::channel();
    let forward = move |packet| sink.send(packet).expect("the test listens");
    connection.on_event(forward).expect("it is open");
    connection
        .call(&remote::ConnectGetHostnameArgs {})
        .expect("it is answered");
    let event = events.recv().expect("the event came before the answer");
    let event: remote::DomainEventCallbackRebootMsg = event.decode().expect("it is well formed");
    assert_eq!(event.callback_id, 7);
    drop(connection);
    daemon.join().expect("the script was kept to");
}

#[test]
fn a_daemon_that_answers_no_pings_is_given_up() {
    let options = Options {
        keepalive_interval_s: Some(1),
        keepalive_count: Some(1),
        ..Options::default()
    };
    let (connection, daemon) = talk(&options, |daemon| while daemon.next().is_some() {});
    let error = connection
        .call(&remote::ConnectGetHostnameArgs {})
        .expect_err("nobody answers");
    assert!(error.to_string().contains("keepalive timeout"), "{error}");
    drop(connection);
    daemon.join().expect("the script was kept to");
}

#[test]
fn a_missing_socket_is_named() {
    let uri = Uri::parse("qemu+unix:///system?socket=/nowhere/sock").expect("a URI");
    let Err(error) = Connection::open(&uri, &Options::default()) else {
        panic!("it opened")
    };
    let want = "Failed to connect socket to '/nowhere/sock': No such file or directory";
    assert_eq!(error.to_string(), want);
    assert!(error.hint().is_some());
}

proptest::proptest! {
    #[test]
    fn no_uri_is_too_strange(text in "(qemu)?[+a-z:/@%?=&.0-9é\\[\\]-]{0,60}") {
        _ = Uri::parse(&text);
    }
}

/// The arguments of a call that opens a stream.
fn download() -> remote::StorageVolDownloadArgs {
    remote::StorageVolDownloadArgs {
        vol: remote::RemoteStorageVol {
            pool: "p".into(),
            name: "v".into(),
            key: "k".into(),
        },
        offset: 0,
        length: 0,
        flags: 0,
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 3) as u8).collect()
}

#[test]
fn content_goes_to_a_file_whatever_comes_between() {
    let all = content(1_000_003);
    let sent = all.clone();
    let (connection, daemon) = talk(&Options::default(), move |daemon| {
        let call = daemon.next().expect("a call").header;
        daemon.answer(call, &());
        let more = call.stream(Status::Continue);
        for (n, piece) in sent.chunks(120_000).enumerate() {
            daemon.send(&frame::data_packet(more, piece).expect("it fits"));
            if n == 3 {
                let ping = Header {
                    program: keepalive::PROGRAM,
                    version: keepalive::VERSION,
                    procedure: keepalive::PingMsg::NUMBER,
                    kind: Kind::Event,
                    serial: 0,
                    status: Status::Ok,
                };
                daemon.send(&frame::data_packet(ping, &[]).expect("it fits"));
                let pong = daemon.next().expect("an answer").header;
                assert_eq!(pong.program, keepalive::PROGRAM);
            }
        }
        daemon.send(&frame::data_packet(more, &[]).expect("it fits"));
        let end = daemon.next().expect("the end").header;
        assert_eq!(end.status, Status::Ok);
        daemon.send(&frame::data_packet(call.stream(Status::Ok), &[]).expect("it fits"));
    });
    let ((), mut stream) = connection.open_stream(&download()).expect("it is opened");
    stream.take_content();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (mut end, mut passed_on) = (0, 0);
    while let Some(piece) = stream.receive_piece().expect("all is well") {
        end += match piece {
            Piece::Content(content) => {
                let count = content.write_to(file.as_file(), end).expect("room");
                passed_on += count;
                count
            }
            Piece::Data(bytes) => {
                file.as_file().write_all_at(&bytes, end).expect("room");
                bytes.len() as u64
            }
            Piece::Hole(_) => panic!("there are no holes"),
        };
    }
    stream.finish().expect("it ends");
    assert!(std::fs::read(file.path()).expect("a file") == all);
    assert!(passed_on > 0, "all of it was copied");
    drop(connection);
    daemon.join().expect("the script was kept to");
}

#[test]
fn a_file_goes_into_a_stream() {
    let all = content(700_001);
    let (told, received) = mpsc::channel();
    let (connection, daemon) = talk(&Options::default(), move |daemon| {
        let call = daemon.next().expect("a call").header;
        daemon.answer(call, &());
        let mut got = Vec::new();
        loop {
            let packet = daemon.next().expect("content, then the end");
            match packet.header.status {
                Status::Continue => got.extend_from_slice(&packet.body),
                _ => break,
            }
        }
        told.send(got).expect("somebody wants it");
        daemon.send(&frame::data_packet(call.stream(Status::Ok), &[]).expect("it fits"));
    });
    let ((), mut stream) = connection.open_stream(&download()).expect("it is opened");
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&all).expect("room");
    let mut at = 0;
    loop {
        let sent = stream.send_file(&file, at, u64::MAX).expect("all is well");
        match sent.expect("it can be read") {
            0 => break,
            count => at += count,
        }
    }
    stream.finish().expect("it ends");
    assert!(received.recv().expect("all of it") == all);
    drop(connection);
    daemon.join().expect("the script was kept to");
}
