//! Whether what was fetched is what its publisher published: by a checksum, a
//! file of checksums, a signature.

use super::fetch;
use crate::confined::{Tool, open_regular};
use crate::error::{EngineError, ErrorKind, Result};
use crate::jobs::{JobContext, JobUnit};
use crate::provision::new_file;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use storage::checksums;
use storage::limits::MANIFEST_MAX_BYTES;
use storage::ovf::{Algorithm, Digest};
use sys::landlock::Access;

/// The longest signature or keyring that is read.
const KEYS_MAX_BYTES: u64 = 1024 * 1024;

/// What an image is compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Its checksum in hexadecimal: SHA-256 or SHA-512, told by the length.
    pub checksum: Option<String>,
    /// A URL or an absolute path of a file of checksums that names it.
    pub checksum_file: Option<String>,
    /// A URL or an absolute path of a detached signature: of the file of
    /// checksums where there is one, else of the image.
    pub signature: Option<String>,
    /// The absolute path of the keys that may have signed.
    pub keyring: Option<String>,
}

/// What is known of an image that was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) sha256: String,
    /// The fingerprint of the key that signed.
    pub(crate) signed_by: Option<String>,
}

impl Evidence {
    /// Refuses what says nothing, or not enough.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |what: String| Err(EngineError::new(ErrorKind::InvalidArgument, what));
        if let Some(sum) = &self.checksum {
            let known = matches!(
                Algorithm::of_length(sum.len()),
                Some(Algorithm::Sha256 | Algorithm::Sha512)
            );
            if !known || !sum.bytes().all(|b| b.is_ascii_hexdigit()) {
                return bad(format!("'{sum}' is no SHA-256 or SHA-512 in hexadecimal"));
            }
        }
        if self.signature.is_some() && self.keyring.is_none() {
            return bad(
                "a signature tells nothing without the keys that may sign: --keyring".into(),
            );
        }
        if self.keyring.is_some() && self.signature.is_none() && self.checksum_file.is_none() {
            return bad(
                "a keyring needs a signature (--signature), or a signed file of checksums".into(),
            );
        }
        for named in [&self.checksum_file, &self.signature].into_iter().flatten() {
            if !fetch::is_url(named) && !Path::new(named).is_absolute() {
                return bad(format!("'{named}' is neither a URL nor an absolute path"));
            }
        }
        Ok(())
    }
}

/// A file that is being compared.
pub(crate) struct Verification<'a> {
    pub(crate) job: &'a JobContext,
    pub(crate) evidence: &'a Evidence,
    /// What was fetched.
    pub(crate) file: &'a Path,
    /// Where it came from.
    pub(crate) source: &'a str,
    /// Whether it is a copy of our own, which goes when it is not what it should be.
    pub(crate) is_ours: bool,
}

