//! Devices of the host.

use super::super::basics::xml_error;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::hostdev::{Hostdev, HostdevType};
use crate::xml::{OnOff, XmlError};

pub(super) fn check(domain: &Domain) -> Result<(), XmlError> {
    let hostdevs = &domain.devices.hostdevs;
    for (i, hostdev) in hostdevs.iter().enumerate() {
        if hostdev.source.is_none() {
            return Err(xml_error("Missing <source> element in hostdev device"));
        }
        let same = |other: &Hostdev| other.kind == hostdev.kind && other.source == hostdev.source;
        if hostdevs[..i].iter().any(same) {
            return Err(xml_error(
                "Hostdev already exists in the domain configuration",
            ));
        }
        if hostdev.kind == HostdevType::Mdev {
            check_mdev(domain, hostdev)?;
        }
        if hostdev.kind == HostdevType::ScsiHost && hostdev.info.boot.is_some() {
            return Err(XmlError::unsupported(
                "booting from assigned devices is not supported by vhost SCSI devices",
            ));
        }
    }
    Ok(())
}

fn check_mdev(domain: &Domain, hostdev: &Hostdev) -> Result<(), XmlError> {
    let model = hostdev.model.as_deref().ok_or_else(|| {
        xml_error("Missing 'model' attribute in mediated device's <hostdev> element")
    })?;
    let fits = match &hostdev.info.address {
        None | Some(Address::Unassigned) => true,
        Some(Address::Pci(_)) => model == "vfio-pci",
        Some(Address::Ccw(_)) => model == "vfio-ccw",
        Some(_) => false,
    };
    if let Some(address) = hostdev.info.address.as_ref().filter(|_| !fits) {
        return Err(xml_error(format!(
            "Unsupported address type '{}' with mediated device model '{model}'",
            address.kind()
        )));
    }
    if hostdev.display == Some(OnOff::On) && domain.devices.graphics.is_empty() {
        return Err(XmlError::unsupported(
            "graphics device is needed for attribute value 'display=on' in <hostdev>",
        ));
    }
    Ok(())
}
