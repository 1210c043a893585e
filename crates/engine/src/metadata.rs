//! Title, description and the free elements of a definition, one by one.

use crate::engine::xml_error;
use crate::error::{EngineError, ErrorKind, Result};
use crate::options::MetadataItem;
use model::domain::Domain;
use model::metadata::Metadata;

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
pub(crate) fn set(
    domain: &mut Domain,
    item: &MetadataItem,
    value: Option<&str>,
    key: Option<&str>,
) -> Result<()> {
    let text = value.filter(|text| !text.is_empty()).map(str::to_owned);
    match item {
        MetadataItem::Title => {
            if text.as_deref().is_some_and(|title| title.contains('\n')) {
                return Err(EngineError::new(
                    ErrorKind::InvalidArgument,
                    "metadata title can't contain newlines",
                ));
            }
            domain.title = text;
        }
        MetadataItem::Description => domain.description = text,
        MetadataItem::Element { uri } => {
            let metadata = domain.metadata.get_or_insert_with(Metadata::default);
            metadata.set(uri, key, value).map_err(xml_error)?;
            if metadata.is_empty() {
                domain.metadata = None;
            }
        }
    }
    Ok(())
}
