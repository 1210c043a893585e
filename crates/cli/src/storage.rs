//! Finding the pool or the volume a verb speaks of.

use client::wire::remote::{self, RemoteStoragePool, RemoteStorageVol};

use crate::args::Args;
use crate::domain::parse_uuid;
use crate::failure::{Failure, OrFail};
use crate::session::Session;
use crate::table::{Opt, Thing, arg, maybe};

/// The pool a verb acts on.
pub(crate) const POOL: Opt = arg("pool", "the pool: its name or uuid").of_things(Thing::Pool);
/// The volume a verb acts on.
pub(crate) const VOL: Opt =
    arg("vol", "the volume: its name, key or path").of_things(Thing::Volume);
/// The pool a volume is in.
pub(crate) const OF_POOL: Opt =
    maybe("pool", "the volume's pool: its name or uuid").of_things(Thing::Pool);

/// A pool and the words the person named it by.
pub(crate) struct Pool {
    /// The pool, as the protocol names it.
    pub pool: RemoteStoragePool,
    /// What was typed.
    pub given: String,
}

/// A volume and the words the person named it by.
pub(crate) struct Vol {
    /// The volume, as the protocol names it.
    pub vol: RemoteStorageVol,
    /// What was typed.
    pub given: String,
}

/// The pool of `--pool`.
///
/// # Errors
/// If there is none.
pub(crate) fn pool(s: &mut Session, args: &Args) -> Result<Pool, Failure> {
    let given = args.need("pool")?.to_owned();
    let pool = lookup_pool(s, &given)?;
    Ok(Pool { pool, given })
}

/// The pool called `given`, by uuid or name.
///
/// # Errors
/// If there is none.
pub(crate) fn lookup_pool(s: &mut Session, given: &str) -> Result<RemoteStoragePool, Failure> {
    if let Some(uuid) = parse_uuid(given)
        && let Ok(found) = s.call(&remote::StoragePoolLookupByUuidArgs { uuid })
    {
        return Ok(found.pool);
    }
    let name = given.to_owned();
    let found = s.call(&remote::StoragePoolLookupByNameArgs { name });
    found
        .map(|found| found.pool)
        .or_fail(|| format!("failed to get pool '{given}'"))
}

/// The volume of `--vol`, in the pool of `--pool` where the verb has that option and it is given.
///
/// # Errors
/// If there is none, or it is in another pool.
pub(crate) fn vol(s: &mut Session, args: &Args) -> Result<Vol, Failure> {
    let has_option = args.verb.options.iter().any(|o| o.name == "pool");
    let pool = match has_option {
        true => args.text("pool")?.map(str::to_owned),
        false => None,
    };
    vol_in(
        s,
        args,
        "vol",
        pool.as_deref(),
        has_option.then_some("pool"),
    )
}

/// The volume of an option, in the pool named; `hint` is the option that would name it.
///
/// # Errors
/// As [`vol`].
pub(crate) fn vol_in(
    s: &mut Session,
    args: &Args,
    option: &str,
    pool: Option<&str>,
    hint: Option<&str>,
) -> Result<Vol, Failure> {
    let given = args.need(option)?.to_owned();
    let pool = pool.map(|name| active_pool(s, name)).transpose()?;
    let vol = match find_vol(s, &given, pool.as_ref()) {
        Ok(vol) => vol,
        Err(e) => {
            let more = match (&pool, hint) {
                (None, Some(option)) => format!(", specifying --{option} might help"),
                _ => String::new(),
            };
            let failure = Failure::from(e);
            return Err(failure.context(format!("failed to get vol '{given}'{more}")));
        }
    };
    if let Some(pool) = pool
        && pool.name != vol.pool
    {
        let what = format!("Requested volume '{given}' is not in pool '{}'", pool.name);
        return Err(Failure::said(what));
    }
    Ok(Vol { vol, given })
}

fn active_pool(s: &mut Session, name: &str) -> Result<RemoteStoragePool, Failure> {
    let pool = lookup_pool(s, name)?;
    let asked = remote::StoragePoolIsActiveArgs { pool: pool.clone() };
    match s.call(&asked)?.active {
        0 => Err(Failure::said(format!("pool '{name}' is not active"))),
        _ => Ok(pool),
    }
}

/// By name in the pool, else by key, else by path.
///
/// # Errors
/// The daemon's, if it is none of the three.
pub(crate) fn find_vol(
    s: &mut Session,
    given: &str,
    pool: Option<&RemoteStoragePool>,
) -> Result<RemoteStorageVol, client::Error> {
    if let Some(pool) = pool {
        let args = remote::StorageVolLookupByNameArgs {
            pool: pool.clone(),
            name: given.to_owned(),
        };
        if let Ok(found) = s.call(&args) {
            return Ok(found.vol);
        }
    }
    let key = given.to_owned();
    if let Ok(found) = s.call(&remote::StorageVolLookupByKeyArgs { key }) {
        return Ok(found.vol);
    }
    let path = given.to_owned();
    s.call(&remote::StorageVolLookupByPathArgs { path })
        .map(|found| found.vol)
}

/// A volume's kind in words.
pub(crate) fn vol_kind(number: i8) -> &'static str {
    const KINDS: [&str; 6] = ["file", "block", "dir", "network", "netdir", "ploop"];
    let place = usize::try_from(number).ok();
    place
        .and_then(|place| KINDS.get(place))
        .unwrap_or(&"unknown")
}

/// A size for people, as virsh shows it: `10.00 GiB`.
pub(crate) fn pretty_size(bytes: u64) -> String {
    let (value, unit) = crate::verbs::pretty(bytes);
    format!("{value:.2} {unit}")
}

/// Text as it stands in XML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
