//! A definition on its way into the store: parsed, completed and written out
//! as it will be kept.

use crate::view::Summary;
use model::XmlFlags;
use model::domain::Domain;

/// A complete definition with the text and the summary that are stored.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) domain: Domain,
    pub(crate) text: String,
    pub(crate) summary: Summary,
}

impl Definition {
    /// Of a domain that is complete.
    pub(crate) fn of(domain: Domain) -> Self {
        let flags = XmlFlags {
            inactive: true,
            secure: true,
            migratable: false,
        };
        Self {
            text: domain.to_xml(flags),
            summary: Summary::of(&domain),
            domain,
        }
    }
}
