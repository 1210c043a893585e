//! What can go wrong, in the field's own words. The libvirt face maps each
//! kind to libvirt's number in one place; a message says what failed, where,
//! and what to do next.

use std::fmt;

/// The result of an engine call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Which kind of refusal or failure this is: what a face maps to its own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No domain with that name, uuid or id.
    NoDomain,
    /// The name or uuid is taken by another domain.
    DomainExists,
    /// The operation does not fit the domain's present state.
    OperationInvalid,
    /// The operation was tried and failed on the host or in QEMU.
    OperationFailed,
    /// Somebody else's operation holds the domain, or QEMU did not answer in time.
    OperationTimeout,
    /// The operation was cancelled before its end.
    OperationAborted,
    /// QEMU closed its monitor while it was being asked: it has ended or is ending.
    MonitorClosed,
    /// An argument is outside what the call takes.
    InvalidArgument,
    /// The XML is not well-formed or not a valid definition.
    XmlError,
    /// The same, where libvirt calls it an internal error.
    XmlInternal,
    /// The XML asks for what this host or Stead cannot do.
    ConfigUnsupported,
    /// A file, device or address that the machine needs is missing or unusable.
    ResourceUnavailable,
    /// The guest agent is not there or did not answer.
    AgentUnresponsive,
    /// The guest agent answered with an error.
    AgentCommandFailed,
    /// The domain has no such device.
    NoSuchDevice,
    /// No snapshot with that name.
    NoSnapshot,
    /// Going back to the snapshot needs force: it loses something.
    RevertRisky,
    /// No network with that name.
    NoNetwork,
    /// No network filter with that name or uuid.
    NoFilter,
    /// No network filter is bound to that device.
    NoFilterBinding,
    /// No storage pool with that name, uuid or path.
    NoPool,
    /// No volume with that name or path.
    NoVolume,
    /// The pool has a volume of that name.
    VolumeExists,
    /// The host has no such device.
    NoNodeDevice,
    /// Metadata asked for is not set.
    NoMetadata,
    /// Metadata of a network asked for is not set.
    NoNetworkMetadata,
    /// The library has no image of that name.
    NoImage,
    /// The library has an image of that name.
    ImageExists,
    /// No port of a network with that uuid.
    NoNetworkPort,
    /// No secret with that uuid or use, or it has no value.
    NoSecret,
    /// The secret cannot be used like that.
    InvalidSecret,
    /// No job with that number.
    NoJob,
    /// A call of the operating system failed.
    SystemError,
    /// The state store failed; what was asked has not happened.
    Store,
    /// Stead broke one of its own rules; please report it.
    Internal,
    /// Only a read-write connection may do this.
    AccessDenied,
    /// The call cannot be made of this machine; the message says what it lacks.
    ArgumentUnsupported,
    /// The processor asked for cannot be provided.
    CpuIncompatible,
    /// Stead does not do this (yet); the message names it.
    Unsupported,
}

/// A failed engine call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// The kind, for faces to map.
    pub kind: ErrorKind,
    /// The sentence for a person.
    pub message: String,
}

impl EngineError {
    /// An error of a kind with its sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// `OperationInvalid` with its sentence.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::OperationInvalid, message)
    }

    /// `OperationFailed` with its sentence.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::OperationFailed, message)
    }

    /// A system call's failure: what was tried, on what, and why it failed.
    pub fn system(what: &str, error: impl fmt::Display) -> Self {
        let text = error.to_string();
        // Without "(os error 2)", which tells a person nothing.
        let text = text.split(" (os error").next().unwrap_or(&text);
        Self::new(ErrorKind::SystemError, format!("{what}: {text}"))
    }

    /// A system call's failure in the words everybody knows, without its number.
    pub(crate) fn io(what: &str, error: &std::io::Error) -> Self {
        Self::system(what, error)
    }

    /// The machine's owner is gone: the daemon is going down.
    pub(crate) fn stopping() -> Self {
        Self::new(
            ErrorKind::OperationAborted,
            "the daemon is shutting down; try again",
        )
    }
}

/// What the system says of a file that could not be made or opened, and what to do about it.
pub(crate) fn advice(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Io;
    let text = error.to_string();
    // Without "(os error 2)", which tells a person nothing.
    let said = text.split(" (os error").next().unwrap_or(&text);
    let advice = match error.kind() {
        Io::NotFound => "check that its directory is there",
        Io::PermissionDenied => "choose one that the daemon may use",
        Io::StorageFull | Io::QuotaExceeded => "free some space, or choose another file system",
        Io::ReadOnlyFilesystem => "choose a file system that is not read-only",
        Io::IsADirectory => "name a file, not a directory",
        _ => return said.to_owned(),
    };
    format!("{said}; {advice}")
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EngineError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_systems_reason_comes_with_advice_and_without_its_number() {
        let missing = std::io::Error::from_raw_os_error(2);
        assert_eq!(
            advice(&missing),
            "No such file or directory; check that its directory is there"
        );
        let other = std::io::Error::from_raw_os_error(5);
        assert_eq!(advice(&other), "Input/output error");
    }
}
