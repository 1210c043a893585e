//! The firmware: what the user named, completed, or an image of the host's
//! that does what was asked for.

use super::{DefineContext, FirmwareImage};
use crate::domain::Domain;
use crate::domain::features::Switch;
use crate::domain::os::{
    Firmware, FirmwareFeature, FirmwareFeatures, Loader, LoaderType, Os, OsNvram,
};
use crate::domain::storage::{ImageFormat, StorageType};
use crate::xml::{Scalar, XmlError, XmlErrorKind, YesNo};

/// Pairs of images and variables that were in use before descriptors were.
const LEGACY_IMAGES: [(&str, &str); 4] = [
    (
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
    (
        "/usr/share/OVMF/OVMF_CODE.secboot.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
    (
        "/usr/share/AAVMF/AAVMF_CODE.fd",
        "/usr/share/AAVMF/AAVMF_VARS.fd",
    ),
    (
        "/usr/share/AAVMF/AAVMF32_CODE.fd",
        "/usr/share/AAVMF/AAVMF32_VARS.fd",
    ),
];

/// Completes `<loader>` and `<nvram>`, or chooses them.
pub(super) fn complete(domain: &mut Domain, context: &DefineContext) -> Result<(), XmlError> {
    check(&domain.os)?;
    if let Some(loader) = &mut domain.os.loader
        && loader.path.is_some()
    {
        loader.kind.get_or_insert(LoaderType::Rom);
    }
    let chosen = match &domain.os.loader {
        Some(loader) if loader.path.is_some() => named_image(&domain.os, context).cloned(),
        _ => choose(&domain.os, context)?.cloned(),
    };
    if let Some(image) = &chosen {
        apply(image, domain);
    }
    complete_loader(&mut domain.os);
    complete_nvram(domain, context, chosen.as_ref());
    Ok(())
}

fn check(os: &Os) -> Result<(), XmlError> {
    let refuse = |message: &str| Err(XmlError::new(XmlErrorKind::Unsupported, message));
    let stateless = os.loader.as_ref().and_then(|l| l.stateless) == Some(YesNo::Yes);
    let Some(nvram) = &os.nvram else {
        let stateful = os.loader.as_ref().and_then(|l| l.stateless) == Some(YesNo::No);
        if stateful && os.firmware == Some(Firmware::Bios) {
            return refuse("Only EFI firmware permits NVRAM");
        }
        if stateful && os.firmware.is_none() && !is_pflash(os) {
            return refuse("Only pflash loader type permits NVRAM");
        }
        return Ok(());
    };
    if os.firmware == Some(Firmware::Bios) {
        return refuse("Only EFI firmware permits NVRAM");
    }
    if stateless && nvram.template.is_some() {
        return refuse("NVRAM template is not permitted when loader is stateless");
    }
    if stateless {
        return refuse("NVRAM is not permitted when loader is stateless");
    }
    if os.firmware.is_none() && os.loader.is_some() && !is_pflash(os) {
        return refuse("Only pflash loader type permits NVRAM");
    }
    Ok(())
}

fn is_pflash(os: &Os) -> bool {
    os.loader.as_ref().and_then(|l| l.kind) == Some(LoaderType::Pflash)
}

/// The image the user named, if its descriptor is known and nothing the user
/// gave speaks against it.
fn named_image<'a>(os: &Os, context: &'a DefineContext) -> Option<&'a FirmwareImage> {
    let loader = os.loader.as_ref()?;
    if !is_pflash(os) || loader.readonly == Some(YesNo::No) {
        return None;
    }
    let template = os.nvram.as_ref().and_then(|n| n.template.as_ref());
    context.firmwares.iter().find(|image| {
        image.interface == Firmware::Efi
            && Some(&image.code) == loader.path.as_ref()
            && template.is_none_or(|t| Some(t) == image.vars_template.as_ref())
            && runs_on(image, os)
            && has_features(image, os)
    })
}

fn choose<'a>(os: &Os, context: &'a DefineContext) -> Result<Option<&'a FirmwareImage>, XmlError> {
    let Some(firmware) = os.firmware else {
        return Ok(None);
    };
    let image = context
        .firmwares
        .iter()
        .find(|i| i.interface == firmware && suits(i, os));
    // A definition that was accepted once is not lost when its image is.
    if image.is_none() && context.abi_update {
        return Err(XmlError::new(
            XmlErrorKind::Unsupported,
            format!(
                "operation failed: Unable to find '{firmware}' firmware that is compatible with \
                 the current configuration"
            ),
        ));
    }
    Ok(image)
}

