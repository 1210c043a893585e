//! What is inside the disks of a machine that does not run.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A question about what is inside; the answer is text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LookInside {
    /// Lists a directory.
    List {
        /// The directory.
        path: String,
        /// With permissions, owners, sizes and all that lies below.
        #[serde(default)]
        long: bool,
    },
    /// Prints a file.
    Cat {
        /// The file.
        path: String,
    },
}

/// Something done inside; the answer is a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkInside {
    /// Copies files of the host in.
    CopyIn {
        /// Absolute paths of the host.
        from: Vec<String>,
        /// A directory of the guest.
        to: String,
    },
    /// Copies files of the guest out.
    CopyOut {
        /// Paths of the guest.
        from: Vec<String>,
        /// A directory of the host.
        to: String,
    },
    /// Mounts the disks below a directory of the host; the job lasts as long as the mount.
    Mount {
        /// The directory.
        at: String,
        /// Whether it may be written to.
        #[serde(default)]
        writable: bool,
    },
    /// Takes away what makes the guest this one guest.
    Sysprep {
        /// The operations; all that are usual without any.
        #[serde(default)]
        operations: Vec<String>,
        /// Changes made besides.
        #[serde(default)]
        changes: Vec<Change>,
    },
    /// Changes the guest.
    Customize {
        /// A ready set of changes made first: `virtual-guest`.
        #[serde(default)]
        profile: Option<String>,
        /// The changes, in order.
        #[serde(default)]
        changes: Vec<Change>,
    },
}

/// A change inside a guest: virt-customize's option and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Its host name.
    Hostname(String),
    /// `password:WORD`, `file:FILE`, `random` or `disabled`.
    RootPassword(String),
    /// `USER:password:WORD`.
    Password(String),
    /// `USER:string:KEY`.
    SshInject(String),
    /// `FILE:PLACE`.
    Upload(String),
    /// A line of a shell, run in the guest.
    RunCommand(String),
    /// A line of a shell, run at its next start.
    FirstbootCommand(String),
    /// Packages, separated by commas.
    Install(String),
    /// A file or directory that goes.
    Delete(String),
    /// A directory that is made.
    Mkdir(String),
    /// Its time zone.
    Timezone(String),
}

/// Text that was asked for, or that a program said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Said {
    /// The text.
    pub said: String,
}

/// A directory of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// Its path.
    pub at: String,
}
