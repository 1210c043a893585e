//! Disks and media from options instead of a file.

use client::wire::remote::{self, RemoteDomain};
use roxmltree::Node;

use crate::args::Args;
use crate::domain::{AFFECT_CONFIG, affect, target};
use crate::element::Element;
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, say};
use crate::query;
use crate::serialise::Changed;
use crate::session::Session;
use crate::table::{
    CONFIG, CURRENT, DOMAIN, LIVE, PERSISTENT, PRINT_XML, Verb, alias_value, arg, flag, maybe, text,
};
use crate::verbs::define::XML_INACTIVE;
use crate::verbs::devices::{MODIFY_FORCE, attach_xml, detach_xml, device_flags, with_running};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("attach-disk", "plug in a disk", attach_disk).options(&[
        DOMAIN,
        arg("source", "the disk's file or device").may_be_empty(),
        arg("target", "its name in the guest: vdb"),
        text("targetbus", "its bus: virtio, scsi, sata, ide, usb, fdc"),
        text("driver", "the driver: qemu"),
        text("subdriver", "the format: raw, qcow2"),
        text("iothread", "the IOThread that serves it"),
        text("cache", "the cache mode"),
        text("io", "the I/O mode"),
        text("type", "what it looks like: disk, cdrom, floppy, lun"),
        alias_value("shareable", "mode", "shareable"),
        text("mode", "readonly or shareable"),
        text("sourcetype", "what the source is: file, block or network"),
        text("serial", "its serial number"),
        text("wwn", "its world wide name"),
        text("alias", "an alias of your own, beginning with ua-"),
        flag("rawio", "let the guest send raw SCSI commands"),
        text("address", "its address: pci:0000.00.04.0, drive:0.0.0"),
        flag("multifunction", "more functions at the PCI address"),
        PRINT_XML,
        text("source-protocol", "the protocol of a network source"),
        text("source-host-name", "HOST:PORT of a network source"),
        text("source-host-transport", "the transport of a network source"),
        text("source-host-socket", "the socket of a network source"),
        text(
            "throttle-groups",
            "groups that limit its speed, separated by commas",
        ),
        PERSISTENT,
        CONFIG,
        LIVE,
        CURRENT,
    ]),
    Verb::new(
        "change-media",
        "insert, eject or change a medium",
        change_media,
    )
    .options(&[
        DOMAIN,
        arg("path", "the drive: its target or source").of_things(crate::table::Thing::Disk),
        maybe("source", "the medium's file or device"),
        flag("eject", "take the medium out"),
        flag("insert", "put a medium in"),
        flag("update", "change the medium"),
        CURRENT,
        LIVE,
        CONFIG,
        flag("force", "even if the guest has locked the tray"),
        PRINT_XML,
        flag("block", "the medium is a block device"),
    ]),
    Verb::new("detach-disk", "unplug a disk", detach_disk).options(&[
        DOMAIN,
        arg("target", "the disk: its target or source").of_things(crate::table::Thing::Disk),
        PERSISTENT,
        CONFIG,
        LIVE,
        CURRENT,
        PRINT_XML,
    ]),
];

const SOURCE_OPTIONS: [&str; 3] = [
    "source-host-name",
    "source-host-transport",
    "source-host-socket",
];

/// What the source is: as told, or by looking at it.
fn source_type(args: &Args, source: &str) -> Result<&'static str, Failure> {
    use std::os::unix::fs::FileTypeExt;
    let protocol = args.text("source-protocol")?;
    let kind = match args.text("sourcetype")? {
        Some("file") => "file",
        Some("block") => "block",
        Some("network") => "network",
        Some(other) => {
            return Err(Failure::said(format!("Unknown source type: '{other}'")));
        }
        None if protocol.is_some() => "network",
        None => {
            let is_block = std::fs::metadata(source).is_ok_and(|m| m.file_type().is_block_device());
            let wanted = !matches!(args.text("driver")?, Some("file" | "tap"));
            if is_block && wanted { "block" } else { "file" }
        }
    };
    if (kind == "network") != protocol.is_some() {
        let what = "--source-protocol option requires --sourcetype network";
        return Err(Failure::said(what));
    }
    Ok(kind)
}

