//! SQLite's errors as the store's.

use std::path::Path;

use rusqlite::ffi::{self, ErrorCode};

use crate::error::StoreError;

/// Says what an error of SQLite means while doing `operation` on `path`.
pub(super) fn sql(operation: &'static str, path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    let detail = error.to_string();
    let Some(code) = error.sqlite_error() else {
        return StoreError::Corrupt { path, detail };
    };
    match code.code {
        ErrorCode::DiskFull => StoreError::NoSpace { path },
        ErrorCode::SystemIoFailure if is_no_space(code) => StoreError::NoSpace { path },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::InUse { path },
        ErrorCode::DatabaseCorrupt => StoreError::Corrupt { path, detail },
        ErrorCode::NotADatabase => StoreError::NotAStore { path, detail },
        _ => StoreError::Io {
            operation,
            path,
            detail,
        },
    }
}

/// An error of the operating system.
pub(super) fn io(operation: &'static str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Io {
        operation,
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

/// SQLite reports a full disk as such when a write falls short, but as an I/O
/// error when growing the shared-memory file or a quota stops it.
fn is_no_space(error: &ffi::Error) -> bool {
    matches!(
        error.extended_code,
        ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMMAP | ffi::SQLITE_IOERR_WRITE
    ) && std::io::Error::last_os_error()
        .raw_os_error()
        .is_some_and(|e| e == 28 || e == 122)
}
