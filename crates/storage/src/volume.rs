//! How a volume in a directory is made: a plan without choices left.

use model::storage::{VolumeDefinition, VolumeKind};

use model::domain::storage::EncryptionFormat;

use crate::tool::{ImageFile, KeyFile, NewEncryption, NewImage, Preallocation};

/// What can be made, beside `raw` and directories.
const TOOL_FORMATS: [&str; 9] = [
    "bochs", "vpc", "vdi", "vmdk", "qcow", "qcow2", "qed", "vhdx", "luks",
];
/// What qemu-img can read and not write.
const READ_ONLY_FORMATS: [&str; 2] = ["bochs", "luks"];
/// What qemu-img can make larger.
const GROWING_FORMATS: [&str; 3] = ["raw", "qcow2", "luks"];
/// The version of qcow2 where none is asked for.
const COMPAT_DEFAULT: &str = "1.1";

/// The steps that make a volume, in order. The file they work on is there and empty.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumePlan {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The file gets this length; what is new takes no space.
    Extend {
        /// The length in bytes.
        bytes: u64,
    },
    /// Space is reserved for the file's beginning.
    Reserve {
        /// How much, in bytes.
        bytes: u64,
    },
    /// The content of another file is copied, holes staying holes.
    Copy {
        /// The other file.
        source: String,
        /// Whether sharing the blocks of the other file is the only way wanted.
        reflink: bool,
    },
    /// qemu-img makes an image.
    Tool {
        /// The words after `qemu-img`.
        args: Vec<String>,
    },
    /// A directory instead of a file.
    Directory,
}

/// What is asked for beside the definition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The tables of the image are put on the disk at once.
    pub metadata: bool,
    /// Blocks are to be shared with the source.
    pub reflink: bool,
}

/// The volume another is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceVolume {
    /// The image.
    pub image: ImageFile,
    /// The size a guest sees, in bytes.
    pub capacity: u64,
    /// The image it builds upon.
    pub backing: Option<String>,
}

/// Why a volume cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It asks for what cannot be had.
    #[error("{0}")]
    Unsupported(String),
    /// It contradicts itself.
    #[error("{0}")]
    Invalid(String),
}

fn unsupported(text: impl Into<String>) -> PlanError {
    PlanError::Unsupported(text.into())
}

/// Plans a volume at `path`, empty or with the content of `source`; `key` is what an encrypted one
/// is encrypted with.
///
/// # Errors
/// What the definition asks for and cannot be had.
pub fn plan(
    volume: &VolumeDefinition,
    path: &str,
    source: Option<&SourceVolume>,
    wishes: Wishes,
    key: Option<&KeyFile>,
) -> Result<VolumePlan, PlanError> {
    let format = volume.target.format.as_deref().unwrap_or("raw");
    if volume.kind == VolumeKind::Dir || format == "dir" {
        return plan_directory(source);
    }
    // What is written to a CD is written by whoever uploads it.
    if format == "iso" && source.is_none() {
        let bytes = volume.capacity;
        return Ok(VolumePlan {
            steps: vec![Step::Extend { bytes }],
        });
    }
    check_format(format)?;
    let mut new = new_image(volume, path, format, source, wishes)?;
    new.encryption = encryption(volume, format, key)?;
    let is_encrypted = new.encryption.is_some();
    let steps = match (format, source) {
        (_, None) if is_encrypted => tool_steps(new.create()),
        ("raw", None) => raw_steps(volume, volume.capacity),
        ("raw", Some(source)) if source.image.format == "raw" && !is_encrypted => {
            copy_steps(volume, source, wishes.reflink)
        }
        (_, None) => tool_steps(new.create()),
        (_, Some(source)) => convert_steps(&new, volume, source),
    };
    Ok(VolumePlan { steps })
}

/// How the volume is to be encrypted, if it is.
fn encryption(
    volume: &VolumeDefinition,
    format: &str,
    key: Option<&KeyFile>,
) -> Result<Option<NewEncryption>, PlanError> {
    let Some(wanted) = &volume.target.encryption else {
        return Ok(None);
    };
    if wanted.format != EncryptionFormat::Luks {
        return Err(unsupported(format!(
            "{} volume encryption unsupported; use luks",
            wanted.format
        )));
    }
    if format != "raw" && format != "qcow2" {
        return Err(unsupported(format!(
            "volumes of format '{format}' cannot be encrypted; use raw or qcow2"
        )));
    }
    if wanted.secrets.len() > 1 {
        return Err(PlanError::Invalid(
            "too many secrets for qemu-img encryption".to_owned(),
        ));
    }
    let Some(key) = key else {
        return Err(PlanError::Invalid(
            "an encrypted volume needs a secret: <secret type='passphrase' uuid='…'/>".to_owned(),
        ));
    };
    Ok(Some(NewEncryption {
        key: key.clone(),
        cipher: wanted.cipher.clone(),
        ivgen: wanted.ivgen.clone(),
    }))
}

