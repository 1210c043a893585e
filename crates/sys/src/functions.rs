//! Virtual functions of a network device (SR-IOV): what their device makes them send as.

use crate::error::{SysError, SysResult};
use crate::link::{RTM_GETLINK, RTM_SETLINK};
use crate::net;
use crate::netlink::{Message, attributes, number_of};

const IFLA_VFINFO_LIST: u16 = 22;
const IFLA_EXT_MASK: u16 = 29;
/// Tell of virtual functions too.
const RTEXT_FILTER_VF: u32 = 1;
const IFLA_VF_INFO: u16 = 1;
const IFLA_VF_MAC: u16 = 1;
const IFLA_VF_VLAN: u16 = 2;
/// Bytes of `struct ifinfomsg`.
const LINK_FIXED_BYTES: usize = 16;
/// Room for an address in `struct ifla_vf_mac`.
const ADDRESS_MAX_BYTES: usize = 32;

/// What a virtual function sends as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FunctionSettings {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The VLAN of all it sends; 0 for none.
    pub vlan: u16,
}

fn body(index: u32) -> [u8; LINK_FIXED_BYTES] {
    let mut body = [0; LINK_FIXED_BYTES];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body
}

/// What the virtual function `number` of `device` sends as.
pub fn settings(device: &str, number: u32) -> SysResult<FunctionSettings> {
    let failed = |e| SysError::new("ask for functions of", device, e);
    let index = index_of(device)?;
    let mut found = None;
    Message::new(RTM_GETLINK, 0, &body(index))
        .number(IFLA_EXT_MASK, RTEXT_FILTER_VF)
        .dump(|_, payload| {
            if payload.get(4..8).and_then(number_of) == Some(index) {
                found = found.or_else(|| read(payload, number));
            }
        })
        .map_err(failed)?;
    found.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
}

fn read(payload: &[u8], number: u32) -> Option<FunctionSettings> {
    let all = attributes(payload, LINK_FIXED_BYTES);
    let (_, list) = all.iter().find(|(kind, _)| *kind == IFLA_VFINFO_LIST)?;
    let functions = attributes(list, 0);
    let mut functions = functions.iter().filter(|(kind, _)| *kind == IFLA_VF_INFO);
    functions.find_map(|(_, one)| {
        let parts = attributes(one, 0);
        let part = |wanted: u16| {
            let found = parts.iter().find(|(kind, _)| *kind == wanted);
            found
                .map(|(_, value)| *value)
                .filter(|value| number_of(value) == Some(number))
        };
        let mac = *part(IFLA_VF_MAC)?.get(4..)?.first_chunk()?;
        let vlan = part(IFLA_VF_VLAN).and_then(|value| number_of(value.get(4..)?));
        Some(FunctionSettings {
            mac,
            vlan: vlan.and_then(|vlan| u16::try_from(vlan).ok()).unwrap_or(0),
        })
    })
}

/// Sets what the virtual function `number` of `device` sends as.
pub fn set(device: &str, number: u32, settings: &FunctionSettings) -> SysResult<()> {
    let index = index_of(device)?;
    request(index, number, settings)
        .run()
        .map_err(|e| SysError::new("set up functions of", device, e))
}

fn request(index: u32, number: u32, settings: &FunctionSettings) -> Message {
    let mut mac = number.to_ne_bytes().to_vec();
    mac.extend(settings.mac);
    mac.resize(4 + ADDRESS_MAX_BYTES, 0);
    // Its number, the VLAN, and the priority of frames.
    let vlan = [number, u32::from(settings.vlan), 0].map(u32::to_ne_bytes);
    Message::new(RTM_SETLINK, 0, &body(index)).nested(IFLA_VFINFO_LIST, |m| {
        m.nested(IFLA_VF_INFO, |m| {
            m.attr(IFLA_VF_MAC, &mac)
                .attr(IFLA_VF_VLAN, vlan.as_flattened())
        })
    })
}

fn index_of(device: &str) -> SysResult<u32> {
    net::index(device)?.ok_or_else(|| {
        SysError::new(
            "find",
            device,
            std::io::Error::from_raw_os_error(libc::ENODEV),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_is_read() {
        let wanted = FunctionSettings {
            mac: [0x52, 0x54, 0, 1, 2, 3],
            vlan: 42,
        };
        let message = request(7, 3, &wanted);
        // The message's own header is 16 bytes long.
        let payload = &message.bytes()[16..];
        assert_eq!(read(payload, 3), Some(wanted));
        assert_eq!(read(payload, 2), None);
        assert_eq!(
            read(&payload[..payload.len() - 20], 3).map(|s| s.vlan),
            None
        );
    }
}
