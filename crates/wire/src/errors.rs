//! libvirt's error numbers and the words it puts before an error's detail.
//!
//! Scripts match these words, so they are kept to the letter.

use crate::remote::RpcError;

/// Severity of an error that failed a call (`VIR_ERR_ERROR`).
const LEVEL_ERROR: i32 = 2;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$doc])*
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(i32)]
        pub enum $name { $($(#[$item_doc])* $variant = $number,)+ }

        impl $name {
            /// The number on the wire.
            pub fn number(self) -> i32 {
                self as i32
            }
        }

        impl TryFrom<i32> for $name {
            type Error = i32;

            /// Fails with the number itself if it is not one of these.
            fn try_from(number: i32) -> Result<$name, i32> {
                match number {
                    $($number => Ok($name::$variant),)+
                    other => Err(other),
                }
            }
        }
    };
}

numbered! {
    /// `VIR_ERR_*`: what went wrong.
    ErrorCode {
        Ok = 0,
        InternalError = 1,
        NoMemory = 2,
        NoSupport = 3,
        UnknownHost = 4,
        NoConnect = 5,
        InvalidConn = 6,
        InvalidDomain = 7,
        InvalidArg = 8,
        OperationFailed = 9,
        OsType = 16,
        NoKernel = 17,
        NoSource = 19,
        NoTarget = 20,
        NoName = 21,
        NoOs = 22,
        NoDevice = 23,
        XmlError = 27,
        DomExist = 28,
        OperationDenied = 29,
        OpenFailed = 30,
        ReadFailed = 31,
        ParseFailed = 32,
        ConfSyntax = 33,
        WriteFailed = 34,
        XmlDetail = 35,
        InvalidNetwork = 36,
        NetworkExist = 37,
        SystemError = 38,
        Rpc = 39,
        GnutlsError = 40,
        NoDomain = 42,
        NoNetwork = 43,
        InvalidMac = 44,
        AuthFailed = 45,
        InvalidStoragePool = 46,
        InvalidStorageVol = 47,
        NoStoragePool = 49,
        NoStorageVol = 50,
        InvalidNodeDevice = 52,
        NoNodeDevice = 53,
        NoSecurityModel = 54,
        OperationInvalid = 55,
        NoInterface = 57,
        InvalidInterface = 58,
        MultipleInterfaces = 59,
        InvalidNwfilter = 61,
        NoNwfilter = 62,
        BuildFirewall = 63,
        InvalidSecret = 65,
        NoSecret = 66,
        ConfigUnsupported = 67,
        OperationTimeout = 68,
        MigratePersistFailed = 69,
        HookScriptFailed = 70,
        InvalidDomainSnapshot = 71,
        NoDomainSnapshot = 72,
        InvalidStream = 73,
        ArgumentUnsupported = 74,
        StorageProbeFailed = 75,
        StoragePoolBuilt = 76,
        SnapshotRevertRisky = 77,
        OperationAborted = 78,
        AuthCancelled = 79,
        NoDomainMetadata = 80,
        MigrateUnsafe = 81,
        Overflow = 82,
        BlockCopyActive = 83,
        OperationUnsupported = 84,
        Ssh = 85,
        AgentUnresponsive = 86,
        ResourceBusy = 87,
        AccessDenied = 88,
        DbusService = 89,
        StorageVolExist = 90,
        CpuIncompatible = 91,
        XmlInvalidSchema = 92,
        MigrateFinishOk = 93,
        AuthUnavailable = 94,
        NoServer = 95,
        NoClient = 96,
        AgentUnsynced = 97,
        Libssh = 98,
        DeviceMissing = 99,
        InvalidNwfilterBinding = 100,
        NoNwfilterBinding = 101,
        InvalidDomainCheckpoint = 102,
        NoDomainCheckpoint = 103,
        NoDomainBackup = 104,
        InvalidNetworkPort = 105,
        NetworkPortExist = 106,
        NoNetworkPort = 107,
        NoHostname = 108,
        CheckpointInconsistent = 109,
        MultipleDomains = 110,
        NoNetworkMetadata = 111,
    }
}

numbered! {
    /// `VIR_FROM_*`: the part that says so.
    ErrorDomain {
        None = 0,
        Xml = 5,
        Dom = 6,
        Rpc = 7,
        Conf = 9,
        Qemu = 10,
        Net = 11,
        Test = 12,
        Remote = 13,
        Storage = 18,
        Network = 19,
        Domain = 20,
        Nodedev = 22,
        Security = 24,
        Interface = 26,
        Secret = 30,
        Cpu = 31,
        Nwfilter = 33,
        Hook = 34,
        DomainSnapshot = 35,
        Audit = 36,
        Sysinfo = 37,
        Streams = 38,
        Event = 40,
        Locking = 42,
        Capabilities = 44,
        Uri = 45,
        Auth = 46,
        Device = 49,
        Ssh = 50,
        Identity = 53,
        Cgroup = 54,
        Access = 55,
        Crypto = 58,
        Firewall = 59,
        Polkit = 60,
        Thread = 61,
        Admin = 62,
        Logging = 63,
        Perf = 65,
        Resctrl = 67,
        DomainCheckpoint = 69,
        Tpm = 70,
        Bpf = 71,
    }
}

impl ErrorCode {
    /// libvirt's sentence for the error; `%1$s` is where the detail goes, if there is one.
    pub fn template(self, with_detail: bool) -> String {
        if !with_detail {
            return self.bare().to_string();
        }
        match self {
            ErrorCode::SystemError
            | ErrorCode::Rpc
            | ErrorCode::GnutlsError
            | ErrorCode::XmlDetail => "%1$s".into(),
            ErrorCode::DomExist => "domain %1$s exists already".into(),
            ErrorCode::NetworkExist => "network %1$s exists already".into(),
            ErrorCode::StorageVolExist => "storage volume %1$s exists already".into(),
            ErrorCode::NetworkPortExist => "network port %1$s exists already".into(),
            ErrorCode::XmlError => "XML error: %1$s".into(),
            ErrorCode::OperationDenied => "operation forbidden: %1$s".into(),
            ErrorCode::NoConnect => format!("{} for %1$s", self.bare()),
            ErrorCode::NoSource
            | ErrorCode::UnknownHost
            | ErrorCode::OsType
            | ErrorCode::OpenFailed
            | ErrorCode::ReadFailed
            | ErrorCode::ParseFailed
            | ErrorCode::InvalidConn
            | ErrorCode::InvalidDomain
            | ErrorCode::InvalidNetwork
            | ErrorCode::InvalidStoragePool
            | ErrorCode::InvalidStorageVol
            | ErrorCode::InvalidInterface
            | ErrorCode::NoTarget => format!("{} %1$s", self.bare()),
            ErrorCode::NoName | ErrorCode::InvalidNodeDevice | ErrorCode::InvalidStream => {
                format!("{} in %1$s", self.bare())
            }
            ErrorCode::NoOs | ErrorCode::NoDevice => format!("{} for %1$s", self.bare()),
            _ => format!("{}: %1$s", self.bare()),
        }
    }

    /// The sentence where no detail is known.
    fn bare(self) -> &'static str {
        match self {
            ErrorCode::Ok => "no error",
            ErrorCode::InternalError => "internal error",
            ErrorCode::NoMemory => "out of memory",
            ErrorCode::NoSupport => "this function is not supported by the connection driver",
            ErrorCode::UnknownHost => "unknown host",
            ErrorCode::NoConnect => "no connection driver available",
            ErrorCode::InvalidConn => "invalid connection pointer in",
            ErrorCode::InvalidDomain => "invalid domain pointer in",
            ErrorCode::InvalidArg => "invalid argument",
            ErrorCode::OperationFailed => "operation failed",
            ErrorCode::OsType => "unknown OS type",
            ErrorCode::NoKernel => "missing kernel information",
            ErrorCode::NoSource => "missing source information for device",
            ErrorCode::NoTarget => "missing target information for device",
            ErrorCode::NoName => "missing name information",
            ErrorCode::NoOs => "missing operating system information",
            ErrorCode::NoDevice => "missing devices information",
            ErrorCode::XmlError => "XML description is invalid or not well formed",
            ErrorCode::DomExist => "this domain exists already",
            ErrorCode::OperationDenied => "operation forbidden for read only access",
            ErrorCode::OpenFailed => "failed to open configuration file",
            ErrorCode::ReadFailed => "failed to read configuration file",
            ErrorCode::ParseFailed => "failed to parse configuration file",
            ErrorCode::ConfSyntax => "configuration file syntax error",
            ErrorCode::WriteFailed => "failed to write configuration file",
            ErrorCode::XmlDetail => "parser error",
            ErrorCode::InvalidNetwork => "invalid network pointer in",
            ErrorCode::NetworkExist => "this network exists already",
            ErrorCode::SystemError => "system call error",
            ErrorCode::Rpc => "RPC error",
            ErrorCode::GnutlsError => "GNUTLS call error",
            ErrorCode::NoDomain => "Domain not found",
            ErrorCode::NoNetwork => "Network not found",
            ErrorCode::InvalidMac => "invalid MAC address",
            ErrorCode::AuthFailed => "authentication failed",
            ErrorCode::InvalidStoragePool => "invalid storage pool pointer in",
            ErrorCode::InvalidStorageVol => "invalid storage volume pointer in",
            ErrorCode::NoStoragePool => "Storage pool not found",
            ErrorCode::NoStorageVol => "Storage volume not found",
            ErrorCode::InvalidNodeDevice => "invalid node device pointer",
            ErrorCode::NoNodeDevice => "Node device not found",
            ErrorCode::NoSecurityModel => "Security model not found",
            ErrorCode::OperationInvalid => "Requested operation is not valid",
            ErrorCode::NoInterface => "Interface not found",
            ErrorCode::InvalidInterface => "invalid interface pointer in",
            ErrorCode::MultipleInterfaces => "multiple matching interfaces found",
            ErrorCode::InvalidNwfilter => "Invalid network filter",
            ErrorCode::NoNwfilter => "Network filter not found",
            ErrorCode::BuildFirewall => "Error while building firewall",
            ErrorCode::InvalidSecret => "Invalid secret",
            ErrorCode::NoSecret => "Secret not found",
            ErrorCode::ConfigUnsupported => "unsupported configuration",
            ErrorCode::OperationTimeout => "Timed out during operation",
            ErrorCode::MigratePersistFailed => "Failed to make domain persistent after migration",
            ErrorCode::HookScriptFailed => "Hook script execution failed",
            ErrorCode::InvalidDomainSnapshot => "Invalid domain snapshot",
            ErrorCode::NoDomainSnapshot => "Domain snapshot not found",
            ErrorCode::InvalidStream => "invalid stream pointer",
            ErrorCode::ArgumentUnsupported => "argument unsupported",
            ErrorCode::StorageProbeFailed => "Storage pool probe failed",
            ErrorCode::StoragePoolBuilt => "Storage pool already built",
            ErrorCode::SnapshotRevertRisky => "revert requires force",
            ErrorCode::OperationAborted => "operation aborted",
            ErrorCode::AuthCancelled => "authentication cancelled",
            ErrorCode::NoDomainMetadata => "metadata not found",
            ErrorCode::MigrateUnsafe => "Unsafe migration",
            ErrorCode::Overflow => "numerical overflow",
            ErrorCode::BlockCopyActive => "block copy still active",
            ErrorCode::OperationUnsupported => "Operation not supported",
            ErrorCode::Ssh => "SSH transport error",
            ErrorCode::AgentUnresponsive => "Guest agent is not responding",
            ErrorCode::ResourceBusy => "resource busy",
            ErrorCode::AccessDenied => "access denied",
            ErrorCode::DbusService => "error from service",
            ErrorCode::StorageVolExist => "this storage volume exists already",
            ErrorCode::CpuIncompatible => "the CPU is incompatible with host CPU",
            ErrorCode::XmlInvalidSchema => "XML document failed to validate against schema",
            ErrorCode::MigrateFinishOk => "migration successfully aborted",
            ErrorCode::AuthUnavailable => "authentication unavailable",
            ErrorCode::NoServer => "Server not found",
            ErrorCode::NoClient => "Client not found",
            ErrorCode::AgentUnsynced => "guest agent replied with wrong id to guest-sync command",
            ErrorCode::Libssh => "libssh transport error",
            ErrorCode::DeviceMissing => "device not found",
            ErrorCode::InvalidNwfilterBinding => "Invalid network filter binding",
            ErrorCode::NoNwfilterBinding => "Network filter binding not found",
            ErrorCode::InvalidDomainCheckpoint => "Invalid domain checkpoint",
            ErrorCode::NoDomainCheckpoint => "Domain checkpoint not found",
            ErrorCode::NoDomainBackup => "Domain backup job id not found",
            ErrorCode::InvalidNetworkPort => "Invalid network port pointer",
            ErrorCode::NetworkPortExist => "this network port exists already",
            ErrorCode::NoNetworkPort => "network port not found",
            ErrorCode::NoHostname => "no hostname found",
            ErrorCode::CheckpointInconsistent => "checkpoint inconsistent",
            ErrorCode::MultipleDomains => "multiple matching domains found",
            ErrorCode::NoNetworkMetadata => "metadata not found",
        }
    }
}

