//! What happens to the host's devices. They are looked at again when the kernel says that some
//! came or went, and only while somebody listens.

use super::all;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::limits::{EVENT_BACKLOG_MAX, NODE_DEVICES_SETTLE_MS};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use sys::uevent;
use tokio::sync::broadcast;

/// Something that happened to a device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDeviceEvent {
    /// The device's name.
    pub name: String,
    /// What happened.
    pub what: NodeDeviceHappening,
}

/// What can happen to a device of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeDeviceHappening {
    /// It came.
    Created,
    /// It went.
    Deleted,
    /// It is not as it was.
    Changed,
}

/// Names by path in sysfs.
type Known = BTreeMap<String, String>;

/// The engine's side of all subscriptions.
#[derive(Debug)]
pub(crate) struct NodeDeviceHub {
    sender: broadcast::Sender<Arc<NodeDeviceEvent>>,
    /// What was there when it was looked last; nothing before the first subscription.
    known: Mutex<Option<Known>>,
}

impl NodeDeviceHub {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(EVENT_BACKLOG_MAX),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, changed: &[String]) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        let now = names();
        let before = self.known().replace(now.clone()).unwrap_or_default();
        for event in events(&before, &now, changed) {
            // Nobody listening is no error.
            let _ = self.sender.send(Arc::new(event));
        }
    }
}

fn names() -> Known {
    let devices = all().into_iter();
    let named = devices.filter_map(|device| Some((device.path?, device.name)));
    named.collect()
}

fn events(before: &Known, now: &Known, changed: &[String]) -> Vec<NodeDeviceEvent> {
    let event = |what, name: &String| NodeDeviceEvent {
        name: name.clone(),
        what,
    };
    let same = |one: &Known, path: &String, name: &String| one.get(path) == Some(name);
    let gone = before.iter().filter(|(path, name)| !same(now, path, name));
    let came = now.iter().filter(|(path, name)| !same(before, path, name));
    let other = changed.iter().filter_map(|path| {
        let path = format!("/sys{path}");
        let name = now.get(&path)?;
        same(before, &path, name).then_some(name)
    });
    gone.map(|(_, name)| event(NodeDeviceHappening::Deleted, name))
        .chain(came.map(|(_, name)| event(NodeDeviceHappening::Created, name)))
        .chain(other.map(|name| event(NodeDeviceHappening::Changed, name)))
        .collect()
}

impl Engine {
    /// What happens to the host's devices from now on.
    pub fn node_device_events(&self) -> Result<broadcast::Receiver<Arc<NodeDeviceEvent>>> {
        let hub = self.node_devices_hub();
        let receiver = hub.sender.subscribe();
        let mut known = hub.known();
        let first = known.is_none();
        // Those of before listened to what happened since; after a while without listeners nobody
        // has.
        if first || hub.sender.receiver_count() == 1 {
            *known = Some(names());
        }
        drop(known);
        if first {
            self.watch_devices()?;
        }
        Ok(receiver)
    }

    fn watch_devices(&self) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| EngineError::system("cannot follow devices", e);
        let socket = uevent::uevents().map_err(|e| failed(&e))?;
        let socket = crate::process::watched(socket).map_err(|e| failed(&e))?;
        let engine = self.clone();
        let mut stopping = self.stopping();
        tokio::spawn(async move {
            loop {
                // An engine that stops is let go of, so that another can take its place.
                let mut ready = tokio::select! {
                    Ok(ready) = socket.readable() => ready,
                    _ = stopping.wait_for(|stop| *stop) => return,
                };
                ready.clear_ready();
                // One device brings several messages.
                tokio::time::sleep(Duration::from_millis(NODE_DEVICES_SETTLE_MS)).await;
                let Ok(news) = uevent::read(socket.get_ref()) else {
                    return;
                };
                if news.appeared_or_gone || !news.changed.is_empty() {
                    let engine = engine.clone();
                    let look = move || engine.node_devices_hub().look(&news.changed);
                    let _ = tokio::task::spawn_blocking(look).await;
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_looks_tell_what_happened() {
        let known = |list: &[(&str, &str)]| -> Known {
            let pairs = list.iter();
            pairs
                .map(|(path, name)| ((*path).to_owned(), (*name).to_owned()))
                .collect()
        };
        let before = known(&[
            ("/sys/a", "net_a"),
            ("/sys/b", "net_b"),
            ("/sys/c", "block_c"),
        ]);
        let now = known(&[
            ("/sys/b", "net_b"),
            ("/sys/c", "block_c"),
            ("/sys/d", "net_d"),
        ]);
        let changed = ["/c".to_owned(), "/d".to_owned(), "/unknown".to_owned()];
        let told: Vec<_> = events(&before, &now, &changed)
            .into_iter()
            .map(|event| (event.what, event.name))
            .collect();
        assert_eq!(
            told,
            [
                (NodeDeviceHappening::Deleted, "net_a".to_owned()),
                (NodeDeviceHappening::Created, "net_d".to_owned()),
                (NodeDeviceHappening::Changed, "block_c".to_owned()),
            ]
        );
    }
}
