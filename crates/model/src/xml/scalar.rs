//! Values that stand in one attribute or one text.

use std::fmt::Write as _;

use super::{XmlWriter, keyword};

/// A value written as one piece of text.
pub trait Scalar: Sized {
    /// What libvirt says was expected, after an invalid value.
    const EXPECTED: &'static str = "";

    /// What is wrong with `text`, where libvirt has words of its own for it.
    fn complaint(text: &str) -> Option<String> {
        let _ = text;
        None
    }

    /// Reads the value; `None` when the text is not one.
    fn parse(text: &str) -> Option<Self>;

    /// Writes the value, escaped.
    fn put(&self, out: &mut XmlWriter);
}

impl Scalar for String {
    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn put(&self, out: &mut XmlWriter) {
        out.escaped(self);
    }
}

impl Scalar for uuid::Uuid {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // libvirt takes the digits with or without hyphens, and nothing else.
        text.bytes()
            .all(|b| b.is_ascii_hexdigit() || b == b'-')
            .then(|| uuid::Uuid::try_parse(text).ok())?
    }

    fn put(&self, out: &mut XmlWriter) {
        out.raw(
            self.hyphenated()
                .encode_lower(&mut uuid::Uuid::encode_buffer()),
        );
    }
}

macro_rules! integer {
    ($($t:ty, $expected:literal;)*) => {$(
        impl Scalar for $t {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                let text = text.trim();
                text.strip_prefix('+').unwrap_or(text).parse().ok()
            }

            fn put(&self, out: &mut XmlWriter) {
                // Writing to a string cannot fail.
                let _ = write!(out, "{self}");
            }
        }
    )*};
}

integer! {
    u16, "Expected non-negative integer value";
    u32, "Expected non-negative integer value";
    u64, "Expected non-negative integer value";
    i32, "Expected integer value";
    i64, "Expected integer value";
}

/// A number read in C's notation (decimal, `0x…` hexadecimal, `0…` octal).
fn parse_any_base(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return u64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

/// A number read in any base and written as `0x…` with at least `WIDTH` digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hex<const WIDTH: usize>(pub u64);

impl<const WIDTH: usize> Scalar for Hex<WIDTH> {
    const EXPECTED: &'static str = "Expected non-negative integer value";

    fn parse(text: &str) -> Option<Self> {
        parse_any_base(text).map(Hex)
    }

    fn put(&self, out: &mut XmlWriter) {
        let _ = write!(out, "0x{:0WIDTH$x}", self.0);
    }
}

/// The same, written with capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UpperHex<const WIDTH: usize>(pub u64);

impl<const WIDTH: usize> Scalar for UpperHex<WIDTH> {
    const EXPECTED: &'static str = "Expected non-negative integer value";

    fn parse(text: &str) -> Option<Self> {
        parse_any_base(text).map(UpperHex)
    }

    fn put(&self, out: &mut XmlWriter) {
        let _ = write!(out, "0x{:0WIDTH$X}", self.0);
    }
}

/// A number read in any base and written in decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(pub u64);

impl Scalar for Decimal {
    const EXPECTED: &'static str = "Expected non-negative integer value";

    fn parse(text: &str) -> Option<Self> {
        parse_any_base(text).map(Decimal)
    }

    fn put(&self, out: &mut XmlWriter) {
        let _ = write!(out, "{}", self.0);
    }
}

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether the group bit is set: such an address cannot be a card's own.
    pub fn is_multicast(&self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Scalar for Mac {
    fn complaint(text: &str) -> Option<String> {
        Some(format!("XML error: unable to parse mac address '{text}'"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next()?;
            if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Mac(bytes))
    }

    fn put(&self, out: &mut XmlWriter) {
        let _ = write!(out, "{self}");
    }
}

keyword! {
    /// `yes` or `no`.
    pub enum YesNo {
        Yes = "yes",
        No = "no",
    }
}

keyword! {
    /// `on` or `off`.
    pub enum OnOff {
        On = "on",
        Off = "off",
    }
}

impl YesNo {
    /// Whether it says yes.
    pub fn is_yes(self) -> bool {
        self == YesNo::Yes
    }
}

impl OnOff {
    /// Whether it says on.
    pub fn is_on(self) -> bool {
        self == OnOff::On
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_any_base_where_libvirt_does() {
        assert_eq!(Hex::<4>::parse("0x1f"), Some(Hex(31)));
        assert_eq!(Hex::<4>::parse("010"), Some(Hex(8)));
        assert_eq!(Hex::<4>::parse("10"), Some(Hex(10)));
        assert_eq!(Hex::<4>::parse("-1"), None);
        assert_eq!(Hex::<4>::parse(""), None);
    }

    #[test]
    fn mac_addresses_need_six_bytes() {
        assert_eq!(
            Mac::parse("52:54:0:aB:cd:ef").unwrap().to_string(),
            "52:54:00:ab:cd:ef"
        );
        for bad in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:01",
            "52:54:00:ab:cd:+f",
            "52-54",
        ] {
            assert_eq!(Mac::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn uuids_are_taken_with_and_without_hyphens_only() {
        let plain = "c7a5fdbdedaf9455926ad65c16db1809";
        assert!(<uuid::Uuid as Scalar>::parse(plain).is_some());
        let urn = "urn:uuid:c7a5fdbd-edaf-9455-926a-d65c16db1809";
        assert!(<uuid::Uuid as Scalar>::parse(urn).is_none());
    }
}
