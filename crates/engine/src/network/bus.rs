//! A connection to the system's D-Bus.

use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::BUS_REPLY_TIMEOUT_MS;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use zbus::{Connection, DynamicType, Error, MessageStream, Type};

/// An object of a service, and the interface of it that is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
}

const BUS: Service = Service {
    name: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// A connection to the bus; closed when it is dropped.
#[derive(Debug)]
pub(super) struct Bus(Connection);

impl Bus {
    /// Joins the bus; none where this host has none.
    pub(super) async fn join() -> Result<Option<Bus>> {
        let bound = Duration::from_millis(BUS_REPLY_TIMEOUT_MS);
        let building = zbus::connection::Builder::system()
            .method_timeout(bound)
            .build();
        // The bound on methods does not hold for the greeting.
        match tokio::time::timeout(bound, building).await {
            Ok(Ok(connection)) => Ok(Some(Bus(connection))),
            Ok(Err(Error::InputOutput(_) | Error::Connection(..))) => Ok(None),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(EngineError::new(
                ErrorKind::Internal,
                "nobody answered on the system's D-Bus in time",
            )),
        }
    }

    /// The process that has a name on the bus.
    pub(super) async fn process_of(&self, name: &str) -> Result<u32> {
        self.call(BUS, "GetConnectionUnixProcessID", &(name,)).await
    }

    /// Calls a method, and waits for what it gives back.
    pub(super) async fn call<B, R>(&self, to: Service, method: &str, body: &B) -> Result<R>
    where
        B: Serialize + DynamicType,
        R: DeserializeOwned + Type,
    {
        let interface = Some(to.interface);
        let reply = self
            .0
            .call_method(Some(to.name), to.path, interface, method, body)
            .await
            .map_err(failed)?;
        reply.body().deserialize().map_err(failed)
    }

    /// The messages a rule chooses, from now on.
    pub(super) async fn follow(&self, rule: &str) -> Result<MessageStream> {
        MessageStream::for_match_rule(rule, &self.0, None)
            .await
            .map_err(failed)
    }
}

fn failed(error: Error) -> EngineError {
    let said = match &error {
        Error::MethodError(_, Some(said), _) => said.clone(),
        other => other.to_string(),
    };
    EngineError::new(ErrorKind::Internal, said)
}
