//! Failures of calls: the one place where the engine's errors get libvirt's numbers.

use engine::{EngineError, ErrorKind};
use wire::errors::{ErrorCode, ErrorDomain};
use wire::remote::RpcError;

/// Why a call failed, as the client will be told.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Box<RpcError>);

/// What a handler gives back.
pub(crate) type Answer<T> = Result<T, Failure>;

impl Failure {
    /// Of the hypervisor driver, as most of libvirt's are.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Failure {
        Failure(RpcError::new(code, ErrorDomain::Qemu, detail))
    }

    /// An argument is not what the call takes.
    pub(crate) fn invalid_arg(detail: impl Into<String>) -> Failure {
        Failure::new(ErrorCode::InvalidArg, detail)
    }

    /// An argument that libvirt knows and this daemon does not.
    pub(crate) fn argument_unsupported(detail: impl Into<String>) -> Failure {
        Failure::new(ErrorCode::ArgumentUnsupported, detail)
    }

    /// The operation does not fit the present state.
    pub(crate) fn operation_invalid(detail: impl Into<String>) -> Failure {
        Failure::new(ErrorCode::OperationInvalid, detail)
    }

    /// A call that only a read-write connection may make; `what` is libvirt's name of the function,
    /// with what about it changes something.
    pub(crate) fn read_only(what: &str) -> Failure {
        let mut error = RpcError::read_only(what);
        error.domain = ErrorDomain::Domain.number();
        Failure(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        let (code, domain) = numbers(error.kind);
        Failure(RpcError::new(code, domain, error.message))
    }
}

impl From<Box<RpcError>> for Failure {
    fn from(error: Box<RpcError>) -> Failure {
        Failure(error)
    }
}

fn numbers(kind: ErrorKind) -> (ErrorCode, ErrorDomain) {
    use ErrorKind::*;
    let code = match kind {
        NoDomain => ErrorCode::NoDomain,
        NoSnapshot => ErrorCode::NoDomainSnapshot,
        RevertRisky => ErrorCode::SnapshotRevertRisky,
        NoNetwork => ErrorCode::NoNetwork,
        NoFilter => ErrorCode::NoNwfilter,
        NoFilterBinding => ErrorCode::NoNwfilterBinding,
        NoPool => ErrorCode::NoStoragePool,
        NoVolume => ErrorCode::NoStorageVol,
        VolumeExists => ErrorCode::StorageVolExist,
        // libvirt says "operation failed: domain 'x' already exists with uuid …".
        DomainExists => ErrorCode::OperationFailed,
        OperationInvalid => ErrorCode::OperationInvalid,
        OperationFailed | MonitorClosed => ErrorCode::OperationFailed,
        OperationTimeout => ErrorCode::OperationTimeout,
        OperationAborted => ErrorCode::OperationAborted,
        InvalidArgument => ErrorCode::InvalidArg,
        XmlError => ErrorCode::XmlError,
        ConfigUnsupported => ErrorCode::ConfigUnsupported,
        ResourceUnavailable => ErrorCode::OperationFailed,
        AgentUnresponsive => ErrorCode::AgentUnresponsive,
        AgentCommandFailed => ErrorCode::InternalError,
        NoSuchDevice => ErrorCode::DeviceMissing,
        NoNodeDevice => ErrorCode::NoNodeDevice,
        NoMetadata => ErrorCode::NoDomainMetadata,
        NoNetworkMetadata => ErrorCode::NoNetworkMetadata,
        NoImage | ImageExists => ErrorCode::InvalidArg,
        NoNetworkPort => ErrorCode::NoNetworkPort,
        NoSecret => ErrorCode::NoSecret,
        InvalidSecret => ErrorCode::InvalidSecret,
        NoJob => ErrorCode::InvalidArg,
        SystemError => ErrorCode::SystemError,
        Store => ErrorCode::OperationFailed,
        Internal | XmlInternal => ErrorCode::InternalError,
        AccessDenied => ErrorCode::OperationDenied,
        Unsupported => ErrorCode::OperationUnsupported,
        ArgumentUnsupported => ErrorCode::ArgumentUnsupported,
        CpuIncompatible => ErrorCode::CpuIncompatible,
    };
    let domain = match kind {
        XmlError | XmlInternal => ErrorDomain::Domain,
        NoPool | NoVolume | VolumeExists => ErrorDomain::Storage,
        NoFilter | NoFilterBinding => ErrorDomain::Nwfilter,
        NoNetwork | NoNetworkMetadata | NoNetworkPort => ErrorDomain::Network,
        NoSecret | InvalidSecret => ErrorDomain::Secret,
        _ => ErrorDomain::Qemu,
    };
    (code, domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_domain_is_told_in_libvirts_words() {
        let error = EngineError::new(ErrorKind::NoDomain, "no domain with matching name 'x'");
        let Failure(told) = error.into();
        assert_eq!((told.code, told.domain), (42, 10));
        assert_eq!(
            told.text(),
            "Domain not found: no domain with matching name 'x'"
        );
    }
}
