//! Bytes on libvirt's socket: cut into packets, each body read as one of the protocol's structures.
//!
//! What can be read can be written, and is then read as the same again. A packet is the same in
//! whatever pieces it arrives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::frame::{Packet, Reader};
use wire::xdr::Xdr;
use wire::{qemu, remote};

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = packets(&[bytes]);
    let (front, back) = bytes.split_at(bytes.len() * usize::from(*cut) / 256);
    let pieces = packets(&[front, back]);
    assert_eq!(whole.len(), pieces.len());
    for (one, other) in whole.iter().zip(&pieces) {
        assert_eq!(one.body, other.body);
        read_body(one);
    }
});

fn packets(pieces: &[&[u8]]) -> Vec<Packet> {
    let mut reader = Reader::default();
    let mut found = Vec::new();
    for piece in pieces {
        if reader.push(piece, []).is_err() {
            break;
        }
        while let Ok(Some(packet)) = reader.next_packet() {
            found.push(packet);
        }
    }
    found
}

/// The procedure number picks the structure: the deepest and the most varied ones.
fn read_body(packet: &Packet) {
    match packet.header.procedure.rem_euclid(12) {
        0 => same_again::<remote::ConnectOpenArgs>(packet),
        1 => same_again::<remote::DomainDefineXmlFlagsArgs>(packet),
        2 => same_again::<remote::RpcError>(packet),
        3 => same_again::<remote::ConnectGetAllDomainStatsArgs>(packet),
        4 => same_again::<remote::ConnectGetAllDomainStatsRet>(packet),
        5 => same_again::<remote::DomainMigratePerform3ParamsArgs>(packet),
        6 => same_again::<remote::DomainSetBlockIoTuneArgs>(packet),
        7 => same_again::<remote::ConnectListAllDomainsRet>(packet),
        8 => same_again::<remote::DomainGetVcpusRet>(packet),
        9 => same_again::<remote::DomainSendKeyArgs>(packet),
        10 => same_again::<remote::DomainInterfaceAddressesRet>(packet),
        _ => same_again::<qemu::DomainAgentCommandArgs>(packet),
    }
}

fn same_again<T: Xdr + PartialEq + std::fmt::Debug>(packet: &Packet) {
    if let Ok(value) = packet.decode::<T>() {
        let written = value.to_bytes().expect("what was read fits the limits");
        let again = T::from_bytes(&written).expect("what was written can be read");
        // Numbers that are not equal to themselves (NaN) are still written the same.
        assert_eq!(again.to_bytes().expect("as before"), written);
    }
}
