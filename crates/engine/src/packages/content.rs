//! Where the files of a package lie.

use crate::confined::open_regular;
use crate::error::{EngineError, Result};
use crate::images::FileSource;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};
use storage::image::{self, Image, Source};
use storage::ovf::is_file_name;
use storage::tar::{self, BLOCK_BYTES, Member};

/// A file of a package: a piece of an archive, or a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) path: PathBuf,
    at: u64,
    length: u64,
    /// Whether the piece is the whole file.
    is_whole: bool,
}

/// The files of a package.
#[derive(Debug)]
pub(super) enum Content {
    Archive { path: PathBuf, members: Vec<Member> },
    Directory { descriptor: PathBuf },
}

impl Content {
    /// A package: an archive, or a descriptor. Reads headers only.
    pub(super) fn open(path: &Path) -> Result<Content> {
        let mut source = FileSource::open(path)?;
        if !tar::is_archive(&source.read(0, 512)) {
            return Ok(Content::Directory {
                descriptor: path.to_owned(),
            });
        }
        let members = tar::members(&mut source);
        let members =
            members.map_err(|e| EngineError::failed(format!("'{}': {e}", path.display())))?;
        Ok(Content::Archive {
            path: path.to_owned(),
            members,
        })
    }

    /// The descriptor.
    pub(super) fn descriptor(&self) -> Result<Place> {
        match self {
            Content::Directory { descriptor } => {
                let name = descriptor.file_name().and_then(|name| name.to_str());
                whole(name.unwrap_or_default(), descriptor)
            }
            Content::Archive { path, members } => {
                let found = members.iter().find(|member| member.name.ends_with(".ovf"));
                found.map(|member| piece(path, member)).ok_or_else(|| {
                    EngineError::failed(format!(
                        "'{}' is no package of a machine: there is no descriptor (.ovf) in it",
                        path.display()
                    ))
                })
            }
        }
    }

    /// A file by the name that the package has for it; a plain name, whoever says it.
    pub(super) fn find(&self, name: &str) -> Result<Option<Place>> {
        if !is_file_name(name) {
            return Ok(None);
        }
        match self {
            Content::Archive { path, members } => {
                let found = members.iter().find(|member| member.name == name);
                Ok(found.map(|member| piece(path, member)))
            }
            Content::Directory { descriptor } => {
                let path = descriptor.with_file_name(name);
                // What lies beside the descriptor and leads elsewhere is not followed.
                let is_there = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
                is_there.then(|| whole(name, &path)).transpose()
            }
        }
    }
}

fn piece(path: &Path, member: &Member) -> Place {
    Place {
        name: member.name.clone(),
        path: path.to_owned(),
        at: member.at,
        length: member.length,
        is_whole: false,
    }
}

fn whole(name: &str, path: &Path) -> Result<Place> {
    Ok(Place {
        name: name.to_owned(),
        path: path.to_owned(),
        at: 0,
        length: FileSource::open(path)?.length(),
        is_whole: true,
    })
}

impl Place {
    /// Reads it whole, if it is no longer than that.
    pub(super) fn text(&self, max_bytes: usize) -> Result<String> {
        let failed =
            |why: &dyn std::fmt::Display| EngineError::failed(format!("'{}': {why}", self.name));
        if self.length > max_bytes as u64 {
            return Err(failed(&format!("it is longer than {max_bytes} bytes")));
        }
        let mut text = String::new();
        self.reader()?
            .read_to_string(&mut text)
            .map_err(|e| failed(&e))?;
        Ok(text)
    }

    /// Its bytes.
    pub(super) fn reader(&self) -> Result<Take<File>> {
        let mut file = open_regular(&self.path)?;
        file.seek(SeekFrom::Start(self.at))
            .map_err(|e| EngineError::system("cannot read the package", e))?;
        Ok(file.take(self.length))
    }

    /// What image it is by its own header.
    pub(super) fn inspect(&self) -> Result<Image> {
        let mut source = Window {
            file: FileSource::open(&self.path)?,
            at: self.at,
            length: self.length,
        };
        Ok(image::inspect(&mut source))
    }

    /// How qemu-img is told to read it as an image of this format.
    pub(super) fn image_words(&self, format: &str) -> Vec<String> {
        let path = self.path.to_string_lossy().into_owned();
        if self.is_whole {
            return vec!["-f".to_owned(), format.to_owned(), path];
        }
        // An archive fills its blocks, so that the rest of the last one is there too.
        let size = self.length.next_multiple_of(BLOCK_BYTES);
        let file = serde_json::json!({"driver": "file", "filename": path});
        let window =
            serde_json::json!({"driver": "raw", "offset": self.at, "size": size, "file": file});
        let image = serde_json::json!({"driver": format, "file": window});
        vec![format!("json:{image}")]
    }
}

/// A piece of a file as a file.
struct Window {
    file: FileSource,
    at: u64,
    length: u64,
}

impl Source for Window {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&mut self, at: u64, length: usize) -> Vec<u8> {
        let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
        self.file.read(self.at.saturating_add(at), length.min(left))
    }
}
