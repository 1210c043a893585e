//! The host's devices.

use engine::nodedev::{self, CapabilityKind, Making, NodeDevice};
use model::schema::Schema;
use wire::remote::*;

use super::{check_flags, not_negative, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_CONNECT_LIST_NODE_DEVICES_*`: a bit for each kind of capability, and what a device is like.
mod list {
    use engine::nodedev::CapabilityKind as Kind;

    pub(super) const INACTIVE: u32 = 1 << 30;
    pub(super) const ACTIVE: u32 = 1 << 31;
    pub(super) const PERSISTENT: u32 = 1 << 28;
    pub(super) const TRANSIENT: u32 = 1 << 29;

    /// Kinds by their bits, the lowest first.
    pub(super) const KINDS: [Kind; 22] = [
        Kind::System,
        Kind::Pci,
        Kind::UsbDevice,
        Kind::Usb,
        Kind::Net,
        Kind::ScsiHost,
        Kind::ScsiTarget,
        Kind::Scsi,
        Kind::Storage,
        Kind::FcHost,
        Kind::Vports,
        Kind::ScsiGeneric,
        Kind::Drm,
        Kind::MdevTypes,
        Kind::Mdev,
        Kind::Ccw,
        Kind::Css,
        Kind::Vdpa,
        Kind::ApCard,
        Kind::ApQueue,
        Kind::ApMatrix,
        Kind::Vpd,
    ];
    pub(super) const ALL_KINDS: u32 = (1 << KINDS.len()) - 1;
}

/// `VIR_NODE_DEVICE_CREATE_XML_VALIDATE` and its like.
const VALIDATE_XML: u32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(list_all);
    dispatch.inline(num_of_devices);
    dispatch.inline(list_devices);
    dispatch.inline(lookup_by_name);
    dispatch.inline(lookup_scsi_host);
    dispatch.inline(get_xml_desc);
    dispatch.inline(get_parent);
    dispatch.inline(num_of_caps);
    dispatch.inline(list_caps);
    dispatch.inline(|_, args: NodeDeviceIsActiveArgs| {
        // What is shown is what the kernel has.
        let _ = nodedev::by_name(&args.name)?;
        Ok(NodeDeviceIsActiveRet { active: 1 })
    });
    dispatch.inline(|_, args: NodeDeviceIsPersistentArgs| {
        let _ = nodedev::by_name(&args.name)?;
        Ok(NodeDeviceIsPersistentRet { persistent: 0 })
    });
    dispatch.inline(|_, args: NodeDeviceGetAutostartArgs| {
        let _ = nodedev::by_name(&args.name)?;
        Ok(NodeDeviceGetAutostartRet { autostart: 0 })
    });
    dispatch.task(|_, args: NodeDeviceCreateXmlArgs| async move {
        check_flags(args.flags, VALIDATE_XML, "nodeDeviceCreateXML")?;
        validate(args.flags, VALIDATE_XML, Schema::NodeDevice, &args.xml_desc)?;
        let dev = remote(&nodedev::make(&args.xml_desc, Making::Create)?);
        Ok(NodeDeviceCreateXmlRet { dev })
    });
    dispatch.task(|_, args: NodeDeviceDefineXmlArgs| async move {
        check_flags(args.flags, VALIDATE_XML, "nodeDeviceDefineXML")?;
        validate(args.flags, VALIDATE_XML, Schema::NodeDevice, &args.xml_desc)?;
        let dev = remote(&nodedev::make(&args.xml_desc, Making::Define)?);
        Ok(NodeDeviceDefineXmlRet { dev })
    });
    dispatch.task(|_, args: NodeDeviceDestroyArgs| async move { Ok(nodedev::unmake(&args.name)?) });
    dispatch.task(|_, args: NodeDeviceUndefineArgs| async move {
        check_flags(args.flags, 0, "nodeDeviceUndefine")?;
        Ok(nodedev::unmake(&args.name)?)
    });
    dispatch.task(|_, args: NodeDeviceCreateArgs| async move {
        check_flags(args.flags, 0, "nodeDeviceCreate")?;
        Ok(nodedev::start(&args.name)?)
    });
    dispatch.task(|_, args: NodeDeviceSetAutostartArgs| async move {
        Ok(nodedev::set_autostart(&args.name)?)
    });
    dispatch.task(|_, args: NodeDeviceUpdateArgs| async move { Ok(nodedev::unmake(&args.name)?) });
    dispatch.task(|_, args: NodeDeviceDettachArgs| async move {
        blocking(move || nodedev::detach(&args.name, None)).await
    });
    dispatch.task(|_, args: NodeDeviceDetachFlagsArgs| async move {
        check_flags(args.flags, 0, "nodeDeviceDetachFlags")?;
        blocking(move || nodedev::detach(&args.name, args.driver_name.as_deref())).await
    });
    dispatch.task(|_, args: NodeDeviceReAttachArgs| async move {
        blocking(move || nodedev::reattach(&args.name)).await
    });
    dispatch.task(|_, args: NodeDeviceResetArgs| async move {
        blocking(move || nodedev::reset(&args.name)).await
    });
}

/// A driver may take its time to let go of a device.
async fn blocking(change: impl FnOnce() -> engine::Result<()> + Send + 'static) -> Answer<()> {
    match tokio::task::spawn_blocking(change).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Failure::new(
            wire::errors::ErrorCode::InternalError,
            "the change of the driver broke off",
        )),
    }
}

fn remote(device: &NodeDevice) -> RemoteNodeDevice {
    RemoteNodeDevice {
        name: device.name.clone(),
    }
}

fn is_wanted(device: &NodeDevice, flags: u32) -> bool {
    let kinds = device.capability.kinds();
    let bits = list::KINDS.iter().enumerate();
    let mine = bits
        .filter(|(_, kind)| kinds.contains(kind) || is_also(&kinds, **kind))
        .fold(0, |mine, (bit, _)| mine | 1 << bit);
    let wanted = flags & list::ALL_KINDS;
    let active = flags & (list::ACTIVE | list::INACTIVE);
    let kept = flags & (list::PERSISTENT | list::TRANSIENT);
    (wanted == 0 || wanted & mine != 0)
        && (active == 0 || active & list::ACTIVE != 0)
        && (kept == 0 || kept & list::TRANSIENT != 0)
}

/// A host that can have virtual ports is one of those with ports.
fn is_also(kinds: &[CapabilityKind], wanted: CapabilityKind) -> bool {
    wanted == CapabilityKind::Vports && kinds.contains(&CapabilityKind::VportOps)
}

fn list_all(
    _: &Client,
    args: ConnectListAllNodeDevicesArgs,
) -> Answer<ConnectListAllNodeDevicesRet> {
    const KNOWN: u32 =
        list::ALL_KINDS | list::ACTIVE | list::INACTIVE | list::PERSISTENT | list::TRANSIENT;
    check_flags(args.flags, KNOWN, "nodeConnectListAllNodeDevices")?;
    let all = nodedev::all();
    let found: Vec<_> = all
        .iter()
        .filter(|device| is_wanted(device, args.flags))
        .map(remote)
        .collect();
    Ok(ConnectListAllNodeDevicesRet {
        ret: found.len() as u32,
        devices: if args.need_results == 0 {
            Vec::new()
        } else {
            found
        },
    })
}

/// The names of the devices that have a capability, or of all.
fn names(capability: Option<&str>) -> Vec<String> {
    let all = nodedev::all().into_iter();
    let wanted = all.filter(|device| {
        let kinds = device.capability.kinds();
        capability.is_none_or(|wanted| kinds.iter().any(|kind| kind.as_str() == wanted))
    });
    wanted.map(|device| device.name).collect()
}

fn num_of_devices(_: &Client, args: NodeNumOfDevicesArgs) -> Answer<NodeNumOfDevicesRet> {
    check_flags(args.flags, 0, "nodeNumOfDevices")?;
    Ok(NodeNumOfDevicesRet {
        num: count(names(args.cap.as_deref()).len()),
    })
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn list_devices(_: &Client, args: NodeListDevicesArgs) -> Answer<NodeListDevicesRet> {
    check_flags(args.flags, 0, "nodeListDevices")?;
    let most = not_negative(args.maxnames, "maxnames", "virNodeListDevices")?;
    let mut names = names(args.cap.as_deref());
    names.truncate(most);
    Ok(NodeListDevicesRet { names })
}

fn lookup_by_name(
    _: &Client,
    args: NodeDeviceLookupByNameArgs,
) -> Answer<NodeDeviceLookupByNameRet> {
    Ok(NodeDeviceLookupByNameRet {
        dev: remote(&nodedev::by_name(&args.name)?),
    })
}

fn lookup_scsi_host(
    _: &Client,
    args: NodeDeviceLookupScsiHostByWwnArgs,
) -> Answer<NodeDeviceLookupScsiHostByWwnRet> {
    check_flags(args.flags, 0, "nodeDeviceLookupSCSIHostByWWN")?;
    for wwn in [&args.wwnn, &args.wwpn] {
        if wwn.len() != 16 || !wwn.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure::invalid_arg(format!(
                "malformed wwn: {wwn}: sixteen hexadecimal digits are wanted"
            )));
        }
    }
    Ok(NodeDeviceLookupScsiHostByWwnRet {
        dev: remote(&nodedev::scsi_host(&args.wwnn, &args.wwpn)?),
    })
}

fn get_xml_desc(_: &Client, args: NodeDeviceGetXmlDescArgs) -> Answer<NodeDeviceGetXmlDescRet> {
    // VIR_NODE_DEVICE_XML_INACTIVE: of devices that are kept, of which there are none.
    const INACTIVE: u32 = 1;
    check_flags(args.flags, INACTIVE, "nodeDeviceGetXMLDesc")?;
    let device = nodedev::by_name(&args.name)?;
    if args.flags & INACTIVE != 0 {
        return Err(Failure::new(
            wire::errors::ErrorCode::OperationInvalid,
            format!("node device '{}' is not persistent", args.name),
        ));
    }
    Ok(NodeDeviceGetXmlDescRet {
        xml: device.to_xml(),
    })
}

fn get_parent(_: &Client, args: NodeDeviceGetParentArgs) -> Answer<NodeDeviceGetParentRet> {
    Ok(NodeDeviceGetParentRet {
        parent_name: nodedev::by_name(&args.name)?.parent,
    })
}

fn num_of_caps(_: &Client, args: NodeDeviceNumOfCapsArgs) -> Answer<NodeDeviceNumOfCapsRet> {
    let device = nodedev::by_name(&args.name)?;
    Ok(NodeDeviceNumOfCapsRet {
        num: count(device.capability_names().len()),
    })
}

fn list_caps(_: &Client, args: NodeDeviceListCapsArgs) -> Answer<NodeDeviceListCapsRet> {
    let most = not_negative(args.maxnames, "maxnames", "virNodeDeviceListCaps")?;
    let device = nodedev::by_name(&args.name)?;
    let names = device.capability_names().into_iter().take(most);
    Ok(NodeDeviceListCapsRet {
        names: names.map(str::to_owned).collect(),
    })
}
