//! The command lines of qemu-img, without the program's own name.
//!
//! Formats are always said: qemu-img is never left to find out what an image is, since a guest
//! can write any header into a raw disk.

use std::collections::BTreeSet;

use crate::keys::WHOLE_LUKS;
use model::domain::storage::{Cipher, IvGen};
use model::storage::VolumeFeature;
use serde_json::{Value, json};

/// How much of a new image is put on the disk at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preallocation {
    /// Its tables.
    Metadata,
    /// All of it, without writing.
    Falloc,
    /// All of it, written.
    Full,
}

impl Preallocation {
    fn word(self) -> &'static str {
        match self {
            Preallocation::Metadata => "metadata",
            Preallocation::Falloc => "falloc",
            Preallocation::Full => "full",
        }
    }
}

/// The key of an encrypted image: an object of qemu-img and the file it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// The object's name.
    pub id: String,
    /// The file with the key.
    pub file: String,
}

impl KeyFile {
    /// The key of a volume, by the volume's name.
    pub fn of_volume(name: &str, file: impl Into<String>) -> KeyFile {
        KeyFile {
            id: format!("{name}_encrypt0"),
            file: file.into(),
        }
    }

    fn object(&self) -> [String; 2] {
        let KeyFile { id, file } = self;
        ["--object".to_owned(), format!("secret,id={id},file={file}")]
    }
}

/// An image file that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFile {
    /// Its path.
    pub path: String,
    /// Its format; `luks` for an encrypted raw one.
    pub format: String,
    /// Its key, if it is encrypted.
    pub key: Option<KeyFile>,
}

impl ImageFile {
    /// The image as `--image-opts` takes it.
    fn options(&self) -> String {
        let ImageFile { path, format, key } = self;
        let mut text = format!("driver={format},file.filename={}", escape(path));
        if let Some(key) = key {
            let name = match format == WHOLE_LUKS {
                true => "key-secret",
                false => "encrypt.key-secret",
            };
            text.push_str(&format!(",{name}={}", key.id));
        }
        text
    }

    /// The image and those behind it as one name that qemu-img opens, the uppermost first: it
    /// follows no header then, and finds the key of each.
    ///
    /// # Panics
    /// If there is no image.
    pub fn chain(images: &[ImageFile]) -> String {
        let mut behind = None;
        for image in images.iter().rev() {
            behind = Some(image.node(behind));
        }
        format!("json:{}", behind.expect("a chain has an image"))
    }

    fn node(&self, behind: Option<Value>) -> Value {
        let ImageFile { path, format, key } = self;
        let mut node = json!({"driver": format, "file": {"filename": path}});
        match key {
            Some(key) if format == WHOLE_LUKS => node["key-secret"] = json!(key.id),
            Some(key) => node["encrypt"] = json!({"format": "luks", "key-secret": key.id}),
            None => {}
        }
        if behind.is_some() || format == "qcow2" {
            node["backing"] = behind.unwrap_or_default();
        }
        node
    }

    /// The objects that hold the keys of these images.
    pub fn key_objects(images: &[ImageFile]) -> Vec<String> {
        let keys = images.iter().filter_map(|image| image.key.as_ref());
        keys.flat_map(KeyFile::object).collect()
    }
}

/// An image to be made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewImage {
    /// Its path.
    pub path: String,
    /// Its format: `raw`, `qcow2`, ….
    pub format: String,
    /// Its size in bytes; none takes that of the image it builds upon.
    pub capacity: Option<u64>,
    /// The image it builds upon, and that one's format.
    pub backing: Option<(String, String)>,
    /// How much is put on the disk at once.
    pub preallocation: Option<Preallocation>,
    /// The oldest version it is for.
    pub compat: Option<String>,
    /// The bytes of a cluster.
    pub cluster_bytes: Option<u64>,
    /// What else it can do.
    pub features: BTreeSet<VolumeFeature>,
    /// The file that is to hold the data.
    pub data_file: Option<String>,
    /// Whether a btrfs is to write it in place.
    pub nocow: bool,
    /// How it is encrypted.
    pub encryption: Option<NewEncryption>,
}

