use proptest::prelude::*;

use super::*;
use crate::output::Next;
use crate::remote::{
    AuthListArgs, ConnectGetAllDomainStatsArgs, ConnectGetTypeArgs, ConnectOpenArgs,
    DomainLookupByNameArgs, DomainLookupByNameRet,
};

const SECOND: Duration = Duration::from_secs(1);

fn header(procedure: i32, serial: u32) -> Header {
    Header {
        program: remote::PROGRAM,
        version: remote::VERSION,
        procedure,
        kind: Kind::Call,
        serial,
        status: Status::Ok,
    }
}

fn call<T: crate::procedure::Call>(serial: u32, args: &T) -> Vec<u8> {
    frame::packet(header(T::NUMBER, serial), args).unwrap()
}

fn feed(connection: &mut Connection, bytes: &[u8]) {
    connection.receive(bytes, [], Duration::ZERO).unwrap();
}

/// Everything sent so far, as packets.
fn sent(connection: &mut Connection) -> Vec<Packet> {
    let mut reader = Reader::default();
    while let Next::Bytes(bytes) = connection.output().next() {
        let bytes = bytes.to_vec();
        reader.push(&bytes, []).unwrap();
        connection.output().bytes_sent(bytes.len());
    }
    std::iter::from_fn(|| reader.next_packet().unwrap()).collect()
}

fn error_text(packet: &Packet) -> String {
    assert_eq!(packet.header.status, Status::Error);
    packet.decode::<RpcError>().unwrap().text().to_string()
}

fn next_call(connection: &mut Connection) -> Call {
    match connection.next_incoming().unwrap() {
        Some(Incoming::Call(call)) => call,
        other => panic!("no call but {other:?}"),
    }
}

#[test]
fn a_call_is_handed_out_and_its_answer_sent() {
    let mut connection = Connection::new(Settings::default());
    feed(
        &mut connection,
        &call(7, &DomainLookupByNameArgs { name: "vm".into() }),
    );
    let call = next_call(&mut connection);
    assert_eq!(
        call.procedure,
        Procedure::Remote(remote::Procedure::DomainLookupByName)
    );
    let args: DomainLookupByNameArgs = call.args().unwrap();
    assert_eq!(args.name, "vm");
    let ret = DomainLookupByNameRet::default();
    connection.reply(call.header, &ret);
    let packets = sent(&mut connection);
    assert_eq!(packets[0].header, header(23, 7).reply(Status::Ok));
    assert_eq!(packets[0].decode::<DomainLookupByNameRet>().unwrap(), ret);
    assert_eq!(connection.outstanding(), 0);
}

#[test]
fn what_does_not_exist_is_answered_in_libvirts_words() {
    for (program, version, procedure, text) in [
        (1, 1, 1, "Cannot find program 1 version 1"),
        (
            remote::PROGRAM,
            9,
            1,
            "Cannot find program 536903814 version 9",
        ),
        (remote::PROGRAM, 1, 9999, "unknown procedure: 9999"),
        (remote::PROGRAM, 1, -1, "unknown procedure: -1"),
        // An event is nothing to call.
        (remote::PROGRAM, 1, 107, "unknown procedure: 107"),
    ] {
        let mut connection = Connection::new(Settings::default());
        let header = Header {
            program,
            version,
            ..header(procedure, 3)
        };
        feed(&mut connection, &frame::packet(header, &()).unwrap());
        assert!(connection.next_incoming().unwrap().is_none());
        let packets = sent(&mut connection);
        assert_eq!(error_text(&packets[0]), text);
        assert_eq!(packets[0].header.serial, 3);
    }
}

#[test]
fn bad_arguments_are_an_error_of_that_call_alone() {
    let mut connection = Connection::new(Settings::default());
    feed(&mut connection, &frame::packet(header(23, 1), &()).unwrap());
    let call = next_call(&mut connection);
    let error = call.args::<DomainLookupByNameArgs>().unwrap_err();
    assert!(error.text().starts_with("Unable to decode message payload"));
}

#[test]
fn before_authentication_only_auth_calls_pass() {
    let mut connection = Connection::new(Settings {
        auth_required: true,
        ..Settings::default()
    });
    feed(&mut connection, &call(1, &ConnectOpenArgs::default()));
    feed(&mut connection, &call(2, &AuthListArgs::default()));
    let auth = next_call(&mut connection);
    assert_eq!(auth.header.serial, 2);
    assert_eq!(
        error_text(&sent(&mut connection)[0]),
        "authentication required"
    );
    connection.authenticated();
    feed(&mut connection, &call(3, &ConnectOpenArgs::default()));
    assert_eq!(next_call(&mut connection).header.serial, 3);
}

#[test]
fn calls_past_the_limit_wait_and_pings_do_not() {
    let mut connection = Connection::new(Settings {
        calls_max: 1,
        ..Settings::default()
    });
    for serial in 1..4 {
        feed(
            &mut connection,
            &call(serial, &ConnectGetTypeArgs::default()),
        );
    }
    feed(&mut connection, &ping::message(KeepaliveProcedure::Ping));
    let first = next_call(&mut connection);
    assert!(connection.next_incoming().unwrap().is_none());
    let pong = &sent(&mut connection)[0].header;
    assert_eq!(ping::procedure_of(pong), Some(KeepaliveProcedure::Pong));
    connection.reply(first.header, &());
    assert_eq!(next_call(&mut connection).header.serial, 2);
}

