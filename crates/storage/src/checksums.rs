//! What publishers of images say beside them: files of checksums, and keys as
//! text.

use crate::limits::{MANIFEST_LINES_MAX, MANIFEST_MAX_BYTES};
use crate::ovf::{Algorithm, Digest, ManifestError, read_tagged};

/// The strongest digest that a file of checksums has for a file: lines of
/// `HEX  NAME` (`sha256sum`) or `SHA256 (NAME) = HEX`. Others are passed over:
/// publishers write remarks and signatures around them.
///
/// # Errors
/// If the text is longer than any publisher's.
pub fn find(text: &str, name: &str) -> Result<Option<Digest>, ManifestError> {
    if text.len() > MANIFEST_MAX_BYTES || text.lines().count() > MANIFEST_LINES_MAX {
        return Err(ManifestError::TooLong);
    }
    let digests = text.lines().filter_map(|line| {
        let line = line.trim();
        read_tagged(line).or_else(|| read_plain(line))
    });
    let of_file = digests.filter(|digest| digest.file.rsplit('/').next() == Some(name));
    Ok(of_file.max_by_key(|digest| digest.algorithm))
}

fn read_plain(line: &str) -> Option<Digest> {
    let (hex, file) = line.split_once([' ', '\t'])?;
    let algorithm = Algorithm::of_length(hex.len())?;
    // A star says that the file was read as it is.
    let file = file.trim_start().trim_start_matches('*');
    hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| Digest {
        file: file.to_owned(),
        algorithm,
        hex: hex.to_ascii_lowercase(),
    })
}

/// Whether a text carries its signature in itself.
pub fn is_clearsigned(text: &[u8]) -> bool {
    text.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----")
}

/// Keys or signatures as bytes: armoured ones (`-----BEGIN PGP …`) are
/// decoded, others are what they are. None where the armour is damaged.
pub fn dearmor(bytes: &[u8]) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN PGP ";
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if text.trim_start().starts_with(BEGIN) => text,
        _ => return Some(bytes.to_vec()),
    };
    let mut out = Vec::new();
    // Several blocks in one file make one keyring.
    for block in text.split(BEGIN).skip(1) {
        let body = block.split("-----END PGP ").next()?;
        // Headers end with an empty line; the last line is a sum of 24 bits.
        let lines = body.lines().map(str::trim).skip(1);
        let lines = lines.skip_while(|line| !line.is_empty()).skip(1);
        let data: String = lines.take_while(|line| !line.starts_with('=')).collect();
        out.extend(base64(&data)?);
    }
    Some(out)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|known| *known == byte)?;
        held = (held << 6) | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits).to_le_bytes()[0]);
            held &= (1 << bits) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digests_of_every_publisher() {
        let (weak, strong) = ("1".repeat(64), "2".repeat(128));
        let text = format!(
            "# debian-12.qcow2: 431 bytes\nSHA256 (debian-12.qcow2) = {weak}\n{strong}  ./debian-12.qcow2\n\
             {weak} *other.img\n-----BEGIN PGP SIGNATURE-----\n"
        );
        let found = find(&text, "debian-12.qcow2")
            .expect("short")
            .expect("there");
        assert_eq!((found.algorithm, found.hex), (Algorithm::Sha512, strong));
        let other = find(&text, "other.img").expect("short").expect("there");
        assert_eq!(other.algorithm, Algorithm::Sha256);
        assert_eq!(find(&text, "img"), Ok(None));
        assert!(find(&"\n".repeat(MANIFEST_LINES_MAX + 1), "x").is_err());
    }

    #[test]
    fn keys_as_text() {
        let armoured = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nAAEC\nAwQ=\n=abcd\n\
                        -----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(dearmor(armoured.as_bytes()), Some(vec![0, 1, 2, 3, 4]));
        let two = armoured.repeat(2);
        assert_eq!(dearmor(two.as_bytes()).map(|keys| keys.len()), Some(10));
        assert_eq!(dearmor(b"\x99\x01\x0d"), Some(b"\x99\x01\x0d".to_vec()));
        assert_eq!(dearmor(armoured.replace("AAEC", "A!EC").as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_text_is_looked_through(text in "([0-9a-f]{60,66}|SHA256 ?)[ (*]{1,3}[a-z./]{0,5}[)=\n ]{0,5}.{0,30}", keys in any::<Vec<u8>>()) {
            let _ = find(&text, "a");
            let _ = dearmor(&keys);
            let _ = dearmor(&[b"-----BEGIN PGP X-----\n\n", &keys[..]].concat());
        }
    }
}