/// How a new image is encrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEncryption {
    /// Its key.
    pub key: KeyFile,
    /// The cipher; QEMU's usual one if none is given.
    pub cipher: Option<Cipher>,
    /// How the initialization vector is made.
    pub ivgen: Option<IvGen>,
}

impl NewImage {
    /// What qemu-img calls the format: an encrypted raw image is one of `luks`.
    fn tool_format(&self) -> &str {
        match (&self.encryption, self.format.as_str()) {
            (Some(_), "raw") => WHOLE_LUKS,
            (_, format) => format,
        }
    }

    fn is_raw(&self) -> bool {
        self.format == "raw"
    }

    /// The value of `-o`.
    fn options(&self) -> String {
        let mut all = Vec::new();
        if let Some((_, format)) = &self.backing {
            all.push(format!("backing_fmt={format}"));
        }
        if let Some(encryption) = &self.encryption {
            all.extend(encryption.options(self.is_raw()));
        }
        if let Some(preallocation) = self.preallocation {
            all.push(format!("preallocation={}", preallocation.word()));
        }
        if self.nocow {
            all.push("nocow=on".to_owned());
        }
        if let Some(compat) = &self.compat {
            all.push(format!("compat={compat}"));
        }
        if let Some(bytes) = self.cluster_bytes {
            all.push(format!("cluster_size={bytes}"));
        }
        if self.features.contains(&VolumeFeature::LazyRefcounts) {
            all.push("lazy_refcounts".to_owned());
        }
        if self.features.contains(&VolumeFeature::ExtendedL2) {
            all.push("extended_l2=on".to_owned());
        }
        if let Some(path) = &self.data_file {
            all.push(format!("data_file={}", escape(path)));
        }
        all.join(",")
    }

    /// `qemu-img create`.
    pub fn create(&self) -> Vec<String> {
        let mut args = words(&["create", "-f", self.tool_format()]);
        if let Some((path, _)) = &self.backing {
            args.extend(words(&["-b", path]));
        }
        if let Some(encryption) = &self.encryption {
            args.extend(encryption.key.object());
        }
        push_options(&mut args, self.options());
        args.push(self.path.clone());
        if let Some(bytes) = self.capacity {
            args.push(format!("{}K", bytes.div_ceil(1024)));
        }
        args
    }

    /// The same, for an image whose size is given: the one it builds upon is not opened.
    pub fn create_unopened(&self) -> Vec<String> {
        let mut args = self.create();
        args.splice(1..1, words(&["-q", "-u"]));
        args
    }

    /// `qemu-img convert`, making the image with the content of `source`.
    pub fn convert(&self, source: &ImageFile) -> Vec<String> {
        let mut args = words(&["convert", "-f", &source.format, "-O", self.tool_format()]);
        if let Some((path, _)) = &self.backing {
            args.extend(words(&["-B", path]));
        }
        push_options(&mut args, self.options());
        args.extend([source.path.clone(), self.path.clone()]);
        args
    }

    /// `qemu-img convert` into this image, which is there already: where keys are involved.
    pub fn fill(&self, source: &ImageFile) -> Vec<String> {
        let mut args = words(&["convert", "--image-opts", "-n", "--target-image-opts"]);
        let target_key = self.encryption.as_ref().map(|e| &e.key);
        for key in [target_key, source.key.as_ref()].into_iter().flatten() {
            args.extend(key.object());
        }
        args.push(source.options());
        args.push(self.as_file().options());
        args
    }

    /// The image once it is made.
    pub fn as_file(&self) -> ImageFile {
        ImageFile {
            path: self.path.clone(),
            format: self.tool_format().to_owned(),
            key: self.encryption.as_ref().map(|e| e.key.clone()),
        }
    }
}

