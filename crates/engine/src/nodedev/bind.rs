//! Which driver a PCI device has: `driver_override` names the one wanted,
//! `unbind` and `drivers_probe` make the kernel change it.

use crate::error::{EngineError, ErrorKind, Result};
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

/// Gives the device to a driver that hands devices to machines.
pub(crate) fn detach(sysfs: &Path, address: &str, driver: &str) -> Result<()> {
    let bus = sysfs.join("bus/pci");
    if !bus.join("drivers").join(driver).exists() {
        return Err(EngineError::new(
            ErrorKind::ArgumentUnsupported,
            format!(
                "VFIO device assignment is currently not supported on this system: the driver \
                 '{driver}' is not there (load its kernel module)"
            ),
        ));
    }
    if bound_to(sysfs, address).as_deref() == Some(driver) {
        return Ok(());
    }
    rebind(sysfs, address, driver)
}

/// Gives the device back to the driver the kernel chooses.
pub(crate) fn reattach(sysfs: &Path, address: &str) -> Result<()> {
    // A line without a name takes the override away.
    rebind(sysfs, address, "")
}

fn rebind(sysfs: &Path, address: &str, driver: &str) -> Result<()> {
    let device = device(sysfs, address);
    write(&device.join("driver_override"), &format!("{driver}\n")).map_err(|error| {
        failed(
            &format!(
                "Failed to add driver '{driver}' to driver_override interface of PCI device \
                 '{address}'"
            ),
            error,
        )
    })?;
    match write(&device.join("driver/unbind"), address) {
        // It has no driver: there is nothing to take it from.
        Err(error) if error.kind() == IoKind::NotFound => {}
        unbound => unbound
            .map_err(|error| failed(&format!("Failed to unbind PCI device '{address}'"), error))?,
    }
    write(&sysfs.join("bus/pci/drivers_probe"), address).map_err(|error| {
        failed(
            &format!("Failed to trigger a probe for PCI device '{address}'"),
            error,
        )
    })
}

/// Resets the device, unless a driver uses it.
pub(super) fn reset(sysfs: &Path, address: &str) -> Result<()> {
    if let Some(driver) = bound_to(sysfs, address)
        && driver != "vfio-pci"
    {
        return Err(EngineError::new(
            ErrorKind::OperationInvalid,
            format!("PCI device {address} is in use by driver '{driver}': detach it first"),
        ));
    }
    write(&device(sysfs, address).join("reset"), "1")
        .map_err(|error| failed(&format!("Unable to reset PCI device {address}"), error))
}

fn device(sysfs: &Path, address: &str) -> PathBuf {
    sysfs.join("bus/pci/devices").join(address)
}

fn bound_to(sysfs: &Path, address: &str) -> Option<String> {
    let link = std::fs::read_link(device(sysfs, address).join("driver")).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

/// These files take what is written at once and are never made.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

fn failed(what: &str, error: std::io::Error) -> EngineError {
    EngineError::system(what, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const ADDRESS: &str = "0000:00:19.0";

    fn host() -> tempfile::TempDir {
        let sysfs = tempfile::tempdir().expect("directory");
        let bus = sysfs.path().join("bus/pci");
        for directory in ["devices/0000:00:19.0", "drivers/e1000e"] {
            fs::create_dir_all(bus.join(directory)).expect("made");
        }
        for file in [
            "drivers_probe",
            "devices/0000:00:19.0/driver_override",
            "devices/0000:00:19.0/reset",
            "drivers/e1000e/unbind",
        ] {
            fs::write(bus.join(file), "").expect("made");
        }
        symlink(
            bus.join("drivers/e1000e"),
            bus.join("devices/0000:00:19.0/driver"),
        )
        .expect("made");
        sysfs
    }

    fn read(sysfs: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(sysfs.path().join("bus/pci").join(file)).expect("it is there")
    }

    #[test]
    fn a_device_goes_to_vfio_and_back() {
        let sysfs = host();
        let error = detach(sysfs.path(), ADDRESS, "vfio-pci").expect_err("no such driver");
        assert_eq!(error.kind, ErrorKind::ArgumentUnsupported);
        assert_eq!(read(&sysfs, "drivers_probe"), "", "nothing was touched");

        fs::create_dir(sysfs.path().join("bus/pci/drivers/vfio-pci")).expect("made");
        detach(sysfs.path(), ADDRESS, "vfio-pci").expect("detached");
        let overridden = "devices/0000:00:19.0/driver_override";
        assert_eq!(read(&sysfs, overridden), "vfio-pci\n");
        assert_eq!(read(&sysfs, "drivers/e1000e/unbind"), ADDRESS);
        assert_eq!(read(&sysfs, "drivers_probe"), ADDRESS);

        fs::write(sysfs.path().join("bus/pci").join(overridden), "").expect("written");
        reattach(sysfs.path(), ADDRESS).expect("reattached");
        assert_eq!(read(&sysfs, overridden), "\n");
    }

    #[test]
    fn a_device_in_use_is_not_reset() {
        let sysfs = host();
        let error = reset(sysfs.path(), ADDRESS).expect_err("in use");
        assert!(error.message.contains("e1000e"), "{error}");
        fs::remove_file(sysfs.path().join("bus/pci/devices/0000:00:19.0/driver")).expect("unbound");
        reset(sysfs.path(), ADDRESS).expect("reset");
        assert_eq!(read(&sysfs, "devices/0000:00:19.0/reset"), "1");
    }
}
