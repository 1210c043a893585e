//! How full a file system is.

use std::path::Path;

use crate::error::{SysError, SysResult};

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All there is.
    pub total: u64,
    /// What ordinary users can still have.
    pub available: u64,
    /// What is taken.
    pub used: u64,
}

/// The space of the file system that `path` is on.
pub fn usage(path: &Path) -> SysResult<Usage> {
    let found = rustix::fs::statvfs(path)
        .map_err(|e| SysError::on_path("look at the space of", path, e))?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Usage {
        total: bytes(found.f_blocks),
        available: bytes(found.f_bavail),
        used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_space_and_nowhere_has_none() {
        let root = usage(Path::new("/")).unwrap();
        assert!(root.total > 0 && root.used <= root.total);
        assert!(usage(Path::new("/nowhere/at/all")).is_err());
    }
}
