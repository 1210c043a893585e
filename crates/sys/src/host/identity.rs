//! Who this host is: names, ids, how long it has been up.

use std::time::Duration;

use super::Host;
use crate::error::{SysError, SysResult};

/// What the kernel calls this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// Its own name.
    pub name: String,
    /// The kernel's release.
    pub kernel: String,
    /// The architecture (`x86_64`).
    pub architecture: String,
}

impl Host {
    /// The host's and the kernel's names, as `uname` gives them.
    pub fn names(&self) -> HostName {
        let names = rustix::system::uname();
        HostName {
            name: names.nodename().to_string_lossy().into_owned(),
            kernel: names.release().to_string_lossy().into_owned(),
            architecture: names.machine().to_string_lossy().into_owned(),
        }
    }

    /// The host's full name: with the domain where the resolver knows it, as
    /// libvirt gives it. May ask a name server, so it can take long.
    pub fn full_name(&self) -> String {
        let short = self.names().name;
        if short.contains('.') || short == "localhost" {
            return short;
        }
        match canonical_name(&short) {
            // "localhost.localdomain" and the like name every host.
            Some(name) if !name.starts_with("localhost") => name,
            _ => short,
        }
    }

    /// Time since boot.
    pub fn uptime(&self) -> SysResult<Duration> {
        let text = self.read("proc/uptime")?;
        let seconds: Option<f64> = text.split(' ').next().and_then(|word| word.parse().ok());
        seconds
            .and_then(|s| Duration::try_from_secs_f64(s).ok())
            .ok_or_else(|| SysError::from_errno("understand", "/proc/uptime", libc::EINVAL))
    }

    /// An id that changes with each boot.
    pub fn boot_id(&self) -> SysResult<String> {
        Ok(self
            .read("proc/sys/kernel/random/boot_id")?
            .trim()
            .to_owned())
    }

    /// The installation's id (`/etc/machine-id`), if it has a valid one.
    pub fn machine_id(&self) -> Option<[u8; 16]> {
        parse_uuid(&self.read_if_there("etc/machine-id")?)
    }

    /// The uuid the firmware gives the machine, if it gives one that can be
    /// one: not all zeros, not all ones. Readable for root only.
    pub fn firmware_uuid(&self) -> Option<[u8; 16]> {
        let uuid = parse_uuid(&self.read_if_there("sys/class/dmi/id/product_uuid")?)?;
        let usable = uuid.iter().any(|byte| *byte != uuid[0]);
        usable.then_some(uuid)
    }
}

/// The kernel's release (`6.12.1-amd64`).
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// 32 hexadecimal digits, with or without dashes.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .trim()
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let digits: [u8; 32] = digits.try_into().ok()?;
    let mut uuid = [0; 16];
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(uuid)
}

/// The resolver's canonical name for a host name.
fn canonical_name(name: &str) -> Option<String> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: an addrinfo of zeros and null pointers is a valid hint.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_flags = libc::AI_CANONNAME;
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list: *mut libc::addrinfo = std::ptr::null_mut();
    // SAFETY: the name is a valid string, the hints are valid, and the result
    // pointer is writable.
    let done = unsafe {
        libc::getaddrinfo(
            name.as_ptr(),
            std::ptr::null(),
            &raw const hints,
            &raw mut list,
        )
    };
    if done != 0 || list.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so the list has a first entry whose name,
    // where it has one, is a string; it is freed once, after it was copied.
    unsafe {
        let first = (*list).ai_canonname;
        let name = (!first.is_null()).then(|| {
            std::ffi::CStr::from_ptr(first)
                .to_string_lossy()
                .into_owned()
        });
        libc::freeaddrinfo(list);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_with_and_without_dashes() {
        let plain = parse_uuid("3d1219c7c4c5404aaa1f6d2a48adfda4\n").unwrap();
        assert_eq!(
            parse_uuid("3d1219c7-c4c5-404a-aa1f-6d2a48adfda4"),
            Some(plain)
        );
        assert_eq!(plain[0], 0x3d);
        assert_eq!(parse_uuid("3d12"), None);
        assert_eq!(parse_uuid("zd1219c7c4c5404aaa1f6d2a48adfda4"), None);
    }

    #[test]
    fn a_firmware_uuid_that_names_nobody_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sys/class/dmi/id");
        std::fs::create_dir_all(&path).unwrap();
        let host = Host::below(directory.path());
        assert_eq!(host.firmware_uuid(), None);
        std::fs::write(
            path.join("product_uuid"),
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        )
        .unwrap();
        assert_eq!(host.firmware_uuid(), None);
        std::fs::write(
            path.join("product_uuid"),
            "3D1219C7-C4C5-404A-AA1F-6D2A48ADFDA4\n",
        )
        .unwrap();
        assert_eq!(host.firmware_uuid().unwrap()[15], 0xa4);
    }

    #[test]
    fn this_host_knows_who_it_is() {
        let host = Host::new();
        assert!(host.uptime().unwrap() > Duration::ZERO);
        assert_eq!(host.boot_id().unwrap().len(), 36);
        let names = host.names();
        assert!(!names.kernel.is_empty());
        assert!(host.full_name().starts_with(&names.name));
    }
}