impl Verification<'_> {
    /// Compares. A copy that is not what it should be is removed: going on from it is of no use.
    pub(crate) async fn carry_out(&self) -> Result<Verified> {
        let verified = self.compare().await;
        if verified.is_err() && self.is_ours && !self.job.is_cancelled() {
            let _ = std::fs::remove_file(self.file);
        }
        verified
    }

    async fn compare(&self) -> Result<Verified> {
        let mut signed_by = None;
        let mut wanted = Vec::new();
        if let Some(hex) = &self.evidence.checksum {
            wanted.extend(
                Algorithm::of_length(hex.len()).map(|algorithm| (algorithm, hex.to_lowercase())),
            );
        }
        match &self.evidence.checksum_file {
            Some(from) => {
                let mut text = self.read(from, MANIFEST_MAX_BYTES as u64).await?;
                if self.evidence.keyring.is_some() {
                    (text, signed_by) = self.signed_text(text, from).await?;
                }
                let digest = self.digest_in(&text, from)?;
                wanted.push((digest.algorithm, digest.hex));
            }
            None if self.evidence.signature.is_some() => {
                signed_by = self.signature_of(self.file).await?;
            }
            None => {}
        }
        let (file, job) = (self.file.to_owned(), self.job.clone());
        let algorithms: Vec<Algorithm> = wanted.iter().map(|(algorithm, _)| *algorithm).collect();
        let digests = crate::aside::aside(move || {
            let mut found = vec![digest_file(&file, Algorithm::Sha256, &job)?];
            for algorithm in algorithms {
                found.push(match algorithm {
                    Algorithm::Sha256 => found[0].clone(),
                    other => digest_file(&file, other, &job)?,
                });
            }
            Ok(found)
        });
        let digests = self.job.unless_cancelled(async { digests.await? }).await?;
        for ((_, wanted), found) in wanted.iter().zip(&digests[1..]) {
            if wanted != found {
                return Err(EngineError::failed(format!(
                    "{}: the checksum is {found}, not {wanted}: it is damaged or another file",
                    self.source
                )));
            }
        }
        Ok(Verified {
            sha256: digests[0].clone(),
            signed_by,
        })
    }

    fn digest_in(&self, text: &[u8], from: &str) -> Result<Digest> {
        let fail = |why: &dyn std::fmt::Display| EngineError::failed(format!("{from}: {why}"));
        let path = self.source.split(['?', '#']).next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let found = checksums::find(&String::from_utf8_lossy(text), name).map_err(|e| fail(&e))?;
        let weak = |digest: &Digest| digest.algorithm == Algorithm::Sha1;
        found
            .filter(|digest| !weak(digest))
            .ok_or_else(|| fail(&format!("there is no SHA-256 or SHA-512 of '{name}' in it")))
    }

    /// A short file of a server or of this host.
    async fn read(&self, from: &str, max_bytes: u64) -> Result<Vec<u8>> {
        let from = from.to_owned();
        let read = crate::aside::aside(move || {
            if fetch::is_url(&from) {
                let found = fetch::small(&from, max_bytes)?;
                return found.ok_or_else(|| {
                    EngineError::failed(format!("{from}: the server has no such file"))
                });
            }
            let mut bytes = Vec::new();
            let file = open_regular(Path::new(&from))?;
            let read = file.take(max_bytes + 1).read_to_end(&mut bytes);
            read.map_err(|e| EngineError::system(&format!("cannot read '{from}'"), e))?;
            match bytes.len() as u64 > max_bytes {
                true => Err(EngineError::failed(format!(
                    "'{from}' is longer than {max_bytes} bytes"
                ))),
                false => Ok(bytes),
            }
        });
        self.job.unless_cancelled(async { read.await? }).await
    }

    /// The text somebody signed, and the key that did.
    async fn signed_text(&self, text: Vec<u8>, from: &str) -> Result<(Vec<u8>, Option<String>)> {
        let given = Scratch::of(self.file, "sums", &text)?;
        if self.evidence.signature.is_some() {
            let key = self.signature_of(&given.0).await?;
            return Ok((text, key));
        }
        if !checksums::is_clearsigned(&text) {
            return Err(EngineError::new(
                ErrorKind::InvalidArgument,
                format!("'{from}' carries no signature in itself: say where it is, --signature"),
            ));
        }
        self.gpgv(&["--output", "-"], &[&given.0]).await
    }

    async fn signature_of(&self, file: &Path) -> Result<Option<String>> {
        let from = self.evidence.signature.as_deref().unwrap_or_default();
        let bytes = self.read(from, KEYS_MAX_BYTES).await?;
        let signature = Scratch::of(self.file, "signature", &bytes)?;
        let (_, key) = self.gpgv(&[], &[&signature.0, file]).await?;
        Ok(key)
    }

    /// Runs gpgv, which believes the given keys and no others: what it gives
    /// out, and the fingerprint of the key that signed.
    async fn gpgv(&self, options: &[&str], files: &[&Path]) -> Result<(Vec<u8>, Option<String>)> {
        self.job.step("checking the signature", 0, JobUnit::Items);
        let from = self.evidence.keyring.as_deref().unwrap_or_default();
        let keys = self.read(from, KEYS_MAX_BYTES).await?;
        let keys = checksums::dearmor(&keys).ok_or_else(|| {
            EngineError::failed(format!("'{from}' is no keyring: its text is damaged"))
        })?;
        let keyring = Scratch::of(self.file, "keys", &keys)?;
        let mut tool = Tool::new("gpgv", "gpgv")
            .args(["--status-fd", "2", "--homedir", "/nonexistent", "--keyring"])
            .args([&keyring.0])
            .args(options.iter().copied())
            .args(files.iter().map(|path| path.as_os_str()))
            .reaches(&keyring.0, Access::Read);
        for path in files {
            tool = tool.reaches(path, Access::Read);
        }
        let (reader, writer) =
            io::pipe().map_err(|e| EngineError::system("cannot make a pipe", e))?;
        let running = tool
            .redirected(">&3 3>&-", vec![(3, writer.into())])
            .start()?;
        let output = crate::aside::aside(move || {
            let mut bytes = Vec::new();
            let read = reader
                .take(MANIFEST_MAX_BYTES as u64 + 1)
                .read_to_end(&mut bytes);
            read.map(|_| bytes)
                .map_err(|e| EngineError::system("cannot read what was signed", e))
        });
        let both = async { tokio::try_join!(async { output.await? }, running.wait(|_| ())) };
        let (output, said) = self.job.unless_cancelled(both).await.map_err(|error| {
            EngineError::new(
                error.kind,
                format!("{}: the signature is not good: {error}", self.source),
            )
        })?;
        let mut valid = said
            .lines()
            .filter_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG "));
        let key = valid.next().and_then(|rest| rest.split(' ').next());
        match key {
            Some(key) => Ok((output, Some(key.to_owned()))),
            None => Err(EngineError::failed(format!(
                "{}: nobody has signed it",
                self.source
            ))),
        }
    }
}

