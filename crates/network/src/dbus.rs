//! D-Bus messages, as far as they are needed to ask a service of the host for
//! something: calls whose arguments are strings, and what comes back.
//!
//! Bytes of a bus are outside bytes: what is longer than [`MESSAGE_MAX_BYTES`]
//! or lies about its lengths is an error, never a panic.

use std::fmt;

/// Largest message that is read.
pub const MESSAGE_MAX_BYTES: usize = 256 * 1024;
/// Bytes at the beginning of each message, after which its length is known.
pub const PREFIX_BYTES: usize = 16;

const LITTLE: u8 = b'l';
const BIG: u8 = b'B';
const VERSION: u8 = 1;
/// Fields of a header, by their numbers.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR: u8 = 4;
const REPLY_TO: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call of a method.
    Call,
    /// What a method gave back.
    Return,
    /// What a method said instead.
    Error,
    /// News.
    Signal,
}

/// A message. Of its body, only strings, lists of strings and numbers are
/// read, up to the first argument of another type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Its number, of its sender's.
    pub serial: u32,
    /// The number of the call it answers.
    pub reply_to: Option<u32>,
    /// The object.
    pub path: Option<String>,
    /// The object's interface.
    pub interface: Option<String>,
    /// Method, or name of the signal.
    pub member: Option<String>,
    /// To whom it goes.
    pub destination: Option<String>,
    /// The error's name.
    pub error: Option<String>,
    /// Its arguments; a list's strings one by one, numbers in decimal.
    pub strings: Vec<String>,
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bus sent what is no D-Bus message")
    }
}

impl std::error::Error for Malformed {}

/// What a client says first, and what follows the server's `OK`.
pub fn greeting(uid: u32) -> String {
    let hex: String = uid
        .to_string()
        .bytes()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("\0AUTH EXTERNAL {hex}\r\n")
}

/// Ends the greeting.
pub const BEGIN: &str = "BEGIN\r\n";

/// Where the system's bus listens, by what `DBUS_SYSTEM_BUS_ADDRESS` says.
pub fn system_socket(address: Option<&str>) -> String {
    let of = |part: &str| part.strip_prefix("unix:path=").map(str::to_owned);
    let given = address.and_then(|all| all.split(';').find_map(of));
    let path = given.unwrap_or_else(|| "/run/dbus/system_bus_socket".to_owned());
    // What follows a comma says which bus it is.
    path.split(',').next().unwrap_or_default().to_owned()
}

impl Message {
    /// A call of a method with strings.
    pub fn call(destination: &str, path: &str, interface: &str, member: &str) -> Message {
        Message {
            kind: Kind::Call,
            serial: 0,
            reply_to: None,
            path: Some(path.to_owned()),
            interface: Some(interface.to_owned()),
            member: Some(member.to_owned()),
            destination: Some(destination.to_owned()),
            error: None,
            strings: Vec::new(),
        }
    }