impl RpcError {
    /// The error as libvirt's daemon would send it: `detail` behind the words of `code`. An empty
    /// detail leaves the words alone.
    pub fn new(code: ErrorCode, domain: ErrorDomain, detail: impl Into<String>) -> Box<RpcError> {
        let detail = detail.into().replace('\0', "");
        let template = code.template(!detail.is_empty());
        Box::new(RpcError {
            code: code.number(),
            domain: domain.number(),
            message: Some(template.replace("%1$s", &detail)),
            level: LEVEL_ERROR,
            str1: Some(template),
            str2: Some(detail),
            int1: -1,
            int2: -1,
            ..RpcError::default()
        })
    }

    /// A failed system call: `what` could not be done because of the error number `errno`, which
    /// `reason` puts into words.
    pub fn system(domain: ErrorDomain, errno: i32, what: &str, reason: &str) -> Box<RpcError> {
        let mut error = RpcError::new(ErrorCode::SystemError, domain, format!("{what}: {reason}"));
        error.int1 = errno;
        error
    }

    /// `function` (libvirt's name: `virDomainGetXMLDesc`) is not something this daemon does.
    pub fn not_supported(function: &str) -> Box<RpcError> {
        RpcError::new(ErrorCode::NoSupport, ErrorDomain::None, function)
    }

