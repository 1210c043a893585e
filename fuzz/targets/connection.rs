//! Bytes on libvirt's socket against the whole state machine of a connection that is past its handshake.
//!
//! Every call is answered, so that replies, streams and limits are reached as well. What the machine sends
//! is made of whole packets.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use wire::connection::{Connection, Incoming, Settings};
use wire::frame::Reader;
use wire::output::Next;

fuzz_target!(|input: &[u8]| {
    let mut connection = Connection::new(Settings::default());
    connection.authenticated();
    let mut peer = Reader::default();
    // In pieces, the time going on between them.
    for (second, piece) in input.chunks(200).enumerate() {
        let now = Duration::from_secs(second as u64);
        if connection.receive(piece, [], now).is_err() || connection.tick(now).is_err() {
            return;
        }
        loop {
            match connection.next_incoming() {
                Ok(Some(incoming)) => answer(&mut connection, incoming, now),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        while let Next::Bytes(bytes) = connection.output().next() {
            let bytes = bytes.to_vec();
            peer.push(&bytes, []).expect("no descriptors were sent");
            connection.output().bytes_sent(bytes.len());
        }
        while peer.next_packet().expect("what is sent are packets").is_some() {}
    }
});

fn answer(connection: &mut Connection, incoming: Incoming, now: Duration) {
    if let Incoming::Call(call) = incoming {
        match call.header.serial % 4 {
            0 => drop(connection.open_stream(call.header)),
            1 => connection.start_keepalive(now),
            _ => {}
        }
        connection.reply(call.header, &());
        let room = [0; wire::frame::STREAM_ROOM_BYTES];
        connection.stream_data(call.header.serial, [&room[..], b"data"].concat());
        connection.stream_end_of_data(call.header.serial);
    }
}
