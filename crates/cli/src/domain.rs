//! Finding the domain a verb speaks of, and what is often asked about it.

use client::wire::remote::{self, RemoteDomain};

use crate::args::Args;
use crate::failure::Failure;
use crate::session::Session;

/// A domain and the words the person named it by.
pub(crate) struct Target {
    /// The domain, as the protocol names it.
    pub dom: RemoteDomain,
    /// What was typed.
    pub given: String,
}

/// VIR_DOMAIN_AFFECT_LIVE.
pub(crate) const AFFECT_LIVE: u32 = 1;
/// VIR_DOMAIN_AFFECT_CONFIG.
pub(crate) const AFFECT_CONFIG: u32 = 2;

/// Ways to name a domain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Id, uuid or name.
    Any,
    /// Name or uuid: for verbs on inactive domains, whose names may be numbers.
    NameOrUuid,
    /// Id or name.
    IdOrName,
    /// Id or uuid.
    IdOrUuid,
}

/// The domain of `--domain`.
///
/// # Errors
/// If there is none.
pub(crate) fn target(s: &mut Session, args: &Args) -> Result<Target, Failure> {
    target_by(s, args, By::Any)
}

/// The domain of `--domain`, named in one of the given ways.
///
/// # Errors
/// If there is none.
pub(crate) fn target_by(s: &mut Session, args: &Args, by: By) -> Result<Target, Failure> {
    let given = args.need("domain")?.to_owned();
    let dom = lookup(s, &given, by)?;
    Ok(Target { dom, given })
}

/// The domain called `given`.
///
/// # Errors
/// If there is none.
pub(crate) fn lookup(s: &mut Session, given: &str, by: By) -> Result<RemoteDomain, Failure> {
    if by != By::NameOrUuid
        && let Ok(id @ 0..) = given.parse::<i32>()
        && let Ok(found) = s.call(&remote::DomainLookupByIdArgs { id })
    {
        return Ok(found.dom);
    }
    if by != By::IdOrName
        && let Some(uuid) = parse_uuid(given)
        && let Ok(found) = s.call(&remote::DomainLookupByUuidArgs { uuid })
    {
        return Ok(found.dom);
    }
    if by != By::IdOrUuid
        && let Ok(found) = s.call(&remote::DomainLookupByNameArgs {
            name: given.to_owned(),
        })
    {
        return Ok(found.dom);
    }
    Err(Failure::said(format!("failed to get domain '{given}'")))
}

/// A uuid of 36 characters.
pub(crate) fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    const LENGTH: usize = 36;
    if text.len() != LENGTH {
        return None;
    }
    let mut digits = text.chars().filter(|c| *c != '-');
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        let (high, low) = (digits.next()?.to_digit(16)?, digits.next()?.to_digit(16)?);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(uuid)
}

/// A uuid as text.
pub(crate) fn show_uuid(uuid: &[u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// An id as virsh shows it: `-` for a domain that does not run.
pub(crate) fn show_id(dom: &RemoteDomain) -> String {
    if dom.id >= 0 {
        dom.id.to_string()
    } else {
        "-".to_owned()
    }
}

impl Session {
    /// The whole definition.
    ///
    /// # Errors
    /// The daemon's.
    pub(crate) fn domain_xml(
        &mut self,
        dom: &RemoteDomain,
        flags: u32,
    ) -> Result<String, client::Error> {
        let args = remote::DomainGetXmlDescArgs {
            dom: dom.clone(),
            flags,
        };
        self.call(&args).map(|got| got.xml)
    }

    /// Whether the domain runs.
    ///
    /// # Errors
    /// The daemon's.
    pub(crate) fn domain_active(&mut self, dom: &RemoteDomain) -> Result<bool, client::Error> {
        let args = remote::DomainIsActiveArgs { dom: dom.clone() };
        self.call(&args).map(|got| got.active != 0)
    }
}

/// `--config`, `--live`, `--current` as flags.
///
/// # Errors
/// If `--current` is given with one of the others.
pub(crate) fn affect(args: &Args) -> Result<u32, Failure> {
    args.exclusive("current", "live")?;
    args.exclusive("current", "config")?;
    let live = if args.has("live") { AFFECT_LIVE } else { 0 };
    let config = if args.has("config") { AFFECT_CONFIG } else { 0 };
    Ok(live | config)
}

/// The flags whose options are given.
pub(crate) fn flags(args: &Args, table: &[(&str, u32)]) -> u32 {
    table
        .iter()
        .filter(|(name, _)| args.has(name))
        .map(|(_, bit)| bit)
        .sum()
}

/// Reads a file given on the command line.
///
/// # Errors
/// If it cannot be read, is too large, or is not text.
pub(crate) fn read_file(path: &str) -> Result<String, Failure> {
    use std::io::Read;
    let open = |e: std::io::Error| {
        Failure::said(format!(
            "Failed to open file '{path}': {}",
            client::os_message(&e)
        ))
    };
    let file = std::fs::File::open(path).map_err(open)?;
    let mut text = String::new();
    let read = file.take(XML_FILE_MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|e| {
        Failure::said(format!(
            "Failed to read file '{path}': {}",
            client::os_message(&e)
        ))
    })?;
    if text.len() as u64 > XML_FILE_MAX_BYTES {
        let what = "Value too large for defined data type";
        return Err(Failure::said(format!(
            "Failed to read file '{path}': {what}"
        )));
    }
    Ok(text)
}

/// Largest XML file read.
const XML_FILE_MAX_BYTES: u64 = 10 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids() {
        let text = "c7a5fdbd-cdaf-9455-926a-d65c16db1809";
        let uuid = parse_uuid(text).unwrap();
        assert_eq!(show_uuid(&uuid), text);
        assert_eq!(parse_uuid("c7a5fdbd-cdaf-9455-926a-d65c16db180"), None);
        assert_eq!(parse_uuid("x7a5fdbd-cdaf-9455-926a-d65c16db1809"), None);
    }
}
