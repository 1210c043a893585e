//! What `stead image` does to images beside making volumes: qemu-img's other commands.

use crate::tool::ImageFile;

/// One of qemu-img's commands, on one image or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageTask {
    /// Makes an image.
    Create {
        /// Its size in bytes; none takes that of the image it builds upon.
        size: Option<u64>,
        /// The image it builds upon, and that one's format.
        backing: Option<(String, String)>,
        /// Further options, `name=value` each.
        options: Vec<String>,
    },
    /// Tells what an image is.
    Info {
        /// The images behind it too.
        chain: bool,
    },
    /// Looks for damage.
    Check {
        /// What of it is mended: `leaks` or `all`.
        repair: Option<String>,
    },
    /// Copies an image into another, in another format.
    Convert {
        /// The other image.
        target: String,
        /// Its format.
        target_format: String,
        /// Whether it is compressed.
        compress: bool,
        /// Further options, `name=value` each.
        options: Vec<String>,
    },
    /// Gives an image another size.
    Resize {
        /// The size in bytes.
        size: u64,
        /// It may become smaller.
        shrink: bool,
        /// How much of the new space is taken at once: `off`, `metadata`, `falloc` or `full`.
        preallocation: Option<String>,
    },
    /// Puts another image behind an image.
    Rebase {
        /// The other image and its format; none makes the image stand alone.
        backing: Option<(String, String)>,
        /// Only the name in the header changes: for an image behind it that was moved.
        name_only: bool,
    },
    /// Writes what an image holds into the image behind it.
    Commit,
    /// Tells which parts of an image are where.
    Map,
    /// Tells how much space an image would take in another format.
    Measure {
        /// The other format.
        target_format: String,
    },
    /// Compares the content of two images.
    Compare {
        /// The other image.
        other: String,
        /// Its format.
        other_format: String,
    },
    /// Lists or changes the snapshots inside an image.
    Snapshot(SnapshotChange),
}

/// What is done with the snapshots inside an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotChange {
    /// They are listed.
    List,
    /// One is made.
    Create(String),
    /// The image becomes what it was.
    Apply(String),
    /// One is deleted.
    Delete(String),
}

