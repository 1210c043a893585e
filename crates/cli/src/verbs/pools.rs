//! Storage pools: listing, showing, starting, stopping.

use client::wire::remote::{self, RemoteStoragePool, StoragePoolGetInfoRet};

use crate::args::Args;
use crate::domain::{self, flags, parse_uuid, show_uuid};
use crate::edit::{self, Edited, Subject};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, fact, sayln, told};
use crate::session::Session;
use crate::storage::{POOL, pool, pretty_size};
use crate::table::{Completes, Opt, Verb, WRAP, XPATH, arg, flag, text};

/// VIR_STORAGE_XML_INACTIVE.
const XML_INACTIVE: u32 = 1;

/// The options about building, for verbs that start a pool too.
pub(super) const BUILD: Opt = flag("build", "build it before");
/// `--no-overwrite`.
pub(super) const NO_OVERWRITE: Opt = flag("no-overwrite", "fail where there is data already");
/// `--overwrite`.
pub(super) const OVERWRITE: Opt = flag("overwrite", "lose what is there");

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("pool-autostart", "start a pool with the host", autostart)
        .about("Makes the daemon start the pool when the host starts, or no longer.")
        .options(&[POOL, flag("disable", "no longer start it")]),
    Verb::new("pool-build", "build a pool", build)
        .about("Makes what the pool is to be: its directory, and with --overwrite or --no-overwrite its file system.")
        .options(&[POOL, NO_OVERWRITE, OVERWRITE]),
    Verb::new("pool-delete", "remove what a pool was built of", delete)
        .about("Removes the directory of a pool that is not in use; it must be empty.")
        .options(&[POOL]),
    Verb::new("pool-destroy", "stop a pool", destroy)
        .about("Takes the pool out of use; what is in it stays.")
        .options(&[POOL]),
    Verb::new("pool-dumpxml", "print a pool's XML", dumpxml).options(&[
        POOL,
        flag("inactive", "the definition the next start will use"),
        XPATH,
        WRAP,
    ]),
    Verb::new("pool-edit", "edit a pool's definition", edit_definition)
        .about("Opens the definition in $VISUAL or $EDITOR and defines what comes back.")
        .options(&[POOL]),
    Verb::new("pool-info", "what is known of a pool", info)
        .options(&[POOL, flag("bytes", "sizes in bytes")])
        .tabular(),
    Verb::new("pool-list", "list pools", list)
        .about("Lists the pools in use; with --all or --inactive the others too or alone.")
        .options(&[
            flag("inactive", "pools that are not in use"),
            flag("all", "all pools"),
            flag("transient", "pools whose definition is not stored"),
            flag("persistent", "pools whose definition is stored"),
            flag("autostart", "pools that start with the host"),
            flag("no-autostart", "pools that do not"),
            text("type", "only these kinds, separated by commas").bare(),
            flag("details", "with more about each"),
            flag("uuid", "uuids only"),
            flag("name", "names only"),
        ])
        .tabular(),
    Verb::new("pool-name", "the name of a pool", name).options(&[arg("pool", "the pool's uuid")]).tabular(),
    Verb::new("pool-refresh", "read anew what is in a pool", refresh).options(&[POOL]),
    Verb::new("pool-start", "start a pool", start)
        .about("Takes a defined pool into use.")
        .options(&[POOL, BUILD, NO_OVERWRITE, OVERWRITE]),
    Verb::new("pool-undefine", "remove a pool's definition", undefine)
        .about("Removes the definition of a pool that is not in use; its files stay.")
        .options(&[POOL]),
    Verb::new("pool-uuid", "the uuid of a pool", uuid).options(&[POOL]).tabular(),
    Verb::new("pool-capabilities", "what pools the host can have", capabilities),
    Verb::new(
        "find-storage-pool-sources",
        "look for what pools could be made of",
        find_sources,
    )
    .options(&[
        arg("type", "the kind of pool"),
        text("srcSpec", "a file with the XML of where to look")
            .bare()
            .completes(Completes::File),
    ]),
    Verb::new(
        "find-storage-pool-sources-as",
        "look for what pools could be made of, given as options",
        find_sources_as,
    )
    .options(&[
        arg("type", "the kind of pool"),
        text("host", "the server to ask").bare(),
        text("port", "its port").bare(),
        text("initiator", "the iSCSI name to ask under").bare(),
    ]),
];

