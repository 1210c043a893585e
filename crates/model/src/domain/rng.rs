//! Sources of random numbers.

use super::chardev::Chardev;
use super::disk::VirtioModel;
use super::info::{DeviceInfo, VirtioDriver};
use crate::xml::{Element, Node, XmlError, XmlWriter, element, keyword};

element! {
    /// How much the guest may draw: bytes in a period of milliseconds.
    pub struct RngRate {
        req bytes: u32 = "bytes",
        attr period: Option<u32> = "period",
    }
}

keyword! {
    /// Kinds of sources.
    pub enum RngBackendModel {
        Random = "random",
        Egd = "egd",
        Builtin = "builtin",
    }
}

/// Where the random numbers come from.
#[derive(Debug, Clone, PartialEq)]
pub enum RngBackend {
    /// A device of the host.
    Random(Option<String>),
    /// A daemon that speaks the entropy gathering protocol.
    Egd(Box<Chardev>),
    /// QEMU itself.
    Builtin,
}

impl Default for RngBackend {
    fn default() -> Self {
        RngBackend::Random(None)
    }
}

impl Element for RngBackend {
    fn parse(node: Node) -> Result<Self, XmlError> {
        let word = node
            .attribute("model")
            .ok_or_else(|| node.missing_attribute("model"))?;
        match node.scalar("model", word)? {
            RngBackendModel::Random => {
                let path = node.text();
                Ok(RngBackend::Random((!path.is_empty()).then_some(path)))
            }
            RngBackendModel::Builtin => Ok(RngBackend::Builtin),
            RngBackendModel::Egd => Ok(RngBackend::Egd(Box::new(EgdBackend::parse(node)?.chardev))),
        }
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        match self {
            RngBackend::Random(_) => w.attr("model", &RngBackendModel::Random),
            RngBackend::Builtin => w.attr("model", &RngBackendModel::Builtin),
            RngBackend::Egd(chardev) => {
                w.attr("model", &RngBackendModel::Egd);
                chardev.write_attributes(w);
            }
        }
    }

    fn write_children(&self, w: &mut XmlWriter) {
        match self {
            RngBackend::Random(Some(path)) => w.text(path),
            RngBackend::Egd(chardev) => chardev.write_children(w),
            RngBackend::Random(None) | RngBackend::Builtin => {}
        }
    }
}

element! {
    /// The back end as it stands in XML when it is a daemon.
    pub struct EgdBackend {
        req model: RngBackendModel = "model",
        flat chardev: Chardev,
    }
}

element! {
    /// A source of random numbers.
    pub struct Rng {
        always model: VirtioModel = "model",
        child rate: Option<RngRate> = "rate",
        child backend: Option<RngBackend> = "backend",
        child driver: Option<VirtioDriver> = "driver",
        flat info: DeviceInfo,
    }
}
