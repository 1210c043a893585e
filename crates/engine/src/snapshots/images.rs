//! Images on the host as snapshots see them: what is below them, and which
//! snapshots are inside.

use crate::error::{EngineError, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use storage::tags::{HEAD_BYTES, TAG_TABLE_MAX_BYTES, Tag, parse_table, table_place};

/// The snapshots inside a qcow2 image; none in anything else.
pub(crate) fn tags(image: &Path) -> Result<Vec<Tag>> {
    let fail = |e| EngineError::system(&format!("cannot read '{}'", image.display()), e);
    let mut file = File::open(image).map_err(fail)?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    (&mut file)
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(fail)?;
    let Some(place) = table_place(&head).filter(|place| place.count > 0) else {
        return Ok(Vec::new());
    };
    file.seek(SeekFrom::Start(place.offset)).map_err(fail)?;
    let mut table = Vec::new();
    file.take(TAG_TABLE_MAX_BYTES)
        .read_to_end(&mut table)
        .map_err(fail)?;
    Ok(parse_table(&table, place.count))
}

/// Whether an image has a snapshot of this name inside.
pub(crate) fn has_tag(image: &Path, name: &str) -> Result<bool> {
    Ok(tags(image)?.iter().any(|tag| tag.name == name))
}
