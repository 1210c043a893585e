//! Files put into an initial RAM disk: an archive (cpio, "newc") of their own,
//! which the kernel unpacks after the one it is appended to.

/// The longest file that is put in, in bytes.
pub const INJECTED_MAX_BYTES: usize = 16 * 1024 * 1024;
const FILE_MODE: u32 = 0o100_644;

/// An archive of these files, in this order.
pub fn archive<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (inode, (name, content)) in (1..).zip(files) {
        entry(&mut out, inode, FILE_MODE, name, content);
    }
    entry(&mut out, 0, 0, "TRAILER!!!", &[]);
    out
}

/// An initial RAM disk with files appended to it.
pub fn inject<'a>(initrd: &[u8], files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut out = initrd.to_vec();
    pad(&mut out);
    out.extend(archive(files));
    out
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn entry(out: &mut Vec<u8>, inode: u32, mode: u32, name: &str, content: &[u8]) {
    let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    out.extend(b"070701");
    // Inode, mode, user, group, links, time, size, four device numbers, name, checksum.
    let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    for field in fields {
        out.extend(format!("{field:08x}").bytes());
    }
    out.extend(name.bytes());
    out.push(0);
    pad(out);
    out.extend(content);
    pad(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_where_the_kernel_looks() {
        let made = inject(b"12345", [("preseed.cfg", &b"d-i x"[..])]);
        assert_eq!(&made[..8], b"12345\0\0\0");
        let header = &made[8..];
        assert_eq!(&header[..6], b"070701");
        assert_eq!(&header[6 + 8 * 6..6 + 8 * 7], b"00000005");
        assert_eq!(&header[110..122], b"preseed.cfg\0");
        assert_eq!(&header[124..129], b"d-i x");
        assert!(made.windows(10).any(|w| w == b"TRAILER!!!"));
        assert_eq!(made.len() % 4, 0);
    }
}
