//! Devices, network and character back ends that come and go.

use serde_json::{Map, Value};

use crate::qmp::reply::{Property, RxFilter, TypeInfo};
use crate::qmp::{Command, Done};

/// Adds a device; `properties` hold `driver` and `id`, as in the JSON form of `-device`.
#[must_use]
pub fn device_add(properties: Map<String, Value>) -> Command<Done> {
    Command::new("device_add").args(properties)
}

/// Asks the guest to release a device; `DEVICE_DELETED` tells when it is gone.
#[must_use]
pub fn device_del(id: &str) -> Command<Done> {
    Command::new("device_del").arg("id", id)
}

/// Adds a network back end; `properties` hold `type` and `id`.
#[must_use]
pub fn netdev_add(properties: Map<String, Value>) -> Command<Done> {
    Command::new("netdev_add").args(properties)
}

/// Removes a network back end.
#[must_use]
pub fn netdev_del(id: &str) -> Command<Done> {
    Command::new("netdev_del").arg("id", id)
}

/// Plugs or pulls the cable of a network card.
#[must_use]
pub fn set_link(name: &str, up: bool) -> Command<Done> {
    Command::new("set_link").arg("name", name).arg("up", up)
}

/// Asks which frames the guest's network cards take.
#[must_use]
pub fn query_rx_filter(name: Option<&str>) -> Command<Vec<RxFilter>> {
    Command::new("query-rx-filter").maybe("name", name)
}

/// Adds a character back end.
#[must_use]
pub fn chardev_add(id: &str, backend: Value) -> Command<Value> {
    Command::new("chardev-add")
        .arg("id", id)
        .arg("backend", backend)
}

/// Removes a character back end.
#[must_use]
pub fn chardev_remove(id: &str) -> Command<Done> {
    Command::new("chardev-remove").arg("id", id)
}

/// Lists the properties of a kind of device.
#[must_use]
pub fn device_list_properties(driver: &str) -> Command<Vec<Property>> {
    Command::new("device-list-properties").arg("typename", driver)
}

/// Lists the properties of a kind of object.
#[must_use]
pub fn qom_list_properties(kind: &str) -> Command<Vec<Property>> {
    Command::new("qom-list-properties").arg("typename", kind)
}

/// Lists the kinds of objects which implement another.
#[must_use]
pub fn qom_list_types(implements: Option<&str>, with_abstract: bool) -> Command<Vec<TypeInfo>> {
    Command::new("qom-list-types")
        .maybe("implements", implements)
        .arg("abstract", with_abstract)
}
