//! Which device files the processes of a group may open.

use super::{Cgroup, Controller, Version, write};
use crate::error::{SysError, SysResult};

/// Kind of a device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// Character device.
    Character,
    /// Block device.
    Block,
}

/// A device, or all of a major number, that may be read, written and made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceRule {
    /// Kind.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number; none for all.
    pub minor: Option<u32>,
}

impl DeviceRule {
    /// The rule for an existing device file.
    pub fn of(path: &std::path::Path) -> SysResult<DeviceRule> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let metadata = std::fs::metadata(path).map_err(|e| SysError::on_path("stat", path, e))?;
        let kind = match metadata.file_type() {
            t if t.is_char_device() => DeviceKind::Character,
            t if t.is_block_device() => DeviceKind::Block,
            _ => {
                let kind = std::io::ErrorKind::InvalidInput;
                return Err(SysError::on_path("take for a device", path, kind));
            }
        };
        let device = metadata.rdev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Ok(DeviceRule {
            kind,
            major,
            minor: Some(minor),
        })
    }

    fn line(&self) -> String {
        let kind = match self.kind {
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        };
        let minor = self.minor.map_or("*".to_owned(), |minor| minor.to_string());
        format!("{kind} {}:{minor} rwm", self.major)
    }
}

impl Cgroup {
    /// Forbids all devices but these. An error of kind `Unsupported` on
    /// version 2, which has no file for it.
    pub fn allow_devices_only(&self, rules: &[DeviceRule]) -> SysResult<()> {
        self.device_controller()?;
        write(&self.file(Controller::Devices, "devices.deny")?, "a")?;
        rules.iter().try_for_each(|rule| self.allow_device(*rule))
    }

    /// Allows one more device.
    pub fn allow_device(&self, rule: DeviceRule) -> SysResult<()> {
        self.device_controller()?;
        write(
            &self.file(Controller::Devices, "devices.allow")?,
            &rule.line(),
        )
    }

    /// Forbids a device again.
    pub fn deny_device(&self, rule: DeviceRule) -> SysResult<()> {
        self.device_controller()?;
        write(
            &self.file(Controller::Devices, "devices.deny")?,
            &rule.line(),
        )
    }

    fn device_controller(&self) -> SysResult<()> {
        match self.version {
            Version::V1 => Ok(()),
            Version::V2 => {
                let subject = "the devices of a version 2 control group";
                Err(SysError::new(
                    "confine",
                    subject,
                    std::io::ErrorKind::Unsupported,
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_the_kernel_reads_them() {
        let rule = DeviceRule::of(std::path::Path::new("/dev/null")).unwrap();
        assert_eq!(rule.line(), "c 1:3 rwm");
        let all = DeviceRule {
            kind: DeviceKind::Block,
            major: 8,
            minor: None,
        };
        assert_eq!(all.line(), "b 8:* rwm");
        assert!(DeviceRule::of(std::path::Path::new("/etc/passwd")).is_err());
    }
}
