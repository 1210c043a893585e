//! What can be wrong with a document, and where.

use std::fmt;

/// Why a document or definition was refused.
///
/// Each kind corresponds to one libvirt error number; the mapping itself
/// belongs to the libvirt face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XmlErrorKind {
    /// Not well-formed XML (libvirt: `VIR_ERR_XML_DETAIL`).
    Malformed,
    /// Larger, deeper or with more parts than a named limit allows.
    TooLarge,
    /// A required element or attribute is missing (`VIR_ERR_XML_ERROR`).
    Missing,
    /// A value is not of its type or range (`VIR_ERR_XML_ERROR`).
    Invalid,
    /// Understood, but not something Stead does (`VIR_ERR_CONFIG_UNSUPPORTED`).
    Unsupported,
    /// An element or attribute that is not known where it stands (`VIR_ERR_CONFIG_UNSUPPORTED`).
    Unknown,
    /// Not a document of its kind, where that was to be checked (`VIR_ERR_XML_INVALID_SCHEMA`).
    Schema,
}

/// A refused document: what is wrong, and the line and column where.
///
/// Line and column count from 1; both are 0 where the fault belongs to the
/// definition as a whole (a missing element that could be anywhere, a
/// conflict between two devices).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XmlError {
    /// Why it was refused.
    pub kind: XmlErrorKind,
    /// The reason in libvirt's wording, without position.
    pub message: String,
    /// Line, from 1; 0 when not tied to a place.
    pub line: u32,
    /// Column, from 1; 0 when not tied to a place.
    pub column: u32,
}

impl XmlError {
    /// An error that belongs to no single place of the document.
    pub fn new(kind: XmlErrorKind, message: impl Into<String>) -> Self {
        XmlError {
            kind,
            message: message.into(),
            line: 0,
            column: 0,
        }
    }

    /// A value or combination that is wrong, without a place.
    pub fn invalid(message: impl Into<String>) -> Self {
        XmlError::new(XmlErrorKind::Invalid, message)
    }

    /// A combination that is not supported, without a place. The message gets
    /// libvirt's "unsupported configuration: " in front.
    pub fn unsupported(message: impl fmt::Display) -> Self {
        XmlError::new(
            XmlErrorKind::Unsupported,
            format!("unsupported configuration: {message}"),
        )
    }
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.line > 0 {
            write!(f, " (line {}, column {})", self.line, self.column)?;
        }
        Ok(())
    }
}

impl std::error::Error for XmlError {}
