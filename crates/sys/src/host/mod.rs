//! Facts about this host, as libvirt computes them.
//!
//! [`Host`] reads `/proc` and `/sys` anew with each call; nothing is cached.

mod cpu;
mod identity;
mod list;
mod memory;
pub mod smbios;
mod stats;
mod topology;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{SysError, SysResult};

pub use cpu::CpuInfo;
pub use identity::{HostName, kernel_release};
pub use list::{format_list, parse_list};
pub use memory::{Memory, NodeMemory, PagePool, huge_page_mounts};
pub use stats::CpuTimes;
pub use topology::{Cell, CpuMap, NodeInfo, Processor};

/// The host, or a tree of files that looks like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Host {
    /// This host.
    pub fn new() -> Host {
        Host::below("/")
    }

    /// The host whose `proc` and `sys` are in this directory.
    pub fn below(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    fn read(&self, path: impl AsRef<Path>) -> SysResult<String> {
        let path = self.path(path);
        match fs::read(&path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(e) => Err(SysError::on_path("read", &path, e)),
        }
    }

    /// As `read`, with nothing for a file that is not there or not readable.
    fn read_if_there(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read(path).ok()
    }

    fn number_in(&self, path: impl AsRef<Path>) -> Option<i64> {
        self.read_if_there(path)?.trim().parse().ok()
    }

    /// The numbers N of the entries called `prefixN` in a directory, sorted.
    fn numbered(&self, directory: &str, prefix: &str) -> SysResult<Vec<u32>> {
        let path = self.path(directory);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(SysError::on_path("list", &path, e)),
        };
        let mut numbers: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| {
                entry
                    .file_name()
                    .to_str()?
                    .strip_prefix(prefix)?
                    .parse()
                    .ok()
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}
