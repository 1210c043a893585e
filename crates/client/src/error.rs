//! What can go wrong between a command and the daemon.

use crate::uri::UriError;

/// An error of the daemon, or of the way to it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// libvirt's error number.
    pub code: i32,
    /// The part of libvirt it is from, by libvirt's number.
    pub domain: i32,
    /// The text for the person.
    pub message: String,
    /// Who says so.
    pub origin: Origin,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The daemon answered with an error.
    Daemon,
    /// The connection could not be made.
    Connecting,
    /// The connection broke.
    Lost,
    /// The answer is not what the protocol says.
    Protocol,
    /// The address is wrong or not supported.
    Address,
}

/// VIR_ERR_INTERNAL_ERROR.
pub(crate) const CODE_INTERNAL: i32 = 1;
/// VIR_ERR_NO_SUPPORT.
const CODE_NO_SUPPORT: i32 = 3;
/// VIR_ERR_SYSTEM_ERROR.
const CODE_SYSTEM: i32 = 38;
/// VIR_ERR_RPC.
const CODE_RPC: i32 = 39;
/// VIR_ERR_CONFIG_UNSUPPORTED.
const CODE_CONFIG_UNSUPPORTED: i32 = 67;
/// VIR_FROM_RPC.
const FROM_RPC: i32 = 7;

impl Error {
    /// An error from this side of the connection.
    pub(crate) fn local(origin: Origin, message: impl Into<String>) -> Error {
        let code = match origin {
            Origin::Connecting | Origin::Lost => CODE_SYSTEM,
            Origin::Protocol => CODE_RPC,
            Origin::Address => CODE_CONFIG_UNSUPPORTED,
            Origin::Daemon => CODE_INTERNAL,
        };
        Error {
            code,
            domain: FROM_RPC,
            message: message.into(),
            origin,
        }
    }

    /// Whether the daemon says that it does not know the call.
    pub fn is_unsupported(&self) -> bool {
        self.code == CODE_NO_SUPPORT
    }

    /// What to do about a connection that could not be made.
    pub fn hint(&self) -> Option<&'static str> {
        if self.origin != Origin::Connecting {
            return None;
        }
        if self.message.ends_with("No such file or directory") {
            Some("is the daemon running? `stead daemon` starts one; -c URI names another")
        } else if self.message.ends_with("Permission denied") {
            Some("be root or in the socket's group, or use -r for a read-only connection")
        } else {
            None
        }
    }
}

impl From<UriError> for Error {
    fn from(error: UriError) -> Error {
        Error::local(Origin::Address, error.to_string())
    }
}

/// A system error's text without the number that std adds.
pub fn os_message(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
