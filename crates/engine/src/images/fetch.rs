//! Bringing an image's bytes here: from a file of this host, or from a server,
//! going on where an earlier try broke off.

use super::sparse;
use crate::error::{EngineError, ErrorKind, Result};
use crate::jobs::{JobContext, JobUnit};
use crate::limits::{FETCH_ANSWER_TIMEOUT_MS, FETCH_ATTEMPTS_MAX, FETCH_CONNECT_TIMEOUT_MS};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is known of a server's file of which a part is here already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    url: String,
    /// `ETag` or `Last-Modified`: without either the rest may be of another file.
    validator: String,
}

/// Whether it is an address of a server.
pub(crate) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// Copies `source` to the file `part`. What a server sent before a break stays
/// there, and the next try goes on from it.
pub(crate) fn fetch(source: &str, part: &Path, job: &JobContext) -> Result<()> {
    if !is_url(source) {
        return copy_file(Path::new(source), part, job);
    }
    let mut attempts = 0;
    loop {
        let before = length(part);
        match download(source, part, job) {
            Ok(()) => {
                let _ = std::fs::remove_file(begun_path(part));
                return Ok(());
            }
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Again(error)) => {
                job.check()?;
                // Progress earns further attempts.
                attempts = if length(part) > before {
                    0
                } else {
                    attempts + 1
                };
                if attempts >= FETCH_ATTEMPTS_MAX {
                    return Err(EngineError::failed(format!(
                        "{source}: {error}; what has come is kept: the same command goes on from \
                         there"
                    )));
                }
                tracing::info!(source, error, "a download broke off and goes on");
            }
        }
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

fn begun_path(part: &Path) -> PathBuf {
    part.with_extension("from")
}

/// What the guard says of a copy that must not go on.
fn guard(job: &JobContext, part: &Path, done: u64) -> io::Result<()> {
    if job.is_cancelled() {
        return Err(io::Error::other("cancelled"));
    }
    job.done(done);
    super::import::check_space(part, done)
}

fn copy_file(source: &Path, part: &Path, job: &JobContext) -> Result<()> {
    let mut from = crate::confined::open_regular(source)?;
    let fail =
        |e: io::Error| EngineError::system(&format!("cannot copy '{}'", source.display()), e);
    let total = from.metadata().map_err(fail)?.len();
    job.step(
        format!("copying {}", source.display()),
        total,
        JobUnit::Bytes,
    );
    let to = File::create(part).map_err(fail)?;
    let copied = sparse::copy(&mut from, &to, 0, |done| guard(job, part, done));
    job.check()?;
    copied.map(drop).map_err(fail)
}

enum Broken {
    /// Trying again is of no use.
    Final(EngineError),
    /// The next try may go further.
    Again(String),
}

fn refused(url: &str, why: impl std::fmt::Display) -> Broken {
    Broken::Final(EngineError::new(
        ErrorKind::OperationFailed,
        format!("{url}: {why}"),
    ))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_millis(FETCH_CONNECT_TIMEOUT_MS)))
        .timeout_recv_response(Some(Duration::from_millis(FETCH_ANSWER_TIMEOUT_MS)))
        // The host's own authorities, which administrators add to.
        .tls_config(
            ureq::tls::TlsConfig::builder()
                .root_certs(ureq::tls::RootCerts::PlatformVerifier)
                .build(),
        )
        .user_agent(concat!("stead/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

fn download(url: &str, part: &Path, job: &JobContext) -> std::result::Result<(), Broken> {
    let here = length(part);
    let begun = std::fs::read(begun_path(part))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Begun>(&bytes).ok())
        .filter(|begun| begun.url == url && here > 0);
    let mut request = agent().get(url).header("Accept-Encoding", "identity");
    if let Some(begun) = &begun {
        request = request
            .header("Range", format!("bytes={here}-"))
            .header("If-Range", &begun.validator);
    }
    let response = request.call().map_err(|error| match error {
        ureq::Error::BadUri(why) => refused(url, why),
        other => Broken::Again(other.to_string()),
    })?;
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let from = match response.status().as_u16() {
        200 => 0,
        206 if begun.is_some() && goes_on_at(header("content-range").as_deref(), here) => here,
        // Everything is here already.
        416 if header("content-range").as_deref() == Some(&format!("bytes */{here}")) => {
            return Ok(());
        }
        206 | 416 => {
            let _ = std::fs::remove_file(begun_path(part));
            return Err(Broken::Again("the server's file has changed".into()));
        }
        status @ (408 | 429 | 500..=599) => {
            return Err(Broken::Again(format!("the server answered {status}")));
        }
        status => return Err(refused(url, format!("the server answered {status}"))),
    };
    let rest = header("content-length").and_then(|text| text.parse::<u64>().ok());
    let total = rest.map_or(0, |rest| from + rest);
    let validator = header("etag")
        .filter(|tag| !tag.starts_with("W/"))
        .or_else(|| header("last-modified"));
    let fail = |e: io::Error| Broken::Final(EngineError::system("cannot keep the download", e));
    match validator {
        Some(validator) => {
            let begun = Begun {
                url: url.to_owned(),
                validator,
            };
            let text = serde_json::to_vec(&begun).unwrap_or_default();
            std::fs::write(begun_path(part), text).map_err(fail)?;
        }
        None => drop(std::fs::remove_file(begun_path(part))),
    }
    job.step(format!("downloading {url}"), total, JobUnit::Bytes);
    let mut options = File::options();
    let file = options
        .create(true)
        .write(true)
        .truncate(from == 0)
        .open(part)
        .map_err(fail)?;
    save(response.into_body(), &file, from, total, part, job)
}

fn save(
    body: ureq::Body,
    file: &File,
    from: u64,
    total: u64,
    part: &Path,
    job: &JobContext,
) -> std::result::Result<(), Broken> {
    let mut reader = body.into_reader();
    let mut no_space = None;
    let copied = sparse::copy(&mut reader, file, from, |done| {
        guard(job, part, done).inspect_err(|error| {
            no_space = Some(error.to_string());
        })
    });
    if let Err(error) = job.check() {
        return Err(Broken::Final(error));
    }
    match (copied, no_space) {
        (Ok(end), _) if total == 0 || end == total => Ok(()),
        (Ok(end), _) => {
            // A hole at the end counts as read: what is cut off must not.
            Err(Broken::Again(format!(
                "it broke off after {end} of {total} bytes"
            )))
        }
        (Err(_), Some(why)) => Err(Broken::Final(EngineError::failed(why))),
        (Err(error), None) => Err(Broken::Again(error.to_string())),
    }
}

/// Whether the answer begins where we stopped.
fn goes_on_at(range: Option<&str>, here: u64) -> bool {
    range.is_some_and(|range| range.starts_with(&format!("bytes {here}-")))
}

/// Reads a small file of a server whole; nothing where it has none of that name.
pub(crate) fn small(url: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    let fail = |why: &dyn std::fmt::Display| EngineError::failed(format!("{url}: {why}"));
    let response = agent().get(url).call().map_err(|e| fail(&e))?;
    match response.status().as_u16() {
        200..=299 => {}
        403 | 404 => return Ok(None),
        status => return Err(fail(&format!("the server answered {status}"))),
    }
    let body = response.into_body().into_with_config().limit(max_bytes);
    body.read_to_vec().map(Some).map_err(|e| fail(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_goes_on_where_we_stopped_is_taken() {
        assert!(goes_on_at(Some("bytes 100-199/200"), 100));
        assert!(!goes_on_at(Some("bytes 0-199/200"), 100));
        assert!(!goes_on_at(Some("bytes 1001-1999/2000"), 100));
        assert!(!goes_on_at(None, 100));
    }
}
