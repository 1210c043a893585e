//! The programs' structures and procedures, generated from the tables in `protocol/`.
//!
//! A call `DOMAIN_LOOKUP_BY_NAME` has its arguments in `DomainLookupByNameArgs` and its results in
//! `DomainLookupByNameRet` (no such type if there are none, but `()`); an event has its fields in
//! `…Msg`. Field names are libvirt's in snake case, `type` being `kind`.

macro_rules! program {
    ($(#[$doc:meta])* $name:ident, $file:literal $(, $shared:ident)?) => {
        $(#[$doc])*
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub mod $name {
            #[allow(unused_imports)]
            use crate::procedure::{StreamDirection, procedures};
            #[allow(unused_imports)]
            use crate::xdr::{Decoder, Encoder, TypedParamValue, Xdr, XdrError};
            $(use super::remote::$shared;)?

            include!(concat!(env!("OUT_DIR"), $file));
        }
    };
}

program! {
    /// The program every client speaks: connections, domains, networks, storage, the node.
    remote, "/remote.rs"
}
program! {
    /// QEMU's own: monitor and agent commands passed through.
    qemu, "/qemu.rs", RemoteDomain
}
program! {
    /// Pings and pongs.
    keepalive, "/keepalive.rs"
}
