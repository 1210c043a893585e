//! Names of what the daemon has, for completion.

use client::api::{Image, Job};
use client::wire::remote::{self, RemoteStoragePool};

use crate::args::{Args, Value};
use crate::domain::{By, lookup, show_uuid};
use crate::failure::Failure;
use crate::query;
use crate::session::Session;
use crate::storage::lookup_pool;
use crate::table::{Completes, Thing};
use crate::verbs;

/// What a call that lists things gave: `CALL { WHOSE }.LIST`, each as the closure has it.
macro_rules! listed {
    ($session:expr, $call:ident { $($whose:ident)? }.$list:ident, $each:expr) => {{
        let call = remote::$call {
            $($whose,)?
            need_results: 1,
            flags: 0,
        };
        let all = $session.call(&call)?.$list;
        all.into_iter().map($each).collect()
    }};
}

/// The names that may stand where `what` is asked for; the options given so far say of which
/// domain or pool. None where the daemon cannot be asked: nobody completing wants to read why.
pub(crate) fn names(s: &mut Session, what: Completes, args: &Args) -> Vec<String> {
    match what {
        Completes::Domain if s.conn().is_ok() => verbs::domain_names(s),
        Completes::Of(thing) => of(s, thing, args).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn of(s: &mut Session, thing: Thing, args: &Args) -> Result<Vec<String>, Failure> {
    match thing {
        Thing::LibraryImage => {
            let all: Vec<Image> = s.rest()?.get("/images")?;
            return Ok(all.into_iter().map(|image| image.name).collect());
        }
        Thing::Job => {
            let all: Vec<Job> = s.rest()?.get("/jobs")?;
            return Ok(all.into_iter().map(|job| job.id.to_string()).collect());
        }
        _ => s.conn()?,
    };
    Ok(match thing {
        Thing::Pool => pools(s)?.into_iter().map(|pool| pool.name).collect(),
        Thing::Volume => volumes(s, args)?,
        Thing::Network => listed!(s, ConnectListAllNetworksArgs {}.nets, |net| net.name),
        Thing::NwFilter => listed!(s, ConnectListAllNwfiltersArgs {}.filters, |one| one.name),
        Thing::Secret => {
            listed!(s, ConnectListAllSecretsArgs {}.secrets, |one| show_uuid(
                &one.uuid
            ))
        }
        Thing::NodeDevice => listed!(s, ConnectListAllNodeDevicesArgs {}.devices, |one| one.name),
        Thing::HostInterface => listed!(s, ConnectListAllInterfacesArgs {}.ifaces, |one| one.name),
        Thing::Snapshot => snapshots(s, args)?,
        Thing::Disk => in_definition(s, args, "devices/disk", &["target/@dev"])?,
        Thing::Card => in_definition(s, args, "devices/interface", &["mac/@address"])?,
        Thing::LibraryImage | Thing::Job => Vec::new(),
    })
}

/// What was given for an option, where the verb has it.
fn given<'a>(args: &'a Args, name: &str) -> Option<&'a str> {
    let at = args.verb.options.iter().position(|o| o.name == name)?;
    match args.value(at) {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn pools(s: &mut Session) -> Result<Vec<RemoteStoragePool>, Failure> {
    Ok(listed!(
        s,
        ConnectListAllStoragePoolsArgs {}.pools,
        |pool| pool
    ))
}

/// The volumes of the pool given, else of all.
fn volumes(s: &mut Session, args: &Args) -> Result<Vec<String>, Failure> {
    let pools = match given(args, "pool") {
        Some(name) => vec![lookup_pool(s, name)?],
        None => pools(s)?,
    };
    let mut names = Vec::new();
    for pool in pools {
        let call = remote::StoragePoolListAllVolumesArgs {
            pool,
            need_results: 1,
            flags: 0,
        };
        // One that is not active has none to tell of.
        let found = s.call(&call).map(|got| got.vols).unwrap_or_default();
        names.extend(found.into_iter().map(|vol| vol.name));
    }
    Ok(names)
}

fn snapshots(s: &mut Session, args: &Args) -> Result<Vec<String>, Failure> {
    let Some(domain) = given(args, "domain") else {
        return Ok(Vec::new());
    };
    let dom = lookup(s, domain, By::Any)?;
    Ok(listed!(
        s,
        DomainListAllSnapshotsArgs { dom }.snapshots,
        |one| one.name
    ))
}

/// Values of a domain's devices.
fn in_definition(
    s: &mut Session,
    args: &Args,
    elements: &'static str,
    value: &[&'static str],
) -> Result<Vec<String>, Failure> {
    let Some(domain) = given(args, "domain") else {
        return Ok(Vec::new());
    };
    let dom = lookup(s, domain, By::Any)?;
    let xml = s.domain_xml(&dom, 0)?;
    let document = query::parse(&xml)?;
    let found = query::all(document.root_element(), elements);
    let values = found.into_iter();
    Ok(values.filter_map(|n| query::value(n, value)).collect())
}
