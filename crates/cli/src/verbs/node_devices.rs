//! The host's devices: listed, described, handed over and back.

use client::wire::remote::{self, RemoteNodeDevice};

use crate::args::Args;
use crate::domain::{flags, read_file};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::extra;
use crate::session::Session;
use crate::table::{Opt, Verb, WRAP, XPATH, arg, file, flag, text};
use crate::verbs::define::print_xml;
use crate::verbs::snapshot_list::show_tree;

const DEVICE: Opt = arg("device", "the device, by its name or as 'wwnn,wwpn'")
    .of_things(crate::table::Thing::NodeDevice);

const FILE: Opt = file("a file with a description of it");
const VALIDATE: Opt = flag("validate", "check the XML against the schema");

/// `VIR_CONNECT_LIST_NODE_DEVICES_*`.
mod list {
    pub(super) const PERSISTENT: u32 = 1 << 28;
    pub(super) const TRANSIENT: u32 = 1 << 29;
    pub(super) const INACTIVE: u32 = 1 << 30;
    pub(super) const ACTIVE: u32 = 1 << 31;

    /// The kinds of devices, by their bits.
    pub(super) const KINDS: [&str; 23] = [
        "system",
        "pci",
        "usb_device",
        "usb",
        "net",
        "scsi_host",
        "scsi_target",
        "scsi",
        "storage",
        "fc_host",
        "vports",
        "scsi_generic",
        "drm",
        "mdev_types",
        "mdev",
        "ccw",
        "css",
        "vdpa",
        "ap_card",
        "ap_queue",
        "ap_matrix",
        "vpd",
        "ccwgroup",
    ];
}

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "nodedev-autostart",
        "have a kept device made with the host's start",
        autostart,
    )
    .options(&[DEVICE, flag("disable", "not any more")]),
    Verb::new("nodedev-create", "make a device of a description", create)
        .options(&[FILE, VALIDATE]),
    Verb::new("nodedev-define", "keep the description of a device", define)
        .options(&[FILE, VALIDATE]),
    Verb::new("nodedev-destroy", "end a device that was made", destroy).options(&[DEVICE]),
    Verb::new("nodedev-detach", "take a device from its driver", detach)
        .about("Takes a PCI device from the host's driver, so that it can be handed to a machine.")
        .options(&[
            DEVICE,
            text("driver", "the driver that hands it over: vfio").bare(),
        ]),
    Verb::new("nodedev-dumpxml", "describe a device as XML", dumpxml).options(&[
        DEVICE,
        flag("inactive", "the description that is kept"),
        XPATH,
        WRAP,
    ]),
    Verb::new("nodedev-info", "a device in short", info)
        .options(&[DEVICE])
        .tabular(),
    Verb::new("nodedev-list", "list the host's devices", list_devices)
        .options(&[
            flag("tree", "as a tree"),
            text("cap", "only of these kinds, with commas between")
                .bare()
                .words(&list::KINDS),
            flag("inactive", "those that are not there"),
            flag("all", "those that are there and those that are not"),
            flag("persistent", "those that are kept"),
            flag("transient", "those that are not kept"),
        ])
        .tabular(),
    Verb::new(
        "nodedev-reattach",
        "give a device back to its driver",
        reattach,
    )
    .options(&[DEVICE]),
    Verb::new("nodedev-reset", "reset a device", reset).options(&[DEVICE]),
    Verb::new("nodedev-start", "make a kept device", start).options(&[DEVICE]),
    Verb::new("nodedev-undefine", "forget a kept device", undefine).options(&[DEVICE]),
    Verb::new("nodedev-update", "change a device that was made", update).options(&[
        DEVICE,
        FILE,
        flag("config", "change what is kept"),
        flag("live", "change what is there"),
        flag("current", "change what is there, or what is kept"),
    ]),
];

fn device(s: &mut Session, args: &Args) -> Result<RemoteNodeDevice, Failure> {
    lookup_device(s, args.need("device")?)
}

/// The device with this name, or with these names of a fibre channel host.
///
/// # Errors
/// If there is none.
pub(super) fn lookup_device(s: &mut Session, name: &str) -> Result<RemoteNodeDevice, Failure> {
    let found = match name.split_once(',') {
        Some((wwnn, wwpn)) => s
            .call(&remote::NodeDeviceLookupScsiHostByWwnArgs {
                wwnn: wwnn.to_owned(),
                wwpn: wwpn.to_owned(),
                flags: 0,
            })
            .map(|got| got.dev),
        None => s
            .call(&remote::NodeDeviceLookupByNameArgs {
                name: name.to_owned(),
            })
            .map(|got| got.dev),
    };
    found.or_fail(|| format!("Could not find matching device '{name}'"))
}

fn create(s: &mut Session, args: &Args) -> Outcome {
    let file = args.need("file")?.to_owned();
    let call = remote::NodeDeviceCreateXmlArgs {
        xml_desc: read_file(&file)?,
        flags: u32::from(args.has("validate")),
    };
    let got = s.call(&call);
    let got = got.or_fail(|| format!("Failed to create node device from {file}"))?;
    extra!(s, "Node device {} created from {file}\n", got.dev.name);
    Ok(())
}

fn define(s: &mut Session, args: &Args) -> Outcome {
    let file = args.need("file")?.to_owned();
    let call = remote::NodeDeviceDefineXmlArgs {
        xml_desc: read_file(&file)?,
        flags: u32::from(args.has("validate")),
    };
    let got = s.call(&call);
    let got = got.or_fail(|| format!("Failed to define node device from '{file}'"))?;
    let name = got.dev.name;
    extra!(s, "Node device '{name}' defined from '{file}'\n");
    Ok(())
}

