//! XDR as libvirt uses it: big-endian words, everything padded to four bytes.
//!
//! Every list, string and byte field has its maximum, named by structure and field. Decoding never
//! allocates more than the bytes at hand can fill; encoding past a limit is remembered and reported
//! by [`Encoder::finish`], so that writing code needs no `?` per field.

use thiserror::Error;

/// Longest string, in bytes without the padding.
pub const STRING_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Elements a list reserves room for before the first of them is decoded.
const LIST_RESERVE_MAX: usize = 64;

/// Why bytes are not the structure they should be, or a structure cannot be sent.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum XdrError {
    /// The message ends inside a field.
    #[error("the message ends {missing} bytes early")]
    Truncated {
        /// Bytes that should have followed.
        missing: usize,
    },
    /// A list, string or byte field is longer than the protocol allows.
    #[error("{what} holds {length}, more than the limit of {max}")]
    TooLong {
        /// `Structure.field`, or `string`.
        what: &'static str,
        /// The length found.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A string is not UTF-8, or holds a NUL, which ends strings at the other side.
    #[error("a string is not text without NUL characters")]
    NotText,
    /// The type of a typed parameter is none of the seven.
    #[error("unknown typed parameter type {0}")]
    UnknownParamType(i32),
    /// More followed where the message should have ended.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
}

/// A value that travels as XDR.
pub trait Xdr: Sized {
    /// Appends the value.
    fn encode(&self, out: &mut Encoder);

    /// Takes the value off the front of `input`.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError>;

    /// The value alone, as bytes.
    fn to_bytes(&self) -> Result<Vec<u8>, XdrError> {
        let mut out = Encoder::default();
        self.encode(&mut out);
        out.finish()
    }

    /// The value at the start of `bytes`; like libvirt, takes no offence at what follows.
    fn from_bytes(bytes: &[u8]) -> Result<Self, XdrError> {
        Self::decode(&mut Decoder::new(bytes))
    }

    /// The value that `bytes` are, and nothing else.
    fn from_exact(bytes: &[u8]) -> Result<Self, XdrError> {
        let mut input = Decoder::new(bytes);
        let value = Self::decode(&mut input)?;
        match input.remaining() {
            0 => Ok(value),
            more => Err(XdrError::Trailing(more)),
        }
    }
}

/// Collects encoded bytes, and the first limit that was passed.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    error: Option<XdrError>,
}

impl Encoder {
    /// Goes on after `bytes`.
    pub fn after(bytes: Vec<u8>) -> Encoder {
        Encoder { bytes, error: None }
    }

    /// The bytes, or the first error met.
    pub fn finish(self) -> Result<Vec<u8>, XdrError> {
        match self.error {
            None => Ok(self.bytes),
            Some(error) => Err(error),
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True before anything was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn word(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_be_bytes());
    }

    fn padded(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        let padding = padding_of(data.len());
        self.bytes.extend_from_slice(&[0; 3][..padding]);
    }

    fn refuse(&mut self, error: XdrError) {
        self.error.get_or_insert(error);
    }

    /// Writes a length; false, and the error remembered, if it passes `max`.
    fn length(&mut self, length: usize, max: usize, what: &'static str) -> bool {
        let fits = length <= max;
        match fits {
            true => self.word(length as u32),
            false => self.refuse(XdrError::TooLong { what, length, max }),
        }
        fits
    }

    /// A list of at most `max` elements.
    pub fn list<T: Xdr>(&mut self, items: &[T], max: usize, what: &'static str) {
        if self.length(items.len(), max, what) {
            items.iter().for_each(|item| item.encode(self));
        }
    }

    /// As [`Encoder::list`], of elements that are written one by one rather than held in memory.
    pub fn list_of<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        max: usize,
        what: &'static str,
        mut write: impl FnMut(&mut Encoder, T),
    ) {
        if self.length(items.len(), max, what) {
            items.for_each(|item| write(self, item));
        }
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        if text.as_bytes().contains(&0) {
            self.refuse(XdrError::NotText);
        }
        self.opaque(text.as_bytes(), STRING_MAX_BYTES, "string");
    }

    /// At most `max` bytes as they are.
    pub fn opaque(&mut self, data: &[u8], max: usize, what: &'static str) {
        if self.length(data.len(), max, what) {
            self.padded(data);
        }
    }

    /// At most `max` C characters, a word each.
    pub fn chars(&mut self, data: &[u8], max: usize, what: &'static str) {
        if self.length(data.len(), max, what) {
            self.fixed_chars(data);
        }
    }

    /// C characters, a word each, their number known to both sides.
    pub fn fixed_chars(&mut self, data: &[u8]) {
        for &byte in data {
            (byte as i8).encode(self);
        }
    }
}

