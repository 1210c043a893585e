//! Runs libvirt's own volumes (found by `STEAD_CORPUS`) through the command lines.

// The test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr)]

use std::path::PathBuf;

use model::storage::{Capacity, PoolKind, VolumeDefinition};
use stead_storage::tool::{ImageFile, KeyFile, NewEncryption, NewImage, Preallocation};

/// Expected file, volume, the volume it is made from, metadata preallocated.
const CASES: [(&str, &str, Option<&str>, bool); 10] = [
    ("luks-cipher", "vol-luks-cipher", None, false),
    (
        "luks-convert-encrypt2fileraw",
        "vol-file",
        Some("vol-luks-convert"),
        false,
    ),
    ("qcow2-1.1", "vol-qcow2-1.1", None, false),
    ("qcow2-clusterSize", "vol-qcow2-clusterSize", None, false),
    ("qcow2-lazy", "vol-qcow2-lazy", None, false),
    (
        "qcow2-luks-convert-encrypt",
        "vol-qcow2-luks",
        Some("vol-qcow2-luks-convert"),
        false,
    ),
    (
        "qcow2-luks-convert-encrypt2fileqcow2",
        "vol-file-qcow2",
        Some("vol-qcow2-luks-convert"),
        false,
    ),
    (
        "qcow2-nobacking-convert-prealloc-compat",
        "vol-qcow2-nobacking",
        Some("vol-file"),
        true,
    ),
    (
        "qcow2-nobacking-prealloc-compat",
        "vol-qcow2-nobacking",
        None,
        true,
    ),
    (
        "qcow2-nocapacity",
        "vol-qcow2-nocapacity-backing",
        None,
        false,
    ),
];

fn corpus(path: &str) -> Option<String> {
    let root = std::env::var_os("STEAD_CORPUS")?;
    std::fs::read_to_string(PathBuf::from(root).join(path)).ok()
}

/// Where the corpus has no input, its volume as the expected line tells it.
fn volume(name: &str) -> Option<VolumeDefinition> {
    let own = |rest: &str| {
        format!(
            "<volume><name>OtherDemo.img</name><capacity unit='G'>5</capacity>\
             <allocation>294912</allocation><target>\
             <path>/var/lib/libvirt/images/OtherDemo.img</path><format type='qcow2'/>{rest}</target>\
             <backingStore><path>/dev/null</path><format type='raw'/></backingStore></volume>"
        )
    };
    let text = match name {
        "vol-qcow2-1.1" => own("<compat>1.1</compat>"),
        "vol-qcow2-lazy" => own("<compat>1.1</compat><features><lazy_refcounts/></features>"),
        "vol-luks-cipher" => corpus("storagevolxml2xmlin/vol-luks.xml")?.replace(
            "</encryption>",
            "<cipher name='serpent' size='256' mode='cbc' hash='sha256'/>\
             <ivgen name='plain64' hash='sha256'/></encryption>",
        ),
        _ => corpus(&format!("storagevolxml2xmlin/{name}.xml"))?,
    };
    Some(VolumeDefinition::parse(&text, PoolKind::Dir, Capacity::OfBacking).expect(name))
}

fn image(volume: &VolumeDefinition, from: bool, metadata: bool) -> NewImage {
    let target = &volume.target;
    let format = target.format.clone().expect("a format");
    NewImage {
        path: target.path.clone().expect("a path"),
        capacity: (volume.capacity > 0).then_some(volume.capacity),
        backing: volume
            .backing
            .clone()
            .filter(|_| !from)
            .map(|b| (b.path, b.format.expect("a format"))),
        preallocation: metadata.then_some(Preallocation::Metadata),
        compat: (format == "qcow2").then(|| target.compat.clone().unwrap_or("1.1".to_owned())),
        cluster_bytes: target.cluster_size,
        features: target.features.clone().unwrap_or_default(),
        encryption: target.encryption.as_ref().map(|encryption| NewEncryption {
            key: KeyFile::of_volume(&volume.name, "/path/to/secretFile"),
            cipher: encryption.cipher.clone(),
            ivgen: encryption.ivgen.clone(),
        }),
        format,
        ..NewImage::default()
    }
}

fn source(volume: &VolumeDefinition) -> ImageFile {
    let format = volume.target.format.as_deref().expect("a format");
    let is_encrypted = volume.target.encryption.is_some();
    ImageFile {
        path: volume.target.path.clone().expect("a path"),
        format: match (format, is_encrypted) {
            ("raw", true) => "luks".to_owned(),
            _ => format.to_owned(),
        },
        key: is_encrypted.then(|| KeyFile::of_volume(&volume.name, "/path/to/inputSecretFile")),
    }
}

fn written(lines: &[Vec<String>]) -> String {
    let commands = lines.iter().map(|args| {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut text = "qemu-img \\\n".to_owned();
        let mut at = 0;
        while at < words.len() {
            // An option stands on a line with its value, unless it takes none.
            let alone = ["--image-opts", "-n", "--target-image-opts"].contains(&words[at]);
            let pair = words[at].starts_with('-') && !alone;
            let end = if pair { at + 2 } else { at + 1 };
            text.push_str(&words[at..end].join(" "));
            text.push_str(if end < words.len() { " \\\n" } else { "\n" });
            at = end;
        }
        text
    });
    commands.collect()
}

#[test]
fn command_lines_are_libvirts() {
    if std::env::var_os("STEAD_CORPUS").is_none() {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return;
    }
    for (expected, name, from, metadata) in CASES {
        let file = format!("storagevolxml2argvdata/{expected}.argv");
        let (Some(expected), Some(wanted)) = (corpus(&file), volume(name)) else {
            continue;
        };
        let new = image(&wanted, from.is_some(), metadata);
        let from = from.and_then(volume).map(|volume| source(&volume));
        let lines = match from {
            None => vec![new.create()],
            // Keys can be given only to an image that is there.
            Some(from) if from.key.is_some() => vec![new.create(), new.fill(&from)],
            Some(from) => vec![new.convert(&from)],
        };
        assert_eq!(written(&lines), expected, "{file}");
    }
}
