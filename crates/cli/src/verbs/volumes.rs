//! The volumes that `undefine --storage` and `--remove-all-storage` remove.

use client::wire::remote::{self, RemoteDomain, RemoteStorageVol};

use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::output::extra;
use crate::query;
use crate::session::Session;

/// A disk's volume.
pub(crate) struct Volume {
    target: String,
    source: String,
    vol: RemoteStorageVol,
}

const SOURCES: &[&str] = &[
    "source/@file",
    "source/@dir",
    "source/@name",
    "source/@dev",
    "source/@volume",
];

/// The volumes the options select; what is not managed is only spoken of.
///
/// # Errors
/// A running domain, or a volume named that is none of the domain's.
pub(crate) fn selected(
    s: &mut Session,
    args: &Args,
    dom: &RemoteDomain,
    running: bool,
) -> Result<Vec<Volume>, Failure> {
    if running {
        let what = "Storage volume deletion is supported only on stopped domains";
        return Err(Failure::said(what));
    }
    let wanted = args.text("storage")?;
    if wanted.is_some() && args.has("remove-all-storage") {
        return Err(Failure::said(
            "Specified both --storage and --remove-all-storage",
        ));
    }
    let xml = s.domain_xml(dom, 0)?;
    let document = query::parse(&xml)?;
    let mut missing: Vec<&str> = wanted.map(|w| w.split(',').collect()).unwrap_or_default();
    let mut volumes = Vec::new();
    for disk in query::all(document.root_element(), "devices/disk") {
        let target = query::value(disk, &["target/@dev"]).unwrap_or_default();
        let Some(source) = query::value(disk, SOURCES) else {
            continue;
        };
        if wanted.is_some() {
            let named = missing.iter().position(|w| *w == target || *w == source);
            let Some(named) = named else { continue };
            missing.remove(named);
        }
        let pool = query::value(disk, &["source/@pool"]);
        if let Some(vol) = find(s, pool, &target, &source) {
            volumes.push(Volume {
                target,
                source,
                vol,
            });
        }
    }
    let lines: Vec<String> = missing
        .iter()
        .map(|w| format!("Volume '{w}' was not found in domain's definition."))
        .collect();
    match lines.is_empty() {
        true => Ok(volumes),
        false => Err(Failure {
            lines,
            ..Failure::default()
        }),
    }
}

fn find(
    s: &mut Session,
    pool: Option<String>,
    target: &str,
    source: &str,
) -> Option<RemoteStorageVol> {
    let found = match pool {
        Some(name) => {
            let looked = s.call(&remote::StoragePoolLookupByNameArgs { name: name.clone() });
            let Ok(got) = looked else {
                s.out.error(&format!(
                    "Storage pool '{name}' for volume '{target}' not found."
                ));
                return None;
            };
            let args = remote::StorageVolLookupByNameArgs {
                pool: got.pool,
                name: source.to_owned(),
            };
            s.call(&args).map(|got| got.vol)
        }
        None => {
            let args = remote::StorageVolLookupByPathArgs {
                path: source.to_owned(),
            };
            s.call(&args).map(|got| got.vol)
        }
    };
    if found.is_err() {
        s.out.error(&format!(
            "Storage volume '{target}'({source}) is not managed by libvirt. Remove it manually."
        ));
    }
    found.ok()
}

/// Removes the volumes, overwritten first if asked.
///
/// # Errors
/// If one could not be removed; the others are.
pub(crate) fn remove(s: &mut Session, args: &Args, volumes: &[Volume]) -> Outcome {
    let mut failed = false;
    for Volume {
        target,
        source,
        vol,
    } in volumes
    {
        if args.has("wipe-storage") {
            extra!(s, "Wiping volume '{target}'({source}) ... ");
            if s.call(&remote::StorageVolWipeArgs {
                vol: vol.clone(),
                flags: 0,
            })
            .is_err()
            {
                s.out.error("Failed! Volume not removed.");
                failed = true;
                continue;
            }
            extra!(s, "Done.\n");
        }
        let flags = if args.has("delete-storage-volume-snapshots") {
            2
        } else {
            0
        };
        match s.call(&remote::StorageVolDeleteArgs {
            vol: vol.clone(),
            flags,
        }) {
            Ok(()) => extra!(s, "Volume '{target}'({source}) removed.\n"),
            Err(e) => {
                s.out.error(&format!(
                    "Failed to remove storage volume '{target}'({source})"
                ));
                s.out.error(&e.to_string());
                failed = true;
            }
        }
    }
    if failed {
        Err(Failure::silent())
    } else {
        Ok(())
    }
}
