//! Tap devices of machines on a bridge. A tap goes with its last descriptor,
//! so one whose QEMU has ended needs no removal.

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::network::{Attachment, attachment};
use model::domain::Domain;
use model::domain::interface::{Interface, InterfaceTarget};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use sys::tap::TapPlan;

/// The queues of a run's taps, by the interface's alias and the queue's number.
pub(crate) type Queues = BTreeMap<(String, u32), OwnedFd>;

/// Makes the taps of every interface that is on a bridge, puts them there and
/// writes their names into the running definition.
pub(crate) fn make(engine: &Engine, domain: &mut Domain) -> Result<Queues> {
    make_for(engine, domain, |_| true)
}

/// The same for the interfaces whose aliases are wanted.
pub(crate) fn make_for(
    engine: &Engine,
    domain: &mut Domain,
    wanted: impl Fn(&str) -> bool,
) -> Result<Queues> {
    let mut queues = Queues::new();
    let interfaces = domain.devices.interfaces.iter_mut();
    let alias = |i: &Interface| i.info.alias.clone().unwrap_or_default();
    for interface in interfaces.filter(|i| wanted(&alias(i))) {
        let Some(attached) = attachment(engine, interface)? else {
            continue;
        };
        let Attachment::Bridge { name, isolated } = attached;
        let alias = interface.info.alias.clone().unwrap_or_default();
        let count = interface
            .driver
            .as_ref()
            .and_then(|driver| driver.queues)
            .unwrap_or(1);
        let plan = TapPlan {
            name: name_of(interface).unwrap_or_else(|| "vnet%d".to_owned()),
            queues: count,
            vnet_header: true,
            guest_mac: interface.mac.as_ref().map(|mac| mac.address.0),
            mtu: interface.mtu.as_ref().map(|mtu| mtu.size),
            bridge: Some(name),
            up: true,
        };
        let tap = sys::tap::create(&plan)
            .map_err(|e| EngineError::system("cannot connect the machine to its bridge", e))?;
        if isolated {
            sys::link::set_isolated(&tap.name, true)
                .map_err(|e| EngineError::system("cannot isolate the machine on its bridge", e))?;
        }
        for (number, queue) in (0..).zip(tap.queues) {
            queues.insert((alias.clone(), number), queue);
        }
        let target = interface
            .target
            .get_or_insert_with(InterfaceTarget::default);
        target.dev = Some(tap.name);
    }
    Ok(queues)
}

fn name_of(interface: &Interface) -> Option<String> {
    interface
        .target
        .as_ref()
        .and_then(|target| target.dev.clone())
}
