//! The firmware: what the user named, completed, or an image of the host's
//! that does what was asked for.

use super::{DefineContext, FirmwareImage};
use crate::domain::Domain;
use crate::domain::os::{
    Firmware, FirmwareFeature, FirmwareFeatures, Loader, LoaderType, Os, OsNvram,
};
use crate::domain::storage::ImageFormat;
use crate::xml::{Scalar, XmlError, XmlErrorKind, YesNo};

/// Completes `<loader>` and `<nvram>`, or chooses them.
pub(super) fn complete(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    complete_given(&mut domain.os);
    if domain.os.firmware == Some(Firmware::Efi) && needs_choice(&domain.os) {
        choose(domain, context)?;
    }
    Ok(())
}

fn complete_given(os: &mut Os) {
    if let Some(loader) = &mut os.loader
        && loader.path.is_some()
    {
        loader.kind.get_or_insert(LoaderType::Rom);
        if loader.kind == Some(LoaderType::Pflash) {
            loader.format.get_or_insert(ImageFormat::Raw);
            // Raw is what everybody assumes.
            if loader.format == Some(ImageFormat::Raw) {
                loader.format = None;
            }
        }
    }
}

fn needs_choice(os: &Os) -> bool {
    os.loader.as_ref().is_none_or(|l| l.path.is_none())
}

fn choose(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    let Some(image) = context
        .firmwares
        .iter()
        .find(|image| suits(image, &domain.os))
    else {
        return Err(XmlError::new(
            XmlErrorKind::Unsupported,
            "operation failed: Unable to find 'efi' firmware that is compatible with the current \
             configuration",
        ));
    };
    let name = domain.name.clone();
    let os = &mut domain.os;
    let secure = image.features.contains("secure-boot");
    let enrolled = image.features.contains("enrolled-keys");
    let loader = os.loader.get_or_insert_with(Loader::default);
    loader.path = Some(image.code.clone());
    loader.kind = Some(LoaderType::Pflash);
    loader.readonly = Some(YesNo::Yes);
    if image.features.contains("requires-smm") {
        loader.secure = Some(YesNo::Yes);
    }
    loader.format = format(&image.code_format);
    let stateless = loader.stateless == Some(YesNo::Yes);
    if let Some(template) = image.vars_template.as_ref().filter(|_| !stateless) {
        let nvram = os.nvram.get_or_insert_with(OsNvram::default);
        nvram.template.get_or_insert_with(|| template.clone());
        nvram.template_format = nvram.template_format.or_else(|| format(&image.vars_format));
        if nvram.path.is_none() && nvram.source.is_none() {
            let extension = if image.vars_format == "qcow2" {
                "qcow2"
            } else {
                "fd"
            };
            nvram.path = Some(format!("{}/{name}_VARS.{extension}", context.nvram_dir));
            nvram.format = nvram.format.or_else(|| format(&image.vars_format));
        }
    }
    let yes = |on: bool| if on { YesNo::Yes } else { YesNo::No };
    os.firmware_features = Some(FirmwareFeatures {
        features: vec![
            FirmwareFeature {
                enabled: yes(enrolled),
                name: "enrolled-keys".to_owned(),
            },
            FirmwareFeature {
                enabled: yes(secure),
                name: "secure-boot".to_owned(),
            },
        ],
    });
    Ok(())
}

/// The format, unless it is the usual one.
fn format(word: &str) -> Option<ImageFormat> {
    ImageFormat::parse(word).filter(|f| *f != ImageFormat::Raw)
}

fn suits(image: &FirmwareImage, os: &Os) -> bool {
    if !image.arches.iter().any(|a| a == os.arch()) {
        return false;
    }
    if !image
        .machines
        .iter()
        .any(|m| matches_machine(m, os.machine()))
    {
        return false;
    }
    let wanted = os.firmware_features.iter().flat_map(|f| &f.features);
    for feature in wanted {
        if image.features.contains(&feature.name) != feature.enabled.is_yes() {
            return false;
        }
    }
    let loader = os.loader.as_ref();
    let needs_smm = image.features.contains("requires-smm");
    if let Some(secure) = loader.and_then(|l| l.secure)
        && secure.is_yes() != needs_smm
    {
        return false;
    }
    let stateless = loader.and_then(|l| l.stateless).is_some_and(YesNo::is_yes);
    let wanted_format = loader.and_then(|l| l.format);
    let same_format = wanted_format.is_none_or(|f| f.as_str() == image.code_format);
    same_format && stateless == image.vars_template.is_none()
}

/// Whether a descriptor's pattern (`pc-q35-*`) covers `machine`.
fn matches_machine(pattern: &str, machine: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => machine.starts_with(prefix),
        None => pattern == machine,
    }
}