fn disk_xml(args: &Args) -> Result<String, Failure> {
    for option in SOURCE_OPTIONS {
        args.requires(option, "source-protocol")?;
    }
    args.requires("source-host-socket", "source-host-transport")?;
    args.exclusive("source-host-name", "source-host-socket")?;
    let source = args.need("source")?;
    let target = args.need("target")?;
    let kind = source_type(args, source)?;
    let mode = args.text("mode")?;
    if let Some(other) = mode.filter(|m| !matches!(*m, "readonly" | "shareable")) {
        let what = format!("No support for {other} in command 'attach-disk'");
        return Err(Failure::said(what));
    }
    let given = Some(source);
    let source = match kind {
        "network" => network_source(args, given)?,
        "block" => Element::new("source").attr("dev", given),
        _ => Element::new("source").attr("file", given),
    };
    let driver = Element::new("driver")
        .attr("name", args.text("driver")?)
        .attr("type", args.text("subdriver")?)
        .attr("iothread", args.text("iothread")?)
        .attr("cache", args.text("cache")?)
        .attr("io", args.text("io")?);
    let mut disk = Element::new("disk")
        .attr("type", Some(kind))
        .attr("device", args.text("type")?)
        .attr("rawio", args.has("rawio").then_some("yes"))
        .child_if_any(driver)
        .child_if_any(source)
        .child(
            Element::new("target")
                .attr("dev", Some(target))
                .attr("bus", args.text("targetbus")?),
        );
    if let Some(groups) = args.text("throttle-groups")? {
        let filter = |group| Element::new("throttlefilter").attr("group", Some(group));
        let filters = Element::new("throttlefilters");
        disk = disk.child(
            groups
                .split(',')
                .fold(filters, |all, g| all.child(filter(g))),
        );
    }
    disk = match mode {
        Some("readonly") => disk.child(Element::new("readonly")),
        Some(_) => disk.child(Element::new("shareable")),
        None => disk,
    };
    for (option, name) in [("serial", "serial"), ("wwn", "wwn")] {
        if name == "wwn"
            && let Some(alias) = args.text("alias")?
        {
            disk = disk.child(Element::new("alias").attr("name", Some(alias)));
        }
        if let Some(value) = args.text(option)? {
            disk = disk.child(Element::new(name).text(value));
        }
    }
    if let Some(address) = args.text("address")? {
        disk = disk.child(address_element(address, args.has("multifunction"))?);
    }
    Ok(disk.show())
}

fn network_source(args: &Args, name: Option<&str>) -> Result<Element, Failure> {
    let host = args.text("source-host-name")?;
    let (host_name, port) = match host.and_then(|h| h.split_once(':')) {
        Some((name, port)) => (Some(name), Some(port)),
        None => (host, None),
    };
    let host = Element::new("host")
        .attr("transport", args.text("source-host-transport")?)
        .attr("socket", args.text("source-host-socket")?)
        .attr("name", host_name)
        .attr("port", port);
    Ok(Element::new("source")
        .attr("protocol", args.text("source-protocol")?)
        .attr("name", name)
        .child_if_any(host))
}

/// `pci:0000.00.04.0`, `drive:0.0.0` and the like as an address element.
fn address_element(text: &str, multifunction: bool) -> Result<Element, Failure> {
    let invalid = || Failure::said("Invalid address.");
    let (kind, rest) = text.split_once(':').ok_or_else(invalid)?;
    let parts: Vec<&str> = rest.split('.').collect();
    let hex = |text: &str, width: usize| {
        let number = u32::from_str_radix(text.trim_start_matches("0x"), 16);
        number
            .map(|n| format!("0x{n:0width$x}"))
            .map_err(|_| invalid())
    };
    let address = Element::new("address");
    match (kind, parts.as_slice()) {
        ("pci", [domain, bus, slot, function]) => Ok(address
            .attr("type", Some("pci"))
            .attr("domain", Some(hex(domain, 4)?))
            .attr("bus", Some(hex(bus, 2)?))
            .attr("slot", Some(hex(slot, 2)?))
            .attr("function", Some(hex(function, 1)?))
            .attr("multifunction", multifunction.then_some("on"))),
        ("scsi" | "ide" | "sata" | "drive", [controller, bus, unit]) => Ok(address
            .attr("type", Some("drive"))
            .attr("controller", Some(*controller))
            .attr("bus", Some(*bus))
            .attr("unit", Some(*unit))),
        ("usb", [bus, port]) => Ok(address
            .attr("type", Some("usb"))
            .attr("bus", Some(*bus))
            .attr("port", Some(*port))),
        _ => Err(invalid()),
    }
}

fn attach_disk(s: &mut Session, args: &Args) -> Outcome {
    let flags = device_flags(args)?;
    let xml = disk_xml(args)?;
    if args.has("print-xml") {
        say!(s, "{xml}");
        return Ok(());
    }
    let dom = target(s, args)?.dom;
    let flags = with_running(s, args, &dom, flags);
    attach_xml(s, args, dom, xml, flags).or_fail(|| "Failed to attach disk".into())?;
    extra!(s, "Disk attached successfully\n");
    Ok(())
}

/// The disk whose target or source is `path`.
fn find_disk<'a, 'i>(
    root: Node<'a, 'i>,
    path: &str,
    changeable: bool,
) -> Result<Node<'a, 'i>, Failure> {
    const PLACES: &[&str] = &[
        "target/@dev",
        "source/@file",
        "source/@dev",
        "source/@dir",
        "source/@name",
    ];
    let disks = query::all(root, "devices/disk");
    if disks.is_empty() {
        return Err(Failure::said("Failed to get disk information"));
    }
    let wanted = |disk: &Node<'a, 'i>| {
        let device = disk.attribute("device");
        let fits = !changeable || matches!(device, None | Some("cdrom" | "floppy"));
        fits && PLACES
            .iter()
            .any(|p| query::value(*disk, &[*p]).as_deref() == Some(path))
    };
    disks.into_iter().find(wanted).ok_or_else(|| {
        Failure::said(format!(
            "No disk found whose source path or target is {path}"
        ))
    })
}

