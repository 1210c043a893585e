//! The command lines of libguestfs's programs, which look into images and
//! change what is in them.

mod change;
pub mod grow;

pub use change::{Change, Profile, customization};

/// The operations of sysprep that changes may undo.
const IDENTITY: [&str; 2] = ["machine-id", "ssh-hostkeys"];

/// An image to be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestDisk {
    /// Its file.
    pub path: String,
    /// Its format, as its machine declares it; never left to be guessed.
    pub format: String,
}

/// What a program said, without where in libguestfs it was said and the calls it was about.
pub fn plain_words(said: &str) -> String {
    /// Places and calls, as they stand in front of the words.
    const NOISE: [&str; 8] = [
        "virt-sysprep: error: ",
        "virt-customize: error: ",
        "*stdin*:0: ",
        "libguestfs: error: ",
        "download: ",
        "ls0: opendir: ",
        "opendir: ",
        "tar_in: ",
    ];
    let plain = |line: &str| {
        NOISE
            .iter()
            .fold(line.to_owned(), |l, n| l.replacen(n, "", 1))
    };
    // The advice that follows is about programs that nobody here has called.
    let words = said
        .lines()
        .take_while(|line| !line.starts_with("If reporting bugs"));
    let plain = words.map(plain).collect::<Vec<_>>().join("\n");
    let plain = plain.trim_end();
    match plain.contains("is not a known operation") {
        true => format!("{plain}; `stead sysprep --list-operations` lists them"),
        false => plain.to_owned(),
    }
}

/// How every program is told which images it is about.
pub fn disk_args(disks: &[GuestDisk]) -> Vec<String> {
    let words = |disk: &GuestDisk| {
        [
            format!("--format={}", disk.format),
            "-a".to_owned(),
            disk.path.clone(),
        ]
    };
    disks.iter().flat_map(words).collect()
}

/// What is done inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inside {
    /// Lists a directory.
    List {
        /// The directory.
        path: String,
        /// With permissions, owners and sizes, and what lies below.
        long: bool,
    },
    /// Prints a file.
    Cat {
        /// The file.
        path: String,
    },
    /// Copies files of the host into a directory of the guest.
    CopyIn {
        /// The host's files.
        from: Vec<String>,
        /// The guest's directory.
        to: String,
    },
    /// Copies files of the guest into a directory of the host.
    CopyOut {
        /// The guest's files.
        from: Vec<String>,
        /// The host's directory.
        to: String,
    },
    /// Takes away what makes the guest this one guest.
    Sysprep {
        /// The operations; all that are usual without any.
        operations: Vec<String>,
        /// Changes made besides.
        changes: Vec<Change>,
    },
    /// Changes the guest.
    Customize {
        /// The changes, in order.
        changes: Vec<Change>,
    },
}