fn plan_directory(source: Option<&SourceVolume>) -> Result<VolumePlan, PlanError> {
    match source {
        Some(_) => Err(unsupported("cannot copy from volume to a directory volume")),
        None => Ok(VolumePlan {
            steps: vec![Step::Directory],
        }),
    }
}

fn check_format(format: &str) -> Result<(), PlanError> {
    let is_known = format == "raw" || TOOL_FORMATS.contains(&format);
    if !is_known || READ_ONLY_FORMATS.contains(&format) {
        let what = format!("volumes of format '{format}' cannot be made");
        return Err(unsupported(what));
    }
    Ok(())
}

fn new_image(
    volume: &VolumeDefinition,
    path: &str,
    format: &str,
    source: Option<&SourceVolume>,
    wishes: Wishes,
) -> Result<NewImage, PlanError> {
    let target = &volume.target;
    let is_qcow2 = format == "qcow2";
    let asked = [
        (target.compat.is_some(), "compat"),
        (target.features.is_some(), "features"),
        (target.cluster_size.is_some(), "clusterSize"),
    ];
    if let (false, Some((_, what))) = (is_qcow2, asked.iter().find(|(is, _)| *is)) {
        let text = format!("{what} only supported with qcow2, not with '{format}'");
        return Err(unsupported(text));
    }
    let features = target.features.clone().unwrap_or_default();
    let compat = target.compat.as_deref().unwrap_or(COMPAT_DEFAULT);
    if compat == "0.10" && !features.is_empty() {
        let text = "the features of a qcow2 image need compat 1.1";
        return Err(unsupported(text));
    }
    if features.contains(&model::storage::VolumeFeature::DataFile) {
        let text = "a qcow2 image with its data in another file cannot be made as a volume";
        return Err(unsupported(text));
    }
    // Without one named, the copy stands alone: it holds what the source's backing images hold.
    let backing = volume.backing.as_ref();
    if let (Some(_), false) = (backing, is_qcow2 || format == "qed" || format == "vmdk") {
        let text = format!("backing storage not supported for {format} volumes");
        return Err(unsupported(text));
    }
    if let (Some(backing), Some(source)) = (backing, source)
        && source.backing.as_ref() != Some(&backing.path)
    {
        let text = "a different backing store cannot be specified";
        return Err(PlanError::Invalid(text.to_owned()));
    }
    let preallocation = match (wishes.metadata, volume.allocation) {
        (false, _) => None,
        (true, Some(bytes)) if bytes < volume.capacity => Some(Preallocation::Metadata),
        (true, _) => Some(Preallocation::Falloc),
    };
    if preallocation.is_some() && !is_qcow2 {
        return Err(unsupported(
            "metadata preallocation only supported with qcow2",
        ));
    }
    let wants_own_size = volume.capacity > 0 || backing.is_none();
    Ok(NewImage {
        path: path.to_owned(),
        format: format.to_owned(),
        capacity: wants_own_size.then_some(volume.capacity),
        backing: backing.map(|backing| {
            let format = backing.format.clone().unwrap_or_else(|| "raw".to_owned());
            (backing.path.clone(), format)
        }),
        preallocation,
        compat: is_qcow2.then(|| compat.to_owned()),
        cluster_bytes: target.cluster_size.filter(|bytes| *bytes > 0),
        features,
        nocow: target.nocow,
        ..NewImage::default()
    })
}

/// Without a word about it, all the space is taken at once, as libvirt does.
fn raw_steps(volume: &VolumeDefinition, capacity: u64) -> Vec<Step> {
    let reserved = volume.allocation.unwrap_or(capacity).min(capacity);
    let mut steps = vec![Step::Extend { bytes: capacity }];
    if reserved > 0 {
        steps.push(Step::Reserve { bytes: reserved });
    }
    steps
}

fn copy_steps(volume: &VolumeDefinition, source: &SourceVolume, reflink: bool) -> Vec<Step> {
    let capacity = volume.capacity.max(source.capacity);
    let mut steps = vec![
        Step::Copy {
            source: source.image.path.clone(),
            reflink,
        },
        Step::Extend { bytes: capacity },
    ];
    // The copy of a sparse volume is sparse.
    let reserved = volume.allocation.unwrap_or(0).min(capacity);
    if reserved >= source.capacity && reserved > 0 {
        steps.push(Step::Reserve { bytes: reserved });
    }
    steps
}

fn tool_steps(args: Vec<String>) -> Vec<Step> {
    vec![Step::Tool { args }]
}

