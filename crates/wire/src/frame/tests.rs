use std::os::fd::OwnedFd;

use proptest::prelude::*;

use super::*;
use crate::remote;

fn call(serial: u32) -> Header {
    Header {
        program: remote::PROGRAM,
        version: remote::VERSION,
        procedure: 23,
        kind: Kind::Call,
        serial,
        status: Status::Ok,
    }
}

fn null() -> OwnedFd {
    std::io::pipe().unwrap().0.into()
}

#[test]
fn a_call_is_laid_out_as_libvirt_does() {
    let args = remote::DomainLookupByNameArgs { name: "vm1".into() };
    let bytes = packet(call(5), &args).unwrap();
    let words = |values: &[u32]| {
        values
            .iter()
            .flat_map(|v| v.to_be_bytes())
            .collect::<Vec<_>>()
    };
    let mut expected = words(&[36, 0x2000_8086, 1, 23, 0, 5, 0, 3]);
    expected.extend(b"vm1\0");
    assert_eq!(bytes, expected);
}

#[test]
fn packets_come_out_however_the_bytes_come_in() {
    let mut bytes = packet(
        call(1),
        &remote::DomainLookupByNameArgs { name: "a".into() },
    )
    .unwrap();
    bytes.extend(data_packet(call(2).stream(Status::Continue), b"odd").unwrap());
    for size in 1..bytes.len() {
        let mut reader = Reader::default();
        let mut serials = Vec::new();
        for piece in bytes.chunks(size) {
            reader.push(piece, []).unwrap();
            while let Some(packet) = reader.next_packet().unwrap() {
                serials.push((packet.header.serial, packet.body.len()));
            }
        }
        assert_eq!(serials, [(1, 8), (2, 3)]);
    }
}

#[test]
fn large_bodies_are_collected_in_place() {
    let data: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    let mut room = vec![0; STREAM_ROOM_BYTES];
    room.extend_from_slice(&data);
    let large = data_in_place(call(1).stream(Status::Continue), room).unwrap();
    assert_eq!(
        large,
        data_packet(call(1).stream(Status::Continue), &data).unwrap()
    );
    let small = packet(call(2), &()).unwrap();
    let bytes = [large.as_slice(), &small].concat();
    for size in [5, 28, 40, 70_000, 200_027, 200_028, 200_030, bytes.len()] {
        let mut reader = Reader::default();
        let mut got = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let count = match reader.room() {
                Some((place, missing)) => {
                    let count = size.min(missing);
                    place.extend_from_slice(&rest[..count]);
                    count
                }
                None => {
                    let count = size.min(rest.len());
                    reader.push(&rest[..count], []).unwrap();
                    count
                }
            };
            rest = &rest[count..];
            while let Some(packet) = reader.next_packet().unwrap() {
                got.push((packet.header.serial, packet.body));
            }
        }
        assert_eq!(got, [(1, data.clone()), (2, Vec::new())], "{size}");
        assert_eq!(reader.pending(), 0);
    }
}

#[test]
fn a_large_packet_that_was_given_away_does_not_come_out() {
    let data = vec![7; 100_000];
    let large = data_packet(call(1).stream(Status::Continue), &data).unwrap();
    let small = packet(call(2), &()).unwrap();
    for missing_later in [0, 5, 60_000] {
        let mut reader = Reader::default();
        reader.push(&large[..30_028], []).unwrap();
        assert!(reader.next_packet().unwrap().is_none());
        assert_eq!(reader.under_way(), Some(call(1).stream(Status::Continue)));
        let (arrived, missing) = reader.give_away().unwrap();
        assert_eq!((arrived.len(), missing), (30_000, 70_000));
        reader.take_back(missing_later);
        let rest = &large[large.len() - missing_later..];
        reader.push(&[rest, &small].concat(), []).unwrap();
        let next = reader.next_packet().unwrap().unwrap();
        assert_eq!(next.header.serial, 2, "{missing_later}");
        assert_eq!(reader.pending(), 0);
    }
}

#[test]
fn room_for_a_body_is_no_part_of_it() {
    let roomy = packet_by(call(1), 1000, |out| out.text("four"));
    assert_eq!(roomy.unwrap(), packet(call(1), &"four".to_owned()).unwrap());
}

