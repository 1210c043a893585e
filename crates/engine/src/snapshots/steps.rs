//! Carries out [`Step`]s on images that no QEMU has open. Repeating a step
//! that was done, whole or in part, ends in the same state.

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::snapshots::images;
use crate::snapshots::tool::{Depth, Tool};
use std::path::{Path, PathBuf};
use storage::chain::Step;
use storage::keys::Keys;

/// Carries out one step without holding up the caller's thread.
pub(crate) async fn run(engine: &Engine, step: &Step, keys: &Keys) -> Result<()> {
    let (engine, step, keys) = (engine.clone(), step.clone(), keys.clone());
    let done = tokio::task::spawn_blocking(move || carry_out(&Tool::new(&engine, &keys), &step));
    done.await
        .unwrap_or_else(|panic| Err(EngineError::failed(panic.to_string())))
}

fn carry_out(tool: &Tool<'_>, step: &Step) -> Result<()> {
    match step {
        Step::Tag { image, tag } => snapshot(tool, "-c", tag, image),
        Step::Untag { image, tag } => untag(tool, Path::new(image), tag),
        Step::Apply { image, tag } => snapshot(tool, "-a", tag, image),
        Step::Overlay {
            image,
            format,
            backing,
            backing_format,
        } => tool.overlay(image, format, (backing, backing_format)),
        Step::Commit { top, format, base } => commit(tool, top, format, base),
        Step::Rebase {
            image,
            format,
            backing,
            backing_format,
        } => {
            let words = ["rebase", "-q", "-u", "-b", backing, "-F", backing_format];
            tool.change(&words, &["-f", format], (image, format), Depth::Alone)
        }
        Step::Copy { from, to } => copy(Path::new(from), Path::new(to)),
        Step::Remove { image } => remove(Path::new(image)),
    }
}

fn snapshot(tool: &Tool<'_>, what: &str, tag: &str, image: &str) -> Result<()> {
    let words = ["snapshot", "-q", what, tag];
    tool.change(&words, &[], (image, "qcow2"), Depth::Alone)
}

fn untag(tool: &Tool<'_>, image: &Path, tag: &str) -> Result<()> {
    match images::has_tag(image, tag) {
        Ok(true) => snapshot(tool, "-d", tag, &image.to_string_lossy()),
        // It is gone already, or the image is.
        Ok(false) => Ok(()),
        Err(_) if !image.exists() => Ok(()),
        Err(error) => Err(error),
    }
}

fn commit(tool: &Tool<'_>, top: &str, format: &str, base: &str) -> Result<()> {
    if !Path::new(top).exists() {
        // Removed after its content had been written into the base.
        return Ok(());
    }
    // -d: the top is removed afterwards, it need not be emptied.
    let words = ["commit", "-q", "-d"];
    tool.change(
        &words,
        &["-f", format, "-b", base],
        (top, format),
        Depth::Whole,
    )
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let fail = |e| {
        EngineError::system(
            &format!("cannot copy '{}' to '{}'", from.display(), to.display()),
            e,
        )
    };
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let partial = PathBuf::from(format!("{}.partial", to.display()));
    std::fs::copy(from, &partial).map_err(fail)?;
    std::fs::File::open(&partial)
        .and_then(|file| file.sync_all())
        .map_err(fail)?;
    std::fs::rename(&partial, to).map_err(fail)?;
    sys::atomic::sync_parent(to).map_err(|e| EngineError::system("cannot keep a copy", e))
}

fn remove(image: &Path) -> Result<()> {
    match std::fs::remove_file(image) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(EngineError::system(
            &format!("cannot remove '{}'", image.display()),
            e,
        )),
        _ => Ok(()),
    }
}