fn destroy(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    s.call(&remote::NodeDeviceDestroyArgs { name: name.clone() })
        .or_fail(|| format!("Failed to destroy node device '{name}'"))?;
    extra!(s, "Destroyed node device '{name}'\n");
    Ok(())
}

fn start(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    let call = remote::NodeDeviceCreateArgs {
        name: name.clone(),
        flags: 0,
    };
    let started = s.call(&call);
    started.or_fail(|| format!("Failed to start device {name}"))?;
    extra!(s, "Device {name} started\n");
    Ok(())
}

fn undefine(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    let call = remote::NodeDeviceUndefineArgs {
        name: name.clone(),
        flags: 0,
    };
    s.call(&call)
        .or_fail(|| format!("Failed to undefine node device '{name}'"))?;
    extra!(s, "Undefined node device '{name}'\n");
    Ok(())
}

fn autostart(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    let on = !args.has("disable");
    let call = remote::NodeDeviceSetAutostartArgs {
        name: name.clone(),
        autostart: i32::from(on),
    };
    let what = if on { "mark" } else { "unmark" };
    s.call(&call)
        .or_fail(|| format!("failed to {what} device {name} as autostarted"))?;
    extra!(s, "Device {name} {what}ed as autostarted\n");
    Ok(())
}

fn update(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    let call = remote::NodeDeviceUpdateArgs {
        name: name.clone(),
        xml_desc: read_file(args.need("file")?)?,
        flags: flags(args, &[("live", 1), ("config", 2)]),
    };
    let updated = s.call(&call);
    updated.or_fail(|| format!("Failed to update node device {name}"))?;
    extra!(s, "Updated node device {name}\n");
    Ok(())
}

fn detach(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    let failed = || format!("Failed to detach device {name}");
    match args.text("driver")? {
        Some(driver) => s
            .call(&remote::NodeDeviceDetachFlagsArgs {
                name: name.clone(),
                driver_name: Some(driver.to_owned()),
                flags: 0,
            })
            .or_fail(failed)?,
        None => s
            .call(&remote::NodeDeviceDettachArgs { name: name.clone() })
            .or_fail(failed)?,
    };
    extra!(s, "Device {name} detached\n");
    Ok(())
}

fn reattach(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    s.call(&remote::NodeDeviceReAttachArgs { name: name.clone() })
        .or_fail(|| format!("Failed to re-attach device {name}"))?;
    extra!(s, "Device {name} re-attached\n");
    Ok(())
}

fn reset(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    s.call(&remote::NodeDeviceResetArgs { name: name.clone() })
        .or_fail(|| format!("Failed to reset device {name}"))?;
    extra!(s, "Device {name} reset\n");
    Ok(())
}

fn dumpxml(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    let flags = u32::from(args.has("inactive"));
    let got = s.call(&remote::NodeDeviceGetXmlDescArgs { name, flags })?;
    print_xml(s, args, &got.xml)
}

fn info(s: &mut Session, args: &Args) -> Outcome {
    let name = device(s, args)?.name;
    let parent = s.call(&remote::NodeDeviceGetParentArgs { name: name.clone() })?;
    let active = s.call(&remote::NodeDeviceIsActiveArgs { name: name.clone() })?;
    let persistent = s.call(&remote::NodeDeviceIsPersistentArgs { name: name.clone() })?;
    let autostart = s.call(&remote::NodeDeviceGetAutostartArgs { name: name.clone() })?;
    let yes_no = |on: i32| if on == 0 { "no" } else { "yes" }.to_owned();
    let pairs = [
        ("Name:", name),
        ("Parent:", parent.parent_name.unwrap_or_default()),
        ("Active:", yes_no(active.active)),
        ("Persistent:", yes_no(persistent.persistent)),
        ("Autostart:", yes_no(autostart.autostart)),
    ];
    s.out.pairs(15, &pairs);
    Ok(())
}

fn list_devices(s: &mut Session, args: &Args) -> Outcome {
    let tree = args.has("tree");
    if tree && args.has("cap") {
        return Err(Failure::said("Options --tree and --cap are incompatible"));
    }
    let mut flags = match (args.has("inactive"), args.has("all")) {
        (true, _) => list::INACTIVE,
        (false, true) => list::INACTIVE | list::ACTIVE,
        (false, false) => list::ACTIVE,
    };
    for (option, flag) in [
        ("persistent", list::PERSISTENT),
        ("transient", list::TRANSIENT),
    ] {
        if args.has(option) {
            flags |= flag;
        }
    }
    for kind in args
        .text("cap")?
        .into_iter()
        .flat_map(|kinds| kinds.split(','))
    {
        let bit = list::KINDS.iter().position(|known| *known == kind);
        flags |= 1 << bit.ok_or_else(|| Failure::said("Invalid capability type"))?;
    }
    let call = remote::ConnectListAllNodeDevicesArgs {
        need_results: 1,
        flags,
    };
    let got = s
        .call(&call)
        .or_fail(|| "Failed to list node devices".into())?;
    let mut names: Vec<String> = got.devices.into_iter().map(|device| device.name).collect();
    names.sort();
    if !tree {
        s.out.names("name", names);
        return Ok(());
    }
    let mut items = Vec::with_capacity(names.len());
    for name in names {
        let parent = s.call(&remote::NodeDeviceGetParentArgs { name: name.clone() })?;
        items.push((name, parent.parent_name));
    }
    show_tree(s, &items);
    Ok(())
}
