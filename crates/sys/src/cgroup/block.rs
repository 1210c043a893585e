//! What a group may use of block devices.

use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Cgroup, Controller, Version, read, write};
use crate::error::{SysError, SysResult};

/// A block device of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockDevice {
    major: u32,
    minor: u32,
}

impl BlockDevice {
    /// The device at `path`.
    pub fn at(path: &Path) -> SysResult<BlockDevice> {
        let meta = fs_metadata(path)?;
        if !meta.file_type().is_block_device() {
            let cause = std::io::Error::from_raw_os_error(libc::ENOTBLK);
            return Err(SysError::on_path("limit the use of", path, cause));
        }
        let number = meta.rdev();
        Ok(BlockDevice {
            major: rustix::fs::major(number),
            minor: rustix::fs::minor(number),
        })
    }
}

fn fs_metadata(path: &Path) -> SysResult<std::fs::Metadata> {
    std::fs::metadata(path).map_err(|e| SysError::on_path("look at", path, e))
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What is bounded, per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockLimit {
    /// Requests read.
    ReadIops,
    /// Requests written.
    WriteIops,
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
}

impl Cgroup {
    /// Sets the weight against other groups at block devices.
    pub fn set_io_weight(&self, weight: u64) -> SysResult<()> {
        match self.version {
            Version::V1 => {
                self.write_first(&["blkio.weight", "blkio.bfq.weight"], &weight.to_string())
            }
            Version::V2 => self.write_first(
                &["io.bfq.weight", "io.weight"],
                &format!("default {weight}"),
            ),
        }
    }

    /// The weight against other groups at block devices.
    pub fn io_weight(&self) -> SysResult<u64> {
        let names = match self.version {
            Version::V1 => ["blkio.weight", "blkio.bfq.weight"],
            Version::V2 => ["io.bfq.weight", "io.weight"],
        };
        let mut result = self.io_file(names[0]).and_then(|file| read(&file));
        if result.is_err() {
            result = self.io_file(names[1]).and_then(|file| read(&file));
        }
        let text = result?;
        let first = text.lines().next().unwrap_or_default();
        let number = first.trim_start_matches("default ").trim();
        Ok(number.parse().unwrap_or(0))
    }

    /// Sets the weight at one device; 0 for the general one.
    pub fn set_device_weight(&self, device: BlockDevice, weight: u64) -> SysResult<()> {
        let line = match (weight, self.version) {
            (0, Version::V2) => format!("{device} default"),
            (weight, _) => format!("{device} {weight}"),
        };
        match self.version {
            Version::V1 => {
                self.write_first(&["blkio.weight_device", "blkio.bfq.weight_device"], &line)
            }
            Version::V2 => self.write_first(&["io.bfq.weight", "io.weight"], &line),
        }
    }

    /// Bounds the use of one device; 0 for no bound.
    pub fn set_device_limit(
        &self,
        device: BlockDevice,
        limit: BlockLimit,
        per_second: u64,
    ) -> SysResult<()> {
        let (v1, v2) = match limit {
            BlockLimit::ReadIops => ("blkio.throttle.read_iops_device", "riops"),
            BlockLimit::WriteIops => ("blkio.throttle.write_iops_device", "wiops"),
            BlockLimit::ReadBytes => ("blkio.throttle.read_bps_device", "rbps"),
            BlockLimit::WriteBytes => ("blkio.throttle.write_bps_device", "wbps"),
        };
        match (self.version, per_second) {
            (Version::V1, value) => write(&self.io_file(v1)?, &format!("{device} {value}")),
            (Version::V2, 0) => write(&self.io_file("io.max")?, &format!("{device} {v2}=max")),
            (Version::V2, value) => {
                write(&self.io_file("io.max")?, &format!("{device} {v2}={value}"))
            }
        }
    }

    fn io_file(&self, name: &str) -> SysResult<std::path::PathBuf> {
        self.file(Controller::BlockIo, name)
    }

    /// Writes to the first of the files that is there: which one depends on
    /// the kernel's I/O scheduler.
    fn write_first(&self, names: &[&str; 2], value: &str) -> SysResult<()> {
        let [first, second] = names;
        let first = self.io_file(first)?;
        if first.exists() {
            return write(&first, value);
        }
        write(&self.io_file(second)?, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_block_devices_have_numbers() {
        assert!(BlockDevice::at(Path::new("/dev/null")).is_err());
        assert!(BlockDevice::at(Path::new("/nowhere")).is_err());
        let device = BlockDevice { major: 8, minor: 1 };
        assert_eq!(device.to_string(), "8:1");
    }
}
