//! What is known of every procedure, and the traits that tie arguments to results.

use crate::xdr::Xdr;

/// Arguments of a procedure that is called and answered.
pub trait Call: Xdr {
    /// What the answer carries; `()` if nothing.
    type Ret: Xdr;
    /// The program the procedure belongs to.
    const PROGRAM: u32;
    /// The program's version.
    const VERSION: u32;
    /// The procedure's number.
    const NUMBER: i32;
}

/// The body of a message the server sends on its own.
pub trait Event: Xdr {
    /// The program the event belongs to.
    const PROGRAM: u32;
    /// The program's version.
    const VERSION: u32;
    /// The event's procedure number.
    const NUMBER: i32;
}

/// Whether a call may wait for a QEMU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Priority {
    /// Answered without ever waiting for a monitor.
    High,
    /// May take long.
    Low,
}

/// Which way a procedure's stream goes, seen from the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StreamDirection {
    /// The client sends.
    Upload,
    /// The client receives.
    Download,
    /// Both at once.
    Both,
}

/// Facts about one procedure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) name: &'static str,
    pub(crate) high_priority: bool,
    pub(crate) writes: bool,
    pub(crate) event: bool,
    pub(crate) stream: Option<StreamDirection>,
}

/// Declares a program's `Procedure`; the tables list them in order from 1.
macro_rules! procedures {
    ($($variant:ident = $number:literal, $name:literal, high $high:literal, writes $writes:literal,
       event $event:literal, stream $stream:expr;)+) => {
        /// The program's procedures.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(i32)]
        pub enum Procedure { $($variant = $number,)+ }

        const FACTS: &[crate::procedure::Facts] = &[$(crate::procedure::Facts {
            name: $name, high_priority: $high, writes: $writes, event: $event, stream: $stream,
        },)+];

        impl Procedure {
            /// Every procedure, by number.
            pub const ALL: &'static [Procedure] = &[$(Procedure::$variant,)+];

            fn facts(self) -> &'static crate::procedure::Facts {
                &FACTS[self as usize - 1]
            }

            /// The number on the wire.
            pub fn number(self) -> i32 {
                self as i32
            }

            /// The name in the protocol: `DOMAIN_LOOKUP_BY_NAME`.
            pub fn name(self) -> &'static str {
                self.facts().name
            }

            /// Whether it may wait for a QEMU.
            pub fn priority(self) -> crate::procedure::Priority {
                match self.facts().high_priority {
                    true => crate::procedure::Priority::High,
                    false => crate::procedure::Priority::Low,
                }
            }

            /// True if a read-only connection is always refused it.
            pub fn writes(self) -> bool {
                self.facts().writes
            }

            /// True if the server sends it on its own and nobody may call it.
            pub fn is_event(self) -> bool {
                self.facts().event
            }

            /// The stream that a successful call opens.
            pub fn stream(self) -> Option<crate::procedure::StreamDirection> {
                self.facts().stream
            }

            /// The function of libvirt's API that makes this call: `virDomainLookupByName`.
            pub fn api_name(self) -> String {
                crate::procedure::api_name(self.name())
            }
        }

        impl TryFrom<i32> for Procedure {
            type Error = i32;

            /// Fails with the number itself if no procedure has it.
            fn try_from(number: i32) -> Result<Procedure, i32> {
                usize::try_from(number)
                    .ok()
                    .and_then(|n| n.checked_sub(1))
                    .and_then(|index| Procedure::ALL.get(index).copied())
                    .ok_or(number)
            }
        }
    };
}
pub(crate) use procedures;

/// Words that libvirt's function names do not write in plain camel case.
const API_WORDS: &[(&str, &str)] = &[
    ("CPU", "CPU"),
    ("DHCP", "DHCP"),
    ("FD", "FD"),
    ("FSFREEZE", "FSFreeze"),
    ("FSINFO", "FSInfo"),
    ("FSTHAW", "FSThaw"),
    ("FSTRIM", "FSTrim"),
    ("ID", "ID"),
    ("IOTHREAD", "IOThread"),
    ("MAC", "MAC"),
    ("NMI", "NMI"),
    ("NWFILTER", "NWFilter"),
    ("NWFILTERS", "NWFilters"),
    ("OS", "OS"),
    ("PM", "PM"),
    ("SCSI", "SCSI"),
    ("SEV", "SEV"),
    ("SSH", "SSH"),
    ("URI", "URI"),
    ("UUID", "UUID"),
    ("WWN", "WWN"),
    ("XML", "XML"),
];

/// `DOMAIN_GET_XML_DESC` as `virDomainGetXMLDesc`.
pub(crate) fn api_name(procedure: &str) -> String {
    let mut name = String::from("vir");
    for word in procedure.split('_') {
        match API_WORDS.iter().find(|(upper, _)| *upper == word) {
            Some((_, written)) => name.push_str(written),
            None => {
                name.push_str(&word[..1]);
                name.push_str(&word[1..].to_ascii_lowercase());
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keepalive, qemu, remote};

    #[test]
    fn procedures_know_their_numbers_names_and_priorities() {
        let lookup = remote::Procedure::DomainLookupByName;
        assert_eq!(lookup.number(), 23);
        assert_eq!(lookup.name(), "DOMAIN_LOOKUP_BY_NAME");
        assert_eq!(lookup.priority(), Priority::High);
        assert_eq!(remote::Procedure::DomainCreate.priority(), Priority::Low);
        assert_eq!(
            remote::Procedure::DomainScreenshot.stream(),
            Some(StreamDirection::Download)
        );
        assert!(remote::Procedure::DomainEventLifecycle.is_event());
        assert!(remote::Procedure::DomainCreate.writes());
        assert!(!remote::Procedure::DomainGetXmlDesc.writes());
    }

    #[test]
    fn numbers_turn_into_procedures_and_strange_ones_do_not() {
        for &procedure in remote::Procedure::ALL {
            assert_eq!(
                remote::Procedure::try_from(procedure.number()),
                Ok(procedure)
            );
        }
        for strange in [0, -1, i32::MIN, 454, i32::MAX] {
            assert_eq!(remote::Procedure::try_from(strange), Err(strange));
        }
        assert_eq!(
            keepalive::Procedure::try_from(1),
            Ok(keepalive::Procedure::Ping)
        );
        assert_eq!(qemu::Procedure::ALL.len(), 7);
    }

    #[test]
    fn api_names_are_those_of_libvirt() {
        for (procedure, function) in [
            ("DOMAIN_GET_XML_DESC", "virDomainGetXMLDesc"),
            ("CONNECT_GET_URI", "virConnectGetURI"),
            ("NODE_GET_CPU_STATS", "virNodeGetCPUStats"),
            ("DOMAIN_FSTRIM", "virDomainFSTrim"),
            (
                "CONNECT_LIST_ALL_NWFILTER_BINDINGS",
                "virConnectListAllNWFilterBindings",
            ),
            ("DOMAIN_ADD_IOTHREAD", "virDomainAddIOThread"),
            (
                "DOMAIN_PM_SUSPEND_FOR_DURATION",
                "virDomainPMSuspendForDuration",
            ),
        ] {
            assert_eq!(api_name(procedure), function);
        }
    }
}