/// The flags of a call that may build first.
pub(super) fn build_flags(args: &Args) -> Result<u32, Failure> {
    args.exclusive("overwrite", "no-overwrite")?;
    Ok(flags(
        args,
        &[("build", 1), ("overwrite", 2), ("no-overwrite", 4)],
    ))
}

fn autostart(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let on = !args.has("disable");
    let call = remote::StoragePoolSetAutostartArgs {
        pool: target.pool,
        autostart: on.into(),
    };
    let name = &target.given;
    s.call(&call).or_fail(|| match on {
        true => format!("failed to mark pool {name} as autostarted"),
        false => format!("failed to unmark pool {name} as autostarted"),
    })?;
    match on {
        true => extra!(s, "Pool {name} marked as autostarted\n"),
        false => extra!(s, "Pool {name} unmarked as autostarted\n"),
    }
    Ok(())
}

fn build(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("overwrite", "no-overwrite")?;
    let target = pool(s, args)?;
    let call = remote::StoragePoolBuildArgs {
        pool: target.pool,
        flags: flags(args, &[("no-overwrite", 4), ("overwrite", 8)]),
    };
    s.call(&call)
        .or_fail(|| format!("Failed to build pool {}", target.given))?;
    extra!(s, "Pool {} built\n", target.given);
    Ok(())
}

fn delete(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let call = remote::StoragePoolDeleteArgs {
        pool: target.pool,
        flags: 0,
    };
    s.call(&call)
        .or_fail(|| format!("Failed to delete pool {}", target.given))?;
    extra!(s, "Pool {} deleted\n", target.given);
    Ok(())
}

fn destroy(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let call = remote::StoragePoolDestroyArgs { pool: target.pool };
    s.call(&call)
        .or_fail(|| format!("Failed to destroy pool {}", target.given))?;
    extra!(s, "Pool {} destroyed\n", target.given);
    Ok(())
}

fn refresh(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let call = remote::StoragePoolRefreshArgs {
        pool: target.pool,
        flags: 0,
    };
    s.call(&call)
        .or_fail(|| format!("Failed to refresh pool {}", target.given))?;
    extra!(s, "Pool {} refreshed\n", target.given);
    Ok(())
}

fn start(s: &mut Session, args: &Args) -> Outcome {
    let flags = build_flags(args)?;
    let target = pool(s, args)?;
    let call = remote::StoragePoolCreateArgs {
        pool: target.pool,
        flags,
    };
    s.call(&call)
        .or_fail(|| format!("Failed to start pool {}", target.given))?;
    extra!(s, "Pool {} started\n", target.given);
    Ok(())
}

fn undefine(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let call = remote::StoragePoolUndefineArgs { pool: target.pool };
    s.call(&call)
        .or_fail(|| format!("Failed to undefine pool {}", target.given))?;
    extra!(s, "Pool {} has been undefined\n", target.given);
    Ok(())
}

fn uuid(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let uuid = show_uuid(&target.pool.uuid);
    fact!(s, "uuid", uuid.as_str(), "{uuid}");
    Ok(())
}

fn name(s: &mut Session, args: &Args) -> Outcome {
    let given = args.need("pool")?;
    let found = parse_uuid(given)
        .map(|uuid| s.call(&remote::StoragePoolLookupByUuidArgs { uuid }))
        .transpose();
    let failed = || format!("failed to get pool '{given}'");
    match found.or_fail(failed)? {
        Some(found) => fact!(s, "name", found.pool.name.as_str(), "{}", found.pool.name),
        None => return Err(Failure::said(failed())),
    }
    Ok(())
}

fn xml_of(s: &mut Session, pool: &RemoteStoragePool, flags: u32) -> Result<String, client::Error> {
    let call = remote::StoragePoolGetXmlDescArgs {
        pool: pool.clone(),
        flags,
    };
    s.call(&call).map(|got| got.xml)
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let flags = if args.has("inactive") {
        XML_INACTIVE
    } else {
        0
    };
    let xml = xml_of(s, &target.pool, flags)?;
    super::print_xml(s, args, &xml)
}

struct Definition {
    pool: RemoteStoragePool,
}

impl Subject for Definition {
    fn read(&mut self, s: &mut Session) -> Result<String, Failure> {
        let inactive = xml_of(s, &self.pool, XML_INACTIVE);
        Ok(inactive.or_else(|_| xml_of(s, &self.pool, 0))?)
    }

    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure> {
        let call = remote::StoragePoolDefineXmlArgs {
            xml: text.to_owned(),
            flags: 0,
        };
        Ok(s.call(&call).map(drop)?)
    }
}