    /// The same with arguments.
    #[must_use]
    pub fn with<'a>(mut self, strings: impl IntoIterator<Item = &'a str>) -> Message {
        self.strings = strings.into_iter().map(str::to_owned).collect();
        self
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        for string in &self.strings {
            body.string(string);
        }
        let kind = match self.kind {
            Kind::Call => 1,
            Kind::Return => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        };
        let mut out = Writer(vec![LITTLE, kind, 0, VERSION]);
        out.number(length(body.0.len()));
        out.number(self.serial);
        out.number(0);
        let texts = [
            (PATH, "o", &self.path),
            (INTERFACE, "s", &self.interface),
            (MEMBER, "s", &self.member),
            (ERROR, "s", &self.error),
            (DESTINATION, "s", &self.destination),
        ];
        for (field, kind, text) in texts {
            if let Some(text) = text {
                out.field(field, kind);
                out.string(text);
            }
        }
        if let Some(reply_to) = self.reply_to {
            out.field(REPLY_TO, "u");
            out.number(reply_to);
        }
        if !self.strings.is_empty() {
            out.field(SIGNATURE, "g");
            out.signature(&"s".repeat(self.strings.len()));
        }
        let fields = length(out.0.len() - PREFIX_BYTES);
        out.0[12..16].copy_from_slice(&fields.to_le_bytes());
        out.pad(8);
        out.0.extend(body.0);
        out.0
    }

    /// How many bytes a message has in all, by its first [`PREFIX_BYTES`].
    pub fn length(prefix: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader::of(prefix)?;
        reader.skip(4)?;
        let body = reader.number()? as usize;
        reader.skip(4)?;
        let fields = reader.number()? as usize;
        let whole = fields
            .checked_next_multiple_of(8)
            .and_then(|fields| fields.checked_add(body)?.checked_add(PREFIX_BYTES));
        whole
            .filter(|whole| *whole <= MESSAGE_MAX_BYTES)
            .ok_or(Malformed)
    }

    /// A message of all its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
        let mut reader = Reader::of(bytes)?;
        let head = reader.skip(4)?;
        let kind = match (head[1], head[3]) {
            (1, VERSION) => Kind::Call,
            (2, VERSION) => Kind::Return,
            (3, VERSION) => Kind::Error,
            (4, VERSION) => Kind::Signal,
            _ => return Err(Malformed),
        };
        reader.number()?;
        let mut message = Message::call("", "", "", "");
        message.kind = kind;
        message.serial = reader.number()?;
        for text in [
            &mut message.path,
            &mut message.interface,
            &mut message.member,
        ] {
            *text = None;
        }
        message.destination = None;
        let fields = reader.number()? as usize;
        let end = PREFIX_BYTES.checked_add(fields).ok_or(Malformed)?;
        let mut signature = String::new();
        while reader.at < end {
            reader.align(8)?;
            let field = reader.skip(1)?[0];
            let kind = reader.signature()?;
            match (field, kind.as_str()) {
                (PATH, "o") => message.path = Some(reader.string()?),
                (INTERFACE, "s") => message.interface = Some(reader.string()?),
                (MEMBER, "s") => message.member = Some(reader.string()?),
                (ERROR, "s") => message.error = Some(reader.string()?),
                (DESTINATION, "s") => message.destination = Some(reader.string()?),
                (REPLY_TO, "u") => message.reply_to = Some(reader.number()?),
                (SIGNATURE, "g") => signature = reader.signature()?,
                (_, "s" | "o") => drop(reader.string()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.number()?),
                _ => return Err(Malformed),
            }
        }
        if reader.at != end {
            return Err(Malformed);
        }
        reader.align(8)?;
        message.strings = reader.strings(&signature)?;
        Ok(message)
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.pad(4);
        self.0.extend(number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.number(length(text.len()));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn field(&mut self, field: u8, kind: &str) {
        self.pad(8);
        self.0.push(field);
        self.signature(kind);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let big = match bytes.first() {
            Some(&LITTLE) => false,
            Some(&BIG) => true,
            _ => return Err(Malformed),
        };
        Ok(Self { bytes, at: 0, big })
    }

    fn skip(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let next = self.at.next_multiple_of(to);
        self.skip(next - self.at).map(drop)
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes = self.skip(4)?;
        let bytes: [u8; 4] = bytes.try_into().map_err(|_| Malformed)?;
        Ok(match self.big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    fn text(&mut self, count: usize) -> Result<String, Malformed> {
        let bytes = self.skip(count)?.to_vec();
        self.skip(1)?;
        String::from_utf8(bytes).map_err(|_| Malformed)
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let count = self.number()? as usize;
        self.text(count)
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let count = self.skip(1)?[0];
        self.text(count.into())
    }

    fn strings(&mut self, signature: &str) -> Result<Vec<String>, Malformed> {
        let mut strings = Vec::new();
        let mut kinds = signature.chars();
        loop {
            match kinds.next() {
                Some('s' | 'o') => strings.push(self.string()?),
                Some('u') => strings.push(self.number()?.to_string()),
                Some('a') if matches!(kinds.next(), Some('s' | 'o')) => {
                    let bytes = self.number()? as usize;
                    let end = self.at.checked_add(bytes).ok_or(Malformed)?;
                    while self.at < end {
                        strings.push(self.string()?);
                    }
                }
                _ => return Ok(strings),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_call_is_as_the_specification_writes_it() {
        let call = Message {
            serial: 1,
            ..Message::call("a.b", "/a", "a.b", "Hi").with(["x"])
        };
        let bytes = call.encode();
        assert_eq!(&bytes[..12], b"l\x01\x00\x01\x06\0\0\0\x01\0\0\0");
        assert_eq!(&bytes[16..26], b"\x01\x01o\0\x02\0\0\0/a");
        assert!(bytes.ends_with(b"\x08\x01g\0\x01s\0\0\x01\0\0\0x\0"));
        assert_eq!(Message::length(&bytes), Ok(bytes.len()));
        assert_eq!(Message::decode(&bytes), Ok(call));
    }

    #[test]
    fn lists_and_numbers_are_read() {
        let mut reader =
            Reader::of(b"l\0\0\0\x0f\0\0\0\x01\0\0\0a\0\0\0\x02\0\0\0bc\0").expect("bytes");
        reader.at = 4;
        assert_eq!(reader.strings("asay"), Ok(vec!["a".into(), "bc".into()]));
        assert_eq!(system_socket(Some("unix:path=/x,guid=1")), "/x");
        assert_eq!(system_socket(None), "/run/dbus/system_bus_socket");
        assert_eq!(greeting(0), "\0AUTH EXTERNAL 30\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(serial: u32, reply_to: Option<u32>, strings in prop::collection::vec("\\PC{0,9}", 0..5)) {
            let message = Message { serial, reply_to, strings, ..Message::call("d.d", "/p", "i.i", "M") };
            let bytes = message.encode();
            prop_assert_eq!(Message::length(&bytes[..PREFIX_BYTES]), Ok(bytes.len()));
            prop_assert_eq!(Message::decode(&bytes), Ok(message));
        }

        #[test]
        fn damage_is_survived(strings in prop::collection::vec("[a-z]{0,9}", 0..5), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut bytes = Message::call("d.d", "/p", "i.i", "M").with(strings.iter().map(String::as_str)).encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Message::length(&bytes);
            let _ = Message::decode(&bytes);
            let _ = Message::decode(&bytes[..cut.index(bytes.len())]);
        }
    }
}
