//! Volumes: listing, showing, deleting, resizing, wiping.

use client::api::{Job, VolumeWipe};
use client::wire::remote;

use crate::args::Args;
use crate::domain::{flags, show_uuid};
use crate::failure::{Failure, OrFail, Outcome};
use crate::follow;
use crate::output::{extra, fact};
use crate::session::Session;
use crate::storage::{OF_POOL, POOL, VOL, pool, pretty_size, vol, vol_kind};
use crate::table::{Verb, WRAP, XPATH, arg, flag, text};

/// VIR_STORAGE_VOL_GET_PHYSICAL.
const GET_PHYSICAL: u32 = 1;
/// VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS.
const DELETE_WITH_SNAPSHOTS: u32 = 2;

/// Ways to overwrite a volume, in the order of libvirt's numbers.
const ALGORITHMS: &[&str] = &[
    "zero",
    "nnsa",
    "dod",
    "bsi",
    "gutmann",
    "schneier",
    "pfitzner7",
    "pfitzner33",
    "random",
    "trim",
];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("vol-delete", "delete a volume", delete).options(&[
        VOL,
        OF_POOL,
        flag("delete-snapshots", "with its snapshots, where the pool knows any"),
    ]),
    Verb::new("vol-dumpxml", "print a volume's XML", dumpxml)
        .options(&[VOL, OF_POOL, XPATH, WRAP]),
    Verb::new("vol-info", "what is known of a volume", info)
        .options(&[
            VOL,
            OF_POOL,
            flag("bytes", "sizes in bytes"),
            flag("physical", "the file's length instead of what it takes"),
        ])
        .tabular(),
    Verb::new("vol-key", "the key of a volume", key).options(&[VOL, OF_POOL]).tabular(),
    Verb::new("vol-list", "list the volumes of a pool", list)
        .options(&[POOL, flag("details", "with more about each")])
        .tabular(),
    Verb::new("vol-name", "the name of a volume", name)
        .options(&[arg("vol", "the volume: its key or path")]).tabular(),
    Verb::new("vol-path", "the path of a volume", path).options(&[VOL, OF_POOL]).tabular(),
    Verb::new("vol-pool", "the pool of a volume", pool_of_vol).options(&[
        arg("vol", "the volume: its key or path"),
        flag("uuid", "the pool's uuid instead of its name"),
    ]).tabular(),
    Verb::new("vol-resize", "resize a volume", resize)
        .about("Gives a volume another size. Not for volumes of running machines: they have blockresize.")
        .options(&[
            VOL,
            arg("capacity", "the new size, in bytes or with a unit"),
            OF_POOL,
            flag("allocate", "take the new space at once"),
            flag("delta", "add the size to the present one"),
            flag("shrink", "it may become smaller"),
        ]),
    Verb::new("vol-wipe", "overwrite a volume", wipe)
        .about("Makes what was on the volume unreadable.")
        .options(&[
            VOL,
            OF_POOL,
            text("algorithm", "with what it is overwritten")
                .bare()
                .words(ALGORITHMS),
        ]),
];

fn delete(s: &mut Session, args: &Args) -> Outcome {
    let target = vol(s, args)?;
    let call = remote::StorageVolDeleteArgs {
        vol: target.vol,
        flags: flags(args, &[("delete-snapshots", DELETE_WITH_SNAPSHOTS)]),
    };
    s.call(&call)
        .or_fail(|| format!("Failed to delete vol {}", target.given))?;
    extra!(s, "Vol {} deleted\n", target.given);
    Ok(())
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let target = vol(s, args)?;
    let call = remote::StorageVolGetXmlDescArgs {
        vol: target.vol,
        flags: 0,
    };
    let xml = s.call(&call)?.xml;
    super::print_xml(s, args, &xml)
}

fn info(s: &mut Session, args: &Args) -> Outcome {
    let target = vol(s, args)?;
    let physical = args.has("physical");
    let (kind, capacity, allocation) = match physical {
        true => {
            let call = remote::StorageVolGetInfoFlagsArgs {
                vol: target.vol.clone(),
                flags: GET_PHYSICAL,
            };
            let got = s.call(&call)?;
            (got.kind, got.capacity, got.allocation)
        }
        false => {
            let call = remote::StorageVolGetInfoArgs {
                vol: target.vol.clone(),
            };
            let got = s.call(&call)?;
            (got.kind, got.capacity, got.allocation)
        }
    };
    let size = |bytes: u64| match args.has("bytes") {
        true => format!("{bytes} bytes"),
        false => pretty_size(bytes),
    };
    let label = if physical { "Physical:" } else { "Allocation:" };
    let pairs = [
        ("Name:", target.vol.name.clone()),
        ("Type:", vol_kind(kind).to_owned()),
        ("Capacity:", size(capacity)),
        (label, size(allocation)),
    ];
    s.out.pairs(15, &pairs);
    Ok(())
}