/// Reads values off a byte slice.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder { rest: bytes }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything not yet read.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], XdrError> {
        let (head, rest) =
            self.rest
                .split_at_checked(length)
                .ok_or_else(|| XdrError::Truncated {
                    missing: length - self.rest.len(),
                })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn word(&mut self) -> Result<u32, XdrError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn length(&mut self, max: usize, what: &'static str) -> Result<usize, XdrError> {
        let length = self.word()? as usize;
        match length <= max {
            true => Ok(length),
            false => Err(XdrError::TooLong { what, length, max }),
        }
    }

    /// A list of at most `max` elements.
    pub fn list<T: Xdr>(&mut self, max: usize, what: &'static str) -> Result<Vec<T>, XdrError> {
        let length = self.length(max, what)?;
        // Every element takes a word at least, so a length that the bytes cannot hold is a lie.
        if length > self.rest.len() / 4 {
            return Err(XdrError::Truncated {
                missing: length * 4 - self.rest.len(),
            });
        }
        let mut items = Vec::with_capacity(length.min(LIST_RESERVE_MAX));
        for _ in 0..length {
            items.push(T::decode(self)?);
        }
        Ok(items)
    }

    /// At most `max` bytes as they are.
    pub fn opaque(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], XdrError> {
        let length = self.length(max, what)?;
        let data = self.take(length)?;
        self.take(padding_of(length))?;
        Ok(data)
    }

    /// At most `max` C characters, a word each.
    pub fn chars(&mut self, max: usize, what: &'static str) -> Result<Vec<u8>, XdrError> {
        let length = self.length(max, what)?;
        let words = self.take(length * 4)?;
        Ok(words.chunks_exact(4).map(|word| word[3]).collect())
    }

    /// C characters, a word each, their number known to both sides.
    pub fn fixed_chars<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let mut chars = [0; N];
        for char in &mut chars {
            *char = self.word()? as u8;
        }
        Ok(chars)
    }
}

/// Zero bytes that follow `length` bytes up to the next word.
fn padding_of(length: usize) -> usize {
    length.wrapping_neg() & 3
}

macro_rules! word_sized {
    ($($ty:ty),+) => {$(
        impl Xdr for $ty {
            fn encode(&self, out: &mut Encoder) {
                out.word(*self as u32);
            }

            fn decode(input: &mut Decoder<'_>) -> Result<$ty, XdrError> {
                Ok(input.word()? as $ty)
            }
        }
    )+};
}
// The narrow ones travel as words too; like C, their upper bytes are not looked at.
word_sized!(i32, u32, i8, u8, u16);

macro_rules! double_word_sized {
    ($($ty:ty),+) => {$(
        impl Xdr for $ty {
            fn encode(&self, out: &mut Encoder) {
                out.bytes.extend_from_slice(&self.to_be_bytes());
            }

            fn decode(input: &mut Decoder<'_>) -> Result<$ty, XdrError> {
                Ok(<$ty>::from_be_bytes(input.array()?))
            }
        }
    )+};
}
double_word_sized!(i64, u64, f64);

impl Xdr for () {
    fn encode(&self, _: &mut Encoder) {}

    fn decode(_: &mut Decoder<'_>) -> Result<(), XdrError> {
        Ok(())
    }
}

impl Xdr for String {
    fn encode(&self, out: &mut Encoder) {
        out.text(self);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<String, XdrError> {
        let bytes = input.opaque(STRING_MAX_BYTES, "string")?;
        match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.contains(&0) => Ok(text.to_string()),
            _ => Err(XdrError::NotText),
        }
    }
}

impl Xdr for [u8; 16] {
    fn encode(&self, out: &mut Encoder) {
        out.bytes.extend_from_slice(self);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<[u8; 16], XdrError> {
        input.array()
    }
}

impl<T: Xdr> Xdr for Option<T> {
    fn encode(&self, out: &mut Encoder) {
        out.word(u32::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Option<T>, XdrError> {
        match input.word()? {
            0 => Ok(None),
            _ => Ok(Some(T::decode(input)?)),
        }
    }
}

/// The value of a typed parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum TypedParamValue {
    /// Type 1.
    Int(i32),
    /// Type 2.
    Uint(u32),
    /// Type 3.
    Llong(i64),
    /// Type 4.
    Ullong(u64),
    /// Type 5.
    Double(f64),
    /// Type 6, a word that is zero or not.
    Boolean(bool),
    /// Type 7.
    String(String),
}

impl Default for TypedParamValue {
    fn default() -> TypedParamValue {
        TypedParamValue::Int(0)
    }
}

impl Xdr for TypedParamValue {
    fn encode(&self, out: &mut Encoder) {
        out.word(self.type_number() as u32);
        match self {
            TypedParamValue::Int(v) => v.encode(out),
            TypedParamValue::Uint(v) => v.encode(out),
            TypedParamValue::Llong(v) => v.encode(out),
            TypedParamValue::Ullong(v) => v.encode(out),
            TypedParamValue::Double(v) => v.encode(out),
            TypedParamValue::Boolean(v) => i32::from(*v).encode(out),
            TypedParamValue::String(v) => v.encode(out),
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<TypedParamValue, XdrError> {
        Ok(match i32::decode(input)? {
            1 => TypedParamValue::Int(Xdr::decode(input)?),
            2 => TypedParamValue::Uint(Xdr::decode(input)?),
            3 => TypedParamValue::Llong(Xdr::decode(input)?),
            4 => TypedParamValue::Ullong(Xdr::decode(input)?),
            5 => TypedParamValue::Double(Xdr::decode(input)?),
            6 => TypedParamValue::Boolean(i32::decode(input)? != 0),
            7 => TypedParamValue::String(Xdr::decode(input)?),
            other => return Err(XdrError::UnknownParamType(other)),
        })
    }
}

impl TypedParamValue {
    /// The type's number on the wire.
    pub fn type_number(&self) -> i32 {
        match self {
            TypedParamValue::Int(_) => 1,
            TypedParamValue::Uint(_) => 2,
            TypedParamValue::Llong(_) => 3,
            TypedParamValue::Ullong(_) => 4,
            TypedParamValue::Double(_) => 5,
            TypedParamValue::Boolean(_) => 6,
            TypedParamValue::String(_) => 7,
        }
    }
}

#[cfg(test)]
mod tests;