impl ImageTask {
    /// The command's name.
    pub fn word(&self) -> &'static str {
        match self {
            ImageTask::Create { .. } => "create",
            ImageTask::Info { .. } => "info",
            ImageTask::Check { .. } => "check",
            ImageTask::Convert { .. } => "convert",
            ImageTask::Resize { .. } => "resize",
            ImageTask::Rebase { .. } => "rebase",
            ImageTask::Commit => "commit",
            ImageTask::Map => "map",
            ImageTask::Measure { .. } => "measure",
            ImageTask::Compare { .. } => "compare",
            ImageTask::Snapshot(_) => "snapshot",
        }
    }

    /// Whether the image is another one afterwards.
    pub fn changes_image(&self) -> bool {
        match self {
            ImageTask::Check { repair } => repair.is_some(),
            ImageTask::Resize { .. } | ImageTask::Rebase { .. } | ImageTask::Commit => true,
            ImageTask::Snapshot(change) => *change != SnapshotChange::List,
            _ => false,
        }
    }

    /// The file the task makes: the image itself, or the copy.
    pub fn makes<'a>(&'a self, image: &'a str) -> Option<&'a str> {
        match self {
            ImageTask::Create { .. } => Some(image),
            ImageTask::Convert { target, .. } => Some(target),
            _ => None,
        }
    }

    /// Other images that are read.
    pub fn reads(&self) -> Vec<(&str, &str)> {
        match self {
            ImageTask::Create { backing, .. } | ImageTask::Rebase { backing, .. } => {
                let both = backing.iter();
                both.map(|(p, f)| (p.as_str(), f.as_str())).collect()
            }
            ImageTask::Compare {
                other,
                other_format,
            } => vec![(other, other_format)],
            _ => Vec::new(),
        }
    }

    /// The words after `qemu-img`. `made` is where the file is made that the task makes.
    pub fn args(&self, image: &str, format: &str, made: &str) -> Vec<String> {
        let mut args = vec![self.word()];
        let mut size = None;
        let mut joined = String::new();
        match self {
            ImageTask::Create {
                size: bytes,
                backing,
                options,
            } => {
                args.extend(["-q", "-f", format]);
                if let Some((path, format)) = backing {
                    args.extend(["-b", path, "-F", format]);
                }
                joined = options.join(",");
                size = *bytes;
            }
            ImageTask::Info { chain } => {
                args.extend(["-f", format, "-U"]);
                args.extend(chain.then_some("--backing-chain"));
            }
            ImageTask::Check { repair } => {
                args.extend(["-f", format]);
                match repair {
                    Some(what) => args.extend(["-r", what]),
                    None => args.push("-U"),
                }
            }
            ImageTask::Convert {
                target_format,
                compress,
                options,
                ..
            } => {
                args.extend(["-p", "-f", format, "-O", target_format]);
                args.extend(compress.then_some("-c"));
                joined = options.join(",");
            }
            ImageTask::Resize {
                size: bytes,
                shrink,
                preallocation,
            } => {
                args.extend(["-q", "-f", format]);
                args.extend(shrink.then_some("--shrink"));
                joined.clear();
                size = Some(*bytes);
                if let Some(how) = preallocation {
                    args.extend(["--preallocation", how]);
                }
            }
            ImageTask::Rebase { backing, name_only } => {
                args.extend(["-p", "-f", format]);
                args.extend(name_only.then_some("-u"));
                match backing {
                    Some((path, format)) => args.extend(["-b", path, "-F", format]),
                    None => args.extend(["-b", ""]),
                }
            }
            ImageTask::Commit => args.extend(["-p", "-f", format]),
            ImageTask::Map => args.extend(["-f", format, "-U"]),
            ImageTask::Measure { target_format } => {
                args.extend(["-f", format, "-O", target_format, "-U"]);
            }
            ImageTask::Compare { other_format, .. } => {
                args.extend(["-f", format, "-F", other_format, "-U"]);
            }
            ImageTask::Snapshot(change) => match change {
                SnapshotChange::List => args.extend(["-l", "-U"]),
                SnapshotChange::Create(name) => args.extend(["-c", name]),
                SnapshotChange::Apply(name) => args.extend(["-a", name]),
                SnapshotChange::Delete(name) => args.extend(["-d", name]),
            },
        }
        let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        if !joined.is_empty() {
            args.extend(["-o".to_owned(), joined]);
        }
        match self {
            ImageTask::Create { .. } => args.push(made.to_owned()),
            ImageTask::Convert { .. } => args.extend([image.to_owned(), made.to_owned()]),
            ImageTask::Compare { other, .. } => args.extend([image.to_owned(), other.clone()]),
            // QEMU 7.2 takes no -f here.
            ImageTask::Snapshot(_) => args.push(ImageFile::chain(&[ImageFile {
                path: image.to_owned(),
                format: format.to_owned(),
                key: None,
            }])),
            _ => args.push(image.to_owned()),
        }
        args.extend(size.map(|bytes| bytes.to_string()));
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_always_said() {
        let convert = ImageTask::Convert {
            target: "/b".to_owned(),
            target_format: "qcow2".to_owned(),
            compress: true,
            options: vec!["cluster_size=128k".to_owned()],
        };
        assert_eq!(
            convert.args("/a", "raw", "/tmp/b").join(" "),
            "convert -p -f raw -O qcow2 -c -o cluster_size=128k /a /tmp/b"
        );
        let resize = ImageTask::Resize {
            size: 4096,
            shrink: true,
            preallocation: None,
        };
        assert_eq!(
            resize.args("/a", "qcow2", "").join(" "),
            "resize -q -f qcow2 --shrink /a 4096"
        );
        assert!(resize.changes_image() && resize.makes("/a").is_none());
        let check = ImageTask::Check { repair: None };
        assert_eq!(
            check.args("/a", "qcow2", "").join(" "),
            "check -f qcow2 -U /a"
        );
        assert!(!check.changes_image());
        let list = ImageTask::Snapshot(SnapshotChange::List);
        assert_eq!(
            list.args("/a", "qcow2", "").join(" "),
            r#"snapshot -l -U json:{"backing":null,"driver":"qcow2","file":{"filename":"/a"}}"#
        );
    }
}
