//! The face with its real sockets and an engine that has no machines: what holds for every client,
//! whatever it sends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use engine::places::Places;
use engine::{Config, Engine, Mode};
use stead_rpc::{Server, Serving, Socket};
use wire::client::{Client, Received};
use wire::frame::{self, Header, Kind, Status};
use wire::output::Next;
use wire::procedure::Call;
use wire::remote::*;
use wire::xdr::Xdr;

/// No answer takes that long; a test that waits for it has found silence.
const PATIENCE: Duration = Duration::from_secs(20);

struct Daemon {
    _runtime: tokio::runtime::Runtime,
    _serving: Vec<Serving>,
    read_write: PathBuf,
    read_only: PathBuf,
    _directory: tempfile::TempDir,
}

fn daemon() -> Daemon {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(Mode::Session, Places::below(directory.path()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (read_write, read_only) = (
        directory.path().join("sock"),
        directory.path().join("sock-ro"),
    );
    let serving = runtime.block_on(async {
        let engine = Engine::start(config).await.unwrap();
        let server = Server::new(engine, 0);
        vec![
            server
                .listen(&Socket::read_write(read_write.clone(), None))
                .unwrap(),
            server
                .listen(&Socket::read_only(read_only.clone()))
                .unwrap(),
        ]
    });
    Daemon {
        _runtime: runtime,
        _serving: serving,
        read_write,
        read_only,
        _directory: directory,
    }
}

struct Session {
    socket: UnixStream,
    client: Client,
}

impl Session {
    fn connect(path: &PathBuf) -> Session {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Session {
            socket,
            client: Client::new(),
        }
    }

    fn open(path: &PathBuf) -> Session {
        let mut session = Session::connect(path);
        session.call(&AuthListArgs {}).unwrap();
        session.call(&ConnectOpenArgs::default()).unwrap();
        session
    }

    fn call<T: Call>(&mut self, args: &T) -> Result<T::Ret, Box<RpcError>> {
        self.client.call(args).unwrap();
        while let Next::Bytes(bytes) = self.client.output().next() {
            let bytes = bytes.to_vec();
            self.socket.write_all(&bytes).unwrap();
            self.client.output().bytes_sent(bytes.len());
        }
        loop {
            match self.client.next_received().unwrap() {
                Some(Received::Reply(_, reply)) => return Ok(reply?.ret::<T>().unwrap()),
                Some(other) => panic!("not a reply: {other:?}"),
                None => {
                    let mut buffer = [0; 65536];
                    let count = self.socket.read(&mut buffer).unwrap();
                    assert_ne!(count, 0, "the daemon closed the connection");
                    self.client
                        .receive(&buffer[..count], [], Duration::ZERO)
                        .unwrap();
                }
            }
        }
    }
}

/// Makes a call with a body of zeros, which is more than any arguments take, and returns the error.
fn raw_call(socket: &mut UnixStream, procedure: Procedure, serial: u32) -> Option<RpcError> {
    let header = Header {
        program: PROGRAM,
        version: VERSION,
        procedure: procedure.number(),
        kind: Kind::Call,
        serial,
        status: Status::Ok,
    };
    let packet = frame::data_packet(header, &[0; 512]).unwrap();
    socket.write_all(&packet).unwrap();
    let mut reader = frame::Reader::default();
    let mut buffer = [0; 65536];
    loop {
        if let Some(packet) = reader.next_packet().unwrap() {
            let is_reply = matches!(packet.header.kind, Kind::Reply | Kind::ReplyWithFds);
            if !is_reply {
                continue;
            }
            assert_eq!(packet.header.serial, serial, "{procedure:?}");
            let failed = packet.header.status == Status::Error;
            return failed.then(|| packet.decode().unwrap());
        }
        let count = socket.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{procedure:?} closed the connection");
        reader.push(&buffer[..count], []).unwrap();
    }
}

#[test]
fn every_procedure_is_answered_on_both_sockets() {
    let daemon = daemon();
    let mut read_write = Session::open(&daemon.read_write).socket;
    let mut read_only = Session::open(&daemon.read_only).socket;
    for procedure in Procedure::ALL.iter().filter(|p| !p.is_event()) {
        let serial = 1000 + procedure.number() as u32;
        let told = raw_call(&mut read_write, *procedure, serial);
        let denied = |error: &RpcError| error.text().contains("read only");
        assert!(!told.as_ref().is_some_and(denied), "{procedure:?} {told:?}");

        let told = raw_call(&mut read_only, *procedure, serial);
        if procedure.writes() {
            let error = told.unwrap_or_else(|| panic!("{procedure:?} was done read-only"));
            let words = format!("read only access prevents {}", procedure.api_name());
            assert_eq!(error.code, 29);
            assert!(error.text().ends_with(&words), "{procedure:?} {error:?}");
        }
    }
}

#[test]
fn a_connection_that_is_not_open_can_do_nothing() {
    let daemon = daemon();
    let mut session = Session::connect(&daemon.read_write);
    let error = session.call(&ConnectGetUriArgs {}).unwrap_err();
    assert_eq!(error.text(), "internal error: connection not open");
    session.call(&ConnectOpenArgs::default()).unwrap();
    let uri = session.call(&ConnectGetUriArgs {}).unwrap();
    assert_eq!(uri.uri, "qemu:///system");
}

#[test]
fn asking_for_read_only_makes_it_so() {
    const RO: u32 = 1;
    let daemon = daemon();
    let mut session = Session::connect(&daemon.read_write);
    let args = ConnectOpenArgs {
        flags: RO,
        ..ConnectOpenArgs::default()
    };
    session.call(&args).unwrap();
    let error = session.call(&DomainDefineXmlArgs::default()).unwrap_err();
    assert_eq!(error.code, 29);
}

#[test]
fn garbage_ends_its_own_connection_and_no_other() {
    let daemon = daemon();
    let mut neighbour = Session::open(&daemon.read_write);
    for garbage in [
        &[0xff; 64][..],
        &[0, 0, 0, 1, 2, 3, 4, 5],
        &[2, 0, 0, 1, 0, 0, 0, 0],
    ] {
        let mut socket = UnixStream::connect(&daemon.read_write).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(garbage).unwrap();
        // It may be reset while we write, or closed in good order.
        let closed = socket.read(&mut [0; 64]);
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        neighbour.call(&ConnectGetTypeArgs {}).unwrap();
    }
}

#[test]
fn a_call_with_cut_off_arguments_fails_alone() {
    let daemon = daemon();
    let mut session = Session::open(&daemon.read_write);
    let header = Header {
        program: PROGRAM,
        version: VERSION,
        procedure: DomainLookupByNameArgs::NUMBER,
        kind: Kind::Call,
        serial: 77,
        status: Status::Ok,
    };
    let cut = frame::data_packet(header, &9u32.to_bytes().unwrap()).unwrap();
    session.socket.write_all(&cut).unwrap();
    let mut reader = frame::Reader::default();
    let mut buffer = [0; 4096];
    let count = session.socket.read(&mut buffer).unwrap();
    reader.push(&buffer[..count], []).unwrap();
    let packet = reader.next_packet().unwrap().unwrap();
    let error: RpcError = packet.decode().unwrap();
    assert_eq!((packet.header.serial, error.code), (77, 39));
    session.call(&ConnectGetTypeArgs {}).unwrap();
}

#[test]
fn events_are_subscribed_and_unsubscribed_by_number() {
    let daemon = daemon();
    let mut session = Session::open(&daemon.read_write);
    let register = ConnectDomainEventCallbackRegisterAnyArgs::default();
    let first = session.call(&register).unwrap().callback_id;
    let second = session.call(&register).unwrap().callback_id;
    assert_ne!(first, second);
    let deregister = |callback_id| ConnectDomainEventCallbackDeregisterAnyArgs { callback_id };
    session.call(&deregister(first)).unwrap();
    let error = session.call(&deregister(first)).unwrap_err();
    assert!(error.text().ends_with("not registered"), "{error:?}");
    session.call(&deregister(second)).unwrap();
    let unknown = ConnectDomainEventCallbackRegisterAnyArgs {
        event_id: 999,
        dom: None,
    };
    let error = session.call(&unknown).unwrap_err();
    assert_eq!(error.text(), "internal error: unsupported event ID 999");
}
