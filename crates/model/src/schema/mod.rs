//! What a caller asks for who says "validate": that a document has nothing the format does not know.
//!
//! Reading refuses most of this anyway. Two things are added: documents whose reading passes over
//! what it has no use for (a processor that is only asked about, a volume) are held against a
//! table of what may stand where, and what is found is told as a fault of the document, not as
//! something that is not supported.

mod shape;
mod tables;

use crate::domain::Domain;
use crate::domain::cpu::Cpu;
use crate::network::Network;
use crate::network::port::NetworkPort;
use crate::nodedev::NodeDevice;
use crate::nwfilter::Filter;
use crate::nwfilter::binding::Binding;
use crate::secret::SecretDefinition;
use crate::snapshot::Snapshot;
use crate::storage::PoolDefinition;
use crate::xml::{Element, Node, XmlError, XmlErrorKind, parse_document, root};

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// `<domain>`
    Domain,
    /// `<domainsnapshot>`
    Snapshot,
    /// `<cpu>`, a host's or one that a machine asks for.
    Cpu,
    /// `<network>`
    Network,
    /// `<networkport>`
    NetworkPort,
    /// `<filter>`
    Filter,
    /// `<filterbinding>`
    FilterBinding,
    /// `<pool>`
    Pool,
    /// `<volume>`
    Volume,
    /// `<secret>`
    Secret,
    /// `<device>` of a host.
    NodeDevice,
}

impl Schema {
    /// The file in which libvirt describes such documents; what its messages name.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Schema::Domain => "domain.rng",
            Schema::Snapshot => "domainsnapshot.rng",
            Schema::Cpu => "cpu.rng",
            Schema::Network => "network.rng",
            Schema::NetworkPort => "networkport.rng",
            Schema::Filter => "nwfilter.rng",
            Schema::FilterBinding => "nwfilterbinding.rng",
            Schema::Pool => "storagepool.rng",
            Schema::Volume => "storagevol.rng",
            Schema::Secret => "secret.rng",
            Schema::NodeDevice => "nodedev.rng",
        }
    }

    /// Looks whether `text` is such a document.
    ///
    /// What is wrong with it beyond its form (two devices at one address, a configuration that is
    /// not supported) is not told here: whoever reads it next says that.
    ///
    /// # Errors
    /// [`XmlErrorKind::Schema`], with the place; [`XmlErrorKind::Malformed`] or
    /// [`XmlErrorKind::TooLarge`] if it is not XML that can be read.
    pub fn check(self, text: &str) -> Result<(), XmlError> {
        let document = parse_document(text)?;
        let node = root(&document);
        if !node.is(self.root_name()) {
            let message = format!(
                "expecting element <{}>, got <{}>",
                self.root_name(),
                node.name()
            );
            return Err(self.told(node.error(XmlErrorKind::Schema, message)));
        }
        if let Some(shape) = self.shape(node) {
            shape.check(node).map_err(|error| self.told(error))?;
        }
        let wrong = self.read(text, node).err().filter(|error| {
            use XmlErrorKind::{Invalid, Missing, Unknown};
            error.line > 0 && matches!(error.kind, Invalid | Missing | Unknown)
        });
        wrong.map_or(Ok(()), |error| Err(self.told(error)))
    }

    fn root_name(self) -> &'static str {
        match self {
            Schema::Domain => "domain",
            Schema::Snapshot => "domainsnapshot",
            Schema::Cpu => "cpu",
            Schema::Network => "network",
            Schema::NetworkPort => "networkport",
            Schema::Filter => "filter",
            Schema::FilterBinding => "filterbinding",
            Schema::Pool => "pool",
            Schema::Volume => "volume",
            Schema::Secret => "secret",
            Schema::NodeDevice => "device",
        }
    }

    /// The table of documents whose reading passes over what it has no use for.
    fn shape(self, node: Node) -> Option<&'static shape::Shape> {
        match self {
            Schema::Cpu if node.child("arch").is_some() => Some(&tables::HOST_CPU),
            Schema::Cpu => Some(&tables::GUEST_CPU),
            Schema::Filter => Some(&tables::FILTER),
            Schema::Pool => Some(&tables::POOL),
            Schema::Volume => Some(&tables::VOLUME),
            Schema::Secret => Some(&tables::SECRET),
            _ => None,
        }
    }

    /// Reads it as the one who asked is going to.
    fn read(self, text: &str, node: Node) -> Result<(), XmlError> {
        match self {
            Schema::Domain => Domain::parse(text).map(drop),
            Schema::Snapshot => <Snapshot as Element>::parse(node).map(drop),
            Schema::Cpu if node.child("arch").is_some() => Ok(()),
            Schema::Cpu => <Cpu as Element>::parse(node).map(drop),
            Schema::Network => <Network as Element>::parse(node).map(drop),
            Schema::NetworkPort => NetworkPort::parse(text).map(drop),
            Schema::Filter => Filter::parse(text).map(drop),
            Schema::FilterBinding => Binding::parse(text).map(drop),
            Schema::Pool => PoolDefinition::parse(text).map(drop),
            // What may be in one depends on its pool.
            Schema::Volume => Ok(()),
            Schema::Secret => SecretDefinition::parse(text).map(drop),
            Schema::NodeDevice => NodeDevice::parse_new(text).map(drop),
        }
    }

    fn told(self, error: XmlError) -> XmlError {
        let ours = ["unsupported configuration: ", "XML error: "];
        let prefix = ours.iter().find_map(|p| error.message.strip_prefix(p));
        let message = prefix.unwrap_or(&error.message);
        XmlError {
            kind: XmlErrorKind::Schema,
            message: format!("Unable to validate doc against {}\n{message}", self.file()),
            ..error
        }
    }
}

#[cfg(test)]
mod tests;