fn edit_definition(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let name = target.pool.name.clone();
    let mut subject = Definition { pool: target.pool };
    match edit::edit(s, &mut subject)? {
        Edited::Unchanged => extra!(s, "Pool {name} XML configuration not changed.\n"),
        Edited::Stored => extra!(s, "Pool {name} XML configuration edited.\n"),
    }
    Ok(())
}

fn capabilities(s: &mut Session, _: &Args) -> Outcome {
    let call = remote::ConnectGetStoragePoolCapabilitiesArgs { flags: 0 };
    let got = s
        .call(&call)
        .or_fail(|| "failed to get storage pool capabilities".into())?;
    sayln!(s, "{}", got.capabilities);
    Ok(())
}

fn find(s: &mut Session, kind: &str, src_spec: Option<String>) -> Outcome {
    let call = remote::ConnectFindStoragePoolSourcesArgs {
        kind: kind.to_owned(),
        src_spec,
        flags: 0,
    };
    let got = s
        .call(&call)
        .or_fail(|| format!("Failed to find any {kind} pool sources"))?;
    s.out.text(got.xml);
    Ok(())
}

fn find_sources(s: &mut Session, args: &Args) -> Outcome {
    let spec = args.text("srcSpec")?.map(domain::read_file).transpose()?;
    find(s, args.need("type")?, spec)
}

fn find_sources_as(s: &mut Session, args: &Args) -> Outcome {
    use crate::storage::escape;
    args.requires("port", "host")?;
    let mut spec = String::new();
    if let Some(host) = args.text("host")? {
        let port = args.text("port")?;
        let port = port.map(|port| format!(" port='{}'", escape(port)));
        let port = port.unwrap_or_default();
        spec.push_str(&format!("  <host name='{}'{port}/>\n", escape(host)));
    }
    if let Some(iqn) = args.text("initiator")? {
        let iqn = escape(iqn);
        spec.push_str(&format!(
            "  <initiator>\n    <iqn name='{iqn}'/>\n  </initiator>\n"
        ));
    }
    let spec = (!spec.is_empty()).then(|| format!("<source>\n{spec}</source>\n"));
    find(s, args.need("type")?, spec)
}

const STATES: [&str; 5] = [
    "inactive",
    "building",
    "running",
    "degraded",
    "inaccessible",
];

fn state(number: u8) -> &'static str {
    STATES.get(usize::from(number)).unwrap_or(&"unknown")
}

fn yes_no(value: Result<i32, client::Error>) -> &'static str {
    match value {
        Ok(0) => "no",
        Ok(_) => "yes",
        Err(_) => "no autostart",
    }
}

fn autostart_of(s: &mut Session, pool: &RemoteStoragePool) -> Result<i32, client::Error> {
    let call = remote::StoragePoolGetAutostartArgs { pool: pool.clone() };
    s.call(&call).map(|got| got.autostart)
}

fn persistent_of(s: &mut Session, pool: &RemoteStoragePool) -> Result<i32, client::Error> {
    let call = remote::StoragePoolIsPersistentArgs { pool: pool.clone() };
    s.call(&call).map(|got| got.persistent)
}

fn info_of(
    s: &mut Session,
    pool: &RemoteStoragePool,
) -> Result<StoragePoolGetInfoRet, client::Error> {
    s.call(&remote::StoragePoolGetInfoArgs { pool: pool.clone() })
}

fn info(s: &mut Session, args: &Args) -> Outcome {
    let target = pool(s, args)?;
    let got = info_of(s, &target.pool)?;
    let persistent = persistent_of(s, &target.pool);
    let autostart = autostart_of(s, &target.pool);
    let size = |bytes: u64| match args.has("bytes") {
        true => bytes.to_string(),
        false => pretty_size(bytes),
    };
    let mut pairs = vec![
        ("Name:", target.pool.name.clone()),
        ("UUID:", show_uuid(&target.pool.uuid)),
        ("State:", state(got.state).to_owned()),
        ("Persistent:", yes_no(persistent).to_owned()),
        ("Autostart:", yes_no(autostart).to_owned()),
    ];
    if got.state != 0 {
        pairs.extend([
            ("Capacity:", size(got.capacity)),
            ("Allocation:", size(got.allocation)),
            ("Available:", size(got.available)),
        ]);
    }
    s.out.pairs(15, &pairs);
    Ok(())
}

