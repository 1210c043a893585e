//! Changes inside a guest: virt-customize's options, and ready sets of them.

use serde::{Deserialize, Serialize};
#[cfg(feature = "schema")]
use utoipa::ToSchema;

/// Makes the type and its table of options out of one list.
macro_rules! changes {
    ($($(#[$doc:meta])* $name:ident $option:literal,)*) => {
        /// One change inside a guest: an option of virt-customize and its value.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(ToSchema))]
        #[serde(rename_all = "kebab-case")]
        pub enum Change {
            $($(#[$doc])* $name(String),)*
        }

        impl Change {
            /// Every option, in the order in which changes are made, with what makes a change of its value.
            pub const OPTIONS: &[(&str, fn(String) -> Change)] = &[$(($option, Change::$name),)*];

            /// The option, without its dashes, and its value.
            pub fn parts(&self) -> (&'static str, &str) {
                match self {
                    $(Change::$name(value) => ($option, value),)*
                }
            }

            fn value_mut(&mut self) -> &mut String {
                match self {
                    $(Change::$name(value) => value,)*
                }
            }
        }
    };
}

changes! {
    /// Its host name.
    Hostname "hostname",
    /// Its time zone.
    Timezone "timezone",
    /// The password of root, as `password:WORD`, `file:FILE`, `random` or `disabled`.
    RootPassword "root-password",
    /// An account's password: `USER:password:WORD`.
    Password "password",
    /// A public key for an account: `USER:string:KEY` or `USER:file:FILE`.
    SshInject "ssh-inject",
    /// A directory that is made.
    Mkdir "mkdir",
    /// A file of the host, put at a place in the guest: `FILE:PLACE`.
    Upload "upload",
    /// A file with this content: `PLACE:CONTENT`.
    Write "write",
    /// A line at the end of a file: `PLACE:LINE`.
    AppendLine "append-line",
    /// The permissions of a file: `0644:PLACE`.
    Chmod "chmod",
    /// Packages, separated by commas; needs the network.
    Install "install",
    /// Packages that go, separated by commas.
    Uninstall "uninstall",
    /// A line of a shell, run in the guest.
    RunCommand "run-command",
    /// A line of a shell, run at its next start.
    FirstbootCommand "firstboot-command",
    /// A file or directory that goes.
    Delete "delete",
}

impl Change {
    /// As virt-customize's arguments.
    pub fn words(&self) -> [String; 2] {
        let (option, value) = self.parts();
        [format!("--{option}"), value.to_owned()]
    }

    /// Where in the value the name of a file of the host is that is read.
    fn host_file_range(&self) -> Option<std::ops::Range<usize>> {
        let (_, value) = self.parts();
        let after = |at: usize| Some(at..value.len());
        match self {
            Change::Upload(value) => value.find(':').map(|end| 0..end),
            Change::RootPassword(value) => after(value.strip_prefix("file:").map(|_| 5)?),
            Change::Password(value) | Change::SshInject(value) => {
                let user = value.find(':')? + 1;
                after(value[user..].strip_prefix("file:").map(|_| user + 5)?)
            }
            _ => None,
        }
    }

    /// The host's file it reads, if it reads one.
    pub fn host_file(&self) -> Option<&str> {
        self.host_file_range().map(|range| &self.parts().1[range])
    }

    /// Names the host's file it reads anew.
    pub fn set_host_file(&mut self, file: &str) {
        if let Some(range) = self.host_file_range() {
            self.value_mut().replace_range(range, file);
        }
    }

    /// The password in it, which must not be seen among a process's arguments.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Change::RootPassword(value) => value.strip_prefix("password:"),
            Change::Password(value) => value.split_once(':')?.1.strip_prefix("password:"),
            _ => None,
        }
    }

    /// The same change, its password in the first line of a file.
    pub fn with_secret_in(&self, file: &str) -> Change {
        match self {
            Change::RootPassword(_) => Change::RootPassword(format!("file:{file}")),
            Change::Password(value) => {
                let user = value.split(':').next().unwrap_or_default();
                Change::Password(format!("{user}:file:{file}"))
            }
            other => other.clone(),
        }
    }
}

/// A ready set of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// What makes a system of whatever origin fit for a virtual machine.
    VirtualGuest,
}

impl Profile {
    /// Their names, for people.
    pub const NAMES: &[&str] = &["virtual-guest"];

    /// The profile of this name.
    pub fn find(name: &str) -> Option<Profile> {
        (name == "virtual-guest").then_some(Profile::VirtualGuest)
    }

    /// Its changes.
    pub fn changes(self) -> Vec<Change> {
        match self {
            Profile::VirtualGuest => virtual_guest(),
        }
    }
}

/// A profile and further changes, in the order in which they are made: what is
/// installed comes first, since a profile switches it on.
pub fn customization(profile: Option<Profile>, changes: Vec<Change>) -> Vec<Change> {
    let (mut all, rest): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .partition(|change| matches!(change, Change::Install(_)));
    all.extend(profile.into_iter().flat_map(Profile::changes));
    all.extend(rest);
    all
}

/// The files and lines of the profile `virtual-guest`, all of it without the
/// network: a shell on the serial port and no waiting at the boot menu, an
/// orderly end by the power button, tuning by tuned where it is installed and
/// by the same settings where it is not, the guest agent where it is
/// installed, services off that only real hardware needs.
fn virtual_guest() -> Vec<Change> {
    const SYSCTL: &str = "/etc/sysctl.d/60-virtual-guest.conf:\
        # As tuned's profile virtual-guest.\nvm.dirty_ratio = 30\nvm.swappiness = 30\n";
    const BUTTON: &str = "/etc/systemd/logind.conf.d/50-virtual-guest.conf:\
        # The host shuts a machine down by its power button.\n\
        [Login]\nHandlePowerKey=poweroff\nPowerKeyIgnoreInhibited=yes\n";
    const LINES: [&str; 5] = [
        "systemctl enable serial-getty@ttyS0.service || true",
        "systemctl enable acpid.service 2>/dev/null || true",
        "for u in smartd smartmontools mcelog irqbalance bluetooth ModemManager thermald \
         lm-sensors cpufrequtils upower; do systemctl disable $u.service 2>/dev/null || true; done",
        "systemctl enable qemu-guest-agent.service 2>/dev/null || true",
        "if [ -f /etc/default/grub ]; then sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/' \
         -e '/console=ttyS0/! s/^GRUB_CMDLINE_LINUX=\"/&console=tty0 console=ttyS0 /' \
         /etc/default/grub; (update-grub || grub2-mkconfig -o /boot/grub2/grub.cfg) 2>/dev/null || true; fi",
    ];
    const TUNED: &str = "if [ -d /etc/tuned ] || command -v tuned-adm >/dev/null; then \
        mkdir -p /etc/tuned; echo virtual-guest >/etc/tuned/active_profile; \
        echo manual >/etc/tuned/profile_mode; systemctl enable tuned.service 2>/dev/null || true; fi";
    let mut all = vec![
        Change::Mkdir("/etc/sysctl.d".to_owned()),
        Change::Write(SYSCTL.to_owned()),
        Change::Mkdir("/etc/systemd/logind.conf.d".to_owned()),
        Change::Write(BUTTON.to_owned()),
    ];
    let lines = LINES.iter().chain([&TUNED]);
    all.extend(lines.map(|line| Change::RunCommand((*line).to_owned())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_host_are_known() {
        let named = |change: Change| {
            let file = change.host_file().map(str::to_owned);
            let mut moved = change;
            moved.set_host_file("/new");
            (file, moved.parts().1.to_owned())
        };
        let cases = [
            (Change::Upload("a:/etc/a".into()), Some("a"), "/new:/etc/a"),
            (
                Change::RootPassword("file:p".into()),
                Some("p"),
                "file:/new",
            ),
            (
                Change::RootPassword("password:file:p".into()),
                None,
                "password:file:p",
            ),
            (
                Change::Password("ann:file:p".into()),
                Some("p"),
                "ann:file:/new",
            ),
            (
                Change::SshInject("ann:string:k".into()),
                None,
                "ann:string:k",
            ),
            (Change::SshInject("ann".into()), None, "ann"),
        ];
        for (change, file, moved) in cases {
            assert_eq!(named(change), (file.map(str::to_owned), moved.to_owned()));
        }
    }

    #[test]
    fn passwords_are_taken_out() {
        let root = Change::RootPassword("password:a:b".into());
        assert_eq!(root.secret(), Some("a:b"));
        assert_eq!(
            root.with_secret_in("/f"),
            Change::RootPassword("file:/f".into())
        );
        let ann = Change::Password("ann:password:x".into());
        assert_eq!(ann.secret(), Some("x"));
        assert_eq!(
            ann.with_secret_in("/f"),
            Change::Password("ann:file:/f".into())
        );
        assert_eq!(Change::RootPassword("random".into()).secret(), None);
        assert_eq!(Change::Hostname("password:x".into()).secret(), None);
    }

    #[test]
    fn every_option_is_the_name_in_json_too() {
        for (option, make) in Change::OPTIONS {
            let change = make("x".to_owned());
            assert_eq!(change.parts(), (*option, "x"));
            let json = serde_json::to_value(&change).expect("plain");
            assert_eq!(json[option], "x");
        }
        for name in Profile::NAMES {
            let profile = Profile::find(name).expect("it is named");
            assert_eq!(serde_json::to_value(profile).expect("plain"), *name);
        }
    }

    #[test]
    fn what_is_installed_comes_before_the_profile() {
        let asked = vec![
            Change::Hostname("x".into()),
            Change::Install("tuned".into()),
        ];
        let all = customization(Some(Profile::VirtualGuest), asked);
        assert_eq!(all.first(), Some(&Change::Install("tuned".into())));
        assert_eq!(all.last(), Some(&Change::Hostname("x".into())));
    }
}