impl NewEncryption {
    fn options(&self, is_whole_file: bool) -> Vec<String> {
        let prefix = if is_whole_file { "" } else { "encrypt." };
        let mut all = Vec::new();
        if !is_whole_file {
            all.push("encrypt.format=luks".to_owned());
        }
        all.push(format!("{prefix}key-secret={}", self.key.id));
        if let Some(cipher) = &self.cipher {
            let name = match cipher.size {
                Some(size) => format!("{}-{size}", cipher.name),
                None => cipher.name.clone(),
            };
            all.push(format!("{prefix}cipher-alg={name}"));
            all.extend(
                cipher
                    .mode
                    .iter()
                    .map(|m| format!("{prefix}cipher-mode={m}")),
            );
            all.extend(cipher.hash.iter().map(|h| format!("{prefix}hash-alg={h}")));
        }
        if let Some(ivgen) = &self.ivgen {
            all.push(format!("{prefix}ivgen-alg={}", ivgen.name));
            let hash = ivgen.hash.iter();
            all.extend(hash.map(|h| format!("{prefix}ivgen-hash-alg={h}")));
        }
        all
    }
}

/// `qemu-img resize` to a size in bytes.
pub fn resize(
    image: &ImageFile,
    bytes: u64,
    shrink: bool,
    preallocation: Option<Preallocation>,
) -> Vec<String> {
    let mut args = words(&["resize", "-q"]);
    match &image.key {
        None => args.extend(words(&["-f", &image.format])),
        Some(key) => args.extend(key.object()),
    }
    if shrink {
        args.push("--shrink".to_owned());
    }
    if let Some(preallocation) = preallocation {
        args.push(format!("--preallocation={}", preallocation.word()));
    }
    match &image.key {
        None => args.push(image.path.clone()),
        Some(_) => args.extend(["--image-opts".to_owned(), image.options()]),
    }
    args.push(bytes.to_string());
    args
}

/// A value inside a list of options: commas are doubled.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn push_options(args: &mut Vec<String>, options: String) {
    if !options.is_empty() {
        args.extend(["-o".to_owned(), options]);
    }
}

/// How far qemu-img is, from a piece of what it prints with `-p`: `    (42.00/100%)`.
pub fn progress(text: &str) -> Option<f64> {
    let (_, last) = text.rsplit_once('(')?;
    let (percent, _) = last.split_once("/100%")?;
    let percent: f64 = percent.trim().parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_the_last_figure() {
        assert_eq!(progress("    (0.00/100%)\r    (42.50/100%)\r"), Some(42.5));
        assert_eq!(progress("    (0.00/100%)\r    (4"), None);
        assert_eq!(progress("done"), None);
        assert_eq!(progress("(nan/100%)"), None);
    }

    #[test]
    fn a_chain_is_one_name_with_every_key() {
        let image = |path: &str, format: &str, key: Option<&str>| ImageFile {
            path: path.to_owned(),
            format: format.to_owned(),
            key: key.map(|id| KeyFile {
                id: id.to_owned(),
                file: "/dev/fd/3".to_owned(),
            }),
        };
        let chain = [
            image("/a,b\"c", "qcow2", Some("k0")),
            image("/mid", "qcow2", None),
            image("/base", "luks", Some("k1")),
        ];
        let name = ImageFile::chain(&chain);
        let read: Value = serde_json::from_str(name.strip_prefix("json:").expect("JSON")).unwrap();
        assert_eq!(read["file"]["filename"], "/a,b\"c");
        assert_eq!(read["encrypt"]["key-secret"], "k0");
        assert_eq!(read["backing"]["backing"]["key-secret"], "k1");
        assert_eq!(read["backing"]["backing"].get("backing"), None);
        assert!(ImageFile::chain(&chain[..1]).contains("\"backing\":null"));
        assert_eq!(ImageFile::key_objects(&chain).len(), 4);
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        let image = NewImage {
            path: "/a".to_owned(),
            format: "qcow2".to_owned(),
            data_file: Some("/x,y".to_owned()),
            ..NewImage::default()
        };
        assert!(image.create().contains(&"data_file=/x,,y".to_owned()));
    }
}