#[test]
fn content_that_follows_is_known_by_its_head() {
    let header = call(1).stream(Status::Continue);
    let follows = content_follows(header);
    let head = |header, length: usize| {
        let bytes = data_packet(header, &vec![0; length]).unwrap();
        follows(bytes[..STREAM_ROOM_BYTES].try_into().unwrap())
    };
    assert_eq!(head(header, 100_000), Some(100_000));
    assert_eq!(head(header, 10), None);
    assert_eq!(head(call(2).stream(Status::Continue), 100_000), None);
    assert_eq!(follows(&[0xff; STREAM_ROOM_BYTES]), None);
}

#[test]
fn descriptors_belong_to_the_packet_that_announces_them() {
    let sent = packet_with_fds(call(1), &(), vec![null(), null()]).unwrap();
    let mut reader = Reader::default();
    reader.push(&sent.bytes, []).unwrap();
    assert!(reader.next_packet().unwrap().is_none());
    reader.push(b"\0", [null()]).unwrap();
    assert!(reader.next_packet().unwrap().is_none());
    reader.push(b"\0", [null()]).unwrap();
    let packet = reader.next_packet().unwrap().unwrap();
    assert_eq!(packet.header.kind, Kind::CallWithFds);
    assert_eq!(packet.fds.len(), 2);
    assert_eq!(reader.pending(), 0);
}

#[test]
fn descriptors_that_do_not_add_up_end_the_connection() {
    let mut reader = Reader::default();
    reader
        .push(&packet(call(1), &()).unwrap(), [null()])
        .unwrap();
    assert_eq!(reader.next_packet().unwrap_err(), FrameError::StrayFds);

    let mut reader = Reader::default();
    let sent = packet_with_fds(call(1), &(), vec![null()]).unwrap();
    reader.push(&sent.bytes, []).unwrap();
    reader.push(b"\0", []).unwrap();
    assert_eq!(reader.next_packet().unwrap_err(), FrameError::MissingFds);
}

#[test]
fn impossible_lengths_and_headers_are_refused() {
    for length in [0u32, 4, 27, PACKET_MAX_BYTES as u32 + 1, u32::MAX] {
        let mut reader = Reader::default();
        reader.push(&length.to_be_bytes(), []).unwrap();
        assert_eq!(
            reader.next_packet().unwrap_err(),
            FrameError::Length(length as usize)
        );
    }
    let mut bytes = packet(call(1), &()).unwrap();
    bytes[19] = 9;
    let mut reader = Reader::default();
    reader.push(&bytes, []).unwrap();
    assert_eq!(
        reader.next_packet().unwrap_err(),
        FrameError::Header { kind: 9, status: 0 }
    );
}

#[test]
fn a_large_packet_leaves_no_large_buffer_behind() {
    let body = vec![7; 1024 * 1024];
    let mut reader = Reader::default();
    let bytes = data_packet(call(1), &body).unwrap();
    reader.push(&bytes, []).unwrap();
    assert_eq!(reader.next_packet().unwrap().unwrap().body, body);
    reader.push(&[], []).unwrap();
    assert!(reader.buffer.capacity() <= IDLE_BUFFER_MAX_BYTES);
}

#[test]
fn an_error_too_long_to_be_sent_still_says_its_number() {
    let error = RpcError {
        code: 42,
        message: Some("x".repeat(5 * 1024 * 1024)),
        ..RpcError::default()
    };
    let mut reader = Reader::default();
    reader.push(&error_packet(call(1), &error), []).unwrap();
    let sent: RpcError = reader.next_packet().unwrap().unwrap().decode().unwrap();
    assert_eq!(sent.code, 42);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(pieces in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..60), 0..8)
    ) {
        let mut reader = Reader::default();
        'all: for piece in pieces {
            if reader.push(&piece, []).is_err() { break; }
            loop {
                match reader.next_packet() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
    }

    #[test]
    fn reading_undoes_writing(bodies in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..80), 0..8), size in 1usize..100
    ) {
        let bytes: Vec<u8> = bodies.iter().zip(0..)
            .flat_map(|(body, serial)| data_packet(call(serial), body).unwrap())
            .collect();
        let mut reader = Reader::default();
        let mut read = Vec::new();
        for piece in bytes.chunks(size) {
            reader.push(piece, []).unwrap();
            while let Some(packet) = reader.next_packet().unwrap() {
                prop_assert_eq!(packet.header.serial as usize, read.len());
                read.push(packet.body);
            }
        }
        prop_assert_eq!(read, bodies);
    }
}
