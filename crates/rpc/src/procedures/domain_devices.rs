//! Devices that come and go.

use std::sync::Arc;

use engine::options::{Affect, DeviceChange};
use wire::consts::flags::*;
use wire::remote::*;

use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(|client, args: DomainAttachDeviceArgs| {
        change(
            client,
            DeviceChange::Attach,
            args.dom,
            args.xml,
            VIR_DOMAIN_AFFECT_LIVE,
        )
    });
    dispatch.task(|client, args: DomainDetachDeviceArgs| {
        change(
            client,
            DeviceChange::Detach,
            args.dom,
            args.xml,
            VIR_DOMAIN_AFFECT_LIVE,
        )
    });
    dispatch.task(|client, args: DomainAttachDeviceFlagsArgs| {
        change(client, DeviceChange::Attach, args.dom, args.xml, args.flags)
    });
    dispatch.task(|client, args: DomainDetachDeviceFlagsArgs| {
        change(client, DeviceChange::Detach, args.dom, args.xml, args.flags)
    });
    dispatch.task(|client, args: DomainUpdateDeviceFlagsArgs| {
        change(client, DeviceChange::Update, args.dom, args.xml, args.flags)
    });
}

async fn change(
    client: Arc<Client>,
    change: DeviceChange,
    dom: RemoteDomain,
    xml: String,
    flags: u32,
) -> Answer<()> {
    // `force` opens a tray the guest has locked; our eject always does.
    const FORCE: u32 = 1 << 2;
    const KNOWN: u32 = VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | FORCE;
    check_flags(flags, KNOWN, "qemuDomainChangeDevice")?;
    let affect = Affect {
        live: flags & VIR_DOMAIN_AFFECT_LIVE != 0,
        config: flags & VIR_DOMAIN_AFFECT_CONFIG != 0,
    };
    Ok(domain(&client, &dom)?
        .change_device(change, &xml, affect)
        .await?)
}
