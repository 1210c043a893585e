//! TPM devices.

use super::info::DeviceInfo;
use crate::xml::{YesNo, element, keyword};

keyword! {
    /// Models of TPM devices.
    pub enum TpmModel {
        Tis = "tpm-tis",
        Crb = "tpm-crb",
        Spapr = "tpm-spapr",
        SpaprProxy = "spapr-tpm-proxy",
    }
}

keyword! {
    /// Where the TPM is.
    pub enum TpmBackendType {
        Passthrough = "passthrough",
        Emulator = "emulator",
        External = "external",
    }
}

keyword! {
    /// Versions of the TPM standard.
    pub enum TpmVersion {
        V1_2 = "1.2",
        V2_0 = "2.0",
    }
}

element! {
    /// The host's TPM device.
    pub struct TpmDevice {
        req path: String = "path",
    }
}

element! {
    /// Encryption of the emulator's state.
    pub struct TpmEncryption {
        req secret: uuid::Uuid = "secret",
    }
}

element! {
    /// Where the emulator keeps its state, or listens.
    pub struct TpmSource {
        attr kind: Option<String> = "type",
        attr mode: Option<String> = "mode",
        attr path: Option<String> = "path",
    }
}

element! {
    /// The profile the emulator starts with.
    pub struct TpmProfile {
        attr source: Option<String> = "source",
        attr remove_disabled: Option<String> = "removeDisabled",
        attr name: Option<String> = "name",
    }
}

element! {
    /// The banks of PCR registers.
    pub struct ActivePcrBanks {
        flag sha1: bool = "sha1",
        flag sha256: bool = "sha256",
        flag sha384: bool = "sha384",
        flag sha512: bool = "sha512",
    }
}

element! {
    /// Where the TPM is.
    pub struct TpmBackend {
        req kind: TpmBackendType = "type",
        attr version: Option<TpmVersion> = "version",
        attr persistent_state: Option<YesNo> = "persistent_state",
        attr debug: Option<u32> = "debug",
        child device: Option<TpmDevice> = "device",
        child encryption: Option<TpmEncryption> = "encryption",
        child active_pcr_banks: Option<ActivePcrBanks> = "active_pcr_banks",
        child source: Option<TpmSource> = "source",
        child profile: Option<TpmProfile> = "profile",
    }
}

element! {
    /// A TPM device.
    pub struct Tpm {
        attr model: Option<TpmModel> = "model",
        child backend: Option<TpmBackend> = "backend",
        flat info: DeviceInfo,
    }
}
