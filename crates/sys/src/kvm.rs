//! Whether hardware acceleration can really run a guest here.
//!
//! `/dev/kvm` may open, and make machines, and still run no stock guest: with
//! a purely software KVM, for example. So the modules and the processor's own
//! flags are looked at before it is believed.

use std::fmt;
use std::os::fd::AsRawFd;
use std::path::Path;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmSupport {
    /// It should run guests.
    Usable,
    /// It cannot; why, in words that end a sentence.
    Unusable {
        /// The reason.
        reason: String,
    },
}

impl KvmSupport {
    /// Whether it should run guests.
    pub fn is_usable(&self) -> bool {
        *self == KvmSupport::Usable
    }
}

impl fmt::Display for KvmSupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvmSupport::Usable => f.write_str("KVM is usable"),
            KvmSupport::Unusable { reason } => write!(f, "KVM is not usable: {reason}"),
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    /// Why `/dev/kvm` does not open; none when it does.
    device: Option<String>,
    /// The modules among `kvm_intel`, `kvm_amd`, `kvm_pvm`, … that are there.
    modules: Vec<String>,
    /// Whether the processor says vmx or svm.
    flag: bool,
    /// Whether this is an architecture whose processors say so (x86).
    has_flags: bool,
}

/// Looks at this host. Opens the device, so only of use to who may do so.
pub fn probe() -> KvmSupport {
    judge(&Facts {
        device: open_device().err(),
        modules: modules(Path::new("/sys/module")),
        flag: crate::host::Host::new()
            .cpu_info()
            .is_ok_and(|cpu| cpu.has_flag("vmx") || cpu.has_flag("svm")),
        has_flags: cfg!(any(target_arch = "x86", target_arch = "x86_64")),
    })
}

/// The most processors KVM gives one machine; none without it.
pub fn max_vcpus() -> Option<i32> {
    // From linux/kvm.h: the question, its subjects, best first.
    const KVM_CHECK_EXTENSION: libc::Ioctl = 0xae03;
    const SUBJECTS: [libc::c_ulong; 2] = [66, 9];
    let device = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .ok()?;
    SUBJECTS.into_iter().find_map(|subject| {
        // SAFETY: the descriptor is open, and this request takes a number.
        let count = unsafe { libc::ioctl(device.as_raw_fd(), KVM_CHECK_EXTENSION, subject) };
        (count > 0).then_some(count)
    })
}

fn open_device() -> Result<(), String> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map(drop)
        .map_err(|e| crate::SysError::new("open", "/dev/kvm", e).to_string())
}

/// Also modules that are built in show here, as they have parameters.
fn modules(directory: &Path) -> Vec<String> {
    let known = ["kvm_intel", "kvm_amd", "kvm_pvm", "kvm_hv", "kvm_pr"];
    known
        .iter()
        .filter(|name| directory.join(name).exists())
        .map(|&name| name.into())
        .collect()
}

fn judge(facts: &Facts) -> KvmSupport {
    let unusable = |reason: &str| KvmSupport::Unusable {
        reason: reason.to_owned(),
    };
    let has = |name: &str| facts.modules.iter().any(|module| module == name);
    if let Some(error) = &facts.device {
        return unusable(error);
    }
    if !facts.has_flags || has("kvm_intel") || has("kvm_amd") {
        return KvmSupport::Usable;
    }
    if has("kvm_pvm") {
        return unusable("this host's KVM is a software one (kvm_pvm) that runs no stock guests");
    }
    if !facts.flag {
        return unusable(
            "/dev/kvm is there, but the processor shows no virtualization extensions (vmx, svm)",
        );
    }
    // The flag without the module's directory: a kernel that hides it.
    KvmSupport::Usable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(modules: &[&str], flag: bool) -> Facts {
        let modules = modules.iter().map(|&name| name.to_owned()).collect();
        Facts {
            device: None,
            modules,
            flag,
            has_flags: true,
        }
    }

    #[test]
    fn believes_modules_and_flags_and_not_the_device_alone() {
        assert!(judge(&facts(&["kvm_intel"], true)).is_usable());
        assert!(judge(&facts(&["kvm_amd"], false)).is_usable());
        assert!(judge(&facts(&[], true)).is_usable());
        assert!(!judge(&facts(&[], false)).is_usable());
        assert!(
            judge(&facts(&["kvm_pvm"], false))
                .to_string()
                .contains("software")
        );
        assert!(!judge(&facts(&["kvm_pvm"], true)).is_usable());
        let arm = Facts {
            has_flags: false,
            ..facts(&[], false)
        };
        assert!(judge(&arm).is_usable());
        let closed = Facts {
            device: Some("cannot open".into()),
            ..facts(&["kvm_intel"], true)
        };
        assert_eq!(
            judge(&closed),
            KvmSupport::Unusable {
                reason: "cannot open".into()
            }
        );
    }
}
