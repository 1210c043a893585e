//! The manifest of a package: a line for each file, `SHA256(disk.vmdk)= 0123…`.

use super::is_file_name;
use crate::limits::{MANIFEST_LINES_MAX, MANIFEST_MAX_BYTES};
use thiserror::Error;

/// How a digest is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-1, of packages of old.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    const ALL: [(Algorithm, &str, usize); 3] = [
        (Algorithm::Sha1, "SHA1", 40),
        (Algorithm::Sha256, "SHA256", 64),
        (Algorithm::Sha512, "SHA512", 128),
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|row| row.0 == self)
            .map_or("", |row| row.1)
    }

    /// The algorithm whose digests are so long in hexadecimal.
    pub fn of_length(hex_chars: usize) -> Option<Algorithm> {
        Self::ALL
            .iter()
            .find(|row| row.2 == hex_chars)
            .map(|row| row.0)
    }
}

/// What a file's digest must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The file's name.
    pub file: String,
    /// How it is computed.
    pub algorithm: Algorithm,
    /// In hexadecimal, small letters.
    pub hex: String,
}

/// Why a manifest, or a file of checksums, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// It is too long.
    #[error("it is longer than {MANIFEST_MAX_BYTES} bytes or {MANIFEST_LINES_MAX} lines")]
    TooLong,
    /// A line that is no digest of a file.
    #[error("line {0} is no digest of a file")]
    Line(usize),
}

/// Reads `SHA256(NAME)= HEX`, with or without spaces.
pub(crate) fn read_tagged(line: &str) -> Option<Digest> {
    let (head, hex) = line.rsplit_once('=')?;
    let head = head.trim_end().strip_suffix(')')?;
    let (word, file) = head.split_once('(')?;
    let (word, hex) = (word.trim(), hex.trim());
    let row = Algorithm::ALL.iter().find(|row| row.1 == word)?;
    let is_digest = hex.len() == row.2 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    is_digest.then(|| Digest {
        file: file.to_owned(),
        algorithm: row.0,
        hex: hex.to_ascii_lowercase(),
    })
}

/// Reads a manifest whole: a line that is not understood is a reason not to trust it.
pub fn read_manifest(text: &str) -> Result<Vec<Digest>, ManifestError> {
    if text.len() > MANIFEST_MAX_BYTES || text.lines().count() > MANIFEST_LINES_MAX {
        return Err(ManifestError::TooLong);
    }
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let read = lines.map(|(number, line)| {
        let digest = read_tagged(line).filter(|digest| is_file_name(&digest.file));
        digest.ok_or(ManifestError::Line(number))
    });
    read.collect()
}

/// A manifest of these digests.
pub fn write_manifest(digests: &[Digest]) -> String {
    let line = |digest: &Digest| {
        let Digest {
            file,
            algorithm,
            hex,
        } = digest;
        format!("{}({file})= {hex}\n", algorithm.word())
    };
    digests.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn manifests_of_others() {
        let sha1 = "a".repeat(40);
        let sha256 = "0B".repeat(32);
        let text = format!("SHA1(vm.ovf)= {sha1}\r\nSHA256 (vm disk(1).vmdk) = {sha256}\n\n");
        let read = read_manifest(&text).expect("it is one");
        assert_eq!(read[0].algorithm, Algorithm::Sha1);
        assert_eq!(
            (read[1].file.as_str(), read[1].hex.as_str()),
            ("vm disk(1).vmdk", &*"0b".repeat(32))
        );
        for wrong in [
            "SHA256(a)= 12",
            "MD5(a)= 1",
            "hello",
            &format!("SHA1(../a)= {sha1}"),
        ] {
            assert_eq!(read_manifest(wrong), Err(ManifestError::Line(1)), "{wrong}");
        }
        let long = "\n".repeat(MANIFEST_LINES_MAX + 1);
        assert_eq!(read_manifest(&long), Err(ManifestError::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(names in prop::collection::vec("[a-zA-Z0-9(][ a-zA-Z0-9()=._-]{0,20}", 0..10)) {
            let digests: Vec<Digest> = names.into_iter().map(|file| Digest {
                file,
                algorithm: Algorithm::Sha256,
                hex: "1f".repeat(32),
            }).collect();
            prop_assert_eq!(read_manifest(&write_manifest(&digests)), Ok(digests));
        }

        #[test]
        fn anything_is_read_or_refused(text in "(SHA(1|256|512)?[(][a-z./]{0,5}[)]= [0-9a-f]{0,70}\n|.{0,20}\n){0,9}") {
            let _ = read_manifest(&text);
        }
    }
}
