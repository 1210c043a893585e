//! The one error of this crate.

use std::fmt;
use std::io;
use std::path::Path;

/// A refused operation: what was tried, on what, and the system's reason.
#[derive(Debug)]
pub struct SysError {
    operation: &'static str,
    subject: String,
    cause: io::Error,
}

/// A result with a [`SysError`].
pub type SysResult<T> = Result<T, SysError>;

impl SysError {
    /// `operation` continues "cannot …", `subject` is what it was tried on.
    pub fn new(
        operation: &'static str,
        subject: impl Into<String>,
        cause: impl Into<io::Error>,
    ) -> SysError {
        SysError {
            operation,
            subject: subject.into(),
            cause: cause.into(),
        }
    }

    /// As [`SysError::new`], on a path.
    pub fn on_path(operation: &'static str, path: &Path, cause: impl Into<io::Error>) -> SysError {
        SysError::new(operation, path.display().to_string(), cause)
    }

    /// As [`SysError::new`], from the number the system gave.
    pub fn from_errno(operation: &'static str, subject: impl Into<String>, errno: i32) -> SysError {
        SysError::new(operation, subject, io::Error::from_raw_os_error(errno))
    }

    /// What was tried.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// What it was tried on.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The kind of the system's reason.
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// The system's reason.
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// The system's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }

    /// Whether the disk or a quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), Some(libc::ENOSPC | libc::EDQUOT))
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.operation,
            self.subject,
            cause_text(&self.cause)
        )
    }
}

impl std::error::Error for SysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<SysError> for io::Error {
    fn from(error: SysError) -> io::Error {
        io::Error::new(error.kind(), error.to_string())
    }
}

/// The system's words without Rust's "(os error 2)".
fn cause_text(cause: &io::Error) -> String {
    let text = cause.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_tried_on_what_and_why() {
        let error = SysError::from_errno("open", "/nowhere", libc::ENOENT);
        assert_eq!(
            error.to_string(),
            "cannot open /nowhere: No such file or directory"
        );
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!error.is_no_space());
        assert!(SysError::from_errno("write", "x", libc::ENOSPC).is_no_space());
    }
}