/// `VIR_CONNECT_LIST_STORAGE_POOLS_*` of the kinds, by their names.
const KIND_FLAGS: [(&str, u32); 14] = [
    ("dir", 1 << 6),
    ("fs", 1 << 7),
    ("netfs", 1 << 8),
    ("logical", 1 << 9),
    ("disk", 1 << 10),
    ("iscsi", 1 << 11),
    ("scsi", 1 << 12),
    ("mpath", 1 << 13),
    ("rbd", 1 << 14),
    ("sheepdog", 1 << 15),
    ("gluster", 1 << 16),
    ("zfs", 1 << 17),
    ("vstorage", 1 << 18),
    ("iscsi-direct", 1 << 19),
];

fn list_flags(args: &Args) -> Result<u32, Failure> {
    const INACTIVE: u32 = 1;
    const ACTIVE: u32 = 2;
    let mut wanted = match (args.has("all"), args.has("inactive")) {
        (true, _) => INACTIVE | ACTIVE,
        (_, true) => INACTIVE,
        _ => ACTIVE,
    };
    wanted |= flags(
        args,
        &[
            ("persistent", 4),
            ("transient", 8),
            ("autostart", 16),
            ("no-autostart", 32),
        ],
    );
    for kind in args.text("type")?.unwrap_or_default().split(',') {
        if kind.is_empty() {
            continue;
        }
        let known = KIND_FLAGS.iter().find(|(name, _)| *name == kind);
        let known = known.ok_or_else(|| Failure::said(format!("Invalid pool type '{kind}'")))?;
        wanted |= known.1;
    }
    Ok(wanted)
}

fn list(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("details", "uuid")?;
    args.exclusive("details", "name")?;
    let call = remote::ConnectListAllStoragePoolsArgs {
        need_results: 1,
        flags: list_flags(args)?,
    };
    let mut pools = s
        .call(&call)
        .or_fail(|| "Failed to list pools".into())?
        .pools;
    pools.sort_by_key(|pool| pool.name.to_lowercase());
    if args.has("uuid") || args.has("name") {
        s.out.many_records();
        for pool in &pools {
            let uuid = args.has("uuid").then(|| show_uuid(&pool.uuid));
            let name = args.has("name").then(|| pool.name.clone());
            s.out.next_record();
            match (&uuid, &name) {
                (Some(uuid), Some(name)) => {
                    told!(s, "uuid", uuid.as_str(), "{uuid} ");
                    fact!(s, "name", name.as_str(), "{name}");
                }
                (Some(uuid), None) => fact!(s, "uuid", uuid.as_str(), "{uuid}"),
                (None, name) => {
                    let name = name.as_deref().unwrap_or_default();
                    fact!(s, "name", name, "{name}");
                }
            }
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    for pool in &pools {
        let row = match args.has("details") {
            true => details_row(s, pool)?,
            false => plain_row(s, pool)?,
        };
        rows.push(row);
    }
    match args.has("details") {
        true => s.out.table(
            &[
                "Name",
                "State",
                "Autostart",
                "Persistent",
                "Capacity",
                "Allocation",
                "Available",
            ],
            &rows,
        ),
        false => s.out.table(&["Name", "State", "Autostart"], &rows),
    }
    Ok(())
}

fn plain_row(s: &mut Session, pool: &RemoteStoragePool) -> Result<Vec<String>, Failure> {
    let call = remote::StoragePoolIsActiveArgs { pool: pool.clone() };
    let active = s.call(&call)?.active != 0;
    let autostart = autostart_of(s, pool);
    let state = if active { "active" } else { "inactive" };
    Ok([&pool.name, state, yes_no(autostart)]
        .map(str::to_owned)
        .to_vec())
}

fn details_row(s: &mut Session, pool: &RemoteStoragePool) -> Result<Vec<String>, Failure> {
    let got = info_of(s, pool).or_fail(|| "Could not retrieve pool information".into())?;
    let autostart = yes_no(autostart_of(s, pool));
    let persistent = yes_no(persistent_of(s, pool));
    let sizes = [got.capacity, got.allocation, got.available];
    let mut row = [&pool.name, state(got.state), autostart, persistent]
        .map(str::to_owned)
        .to_vec();
    row.extend(sizes.map(|bytes| match got.state {
        0 => "-".to_owned(),
        _ => pretty_size(bytes),
    }));
    Ok(row)
}