#[test]
fn a_flood_of_calls_stops_the_reading() {
    let mut connection = Connection::new(Settings {
        calls_max: 1,
        ..Settings::default()
    });
    for serial in 0..100 {
        feed(
            &mut connection,
            &call(serial, &ConnectGetTypeArgs::default()),
        );
    }
    let first = next_call(&mut connection);
    assert!(connection.next_incoming().unwrap().is_none());
    assert!(!connection.wants_input());
    connection.reply(first.header, &());
    for serial in 1..100 {
        let call = next_call(&mut connection);
        assert_eq!(call.header.serial, serial);
        connection.reply(call.header, &());
    }
}

#[test]
fn only_clients_that_asked_are_pinged() {
    let mut connection = Connection::new(Settings::default());
    assert_eq!(connection.deadline(), None);
    connection.tick(1000 * SECOND).unwrap();
    assert!(sent(&mut connection).is_empty());

    connection.start_keepalive(Duration::ZERO);
    for second in 1..=5u32 {
        connection.tick(second * 5 * SECOND).unwrap();
    }
    assert_eq!(sent(&mut connection).len(), 5);
    assert_eq!(connection.tick(30 * SECOND), Err(Broken::KeepaliveTimeout));
}

#[test]
fn stream_data_reaches_only_open_streams() {
    let mut connection = Connection::new(Settings::default());
    let console = header(201, 5);
    let data = |serial| {
        frame::data_packet(
            Header {
                serial,
                ..console.stream(Status::Continue)
            },
            b"ls\n",
        )
        .unwrap()
    };
    feed(&mut connection, &data(5));
    assert!(connection.next_incoming().unwrap().is_none());

    connection.open_stream(console).unwrap();
    feed(&mut connection, &data(6));
    feed(&mut connection, &data(5));
    let Some(Incoming::Stream(5, StreamPacket::Data(bytes))) = connection.next_incoming().unwrap()
    else {
        panic!("no data");
    };
    assert_eq!(bytes, b"ls\n");

    let packet = |length| vec![1; frame::STREAM_ROOM_BYTES + length];
    connection.stream_data(5, packet(frame::STREAM_DATA_MAX_BYTES));
    connection.stream_data(5, packet(1));
    connection.stream_end_of_data(5);
    let packets = sent(&mut connection);
    let sizes: Vec<usize> = packets.iter().map(|p| p.body.len()).collect();
    assert_eq!(sizes, [frame::STREAM_DATA_MAX_BYTES, 1, 0]);
    assert!(packets.iter().all(|p| p.header.status == Status::Continue));

    let finish = frame::data_packet(console.stream(Status::Ok), &[]).unwrap();
    feed(&mut connection, &finish);
    assert!(matches!(
        connection.next_incoming().unwrap(),
        Some(Incoming::Stream(5, StreamPacket::Finish))
    ));
    connection.stream_finished(5);
    assert_eq!(sent(&mut connection)[0].header, console.stream(Status::Ok));
    feed(&mut connection, &data(5));
    assert!(connection.next_incoming().unwrap().is_none());
}

#[test]
fn an_aborted_stream_is_closed_and_that_confirmed() {
    let mut connection = Connection::new(Settings::default());
    let console = header(201, 5);
    connection.open_stream(console).unwrap();
    let abort = frame::packet(console.stream(Status::Error), &RpcError::default()).unwrap();
    feed(&mut connection, &abort);
    assert!(matches!(
        connection.next_incoming().unwrap(),
        Some(Incoming::Stream(5, StreamPacket::Abort))
    ));
    let packets = sent(&mut connection);
    assert_eq!(packets[0].header, console.stream(Status::Ok));
    connection.stream_data(5, vec![1; frame::STREAM_ROOM_BYTES + 4]);
    assert!(sent(&mut connection).is_empty());
}

#[test]
fn streams_are_limited() {
    let mut connection = Connection::new(Settings::default());
    for serial in 0..STREAMS_MAX as u32 {
        connection.open_stream(header(201, serial)).unwrap();
    }
    assert!(connection.open_stream(header(201, 1000)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_connection_panic(
        packets in prop::collection::vec(
            (any::<bool>(), -2i32..460, 0u32..7, 0u32..4, 0u32..3, prop::collection::vec(any::<u8>(), 0..40)),
            0..20),
        cut in 1usize..64,
    ) {
        let mut bytes = Vec::new();
        for (is_remote, procedure, kind, serial, status, body) in packets {
            let program = if is_remote { remote::PROGRAM } else { qemu::PROGRAM };
            let words = [28 + body.len() as u32, program, 1, procedure as u32, kind, serial, status];
            bytes.extend(words.iter().flat_map(|w| w.to_be_bytes()));
            bytes.extend(body);
        }
        let mut connection = Connection::new(Settings::default());
        connection.open_stream(header(201, 1)).unwrap();
        'all: for piece in bytes.chunks(cut) {
            if connection.receive(piece, [], Duration::ZERO).is_err() { break; }
            loop {
                match connection.next_incoming() {
                    Ok(Some(Incoming::Call(call))) => {
                        let _ = call.args::<ConnectGetAllDomainStatsArgs>();
                        connection.reply(call.header, &());
                    }
                    Ok(Some(Incoming::Stream(serial, StreamPacket::Finish))) => {
                        connection.stream_finished(serial);
                    }
                    Ok(Some(Incoming::Stream(..))) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
        sent(&mut connection);
    }
}
