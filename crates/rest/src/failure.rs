//! Failures of requests: the one place where the engine's errors get HTTP's numbers.

use api::Problem;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::{EngineError, ErrorKind};

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    problem: Problem,
}

/// What a handler gives back.
pub(crate) type Answer<T> = Result<Json<T>, Failure>;

impl Failure {
    /// There is nothing at this path.
    pub(crate) fn no_path(path: &str) -> Failure {
        Failure {
            status: StatusCode::NOT_FOUND,
            problem: Problem {
                kind: "no-path".into(),
                message: format!(
                    "there is nothing at {path}; {}/openapi.json lists what there is",
                    api::BASE
                ),
            },
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.problem)).into_response()
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        let (status, kind) = numbers(error.kind);
        Failure {
            status,
            problem: Problem {
                kind: kind.into(),
                message: error.message,
            },
        }
    }
}

fn numbers(kind: ErrorKind) -> (StatusCode, &'static str) {
    use ErrorKind::*;
    match kind {
        NoDomain => (StatusCode::NOT_FOUND, "no-domain"),
        NoNetwork => (StatusCode::NOT_FOUND, "no-network"),
        NoPool => (StatusCode::NOT_FOUND, "no-pool"),
        NoVolume => (StatusCode::NOT_FOUND, "no-volume"),
        NoSnapshot => (StatusCode::NOT_FOUND, "no-snapshot"),
        RevertRisky => (StatusCode::CONFLICT, "revert-needs-force"),
        NoImage => (StatusCode::NOT_FOUND, "no-image"),
        ImageExists => (StatusCode::CONFLICT, "image-exists"),
        NoJob => (StatusCode::NOT_FOUND, "no-job"),
        NoSecret => (StatusCode::NOT_FOUND, "no-secret"),
        InvalidSecret => (StatusCode::CONFLICT, "invalid-secret"),
        NoSuchDevice => (StatusCode::NOT_FOUND, "no-device"),
        NoMetadata | NoNetworkMetadata | NoNetworkPort => (StatusCode::NOT_FOUND, "no-metadata"),
        NoFilter | NoFilterBinding => (StatusCode::NOT_FOUND, "no-filter"),
        NoNodeDevice => (StatusCode::NOT_FOUND, "no-node-device"),
        DomainExists => (StatusCode::CONFLICT, "domain-exists"),
        VolumeExists => (StatusCode::CONFLICT, "volume-exists"),
        OperationInvalid => (StatusCode::CONFLICT, "operation-invalid"),
        OperationAborted => (StatusCode::CONFLICT, "operation-aborted"),
        InvalidArgument => (StatusCode::BAD_REQUEST, "invalid-argument"),
        XmlError | XmlInternal => (StatusCode::BAD_REQUEST, "xml-error"),
        ConfigUnsupported => (StatusCode::UNPROCESSABLE_ENTITY, "config-unsupported"),
        Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
        CpuIncompatible => (StatusCode::CONFLICT, "cpu-incompatible"),
        ArgumentUnsupported => (StatusCode::UNPROCESSABLE_ENTITY, "argument-unsupported"),
        AccessDenied => (StatusCode::FORBIDDEN, "access-denied"),
        OperationTimeout => (StatusCode::GATEWAY_TIMEOUT, "operation-timeout"),
        ResourceUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "resource-unavailable"),
        AgentUnresponsive => (StatusCode::SERVICE_UNAVAILABLE, "agent-unresponsive"),
        AgentCommandFailed => (StatusCode::INTERNAL_SERVER_ERROR, "agent-command-failed"),
        OperationFailed | MonitorClosed => (StatusCode::INTERNAL_SERVER_ERROR, "operation-failed"),
        SystemError => (StatusCode::INTERNAL_SERVER_ERROR, "system-error"),
        Store => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
        Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}
