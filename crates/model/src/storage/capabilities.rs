//! What pools a host can have, as `pool-capabilities` shows it.

use super::PoolKind;
use super::kind::Formats;
use crate::xml::{XmlFlags, XmlWriter};

/// libvirt's XML of the kinds of pools; those in `usable` can be used here.
pub fn capabilities_xml(usable: &[PoolKind]) -> String {
    let mut w = XmlWriter::new(XmlFlags::default());
    w.begin("storagepoolCapabilities");
    for kind in PoolKind::ALL {
        w.begin("pool");
        w.attr("type", kind);
        let is_usable = if usable.contains(kind) { "yes" } else { "no" };
        w.attr_str("supported", is_usable);
        // libvirt writes an empty one with an end tag.
        w.open_body();
        let parts = [
            ("poolOptions", "sourceFormatType", kind.source_formats()),
            ("volOptions", "targetFormatType", kind.volume_formats()),
        ];
        for (part, list, formats) in parts {
            if let Some(formats) = formats {
                write_formats(&mut w, part, list, listed(*kind, formats));
            }
        }
        w.end("pool");
    }
    w.end("storagepoolCapabilities");
    w.finish()
}

/// libvirt names no format of Ceph's volumes but the usual one.
fn listed(kind: PoolKind, (formats, usual): Formats) -> Formats {
    match kind {
        PoolKind::Rbd => (&[], usual),
        _ => (formats, usual),
    }
}

fn write_formats(w: &mut XmlWriter, part: &str, list: &str, (formats, usual): Formats) {
    w.begin(part);
    w.begin("defaultFormat");
    w.attr_str("type", usual);
    w.end("defaultFormat");
    w.begin("enum");
    w.attr_str("name", list);
    w.open_body();
    for format in formats {
        w.leaf("value", &(*format).to_owned());
    }
    w.end("enum");
    w.end(part);
}
