//! What can go wrong between a command and the daemon.

use wire::errors::ErrorCode;
use wire::remote::RpcError;
use wire::xdr::Xdr;

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

/// VIR_FROM_RPC.
const FROM_RPC: i32 = 7;

impl Error {
    /// An error from this side of the connection.
    pub(crate) fn local(origin: Origin, message: impl Into<String>) -> Error {
        let code = match origin {
            Origin::Connecting | Origin::Lost => ErrorCode::SystemError,
            Origin::Protocol => ErrorCode::Rpc,
            Origin::Address => ErrorCode::ConfigUnsupported,
            Origin::Daemon => ErrorCode::InternalError,
        };
        Error {
            code: code.number(),
            domain: FROM_RPC,
            message: message.into(),
            origin,
        }
    }

    /// There is no connection.
    pub fn closed() -> Error {
        Error::local(Origin::Lost, "the connection to the daemon was lost")
    }

    /// The error a reply carries.
    pub(crate) fn from_body(body: &[u8]) -> Error {
        match RpcError::from_bytes(body) {
            Ok(e) => Error {
                code: e.code,
                domain: e.domain,
                message: e.message.unwrap_or_default(),
                origin: Origin::Daemon,
            },
            Err(e) => Error::local(
                Origin::Protocol,
                format!("cannot read the daemon's error: {e}"),
            ),
        }
    }

    /// Whether it is the daemon's error `code`.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.origin == Origin::Daemon && self.code == code.number()
    }

    /// Whether the daemon says that it does not know the call.
    pub fn is_unsupported(&self) -> bool {
        self.is(ErrorCode::NoSupport)
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
