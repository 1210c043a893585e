//! Carries out [`Step`]s on images that no QEMU has open. Repeating a step
//! that was done, whole or in part, ends in the same state.

use crate::error::{EngineError, Result};
use crate::snapshots::images;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use storage::chain::Step;

/// Carries out one step without holding up the caller's thread.
pub(crate) async fn run(step: &Step) -> Result<()> {
    let step = step.clone();
    tokio::task::spawn_blocking(move || run_blocking(&step))
        .await
        .unwrap_or_else(|panic| Err(EngineError::failed(panic.to_string())))
}

/// Carries out one step.
pub(crate) fn run_blocking(step: &Step) -> Result<()> {
    match step {
        Step::Tag { image, tag } => snapshot("-c", tag, image),
        Step::Untag { image, tag } => untag(Path::new(image), tag),
        Step::Apply { image, tag } => snapshot("-a", tag, image),
        Step::Overlay {
            image,
            format,
            backing,
            backing_format,
        } => overlay(image, format, backing, backing_format),
        Step::Commit { top, format, base } => commit(top, format, base),
        Step::Rebase {
            image,
            format,
            backing,
            backing_format,
        } => qemu_img(&[
            "rebase",
            "-q",
            "-u",
            "-f",
            format,
            "-b",
            backing,
            "-F",
            backing_format,
            image,
        ]),
        Step::Copy { from, to } => copy(Path::new(from), Path::new(to)),
        Step::Remove { image } => remove(Path::new(image)),
    }
}

fn snapshot(what: &str, tag: &str, image: &str) -> Result<()> {
    qemu_img(&["snapshot", "-q", what, tag, image])
}

fn untag(image: &Path, tag: &str) -> Result<()> {
    match images::has_tag(image, tag) {
        Ok(true) => snapshot("-d", tag, &image.to_string_lossy()),
        // It is gone already, or the image is.
        Ok(false) => Ok(()),
        Err(_) if !image.exists() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The new image has its name only when it is whole.
fn overlay(image: &str, format: &str, backing: &str, backing_format: &str) -> Result<()> {
    qemu_img(&[
        "create",
        "-q",
        "-f",
        format,
        "-b",
        backing,
        "-F",
        backing_format,
        image,
    ])
}

fn commit(top: &str, format: &str, base: &str) -> Result<()> {
    if !Path::new(top).exists() {
        // Removed after its content had been written into the base.
        return Ok(());
    }
    // -d: the top is removed afterwards, it need not be emptied.
    qemu_img(&["commit", "-q", "-d", "-f", format, "-b", base, top])
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

/// The size a guest sees, in bytes.
pub(crate) fn virtual_size(image: &str) -> Result<u64> {
    let output = Command::new("qemu-img")
        .args(["info", "-U", "--output=json", image])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| EngineError::system("cannot run qemu-img", e))?;
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    info["virtual-size"].as_u64().ok_or_else(|| {
        EngineError::failed(format!(
            "qemu-img: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    })
}

/// Runs qemu-img; its own last words are the error.
pub(crate) fn qemu_img(arguments: &[&str]) -> Result<()> {
    let output = Command::new("qemu-img")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| EngineError::system("cannot run qemu-img", e))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(EngineError::failed(format!(
            "qemu-img: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}
