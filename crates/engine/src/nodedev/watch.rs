//! What happens to the host's devices. They are looked at again when the kernel says that some
//! came or went, and only while somebody listens.

use super::all;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::limits::NODE_DEVICES_SETTLE_MS;
use crate::notices::Notice;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use sys::uevent;
use tokio::io::Interest;

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

/// While one of these is there, somebody wants to know of the host's devices.
#[derive(Debug, Clone)]
pub struct DeviceListener(#[expect(dead_code, reason = "it is there to be counted")] Arc<()>);

/// Who listens, and what they know.
#[derive(Debug, Default)]
pub(crate) struct NodeDeviceHub {
    listeners: Arc<()>,
    /// What was there when it was looked last; nothing before the first listener.
    known: Mutex<Option<Known>>,
}

impl NodeDeviceHub {
    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> usize {
        Arc::strong_count(&self.listeners) - 1
    }

    /// What has happened since it was looked last.
    fn look(&self, changed: &[String]) -> Vec<Notice> {
        if self.listeners() == 0 {
            return Vec::new();
        }
        let now = names();
        let before = self.known().replace(now.clone()).unwrap_or_default();
        happened(&before, &now, changed)
    }
}

fn names() -> Known {
    let devices = all().into_iter();
    let named = devices.filter_map(|device| Some((device.path?, device.name)));
    named.collect()
}

fn happened(before: &Known, now: &Known, changed: &[String]) -> Vec<Notice> {
    let event = |what, name: &String| Notice::NodeDevice {
        name: name.as_str().into(),
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
    /// Has what happens to the host's devices told of as notices, as long as the listener is there.
    pub fn listen_to_devices(&self) -> Result<DeviceListener> {
        let hub = self.node_devices_hub();
        let listener = DeviceListener(hub.listeners.clone());
        let mut known = hub.known();
        let first = known.is_none();
        // Those of before listened to what happened since; after a while without listeners nobody
        // has.
        if first || hub.listeners() == 1 {
            *known = Some(names());
        }
        drop(known);
        if first {
            self.watch_devices()?;
        }
        Ok(listener)
    }

    fn watch_devices(&self) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| EngineError::system("cannot follow devices", e);
        let socket = uevent::uevents().map_err(|e| failed(&e))?;
        let socket = sys::watch::watch(socket, Interest::READABLE).map_err(|e| failed(&e))?;
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
                    let look = move || {
                        for notice in engine.node_devices_hub().look(&news.changed) {
                            engine.notices_hub().tell(notice);
                        }
                    };
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
        let told = [
            (NodeDeviceHappening::Deleted, "net_a"),
            (NodeDeviceHappening::Created, "net_d"),
            (NodeDeviceHappening::Changed, "block_c"),
        ];
        let told = told.map(|(what, name)| Notice::NodeDevice {
            name: name.into(),
            what,
        });
        assert_eq!(happened(&before, &now, &changed), told);
    }
}