/// Writes down what the image is and needs.
fn apply(image: &FirmwareImage, domain: &mut Domain) {
    let has = |feature: &str| image.features.contains(feature);
    let loader = domain.os.loader.get_or_insert_with(Loader::default);
    loader.path = Some(image.code.clone());
    loader.format = ImageFormat::parse(&image.code_format);
    if image.interface == Firmware::Efi {
        loader.kind = Some(LoaderType::Pflash);
        loader.readonly = Some(YesNo::Yes);
    } else {
        loader.kind = Some(LoaderType::Rom);
    }
    if has("requires-smm") {
        loader.secure = Some(YesNo::Yes);
        let smm = domain
            .features
            .get_or_insert_default()
            .smm
            .get_or_insert_default();
        smm.state = Some(Switch::on().state.unwrap_or_default());
    }
    domain.os.firmware = Some(image.interface);
    let word = |on: bool| if on { YesNo::Yes } else { YesNo::No };
    let mut features = Vec::new();
    if !has_foreign_nvram(&domain.os) {
        let enabled = word(has("enrolled-keys"));
        features.push(FirmwareFeature {
            enabled,
            name: "enrolled-keys".to_owned(),
        });
    }
    let enabled = word(has("secure-boot"));
    features.push(FirmwareFeature {
        enabled,
        name: "secure-boot".to_owned(),
    });
    domain.os.firmware_features = Some(FirmwareFeatures { features });
}

/// Whether the variables are on storage that is not filled from a template,
/// so that nothing is known of the keys in them.
fn has_foreign_nvram(os: &Os) -> bool {
    let kind = os.nvram.as_ref().and_then(|n| n.kind);
    !matches!(kind, None | Some(StorageType::File))
}

fn complete_loader(os: &mut Os) {
    if let Some(loader) = &mut os.loader
        && matches!(loader.kind, Some(LoaderType::Pflash | LoaderType::Rom))
    {
        loader.format.get_or_insert(ImageFormat::Raw);
    }
}

fn complete_nvram(domain: &mut Domain, context: &DefineContext, image: Option<&FirmwareImage>) {
    let foreign = has_foreign_nvram(&domain.os);
    let Os { loader, nvram, .. } = &mut domain.os;
    let Some(loader) = loader
        .as_ref()
        .filter(|l| l.kind == Some(LoaderType::Pflash))
    else {
        return;
    };
    let stateless = loader.stateless == Some(YesNo::Yes);
    if stateless || loader.readonly != Some(YesNo::Yes) {
        return;
    }
    let legacy = LEGACY_IMAGES
        .iter()
        .find(|(code, _)| loader.path.as_deref() == Some(code));
    let (template, format) = match image {
        Some(image) => (
            image.vars_template.clone(),
            ImageFormat::parse(&image.vars_format),
        ),
        None => (
            legacy.map(|(_, vars)| (*vars).to_owned()),
            Some(ImageFormat::Raw),
        ),
    };
    if template.is_none() && nvram.is_none() {
        return;
    }
    let nvram = nvram.get_or_insert_with(OsNvram::default);
    if !foreign && template.is_some() {
        nvram.template = nvram.template.take().or(template);
        nvram.template_format = nvram.template_format.or(format);
    }
    let format = format.unwrap_or_default();
    if image.is_some() || nvram.format.is_none() {
        nvram.format = Some(format);
    }
    if nvram.path.is_none() && nvram.source.is_none() {
        let extension = if format == ImageFormat::Qcow2 {
            "qcow2"
        } else {
            "fd"
        };
        nvram.path = Some(format!(
            "{}/{}_VARS.{extension}",
            context.nvram_dir, domain.name
        ));
    }
}

/// Whether the image does what was asked for, and no less.
fn suits(image: &FirmwareImage, os: &Os) -> bool {
    if !runs_on(image, os) || !has_features(image, os) {
        return false;
    }
    let loader = os.loader.as_ref();
    if image.interface == Firmware::Bios {
        return true;
    }
    // A writable image of code and variables is nobody's descriptor.
    if loader.is_some_and(|l| l.readonly == Some(YesNo::No)) {
        return false;
    }
    let needs_smm = image.features.contains("requires-smm");
    if loader
        .and_then(|l| l.secure)
        .is_some_and(|secure| secure.is_yes() != needs_smm)
    {
        return false;
    }
    let nvram_format = os.nvram.as_ref().and_then(|n| n.format);
    let format = loader
        .and_then(|l| l.format)
        .or(nvram_format)
        .unwrap_or_default();
    let stateless = loader.and_then(|l| l.stateless).is_some_and(YesNo::is_yes);
    format.as_str() == image.code_format && stateless == image.vars_template.is_none()
}

fn has_features(image: &FirmwareImage, os: &Os) -> bool {
    let wanted = os.firmware_features.iter().flat_map(|f| &f.features);
    wanted
        .into_iter()
        .all(|f| image.features.contains(&f.name) == f.enabled.is_yes())
}

fn runs_on(image: &FirmwareImage, os: &Os) -> bool {
    image.arches.iter().any(|a| a == os.arch())
        && image
            .machines
            .iter()
            .any(|m| matches_machine(m, os.machine()))
}

/// Whether a descriptor's pattern (`pc-q35-*`) covers `machine`.
fn matches_machine(pattern: &str, machine: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => machine.starts_with(prefix),
        None => pattern == machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_versions() {
        assert!(matches_machine("pc-q35-*", "pc-q35-10.0"));
        assert!(!matches_machine("pc-q35-*", "pc-i440fx-10.0"));
        assert!(matches_machine("microvm", "microvm"));
    }
}
