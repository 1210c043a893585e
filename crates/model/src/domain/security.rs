//! Memory encrypted against the host.

use crate::xml::{YesNo, element, keyword};

keyword! {
    /// Kinds of protection.
    pub enum LaunchSecurityType {
        Sev = "sev",
        SevSnp = "sev-snp",
        S390Pv = "s390-pv",
        Tdx = "tdx",
    }
}

element! {
    /// How the machine's memory is protected from the host.
    pub struct LaunchSecurity {
        req kind: LaunchSecurityType = "type",
        attr kernel_hashes: Option<YesNo> = "kernelHashes",
        attr author_key: Option<YesNo> = "authorKey",
        attr vcek: Option<YesNo> = "vcek",
        leaf cbitpos: Option<u32> = "cbitpos",
        leaf reduced_phys_bits: Option<u32> = "reducedPhysBits",
        leaf policy: Option<String> = "policy",
        leaf guest_visible_workarounds: Option<String> = "guestVisibleWorkarounds",
        leaf id_block: Option<String> = "idBlock",
        leaf id_auth: Option<String> = "idAuth",
        leaf host_data: Option<String> = "hostData",
        leaf dh_cert: Option<String> = "dhCert",
        leaf session: Option<String> = "session",
    }
}
