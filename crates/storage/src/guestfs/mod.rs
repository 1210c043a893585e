//! The command lines of libguestfs's programs, which look into images and
//! change what is in them.

use serde::{Deserialize, Serialize};

/// An image to be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestDisk {
    /// Its file.
    pub path: String,
    /// Its format, as its machine declares it; never left to be guessed.
    pub format: String,
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

/// One change inside a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Its host name.
    Hostname(String),
    /// The password of root, as `password:WORD`, `file:FILE`, `random` or `disabled`.
    RootPassword(String),
    /// An account's password: `USER:password:WORD`.
    Password(String),
    /// A public key for an account: `USER:string:KEY`.
    SshInject(String),
    /// A file of the host, put at a place in the guest: `FILE:PLACE`.
    Upload(String),
    /// A line of a shell, run in the guest.
    RunCommand(String),
    /// A line of a shell, run at its next start.
    FirstbootCommand(String),
    /// Packages, separated by commas; needs the network.
    Install(String),
    /// A file or directory that goes.
    Delete(String),
    /// A directory that is made.
    Mkdir(String),
    /// Its time zone.
    Timezone(String),
}

impl Change {
    fn words(&self) -> [String; 2] {
        let (option, value) = match self {
            Change::Hostname(value) => ("--hostname", value),
            Change::RootPassword(value) => ("--root-password", value),
            Change::Password(value) => ("--password", value),
            Change::SshInject(value) => ("--ssh-inject", value),
            Change::Upload(value) => ("--upload", value),
            Change::RunCommand(value) => ("--run-command", value),
            Change::FirstbootCommand(value) => ("--firstboot-command", value),
            Change::Install(value) => ("--install", value),
            Change::Delete(value) => ("--delete", value),
            Change::Mkdir(value) => ("--mkdir", value),
            Change::Timezone(value) => ("--timezone", value),
        };
        [option.to_owned(), value.clone()]
    }

    /// The host's file it reads, if it reads one.
    pub fn host_file(&self) -> Option<&str> {
        match self {
            Change::Upload(value) => value.split(':').next(),
            Change::RootPassword(value) | Change::Password(value) | Change::SshInject(value) => {
                value.split_once("file:").map(|(_, file)| file)
            }
            _ => None,
        }
    }
}

/// What makes a guest fit for a virtual machine, without the network: a shell
/// on the serial port, no waiting at the boot menu, an orderly end by the power
/// button, services off that only real hardware needs.
pub fn virtual_guest() -> Vec<Change> {
    const LINES: [&str; 4] = [
        "systemctl enable serial-getty@ttyS0.service || true",
        "for u in smartd mcelog irqbalance bluetooth ModemManager; do systemctl disable $u 2>/dev/null || true; done",
        "systemctl enable qemu-guest-agent 2>/dev/null || true",
        "if [ -f /etc/default/grub ]; then sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/' \
         -e '/console=ttyS0/! s/^GRUB_CMDLINE_LINUX=\"/&console=tty0 console=ttyS0 /' \
         /etc/default/grub; (update-grub || grub2-mkconfig -o /boot/grub2/grub.cfg) 2>/dev/null || true; fi",
    ];
    LINES.map(|line| Change::RunCommand(line.to_owned())).into()
}

impl Inside {
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
        let mut args = Vec::new();
        for disk in disks {
            args.push(format!("--format={}", disk.format));
            args.extend(["-a".to_owned(), disk.path.clone()]);
        }
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
    fn the_network_is_there_for_packages_only() {
        let run = Inside::Customize {
            changes: virtual_guest(),
        };
        assert!(run.args(&disks()).contains(&"--no-network".to_owned()));
        let install = Inside::Customize {
            changes: vec![Change::Install("htop".into())],
        };
        assert!(!install.args(&disks()).contains(&"--no-network".to_owned()));
    }

    #[test]
    fn files_of_the_host_are_known() {
        let upload = Change::Upload("/h/a:/etc/a".into());
        assert_eq!(upload.host_file(), Some("/h/a"));
        assert_eq!(
            Change::RootPassword("file:/h/p".into()).host_file(),
            Some("/h/p")
        );
        assert_eq!(Change::RootPassword("password:x".into()).host_file(), None);
    }
}
