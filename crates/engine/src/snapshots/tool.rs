//! qemu-img for the images of a domain. Where one of them is encrypted, all are named with their
//! keys, and no header is asked what lies behind an image.

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::files;
use crate::secrets::SecretValue;
use crate::snapshots::keys::is_encrypted;
use crate::volumes::tool::{ToolRun, key_file};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use storage::keys::{KeyRef, Keys};
use storage::limits::CHAIN_MAX;
use storage::tool::{ImageFile, NewEncryption, NewImage};

/// How much of an image's chain is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The image alone.
    Alone,
    /// All that is behind it too; the next one is written to.
    Whole,
}

/// qemu-img, with the keys there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool<'a> {
    engine: &'a Engine,
    keys: &'a Keys,
}

/// Images with what they are opened with, the uppermost first.
#[derive(Debug, Default)]
struct Opened {
    images: Vec<ImageFile>,
    values: Vec<SecretValue>,
}

impl<'a> Tool<'a> {
    pub(crate) fn new(engine: &'a Engine, keys: &'a Keys) -> Self {
        Self { engine, keys }
    }

    /// Changes an image, given with its format: `words`, then the image's name. `plain` are words
    /// that a name with keys makes needless.
    pub(crate) fn change(
        &self,
        words: &[&str],
        plain: &[&str],
        (image, format): (&str, &str),
        depth: Depth,
    ) -> Result<()> {
        let opened = self.open(image, format, depth)?;
        if opened.values.is_empty() {
            return qemu_img(&[words, plain, &[image]].concat());
        }
        let mut paths = opened.images.iter().map(|i| PathBuf::from(&i.path));
        let written = match depth {
            Depth::Alone => 1,
            Depth::Whole => 2,
        };
        let mut args: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        args.extend(ImageFile::key_objects(&opened.images));
        args.push(ImageFile::chain(&opened.images));
        let run = ToolRun {
            args,
            writes: paths.by_ref().take(written).collect(),
            reads: paths.collect(),
            keys: opened.values,
            ..ToolRun::default()
        };
        run.run().map(drop)
    }

    fn open(&self, image: &str, format: &str, depth: Depth) -> Result<Opened> {
        let mut opened = Opened::default();
        let mut above: Option<KeyRef> = None;
        let mut next = Some((PathBuf::from(image), format.to_owned()));
        while let Some((path, format)) = next.take() {
            let name = path.to_string_lossy().into_owned();
            let mut key = None;
            if is_encrypted(&path, &format) {
                let found = self.engine.key_of(self.keys, &name, above.as_ref())?;
                let at = i32::try_from(opened.values.len()).unwrap_or(i32::MAX);
                key = Some(key_file(&format!("image{at}"), at));
                opened.values.push(self.engine.key_value(&found)?);
                above = Some(found);
            }
            let is_followed = depth == Depth::Whole && format == "qcow2";
            if is_followed && opened.images.len() < CHAIN_MAX {
                next = files::backing_of(&path)
                    .map(|below| (below.path, below.format.unwrap_or_else(|| "raw".to_owned())));
            }
            opened.images.push(ImageFile {
                path: name,
                format,
                key,
            });
        }
        Ok(opened)
    }

    /// Makes an empty image upon another one, which is given with its format.
    pub(crate) fn overlay(&self, image: &str, format: &str, backing: (&str, &str)) -> Result<()> {
        let (below, below_format) = backing;
        let is_plain = self.keys.get(image).is_none();
        if is_plain && !is_encrypted(Path::new(below), below_format) {
            return qemu_img(&[
                "create",
                "-q",
                "-f",
                format,
                "-b",
                below,
                "-F",
                below_format,
                image,
            ]);
        }
        let bytes = virtual_size(below, below_format)?;
        self.create(image, format, Some(backing), bytes)
    }

    /// Makes an empty image of this size, encrypted where its key is known.
    pub(crate) fn create(
        &self,
        image: &str,
        format: &str,
        backing: Option<(&str, &str)>,
        bytes: u64,
    ) -> Result<()> {
        let key = self.keys.get(image);
        let value = key.map(|key| self.engine.key_value(key)).transpose()?;
        let new = NewImage {
            path: image.to_owned(),
            format: format.to_owned(),
            capacity: Some(bytes),
            backing: backing.map(|(path, format)| (path.to_owned(), format.to_owned())),
            encryption: value.as_ref().map(|_| NewEncryption {
                key: key_file("image", 0),
                cipher: None,
                ivgen: None,
            }),
            ..NewImage::default()
        };
        // It can be let in only where it is there.
        let made = OpenOptions::new().create(true).append(true).open(image);
        made.map_err(|e| EngineError::system(&format!("cannot make '{image}'"), e))?;
        let run = ToolRun {
            args: new.create_unopened(),
            writes: vec![image.into()],
            keys: value.into_iter().collect(),
            ..ToolRun::default()
        };
        run.run().map(drop)
    }
}

/// The size a guest sees, in bytes. The image is in use, perhaps.
pub(crate) fn virtual_size(image: &str, format: &str) -> Result<u64> {
    let output = Command::new("qemu-img")
        .args(["info", "-U", "-f", format, "--output=json", image])
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
fn qemu_img(arguments: &[&str]) -> Result<()> {
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
