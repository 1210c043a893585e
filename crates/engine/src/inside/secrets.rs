//! Passwords for programs: in files nobody else reads, for as long as the program runs.

use crate::error::{EngineError, Result};
use crate::provision::new_file;
use std::io::Write;
use std::path::{Path, PathBuf};
use storage::guestfs::Inside;
use uuid::Uuid;

/// The files; they go with this.
#[derive(Debug, Default)]
pub(super) struct SecretFiles(Vec<PathBuf>);

impl SecretFiles {
    /// Takes the passwords out of what is to be done and into files of `directory`.
    pub(super) fn hide(what: &mut Inside, directory: &Path) -> Result<Self> {
        let mut files = Self::default();
        what.hide_secrets(|secret| files.keep(secret, directory))?;
        Ok(files)
    }

    fn keep(&mut self, secret: &str, directory: &Path) -> Result<String> {
        let path = directory.join(format!("secret-{}", Uuid::new_v4()));
        let mut file = new_file(&path)?;
        self.0.push(path.clone());
        file.write_all(secret.as_bytes())
            .map_err(|e| EngineError::system("cannot keep a password for its program", e))?;
        Ok(path.to_string_lossy().into_owned())
    }
}

impl Drop for SecretFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "a file with a password stays");
            }
        }
    }
}
