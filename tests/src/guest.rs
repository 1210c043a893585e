//! The machines that the tests run: one without a system, and the small real guest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder with the originals of the small guest's kernel, initrd and disk, built by `scripts/guest` if need be.
///
/// # Panics
/// If the guest cannot be built.
pub(crate) fn images() -> &'static PathBuf {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| {
        if let Some(folder) = std::env::var_os("STEAD_GUEST") {
            return PathBuf::from(folder);
        }
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/guest");
        let built = Command::new(&script)
            .output()
            .expect("scripts/guest can be run");
        assert!(
            built.status.success(),
            "scripts/guest: {}",
            String::from_utf8_lossy(&built.stderr)
        );
        PathBuf::from(String::from_utf8_lossy(&built.stdout).trim())
    })
}

/// A machine with firmware only: it starts in no time and waits for nothing.
#[must_use]
pub fn bare_machine(name: &str) -> String {
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <console type='pty'/>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"
    )
}

/// The small real guest from the files in `images` (its kernel does not check the timer: an emulated one on a busy
/// host can fail that): a serial console with a root shell, guest agent, user-mode network, power button.
#[must_use]
pub fn small_guest(name: &str, images: &Path) -> String {
    let images = images.display();
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{images}/vmlinuz</kernel>
    <initrd>{images}/initrd</initrd>
    <cmdline>console=ttyS0 quiet no_timer_check hostname={name}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <interface type='user'><model type='virtio'/></interface>
    <serial type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio'/>
  </devices>
</domain>
"
    )
}
