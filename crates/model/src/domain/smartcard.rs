//! Smartcard readers.

use super::chardev::Chardev;
use super::info::DeviceInfo;
use crate::xml::{Element, Node, XmlError, XmlErrorKind, XmlWriter, element, keyword};

keyword! {
    /// Where the card is.
    pub enum SmartcardMode {
        Host = "host",
        HostCertificates = "host-certificates",
        Passthrough = "passthrough",
    }
}

/// Where the card is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum SmartcardBackend {
    /// The host's reader.
    #[default]
    Host,
    /// A card emulated with certificates of the host.
    HostCertificates {
        /// The names of three certificates.
        certificates: Vec<String>,
        /// The database they are in.
        database: Option<String>,
    },
    /// A reader behind a character device.
    Passthrough(Box<Chardev>),
}

/// A smartcard reader.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Smartcard {
    /// Where the card is.
    pub backend: SmartcardBackend,
    /// Alias and address.
    pub info: DeviceInfo,
}

element! {
    /// A reader as it stands in XML, whatever its mode.
    pub struct HostSmartcard {
        req mode: SmartcardMode = "mode",
        leaves certificates: Vec<String> = "certificate",
        leaf database: Option<String> = "database",
        flat info: DeviceInfo,
    }
}

element! {
    /// A reader behind a character device, as it stands in XML.
    pub struct PassthroughSmartcard {
        req mode: SmartcardMode = "mode",
        flat chardev: Chardev,
        flat info: DeviceInfo,
    }
}

/// The number of certificates an emulated card has.
const CERTIFICATES: usize = 3;

impl Element for Smartcard {
    fn parse(node: Node) -> Result<Self, XmlError> {
        let word = node
            .attribute("mode")
            .ok_or_else(|| node.missing_attribute("mode"))?;
        let mode: SmartcardMode = node.scalar("mode", word)?;
        if mode == SmartcardMode::Passthrough {
            if node.attribute("type").is_none() {
                return Err(node.missing_attribute("type"));
            }
            let card = PassthroughSmartcard::parse(node)?;
            let backend = SmartcardBackend::Passthrough(Box::new(card.chardev));
            return Ok(Smartcard {
                backend,
                info: card.info,
            });
        }
        let card = HostSmartcard::parse(node)?;
        let backend = if mode == SmartcardMode::Host {
            SmartcardBackend::Host
        } else {
            if card.certificates.len() != CERTIFICATES {
                return Err(node.error(
                    XmlErrorKind::Missing,
                    "XML error: host-certificates mode needs exactly three certificates",
                ));
            }
            SmartcardBackend::HostCertificates {
                certificates: card.certificates,
                database: card.database,
            }
        };
        Ok(Smartcard {
            backend,
            info: card.info,
        })
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        match &self.backend {
            SmartcardBackend::Host => w.attr("mode", &SmartcardMode::Host),
            SmartcardBackend::HostCertificates { .. } => {
                w.attr("mode", &SmartcardMode::HostCertificates);
            }
            SmartcardBackend::Passthrough(chardev) => {
                w.attr("mode", &SmartcardMode::Passthrough);
                chardev.write_attributes(w);
            }
        }
    }

    fn write_children(&self, w: &mut XmlWriter) {
        match &self.backend {
            SmartcardBackend::Host => {}
            SmartcardBackend::HostCertificates {
                certificates,
                database,
            } => {
                for certificate in certificates {
                    w.leaf("certificate", certificate);
                }
                if let Some(database) = database {
                    w.leaf("database", database);
                }
            }
            SmartcardBackend::Passthrough(chardev) => chardev.write_children(w),
        }
        self.info.write_children(w);
    }
}
