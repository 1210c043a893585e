//! Events of things other than domains (networks, …): each subscription is a
//! task that turns what happens into packets for its client.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;
use wire::errors::ErrorCode;

use crate::failure::{Answer, Failure};
use crate::limits::{OBJECT_EVENTS_MAX, SUBSCRIPTIONS_MAX};

/// One client's subscriptions to such events.
#[derive(Debug)]
pub(crate) struct ObjectEvents {
    sink: mpsc::Sender<Vec<u8>>,
    tasks: Mutex<(i32, BTreeMap<i32, AbortHandle>)>,
}

impl ObjectEvents {
    /// No subscriptions yet; the packets of later ones come out of the receiver.
    pub(crate) fn new() -> (ObjectEvents, mpsc::Receiver<Vec<u8>>) {
        let (sink, packets) = mpsc::channel(OBJECT_EVENTS_MAX);
        let tasks = Mutex::default();
        (ObjectEvents { sink, tasks }, packets)
    }

    /// Subscribes: `packet` makes what the client is told of an event, if it is to be told.
    /// The number is for ending it.
    pub(crate) fn register<T: Clone + Send + 'static>(
        &self,
        mut events: broadcast::Receiver<T>,
        packet: impl Fn(i32, &T) -> Option<Vec<u8>> + Send + 'static,
    ) -> Answer<i32> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, all) = &mut *tasks;
        if all.len() >= SUBSCRIPTIONS_MAX {
            return Err(Failure::new(
                ErrorCode::OperationFailed,
                format!("a client can have at most {SUBSCRIPTIONS_MAX} event subscriptions"),
            ));
        }
        let id = *next;
        *next = next.wrapping_add(1) & i32::MAX;
        let sink = self.sink.clone();
        let task = tokio::spawn(async move {
            // A client that is too slow for the backlog gets no more of them.
            while let Ok(event) = events.recv().await {
                if let Some(packet) = packet(id, &event)
                    && sink.send(packet).await.is_err()
                {
                    return;
                }
            }
        });
        all.insert(id, task.abort_handle());
        Ok(id)
    }

    /// Ends a subscription; `what` names the kind in the error.
    pub(crate) fn deregister(&self, id: i32, what: &str) -> Answer<()> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match tasks.1.remove(&id) {
            Some(task) => {
                task.abort();
                Ok(())
            }
            None => Err(Failure::new(
                ErrorCode::InternalError,
                format!("{what} event callback {id} not registered"),
            )),
        }
    }
}

impl Drop for ObjectEvents {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.1.values().for_each(AbortHandle::abort);
    }
}
