//! Amounts of memory with a unit.

use crate::xml::{Element, Node, Scalar, XmlError, XmlErrorKind, XmlWriter};

/// An amount of memory in KiB, read with any of libvirt's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Kib(pub u64);

/// An amount in bytes, read with any of libvirt's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes(pub u64);

/// How many bytes one `unit` is; `None` for an unknown unit.
pub fn unit_bytes(unit: &str) -> Option<u64> {
    let (letter, rest) = unit.split_at_checked(1)?;
    if unit.eq_ignore_ascii_case("b") || unit.eq_ignore_ascii_case("byte") {
        return Some(1);
    }
    if unit.eq_ignore_ascii_case("bytes") {
        return Some(1);
    }
    let base: u64 = if rest.is_empty() || rest.eq_ignore_ascii_case("ib") {
        1024
    } else if rest.eq_ignore_ascii_case("b") {
        1000
    } else {
        return None;
    };
    let power = "kmgtpe".find(letter.to_ascii_lowercase().as_str())? as u32 + 1;
    Some(base.pow(power))
}

/// `value` in `unit` as bytes.
pub fn scale(value: u64, unit: &str) -> Option<u64> {
    value.checked_mul(unit_bytes(unit)?)
}

pub(super) fn read(node: Node, default_unit: &str) -> Result<u64, XmlError> {
    let value: u64 = node.scalar_text()?;
    let unit = node.attribute("unit").unwrap_or(default_unit);
    let Some(factor) = unit_bytes(unit) else {
        return Err(node.attribute_error(
            "unit",
            XmlErrorKind::Invalid,
            format!("invalid argument: unknown suffix '{unit}'"),
        ));
    };
    value.checked_mul(factor).ok_or_else(|| {
        node.error(
            XmlErrorKind::Invalid,
            format!("numerical overflow: value too large: {value}{unit}"),
        )
    })
}

impl Kib {
    /// This many bytes, rounded up to KiB as libvirt does.
    pub fn from_bytes(bytes: u64) -> Self {
        Kib(bytes.div_ceil(1024))
    }
}

impl Element for Kib {
    fn take_attribute(&mut self, _: Node, name: &str, _: &str) -> Result<bool, XmlError> {
        Ok(name == "unit")
    }

    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        *self = Kib::from_bytes(read(node, "KiB")?);
        Ok(())
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        w.attr_str("unit", "KiB");
    }

    fn write_children(&self, w: &mut XmlWriter) {
        w.text(&self.0);
    }
}

impl Element for Bytes {
    fn take_attribute(&mut self, _: Node, name: &str, _: &str) -> Result<bool, XmlError> {
        Ok(name == "unit")
    }

    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        *self = Bytes(read(node, "bytes")?);
        Ok(())
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        w.attr_str("unit", "bytes");
    }

    fn write_children(&self, w: &mut XmlWriter) {
        w.text(&self.0);
    }
}

/// An amount of memory in MiB, written with the unit `M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mib(pub u64);

impl Element for Mib {
    fn take_attribute(&mut self, _: Node, name: &str, _: &str) -> Result<bool, XmlError> {
        Ok(name == "unit")
    }

    fn finish(&mut self, node: Node) -> Result<(), XmlError> {
        *self = Mib(read(node, "bytes")?.div_ceil(1 << 20));
        Ok(())
    }

    fn write_attributes(&self, w: &mut XmlWriter) {
        w.attr_str("unit", "M");
    }

    fn write_children(&self, w: &mut XmlWriter) {
        w.text(&self.0);
    }
}

impl Scalar for Kib {
    const EXPECTED: &'static str = "Expected non-negative integer value";

    fn parse(text: &str) -> Option<Self> {
        u64::parse(text).map(Kib)
    }

    fn put(&self, out: &mut XmlWriter) {
        self.0.put(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_libvirts() {
        assert_eq!(unit_bytes("KiB"), Some(1024));
        assert_eq!(unit_bytes("k"), Some(1024));
        assert_eq!(unit_bytes("KB"), Some(1000));
        assert_eq!(unit_bytes("GiB"), Some(1 << 30));
        assert_eq!(unit_bytes("bytes"), Some(1));
        assert_eq!(unit_bytes("x"), None);
        assert_eq!(unit_bytes(""), None);
        assert_eq!(unit_bytes("ä"), None);
        assert_eq!(Kib::from_bytes(1025), Kib(2));
    }
}
