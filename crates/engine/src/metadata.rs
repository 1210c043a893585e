//! Title, description and the free elements of a definition, one by one.

use crate::engine::xml_error;
use crate::error::{EngineError, ErrorKind, Result};
use crate::options::MetadataItem;
use model::domain::Domain;
use model::metadata::Metadata;
use model::network::Network;

/// What a definition says of itself to people and programs.
pub(crate) struct Described<'a> {
    title: &'a mut Option<String>,
    description: &'a mut Option<String>,
    metadata: &'a mut Option<Metadata>,
}

impl<'a> From<&'a mut Domain> for Described<'a> {
    fn from(domain: &'a mut Domain) -> Self {
        Self {
            title: &mut domain.title,
            description: &mut domain.description,
            metadata: &mut domain.metadata,
        }
    }
}

impl<'a> From<&'a mut Network> for Described<'a> {
    fn from(network: &'a mut Network) -> Self {
        Self {
            title: &mut network.title,
            description: &mut network.description,
            metadata: &mut network.metadata,
        }
    }
}

/// A piece of metadata as text.
pub(crate) fn get(domain: &Domain, item: &MetadataItem) -> Option<String> {
    match item {
        MetadataItem::Title => domain.title.clone(),
        MetadataItem::Description => domain.description.clone(),
        MetadataItem::Element { uri } => domain.metadata.as_ref().and_then(|m| m.get(uri)),
    }
}

/// What to say where it is not set.
pub(crate) fn absent(item: &MetadataItem) -> &'static str {
    match item {
        MetadataItem::Title => "Requested metadata element title is not present",
        MetadataItem::Description => "Requested metadata element description is not present",
        MetadataItem::Element { .. } => "Requested metadata element is not present",
    }
}

/// Sets it, or removes it where there is no value.
pub(crate) fn set<'a>(
    of: impl Into<Described<'a>>,
    item: &MetadataItem,
    value: Option<&str>,
    key: Option<&str>,
) -> Result<()> {
    let of = of.into();
    let text = value.filter(|text| !text.is_empty()).map(str::to_owned);
    match item {
        MetadataItem::Title => {
            if text.as_deref().is_some_and(|title| title.contains('\n')) {
                return Err(EngineError::new(
                    ErrorKind::InvalidArgument,
                    "metadata title can't contain newlines",
                ));
            }
            *of.title = text;
        }
        MetadataItem::Description => *of.description = text,
        MetadataItem::Element { uri } => {
            let metadata = of.metadata.get_or_insert_with(Metadata::default);
            metadata.set(uri, key, value).map_err(xml_error)?;
            of.metadata.take_if(|metadata| metadata.is_empty());
        }
    }
    Ok(())
}