fn convert_steps(new: &NewImage, volume: &VolumeDefinition, source: &SourceVolume) -> Vec<Step> {
    let grows = volume.capacity > source.capacity;
    let has_keys = new.encryption.is_some() || source.image.key.is_some();
    // Keys can be given only for an image that is there, and not every format grows afterwards.
    if has_keys || (grows && !GROWING_FORMATS.contains(&new.format.as_str())) {
        let sized = NewImage {
            capacity: Some(volume.capacity.max(source.capacity)),
            ..new.clone()
        };
        let mut steps = tool_steps(sized.create());
        steps.extend(tool_steps(sized.fill(&source.image)));
        return steps;
    }
    let mut steps = tool_steps(new.convert(&source.image));
    if grows {
        let args = crate::tool::resize(&new.as_file(), volume.capacity, false, None);
        steps.extend(tool_steps(args));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::storage::{Capacity, PoolKind};

    fn volume(rest: &str) -> VolumeDefinition {
        let text = format!("<volume><name>v</name><capacity unit='M'>2</capacity>{rest}</volume>");
        VolumeDefinition::parse(&text, PoolKind::Dir, Capacity::Required).unwrap()
    }

    fn steps(rest: &str) -> Result<Vec<Step>, PlanError> {
        let wishes = Wishes::default();
        plan(&volume(rest), "/p/v", None, wishes, None).map(|plan| plan.steps)
    }

    fn source(format: &str) -> SourceVolume {
        SourceVolume {
            image: ImageFile {
                path: "/p/s".to_owned(),
                format: format.to_owned(),
                key: None,
            },
            capacity: 1 << 20,
            backing: None,
        }
    }

    fn commands(
        wanted: &VolumeDefinition,
        source: Option<&SourceVolume>,
        key: Option<&KeyFile>,
    ) -> Vec<String> {
        let plan = plan(wanted, "/p/v", source, Wishes::default(), key).unwrap();
        let steps = plan.steps.iter().map(|step| match step {
            Step::Tool { args } => args.join(" "),
            other => format!("{other:?}"),
        });
        steps.collect()
    }

    #[test]
    fn raw_volumes_take_their_space_unless_told_otherwise() {
        let bytes = 2 << 20;
        let full = [Step::Extend { bytes }, Step::Reserve { bytes }];
        assert_eq!(steps("").unwrap(), full);
        assert_eq!(steps("<allocation>0</allocation>").unwrap(), full[..1]);
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let format = |format: &str| format!("<target><format type='{format}'/></target>");
        for (rest, words) in [
            (format("bochs"), "'bochs'"),
            (
                "<target><compat>1.1</compat></target>".to_owned(),
                "only supported with qcow2",
            ),
            (
                "<backingStore><path>/b</path></backingStore>".to_owned(),
                "not supported for raw",
            ),
            (
                "<target><encryption format='luks'/></target>".to_owned(),
                "secret",
            ),
            (
                "<target><format type='vdi'/><encryption format='luks'/></target>".to_owned(),
                "cannot be encrypted",
            ),
            (
                "<target><encryption format='qcow'/></target>".to_owned(),
                "qcow volume encryption",
            ),
        ] {
            let error = steps(&rest).unwrap_err().to_string();
            assert!(error.contains(words), "{rest}: {error}");
        }
    }

    #[test]
    fn a_larger_copy_is_grown() {
        let wanted = volume("<target><format type='qcow2'/></target>");
        assert_eq!(
            commands(&wanted, Some(&source("qcow2")), None),
            [
                "convert -f qcow2 -O qcow2 -o compat=1.1 /p/s /p/v",
                "resize -q -f qcow2 /p/v 2097152"
            ]
        );
    }

    #[test]
    fn what_cannot_grow_is_made_large_enough_at_once() {
        let wanted = volume("<target><format type='vmdk'/></target>");
        assert_eq!(
            commands(&wanted, Some(&source("raw")), None),
            [
                "create -f vmdk /p/v 2048K",
                "convert --image-opts -n --target-image-opts driver=raw,file.filename=/p/s \
                 driver=vmdk,file.filename=/p/v"
            ]
        );
    }

    #[test]
    fn keys_are_named_by_their_files() {
        let key = KeyFile {
            id: "k".to_owned(),
            file: "/dev/fd/3".to_owned(),
        };
        let raw = volume("<target><encryption format='luks'/></target>");
        assert_eq!(
            commands(&raw, None, Some(&key)),
            ["create -f luks --object secret,id=k,file=/dev/fd/3 -o key-secret=k /p/v 2048K"]
        );
        let qcow2 = volume("<target><format type='qcow2'/><encryption format='luks'/></target>");
        let filled = commands(&qcow2, Some(&source("raw")), Some(&key));
        assert!(filled[1].ends_with("driver=qcow2,file.filename=/p/v,encrypt.key-secret=k"));
    }
}