    /// `function` changes something and the connection is read-only.
    pub fn read_only(function: &str) -> Box<RpcError> {
        RpcError::new(
            ErrorCode::OperationDenied,
            ErrorDomain::None,
            format!("read only access prevents {function}"),
        )
    }

    /// The message, or words that say there is none.
    pub fn text(&self) -> &str {
        self.message.as_deref().unwrap_or("unknown error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_libvirts() {
        for (code, detail, message) in [
            (
                ErrorCode::NoDomain,
                "no domain with matching name 'x'",
                "Domain not found: no domain with matching name 'x'",
            ),
            (
                ErrorCode::Rpc,
                "unknown procedure: 9999",
                "unknown procedure: 9999",
            ),
            (ErrorCode::XmlError, "bad", "XML error: bad"),
            (ErrorCode::InternalError, "", "internal error"),
            (
                ErrorCode::InvalidDomain,
                "virDomainGetInfo",
                "invalid domain pointer in virDomainGetInfo",
            ),
        ] {
            let error = RpcError::new(code, ErrorDomain::Qemu, detail);
            assert_eq!(error.text(), message);
            assert_eq!(ErrorCode::try_from(error.code), Ok(code));
        }
        assert_eq!(
            RpcError::read_only("virDomainCreate").text(),
            "operation forbidden: read only access prevents virDomainCreate"
        );
        assert_eq!(
            RpcError::not_supported("virDomainGetXMLDesc").text(),
            "this function is not supported by the connection driver: virDomainGetXMLDesc"
        );
    }

    #[test]
    fn a_nul_in_a_detail_does_not_stop_the_error_from_being_sent() {
        use crate::xdr::Xdr;
        let error = RpcError::new(ErrorCode::InternalError, ErrorDomain::Qemu, "a\0b");
        assert!(error.to_bytes().is_ok());
    }
}