impl Inside {
    /// What is run, one program after the other.
    ///
    /// Making changes gives a guest a machine id of its own, and installing programs may make keys:
    /// all that is made of the image would share them. So they are taken away once more at the end.
    pub fn stages(self) -> Vec<Inside> {
        let again: Vec<String> = match &self {
            Inside::Sysprep {
                operations,
                changes,
            } if !changes.is_empty() => {
                let all = operations.is_empty();
                let wanted = |name: &&str| all || operations.iter().any(|o| o == name);
                let identity = IDENTITY.iter().copied().filter(wanted);
                identity.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let forget_again = (!again.is_empty()).then_some(Inside::Sysprep {
            operations: again,
            changes: Vec::new(),
        });
        std::iter::once(self).chain(forget_again).collect()
    }

    /// Whether the image is written to.
    pub fn writes(&self) -> bool {
        !matches!(
            self,
            Inside::List { .. } | Inside::Cat { .. } | Inside::CopyOut { .. }
        )
    }

    /// The program.
    pub fn program(&self) -> &'static str {
        match self {
            Inside::List { .. } => "virt-ls",
            Inside::Cat { .. } => "virt-cat",
            Inside::CopyIn { .. } => "virt-copy-in",
            Inside::CopyOut { .. } => "virt-copy-out",
            Inside::Sysprep { .. } => "virt-sysprep",
            Inside::Customize { .. } => "virt-customize",
        }
    }

    /// Its arguments.
    pub fn args(&self, disks: &[GuestDisk]) -> Vec<String> {
        let mut args = disk_args(disks);
        match self {
            Inside::List { path, long } => {
                args.extend(long.then(|| "-lR".to_owned()));
                args.push(path.clone());
            }
            Inside::Cat { path } => args.push(path.clone()),
            Inside::CopyIn { from, to } | Inside::CopyOut { from, to } => {
                args.extend(from.iter().cloned());
                args.push(to.clone());
            }
            Inside::Sysprep {
                operations,
                changes,
            } => {
                if !operations.is_empty() {
                    let mut wanted = operations.clone();
                    if !changes.is_empty() && !wanted.iter().any(|o| o == "customize") {
                        wanted.push("customize".to_owned());
                    }
                    args.extend(["--operations".to_owned(), wanted.join(",")]);
                }
                args.extend(changes.iter().flat_map(Change::words));
            }
            Inside::Customize { changes } => {
                args.push("--no-network".to_owned());
                if changes
                    .iter()
                    .any(|change| matches!(change, Change::Install(_)))
                {
                    args.pop();
                }
                args.extend(changes.iter().flat_map(Change::words));
            }
        }
        args
    }

    /// Puts each password into a file of the host, which `keep` makes of it:
    /// a process's arguments are everybody's to see.
    pub fn hide_secrets<E>(
        &mut self,
        mut keep: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<(), E> {
        let (Inside::Sysprep { changes, .. } | Inside::Customize { changes }) = self else {
            return Ok(());
        };
        for change in changes {
            if let Some(secret) = change.secret() {
                *change = change.with_secret_in(&keep(secret)?);
            }
        }
        Ok(())
    }

    /// Files and directories of the host that it reads, and those that it writes.
    pub fn host_paths(&self) -> (Vec<String>, Vec<String>) {
        let of = |changes: &[Change]| {
            let files = changes.iter().filter_map(Change::host_file);
            files.map(str::to_owned).collect()
        };
        match self {
            Inside::CopyIn { from, .. } => (from.clone(), Vec::new()),
            Inside::CopyOut { to, .. } => (Vec::new(), vec![to.clone()]),
            Inside::Sysprep { changes, .. } | Inside::Customize { changes } => {
                (of(changes), Vec::new())
            }
            Inside::List { .. } | Inside::Cat { .. } => (Vec::new(), Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks() -> Vec<GuestDisk> {
        vec![GuestDisk {
            path: "/p/a.qcow2".into(),
            format: "qcow2".into(),
        }]
    }

    #[test]
    fn formats_are_always_said() {
        let cat = Inside::Cat {
            path: "/etc/fstab".into(),
        };
        assert_eq!(
            cat.args(&disks()).join(" "),
            "--format=qcow2 -a /p/a.qcow2 /etc/fstab"
        );
        assert!(!cat.writes());
        let sysprep = Inside::Sysprep {
            operations: vec!["machine-id".into()],
            changes: vec![Change::Hostname("x".into())],
        };
        let said = sysprep.args(&disks()).join(" ");
        assert!(
            said.ends_with("--operations machine-id,customize --hostname x"),
            "{said}"
        );
        assert!(sysprep.writes());
    }

    #[test]
    fn errors_are_about_the_guest_and_not_about_the_tools() {
        let said = "virt-cat: libguestfs: error: download: /x: No such file or directory";
        assert_eq!(plain_words(said), "virt-cat: /x: No such file or directory");
        let said = "virt-sysprep: virt-sysprep: error: --operations: 'x' is not a known operation\n\
                    \nIf reporting bugs, run virt-sysprep with debugging enabled\n  virt-sysprep -v";
        assert_eq!(
            plain_words(said),
            "virt-sysprep: --operations: 'x' is not a known operation; \
             `stead sysprep --list-operations` lists them"
        );
    }

    #[test]
    fn what_changes_bring_of_an_identity_is_forgotten_again() {
        let stages = |operations: &[&str], changes: Vec<Change>| {
            let sysprep = Inside::Sysprep {
                operations: operations.iter().map(|&o| o.to_owned()).collect(),
                changes,
            };
            let said = |stage: &Inside| stage.args(&[]).join(" ");
            sysprep.stages().iter().map(said).collect::<Vec<_>>()
        };
        let change = || vec![Change::Hostname("x".into())];
        let again = "--operations machine-id,ssh-hostkeys";
        assert_eq!(stages(&[], change()), ["--hostname x", again]);
        assert_eq!(
            stages(&["logfiles", "machine-id"], change()),
            [
                "--operations logfiles,machine-id,customize --hostname x",
                "--operations machine-id"
            ]
        );
        assert_eq!(stages(&["logfiles"], change()).len(), 1);
        assert_eq!(stages(&[], Vec::new()), [""]);
    }

    #[test]
    fn the_network_is_there_for_packages_only() {
        let run = Inside::Customize {
            changes: Profile::VirtualGuest.changes(),
        };
        assert!(run.args(&disks()).contains(&"--no-network".to_owned()));
        let install = Inside::Customize {
            changes: vec![Change::Install("htop".into())],
        };
        assert!(!install.args(&disks()).contains(&"--no-network".to_owned()));
    }
}
