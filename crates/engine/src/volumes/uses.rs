//! Which running machine uses a file.

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::volumes::chain::images_behind;
use model::domain::disk::Disk;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl Engine {
    /// Refuses to go on where a running machine uses the image: it must not change under it. Looks
    /// at files, so it may block.
    pub(crate) fn check_unused(&self, path: &str, what: &str) -> Result<()> {
        match self.machine_using(path) {
            None => Ok(()),
            Some(name) => Err(EngineError::invalid(format!(
                "cannot {what} '{path}': the running machine '{name}' uses it; shut it down, or \
                 change the image through it"
            ))),
        }
    }

    /// The running machine that uses a file, as its disk or below it. May block.
    pub fn machine_using(&self, path: &str) -> Option<String> {
        let is_same = same_file(path);
        for domain in self.domains() {
            let view = domain.view();
            let Some(live) = &view.live else { continue };
            let definition = live.definition();
            if definition
                .devices
                .disks
                .iter()
                .any(|disk| uses(disk, &is_same))
            {
                return Some(view.name.to_string());
            }
        }
        None
    }
}

/// Files are the same if they have one name, or one place on the disk.
fn same_file(path: &str) -> impl Fn(&str) -> bool + use<> {
    let place = |path: &str| {
        let metadata = std::fs::metadata(Path::new(path)).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let own = place(path);
    let path = path.to_owned();
    move |other| other == path || (own.is_some() && place(other) == own)
}

fn uses(disk: &Disk, is_same: &impl Fn(&str) -> bool) -> bool {
    let Some(path) = disk.source_path() else {
        return false;
    };
    let behind = images_behind(path, disk.format().as_str());
    is_same(path) || behind.iter().any(|behind| is_same(behind))
}