/// A file beside the one that is compared, which goes with this.
struct Scratch(PathBuf);

impl Scratch {
    fn of(beside: &Path, ending: &str, content: &[u8]) -> Result<Self> {
        let path = beside.with_extension(ending);
        let _ = std::fs::remove_file(&path);
        let mut file = new_file(&path)?;
        let scratch = Scratch(path);
        file.write_all(content)
            .map_err(|e| EngineError::system("cannot keep what a signature is compared with", e))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The digest of a file in hexadecimal. Blocks.
pub(crate) fn digest_file(path: &Path, algorithm: Algorithm, job: &JobContext) -> Result<String> {
    let file = open_regular(path)?;
    let total = file.metadata().map_or(0, |meta| meta.len());
    job.step("computing the checksum", total, JobUnit::Bytes);
    digest(file, algorithm, job)
}

/// The digest of all that comes, in hexadecimal.
pub(crate) fn digest(from: impl Read, algorithm: Algorithm, job: &JobContext) -> Result<String> {
    match algorithm {
        Algorithm::Sha1 => digest_by::<Sha1>(from, job),
        Algorithm::Sha256 => digest_by::<Sha256>(from, job),
        Algorithm::Sha512 => digest_by::<Sha512>(from, job),
    }
}

fn digest_by<D: sha2::Digest>(mut from: impl Read, job: &JobContext) -> Result<String> {
    let fail = |e: io::Error| EngineError::system("cannot read the image", e);
    let mut digest = D::new();
    let mut piece = vec![0; 1024 * 1024];
    let mut done = 0;
    loop {
        match from.read(&mut piece).map_err(fail)? {
            0 => break,
            read => {
                digest.update(&piece[..read]);
                done += read as u64;
            }
        }
        job.check()?;
        job.done(done);
    }
    Ok(digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
