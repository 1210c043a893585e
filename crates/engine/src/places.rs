//! Where things live on the host.

use crate::files::file_name;
use std::path::{Path, PathBuf};

/// The directories and files of one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Sockets and what does not outlive a reboot.
    pub run: PathBuf,
    /// The state database.
    pub database: PathBuf,
    /// The default pool.
    pub images: PathBuf,
    /// Logs: one per machine below `qemu/`.
    pub log: PathBuf,
    /// States of machines that were saved by `managedsave`.
    pub save: PathBuf,
    /// UEFI variables of machines.
    pub nvram: PathBuf,
    /// Memory dumps of crashed machines.
    pub dump: PathBuf,
    /// What QEMU binaries can do, and other things that can be made again.
    pub cache: PathBuf,
    /// The administrator's programs that are run when something happens.
    pub hooks: PathBuf,
    /// The directory that one daemon alone may use.
    pub state: PathBuf,
}

impl Places {
    /// Everything below one directory (`--root`).
    pub fn below(root: &Path) -> Self {
        Self {
            run: root.join("run"),
            database: root.join("state.db"),
            images: root.join("images"),
            log: root.join("log"),
            save: root.join("save"),
            nvram: root.join("nvram"),
            dump: root.join("dump"),
            cache: root.join("cache"),
            hooks: root.join("hooks"),
            state: root.to_path_buf(),
        }
    }

    /// The places of the host's own daemon.
    pub fn system() -> Self {
        let state = Path::new("/var/lib/stead");
        Self {
            run: "/run/stead".into(),
            images: "/var/lib/libvirt/images".into(),
            log: "/var/log/stead".into(),
            cache: "/var/cache/stead".into(),
            hooks: "/etc/stead/hooks".into(),
            ..Self::in_state(state)
        }
    }

    /// The places of an ordinary user's daemon, below the XDG directories.
    pub fn session(config: &Path, data: &Path, cache: &Path, runtime: &Path) -> Self {
        Self {
            run: runtime.join("stead"),
            images: data.join("libvirt/images"),
            log: cache.join("stead/log"),
            cache: cache.join("stead"),
            ..Self::in_state(&config.join("stead"))
        }
    }

    fn in_state(state: &Path) -> Self {
        Self {
            run: PathBuf::new(),
            database: state.join("state.db"),
            images: PathBuf::new(),
            log: PathBuf::new(),
            save: state.join("save"),
            nvram: state.join("nvram"),
            dump: state.join("dump"),
            cache: PathBuf::new(),
            hooks: state.join("hooks"),
            state: state.to_path_buf(),
        }
    }

    /// What belongs to one run of one machine.
    pub fn machine_run(&self, id: i32, name: &str) -> PathBuf {
        let short: String = name.chars().take(20).map(safe_char).collect();
        self.run.join("qemu").join(format!("{id}-{short}"))
    }

    /// The log of a machine's QEMU.
    pub fn machine_log(&self, name: &str) -> PathBuf {
        self.log
            .join("qemu")
            .join(format!("{}.log", file_name(name)))
    }

    /// The state saved by `managedsave`.
    pub fn managed_save(&self, name: &str) -> PathBuf {
        self.save.join(format!("{}.save", file_name(name)))
    }

    /// The UEFI variables as a snapshot keeps them.
    pub fn snapshot_nvram(&self, domain: uuid::Uuid, snapshot: &str) -> PathBuf {
        self.nvram
            .join("snapshots")
            .join(domain.to_string())
            .join(format!("{}.fd", file_name(snapshot)))
    }

    /// The state of a machine's emulated TPM: a directory.
    pub fn tpm_state(&self, uuid: uuid::Uuid) -> PathBuf {
        self.tpm_states().join(uuid.to_string())
    }

    fn tpm_states(&self) -> PathBuf {
        self.state.join("tpm")
    }

    /// Whether that is what [`Places::tpm_state`] says for some machine.
    pub fn is_tpm_state(&self, path: &Path) -> bool {
        path.file_name().is_some() && path.parent() == Some(&self.tpm_states())
    }

    /// The values of secrets: a directory only the daemon's user looks into.
    pub fn secrets(&self) -> PathBuf {
        self.state.join("secrets")
    }

    /// The UEFI variables of a machine that names no file for them.
    pub fn nvram_file(&self, name: &str) -> PathBuf {
        self.nvram.join(format!("{}_VARS.fd", file_name(name)))
    }
}

fn safe_char(c: char) -> char {
    if c.is_ascii_alphanumeric() || "-_.".contains(c) {
        c
    } else {
        '_'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_their_directory() {
        let places = Places::below(Path::new("/r"));
        for (name, file) in [
            ("web1", "/r/log/qemu/web1.log"),
            ("../../etc/passwd", "/r/log/qemu/_.._.._etc_passwd.log"),
            (".hidden", "/r/log/qemu/_.hidden.log"),
        ] {
            assert_eq!(places.machine_log(name), Path::new(file));
        }
        let run = places.machine_run(3, "größe und/so fort, sehr lang");
        assert_eq!(run.parent(), Some(Path::new("/r/run/qemu")));
    }

    #[test]
    fn every_kind_of_daemon_has_all_its_places() {
        let system = Places::system();
        let session = Places::session(
            Path::new("/home/u/.config"),
            Path::new("/home/u/.local/share"),
            Path::new("/home/u/.cache"),
            Path::new("/run/user/1"),
        );
        for places in [system, session] {
            for place in [
                &places.run,
                &places.images,
                &places.log,
                &places.cache,
                &places.save,
                &places.nvram,
                &places.dump,
                &places.hooks,
                &places.state,
            ] {
                assert!(place.is_absolute(), "{places:?}");
            }
        }
    }
}
