//! Files that were left unfinished: those of this daemon are removed, others are named.

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::pools::Pool;
use crate::pools::scan::UNFINISHED_PREFIX;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A file that is no volume and that somebody once began to make one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The file.
    pub path: String,
    /// How long it is, in bytes.
    pub length: u64,
    /// What it is, for a person.
    pub explanation: String,
}

/// The beginning of the names of one host's unfinished files.
fn prefix(host: Uuid) -> String {
    format!("{UNFINISHED_PREFIX}{:.8}-", host.simple().to_string())
}

/// A name for a file to be filled, in the directory of the volume it will be.
pub(crate) fn unfinished_name(directory: &Path, host: Uuid) -> PathBuf {
    directory.join(format!("{}{}", prefix(host), Uuid::new_v4().simple()))
}

fn unfinished(directory: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
        .filter(|(_, name)| name.starts_with(UNFINISHED_PREFIX))
        .collect()
}

/// Removes what an earlier daemon of this host left in a directory. Nobody may be making volumes
/// there meanwhile.
pub(crate) fn remove_own(directory: &Path, host: Uuid) {
    let own = prefix(host);
    for (path, name) in unfinished(directory) {
        if !name.starts_with(&own) {
            continue;
        }
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "removed an unfinished volume"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an unfinished volume stays");
            }
        }
    }
}

impl Engine {
    /// The files in a pool's directory that somebody began to make a volume of and that no work
    /// under way explains.
    ///
    /// # Errors
    /// If the pool is not active.
    pub async fn strays(&self, pool: &Pool) -> Result<Vec<Stray>> {
        let view = pool.view();
        view.need_active()?;
        let directory = PathBuf::from(view.path());
        let own = prefix(self.records().host());
        let found = crate::aside::aside(move || {
            let files = unfinished(&directory).into_iter();
            files
                .filter_map(|(path, name)| {
                    let length = std::fs::metadata(&path).ok()?.len();
                    let explanation = match name.starts_with(&own) {
                        true => {
                            "a volume being made, copied or uploaded right now; if this daemon \
                                 does none of it, the next refresh of the pool removes it"
                        }
                        false => {
                            "a volume that another host, or a daemon with another state \
                                  directory, began to make; if none of them does any more, it can \
                                  be removed"
                        }
                    };
                    Some(Stray {
                        path: path.to_string_lossy().into_owned(),
                        length,
                        explanation: explanation.to_owned(),
                    })
                })
                .collect::<Vec<_>>()
        });
        let mut found = found.await.map_err(|e| EngineError::failed(e.message))?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}
