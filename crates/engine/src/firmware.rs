//! The firmware images of the host, as their descriptors tell
//! (`docs/interop/firmware.json` of QEMU), and the UEFI variables of a machine.

use crate::error::{EngineError, ErrorKind, Result};
use model::domain::complete::FirmwareImage;
use model::domain::os::Firmware;
use qemu::command_line::VariableStore;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where descriptors are, the most important place last. A file of the same
/// name in a later place hides the earlier one; an empty one removes it.
const DIRECTORIES: [&str; 2] = ["/usr/share/qemu/firmware", "/etc/qemu/firmware"];

/// Reads all descriptors, in the order of their names: the best comes first.
pub(crate) fn images() -> Vec<FirmwareImage> {
    let mut descriptors: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for directory in DIRECTORIES {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "json") {
                descriptors.insert(entry.file_name(), path);
            }
        }
    }
    descriptors
        .values()
        .filter_map(|path| image(path))
        .collect()
}

fn image(path: &Path) -> Option<FirmwareImage> {
    let text = std::fs::read(path).ok()?;
    let descriptor: Value = serde_json::from_slice(&text).ok()?;
    let is_uefi = strings(&descriptor["interface-types"])
        .iter()
        .any(|t| t == "uefi");
    let mapping = &descriptor["mapping"];
    if !is_uefi || mapping["device"] != "flash" {
        return None;
    }
    let code = &mapping["executable"];
    let variables = &mapping["nvram-template"];
    let targets = descriptor["targets"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let image = FirmwareImage {
        interface: Firmware::Efi,
        arches: targets
            .iter()
            .filter_map(|t| text_of(&t["architecture"]))
            .collect(),
        machines: targets
            .iter()
            .flat_map(|t| strings(&t["machines"]))
            .collect(),
        code: text_of(&code["filename"])?,
        code_format: text_of(&code["format"]).unwrap_or_else(|| "raw".to_owned()),
        vars_template: text_of(&variables["filename"]),
        vars_format: text_of(&variables["format"]).unwrap_or_else(|| "raw".to_owned()),
        features: strings(&descriptor["features"]).into_iter().collect(),
    };
    Path::new(&image.code).exists().then_some(image)
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(text_of)
        .collect()
}

/// Makes the machine's variables from their template, where there are none
/// yet or new ones are wanted.
pub(crate) fn make_variables(store: Option<&VariableStore>, anew: bool) -> Result<()> {
    let Some(VariableStore { path, template }) = store else {
        return Ok(());
    };
    if path.exists() && !anew {
        return Ok(());
    }
    let Some(template) = template else {
        return Err(EngineError::new(
            ErrorKind::ResourceUnavailable,
            format!(
                "the UEFI variables '{}' are not there and no template is known to make them from",
                path.display()
            ),
        ));
    };
    let fail = |e| {
        EngineError::system(
            &format!(
                "cannot make UEFI variables {} from {}",
                path.display(),
                template.display()
            ),
            e,
        )
    };
    // Written beside and renamed: a crash never leaves half of them.
    let partial = path.with_extension("new");
    let content = std::fs::read(template).map_err(fail)?;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(&partial).map_err(fail)?;
    std::io::Write::write_all(&mut file, &content).map_err(fail)?;
    std::fs::rename(&partial, path).map_err(fail)
}