fn key(s: &mut Session, args: &Args) -> Outcome {
    let target = vol(s, args)?;
    fact!(s, "key", target.vol.key.as_str(), "{}", target.vol.key);
    Ok(())
}

fn name(s: &mut Session, args: &Args) -> Outcome {
    let target = vol(s, args)?;
    fact!(s, "name", target.vol.name.as_str(), "{}", target.vol.name);
    Ok(())
}

fn path(s: &mut Session, args: &Args) -> Outcome {
    let target = vol(s, args)?;
    let call = remote::StorageVolGetPathArgs { vol: target.vol };
    let path = s.call(&call)?.name;
    fact!(s, "path", path.as_str(), "{path}");
    Ok(())
}

fn pool_of_vol(s: &mut Session, args: &Args) -> Outcome {
    let target = vol(s, args)?;
    let call = remote::StoragePoolLookupByVolumeArgs { vol: target.vol };
    let pool = s
        .call(&call)
        .or_fail(|| "failed to get parent pool".into())?
        .pool;
    match args.has("uuid") {
        true => {
            let uuid = show_uuid(&pool.uuid);
            fact!(s, "uuid", uuid.as_str(), "{uuid}");
        }
        false => fact!(s, "name", pool.name.as_str(), "{}", pool.name),
    }
    Ok(())
}

fn list(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let call = remote::StoragePoolListAllVolumesArgs {
        pool: target.pool,
        need_results: 1,
        flags: 0,
    };
    let mut vols = s
        .call(&call)
        .or_fail(|| "Failed to list volumes".into())?
        .vols;
    vols.sort_by_key(|vol| vol.name.to_lowercase());
    // In the pools there are a volume's key is its path.
    let mut rows: Vec<_> = vols
        .iter()
        .map(|vol| vec![vol.name.clone(), vol.key.clone()])
        .collect();
    if args.has("details") {
        let calls: Vec<_> = vols
            .into_iter()
            .map(|vol| remote::StorageVolGetInfoArgs { vol })
            .collect();
        for (row, got) in rows.iter_mut().zip(s.call_all(&calls)?) {
            row.push(vol_kind(got.kind).to_owned());
            row.extend([got.capacity, got.allocation].map(pretty_size));
        }
    }
    match args.has("details") {
        true => s
            .out
            .table(&["Name", "Path", "Type", "Capacity", "Allocation"], &rows),
        false => s.out.table(&["Name", "Path"], &rows),
    }
    Ok(())
}

fn resize(s: &mut Session, args: &Args) -> Outcome {
    const ALLOCATE: u32 = 1;
    const DELTA: u32 = 2;
    const SHRINK: u32 = 4;
    let target = vol(s, args)?;
    let given = args.need("capacity")?;
    let size = match (given.strip_prefix('-'), args.has("shrink")) {
        (Some(size), true) => size,
        (Some(_), false) => return Err(Failure::said("negative size requires --shrink")),
        (None, _) => given,
    };
    let capacity = super::vol_make::size(size)?;
    let call = remote::StorageVolResizeArgs {
        vol: target.vol,
        capacity,
        flags: flags(
            args,
            &[("allocate", ALLOCATE), ("delta", DELTA), ("shrink", SHRINK)],
        ),
    };
    let name = &target.given;
    let way = if args.has("delta") { "by" } else { "to" };
    s.call(&call)
        .or_fail(|| format!("Failed to change size of volume '{name}' {way} {size}"))?;
    extra!(
        s,
        "Size of volume '{name}' successfully changed {way} {size}\n"
    );
    Ok(())
}

fn wipe(s: &mut Session, args: &Args) -> Outcome {
    let target = vol(s, args)?;
    let algorithm = match args.text("algorithm")? {
        None => None,
        Some(algorithm) => {
            let number = (0u32..).zip(ALGORITHMS).find(|(_, a)| **a == algorithm);
            let unknown = || Failure::said(format!("Unsupported algorithm '{algorithm}'"));
            Some(number.ok_or_else(unknown)?.0)
        }
    };
    if follow::is_watched(s) {
        let wipe = VolumeWipe {
            pool: target.vol.pool,
            name: target.vol.name,
            algorithm: algorithm.unwrap_or(0),
        };
        let job: Job = s.rest()?.post("/volumes/wipes", &wipe)?;
        follow::follow_to_end(s, &job)?;
    } else {
        let (vol, flags) = (target.vol, 0);
        let done = match algorithm {
            None => s.call(&remote::StorageVolWipeArgs { vol, flags }),
            Some(algorithm) => s.call(&remote::StorageVolWipePatternArgs {
                vol,
                algorithm,
                flags,
            }),
        };
        done.or_fail(|| format!("Failed to wipe vol {}", target.given))?;
    }
    extra!(s, "Vol {} wiped\n", target.given);
    Ok(())
}
