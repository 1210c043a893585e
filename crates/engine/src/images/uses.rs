//! Who uses an image: machines whose disk it is, and images that build upon it.
//! Read from the definitions and from the images' own headers, so that there is
//! no record that could be wrong.

use super::inspect;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One use of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageUse {
    /// The image that builds upon it, or none where a machine uses it itself.
    pub overlay: Option<PathBuf>,
    /// The machine, where one is known.
    pub domain: Option<String>,
}

impl ImageUse {
    /// In a person's words.
    pub fn words(&self) -> String {
        match (&self.domain, &self.overlay) {
            (Some(domain), _) => domain.clone(),
            (None, Some(overlay)) => overlay.display().to_string(),
            (None, None) => String::new(),
        }
    }
}

/// Who uses which file, of all machines and of all images of the host's pools
/// and the library.
#[derive(Debug, Default)]
pub struct ImageUses {
    /// Files and the images that build upon them.
    overlays: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// Files and the machines that have them as a disk.
    domains: BTreeMap<PathBuf, Vec<String>>,
}

impl ImageUses {
    /// The uses of one file, nearest first.
    pub fn of(&self, path: &Path) -> Vec<ImageUse> {
        let mut uses = Vec::new();
        for domain in self.domains.get(path).into_iter().flatten() {
            uses.push(ImageUse {
                overlay: None,
                domain: Some(domain.clone()),
            });
        }
        for overlay in self.overlays.get(path).into_iter().flatten() {
            let domains = self.domains.get(overlay);
            let named = domains.into_iter().flatten().map(|domain| ImageUse {
                overlay: Some(overlay.clone()),
                domain: Some(domain.clone()),
            });
            uses.extend(named);
            if domains.is_none_or(Vec::is_empty) {
                uses.push(ImageUse {
                    overlay: Some(overlay.clone()),
                    domain: None,
                });
            }
        }
        uses.sort();
        uses.dedup();
        uses
    }

    /// Every image that builds upon a file, directly or through others.
    fn above(&self, path: &Path) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut next = vec![path.to_owned()];
        while let Some(base) = next.pop() {
            for overlay in self.overlays.get(&base).into_iter().flatten() {
                if found.insert(overlay.clone()) {
                    next.push(overlay.clone());
                }
            }
        }
        found
    }
}

impl Engine {
    /// Who uses what, as it is now.
    pub fn image_uses(&self) -> ImageUses {
        let mut uses = ImageUses::default();
        for domain in self.domains() {
            let Ok(definition) = domain.definition() else {
                continue;
            };
            for disk in &definition.devices.disks {
                if let Some(path) = disk.source_path().filter(|path| !path.is_empty()) {
                    let users = uses.domains.entry(path.into()).or_default();
                    users.push(definition.name.clone());
                }
            }
        }
        uses.overlays = self.overlays(uses.domains.keys().cloned().collect());
        uses
    }

    /// Which images build upon which, of `files`, the library and the pools.
    fn overlays(&self, mut files: Vec<PathBuf>) -> BTreeMap<PathBuf, Vec<PathBuf>> {
        let mut overlays: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for directory in [self.places().images.clone(), self.library_directory()] {
            let entries = std::fs::read_dir(directory).into_iter().flatten();
            files.extend(entries.flatten().map(|entry| entry.path()));
        }
        files.sort();
        files.dedup();
        for file in &files {
            if let Some(base) = base_of(file) {
                overlays.entry(base).or_default().push(file.clone());
            }
        }
        // Of pools elsewhere what they know of themselves: a directory on a
        // dead server must not be touched.
        let pools = self.pools();
        for volume in pools.iter().flat_map(|p| p.volumes().unwrap_or_default()) {
            let path = PathBuf::from(volume.path());
            if let Some(backing) = &volume.definition.backing
                && files.binary_search(&path).is_err()
            {
                let base = PathBuf::from(&backing.path);
                overlays.entry(base).or_default().push(path);
            }
        }
        overlays
    }

    /// Refuses to change or remove a file that others build upon, naming them.
    pub fn refuse_if_base(&self, path: &Path, what: &str) -> Result<()> {
        if !self.overlays(Vec::new()).contains_key(path) {
            return Ok(());
        }
        self.refuse_uses(path, what, |one| one.overlay.is_some())
    }

    /// Refuses to remove a file without which a machine or an image of the library is lost: one
    /// that only volumes nobody uses build upon may go.
    pub(crate) fn refuse_if_needed(&self, path: &Path, what: &str) -> Result<()> {
        let uses = self.image_uses();
        let mut users = Vec::new();
        for overlay in uses.above(path) {
            match uses.domains.get(&overlay) {
                Some(domains) => users.extend(domains.iter().cloned()),
                None if overlay.starts_with(self.library_directory()) => {
                    users.push(overlay.display().to_string());
                }
                None => {}
            }
        }
        users.sort();
        users.dedup();
        refuse(path, what, &users)
    }

    /// Refuses to remove an image that anything uses.
    pub(crate) fn refuse_if_used(&self, path: &Path, what: &str) -> Result<()> {
        self.refuse_uses(path, what, |_| true)
    }

    fn refuse_uses(
        &self,
        path: &Path,
        what: &str,
        counts: impl Fn(&ImageUse) -> bool,
    ) -> Result<()> {
        let uses = self.image_uses().of(path);
        let users: Vec<String> = uses
            .iter()
            .filter(|u| counts(u))
            .map(ImageUse::words)
            .collect();
        refuse(path, what, &users)
    }
}

fn refuse(path: &Path, what: &str, users: &[String]) -> Result<()> {
    match users.is_empty() {
        true => Ok(()),
        false => Err(EngineError::invalid(format!(
            "cannot {what} '{}': it is the base of {}",
            path.display(),
            listed(users)
        ))),
    }
}

/// The file an image builds upon, if it is one that does.
pub(super) fn base_of(file: &Path) -> Option<PathBuf> {
    let hidden = file.file_name()?.as_encoded_bytes().starts_with(b".");
    if hidden || !file.is_file() {
        return None;
    }
    let (image, _) = inspect(file).ok()?;
    let base = image.backing?.path(file.to_str()?)?;
    Some(PathBuf::from(base))
}

/// How many users are named in an error.
const NAMED_MAX: usize = 10;

/// `a, b and 3 more`.
fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMED_MAX)].join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (1..=12).map(|n| format!("n{n}")).collect();
        assert_eq!(listed(&names[..2]), "n1, n2");
        assert!(listed(&names).ends_with("n10 and 2 more"));
    }
}
