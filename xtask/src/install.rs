//! Puts the built program and what belongs to it where a system expects them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tree::top;

const UNITS: &[&str] = &[
    "stead.service",
    "stead-machines.service",
    "stead-guests.service",
];

/// Shell, and where it looks for the completions of a program.
const COMPLETIONS: &[(&str, &str, &str)] = &[
    ("bash", "share/bash-completion/completions", "stead"),
    ("zsh", "share/zsh/site-functions", "_stead"),
    ("fish", "share/fish/vendor_completions.d", "stead.fish"),
];

/// Where things go.
struct Places {
    prefix: PathBuf,
    /// Put before every path: where a package is being put together.
    destdir: PathBuf,
}

/// `--prefix DIR [--destdir DIR]`.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let places = places(arguments)?;
    let binary = built_binary()?;
    let bin = places.below_prefix("bin")?;
    copy(&binary, &bin.join("stead"))?;
    let libexec = places.below_prefix("lib/stead")?;
    copy(
        &top().join("packaging/stead-guests"),
        &libexec.join("stead-guests"),
    )?;
    let units = places.below_prefix("lib/systemd/system")?;
    for unit in UNITS {
        fs::write(units.join(unit), places.unit(unit)?)
            .map_err(|error| format!("{unit}: {error}"))?;
    }
    let users = places.below_prefix("lib/sysusers.d")?;
    copy(
        &top().join("packaging/sysusers.conf"),
        &users.join("stead.conf"),
    )?;
    for folder in ["zones", "policies"] {
        let goal = places.below_prefix(&format!("lib/firewalld/{folder}"))?;
        copy_all(&top().join("packaging/firewalld").join(folder), &goal)?;
    }
    let pages = places.below_prefix("share/man/man1")?;
    ask(&binary, &["man", &pages.to_string_lossy()])?;
    for (shell, folder, file) in COMPLETIONS {
        let script = ask(&binary, &["completion", shell])?;
        let goal = places.below_prefix(folder)?.join(file);
        fs::write(&goal, script).map_err(|error| format!("{}: {error}", goal.display()))?;
    }
    Ok(())
}

/// Copies the files of a folder.
fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// What the program says when called like this.
fn ask(binary: &Path, words: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new(binary).args(words).output();
    let output = output.map_err(|error| format!("{}: {error}", binary.display()))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} {}: {said}", binary.display(), words.join(" ")))
    }
}

fn places(arguments: &[String]) -> Result<Places, String> {
    let mut places = Places {
        prefix: PathBuf::from("/usr/local"),
        destdir: PathBuf::new(),
    };
    for pair in arguments.chunks(2) {
        match pair {
            [option, value] if option == "--prefix" => places.prefix = PathBuf::from(value),
            [option, value] if option == "--destdir" => places.destdir = PathBuf::from(value),
            _ => {
                return Err(format!(
                    "install: what is {pair:?}? Known: --prefix DIR, --destdir DIR"
                ));
            }
        }
    }
    if !places.prefix.is_absolute() {
        return Err(format!(
            "install: the prefix {} is no absolute path",
            places.prefix.display()
        ));
    }
    Ok(places)
}

impl Places {
    /// A unit file, with the paths of programs as they are below the prefix.
    fn unit(&self, name: &str) -> Result<String, String> {
        let path = top().join("packaging").join(name);
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let prefix = self.prefix.to_string_lossy();
        Ok(text.replace("=/usr/", &format!("={}/", prefix.trim_end_matches('/'))))
    }

    /// The folder `name` below the prefix, made if it is missing.
    fn below_prefix(&self, name: &str) -> Result<PathBuf, String> {
        let inside = self.prefix.strip_prefix("/").unwrap_or(&self.prefix);
        let folder = if self.destdir.as_os_str().is_empty() {
            self.prefix.join(name)
        } else {
            self.destdir.join(inside).join(name)
        };
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }
}

fn built_binary() -> Result<PathBuf, String> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top().join("target"), PathBuf::from);
    let binary = target.join("release/stead");
    if binary.is_file() {
        Ok(binary)
    } else {
        Err(format!(
            "install: {} is missing; build it with `make build`",
            binary.display()
        ))
    }
}

/// Beside the goal first, then renamed: the program may be running from there.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh)
        .and_then(|_| fs::rename(&fresh, to))
        .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read() {
        let found = places(&words("--prefix /usr --destdir /tmp/package")).expect("both are known");
        assert_eq!(found.prefix, Path::new("/usr"));
        assert_eq!(found.destdir, Path::new("/tmp/package"));
    }

    #[test]
    fn units_name_the_programs_below_the_prefix() {
        let places = places(&words("--prefix /opt/stead")).expect("it is known");
        let unit = places.unit("stead.service").expect("it is there");
        assert!(
            unit.contains("ExecStart=/opt/stead/bin/stead daemon "),
            "{unit}"
        );
    }

    #[test]
    fn what_is_not_an_option_or_not_absolute_is_refused() {
        assert!(places(&words("--prefix")).is_err());
        assert!(places(&words("--where /usr")).is_err());
        assert!(places(&words("--prefix usr")).is_err());
    }
}