/// The disk's own XML without its backing chain.
fn without_backing(disk: Node<'_, '_>) -> String {
    Changed {
        without: "backingStore",
        ..Changed::default()
    }
    .show(disk)
}

fn detach_disk(s: &mut Session, args: &Args) -> Outcome {
    let flags = device_flags(args)?;
    let dom = target(s, args)?.dom;
    let path = args.need("target")?.to_owned();
    let query_flags = if flags == AFFECT_CONFIG {
        XML_INACTIVE
    } else {
        0
    };
    let definition = s.domain_xml(&dom, query_flags)?;
    let flags = with_running(s, args, &dom, flags);
    let document = query::parse(&definition)?;
    let disk = find_disk(document.root_element(), &path, false)?;
    let xml = without_backing(disk);
    if args.has("print-xml") {
        say!(s, "{xml}");
        return Ok(());
    }
    detach_xml(s, args, dom, xml, flags).or_fail(|| "Failed to detach disk".into())?;
    extra!(s, "Disk detached successfully\n");
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Eject,
    Insert,
    Update,
}

fn change_media(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("eject", "insert")?;
    args.exclusive("eject", "update")?;
    args.exclusive("insert", "update")?;
    args.exclusive("eject", "block")?;
    let source = args.text("source")?.map(str::to_owned);
    let change = if args.has("eject") || (args.has("update") && source.is_none()) {
        Change::Eject
    } else if args.has("insert") {
        Change::Insert
    } else {
        Change::Update
    };
    let mut flags = affect(args)?;
    flags |= if args.has("force") { MODIFY_FORCE } else { 0 };
    let dom = target(s, args)?.dom;
    let path = args.need("path")?.to_owned();
    let query_flags = if flags & AFFECT_CONFIG != 0 {
        XML_INACTIVE
    } else {
        0
    };
    let definition = s.domain_xml(&dom, query_flags)?;
    let document = query::parse(&definition)?;
    let disk = find_disk(document.root_element(), &path, true)?;
    let xml = with_medium(disk, source.as_deref(), args.has("block"), &path, change)?;
    if args.has("print-xml") {
        say!(s, "{xml}");
        return Ok(());
    }
    store_medium(s, dom, xml, flags, change)
}

fn store_medium(
    s: &mut Session,
    dom: RemoteDomain,
    xml: String,
    flags: u32,
    change: Change,
) -> Outcome {
    let (action, done) = match change {
        Change::Eject => ("eject", "ejected"),
        Change::Insert => ("insert", "inserted"),
        Change::Update => ("update", "updated"),
    };
    s.call(&remote::DomainUpdateDeviceFlagsArgs { dom, xml, flags })
        .or_fail(|| format!("Failed to complete action {action} on media"))?;
    say!(s, "Successfully {done} media.");
    Ok(())
}

/// The drive's XML with another medium in it, or none.
fn with_medium(
    disk: Node<'_, '_>,
    new: Option<&str>,
    block: bool,
    path: &str,
    change: Change,
) -> Result<String, Failure> {
    if !matches!(disk.attribute("device"), Some("cdrom" | "floppy")) {
        return Err(Failure::said(format!(
            "The disk device '{path}' is not removable"
        )));
    }
    let old = query::children(disk, "source").next();
    let new = match change {
        Change::Eject if old.is_none() => {
            return Err(Failure::said(format!(
                "The disk device '{path}' doesn't have media"
            )));
        }
        Change::Eject => None,
        _ if new.is_none() => {
            return Err(Failure::said("New disk media source was not specified"));
        }
        _ => new,
    };
    let has_medium = old.is_some_and(|o| {
        ["file", "dev", "dir", "pool", "name"]
            .iter()
            .any(|a| o.has_attribute(*a))
    });
    if has_medium && change == Change::Insert {
        return Err(Failure::said(format!(
            "The disk device '{path}' already has media"
        )));
    }
    let block = block && new.is_some();
    let source = new.map(|new| {
        let place = if block { "dev" } else { "file" };
        let policy = old.and_then(|o| o.attribute("startupPolicy"));
        let element = Element::new("source").attr(place, Some(new));
        element
            .attr("startupPolicy", policy)
            .show()
            .trim_end()
            .replace('\'', "\"")
    });
    let kind = if block { "block" } else { "file" };
    let child = source.as_deref();
    Ok(Changed {
        without: "source",
        kind: Some(kind),
        child,
        in_place: false,
    }
    .show(disk))
}
