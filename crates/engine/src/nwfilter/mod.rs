//! Network filters of the host: their definitions, and which devices they are for.
//!
//! Definitions change one at a time; readers take the map of the moment. The
//! filters every host has are there without a record: one is written when
//! such a filter is changed or removed. What filters come to in rules is the
//! `network` crate's; they are put in force with everything else by
//! `network/firewall.rs`.

mod bindings;
mod learnt;
mod rules;

use crate::engine::{Engine, xml_error};
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::DEFINITION_MAX_BYTES;
use ::network::nwfilter::FilterError;
pub use model::nwfilter::Filter;
use model::nwfilter::builtin::BUILTINS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use uuid::Uuid;

pub use bindings::{Binding, PortBinding};

/// The kind of the records' keys.
const KIND: &str = "nwfilter";

/// Filters by name.
pub(crate) type FilterMap = BTreeMap<String, Filter>;

/// The host's filters.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    map: RwLock<Arc<FilterMap>>,
    /// Held by whoever changes a definition.
    changing: tokio::sync::Mutex<()>,
    /// Bindings made by hand, by device.
    made: Mutex<BTreeMap<String, Binding>>,
    /// Devices whose binding was removed by hand.
    unbound: Mutex<std::collections::BTreeSet<String>>,
    /// Addresses found by watching, by the sets' names.
    learnt: Mutex<BTreeMap<String, Vec<Ipv4Addr>>>,
    /// Whether the kernel can refuse on a bridge with an answer, once that is known.
    rejects: tokio::sync::OnceCell<bool>,
}

impl Filters {
    pub(crate) fn map(&self) -> Arc<FilterMap> {
        self.map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn publish(&self, map: FilterMap) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    /// None for a filter every host has that was removed here.
    xml: Option<String>,
}

pub(crate) fn filter_error(error: FilterError) -> EngineError {
    let kind = match error {
        FilterError::Unsupported(_) => ErrorKind::ConfigUnsupported,
        FilterError::Loop(_) => ErrorKind::OperationFailed,
        _ => ErrorKind::Internal,
    };
    EngineError::new(kind, error.to_string())
}

impl Engine {
    /// Every filter, in the order of their names.
    pub fn filters(&self) -> Vec<Filter> {
        self.filters_table().map().values().cloned().collect()
    }

    /// The filter with this name.
    pub fn filter_by_name(&self, name: &str) -> Result<Filter> {
        self.filters_table()
            .map()
            .get(name)
            .cloned()
            .ok_or_else(|| {
                EngineError::new(
                    ErrorKind::NoFilter,
                    format!("no nwfilter with matching name '{name}'"),
                )
            })
    }

    /// The filter with this uuid.
    pub fn filter_by_uuid(&self, uuid: Uuid) -> Result<Filter> {
        let map = self.filters_table().map();
        let found = map.values().find(|filter| filter.uuid == Some(uuid));
        found.cloned().ok_or_else(|| {
            EngineError::new(
                ErrorKind::NoFilter,
                format!("no nwfilter with matching uuid '{uuid}'"),
            )
        })
    }

    /// Stores a filter's definition, and has the machines it is used by follow it.
    pub async fn define_filter(&self, xml: &str) -> Result<Filter> {
        if xml.len() > DEFINITION_MAX_BYTES {
            return Err(EngineError::new(
                ErrorKind::XmlError,
                format!("the definition is longer than {DEFINITION_MAX_BYTES} bytes"),
            ));
        }
        let mut filter = Filter::parse(xml).map_err(xml_error)?;
        let _changing = self.filters_table().changing.lock().await;
        let mut map = FilterMap::clone(&self.filters_table().map());
        let before = map.get(&filter.name).and_then(|filter| filter.uuid);
        let uuid = match (filter.uuid, before) {
            (Some(uuid), Some(before)) if uuid != before => {
                return Err(EngineError::failed(format!(
                    "filter '{}' already exists with uuid {before}",
                    filter.name
                )));
            }
            (Some(uuid), _) | (None, Some(uuid)) => uuid,
            (None, None) => Uuid::new_v4(),
        };
        let other = map.values().find(|other| other.uuid == Some(uuid));
        if let Some(other) = other.filter(|other| other.name != filter.name) {
            return Err(EngineError::failed(format!(
                "filter with same UUID but different name ('{}') already exists",
                other.name
            )));
        }
        filter.uuid = Some(uuid);
        map.insert(filter.name.clone(), filter.clone());
        refuse_loop(&map, &filter.name)?;
        self.check_bound(&map)?;
        self.keep_filter(&filter.name, uuid, Some(filter.to_xml()))
            .await?;
        self.filters_table().publish(map);
        self.apply_firewall().await?;
        Ok(filter)
    }

    /// Forgets a filter that no machine uses.
    pub async fn undefine_filter(&self, uuid: Uuid) -> Result<()> {
        let _changing = self.filters_table().changing.lock().await;
        let filter = self.filter_by_uuid(uuid)?;
        let mut map = FilterMap::clone(&self.filters_table().map());
        map.remove(&filter.name);
        if self.check_bound(&map).is_err() {
            return Err(EngineError::invalid("nwfilter is in use"));
        }
        match BUILTINS.iter().any(|builtin| builtin.name == filter.name) {
            true => self.keep_filter(&filter.name, uuid, None).await?,
            false => self.records().delete_object(KIND, uuid).await?,
        }
        self.filters_table().publish(map);
        Ok(())
    }

    async fn keep_filter(&self, name: &str, uuid: Uuid, xml: Option<String>) -> Result<()> {
        let record = Record {
            name: name.to_owned(),
            xml,
        };
        let bytes = serde_json::to_vec(&record)
            .map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))?;
        self.records().put_object(KIND, uuid, bytes).await
    }

    /// Reads which filters there are.
    pub(crate) fn load_filters(&self) -> Result<()> {
        let mut map = FilterMap::new();
        for builtin in BUILTINS {
            let mut filter = Filter::parse(&builtin.xml()).map_err(xml_error)?;
            filter.uuid = Some(builtin_uuid(self.host_id(), builtin.name));
            map.insert(filter.name.clone(), filter);
        }
        self.records().for_each_object(KIND, |bytes| {
            let read = serde_json::from_slice::<Record>(bytes).map_err(|e| e.to_string());
            let done = read.and_then(|record| match record.xml {
                None => {
                    map.remove(&record.name);
                    Ok(())
                }
                Some(xml) => Filter::parse(&xml)
                    .map_err(|e| e.to_string())
                    .map(|filter| {
                        map.insert(filter.name.clone(), filter);
                    }),
            });
            if let Err(error) = done {
                tracing::error!(%error, "a network filter's record cannot be read");
            }
        })?;
        self.filters_table().publish(map);
        self.load_bindings();
        Ok(())
    }
}

/// A filter may not refer to itself, also by way of others; those that do not
/// exist yet refer to nothing.
fn refuse_loop(map: &FilterMap, name: &str) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    let mut next: Vec<&str> = vec![name];
    while let Some(at) = next.pop() {
        for reference in map.get(at).into_iter().flat_map(Filter::references) {
            if reference.filter == name {
                return Err(EngineError::failed("filter would introduce a loop"));
            }
            if seen.insert(&reference.filter) {
                next.push(&reference.filter);
            }
        }
    }
    Ok(())
}

/// The same on every start of one host, and different on each.
fn builtin_uuid(host: Uuid, name: &str) -> Uuid {
    /// FNV-1a of 128 bits.
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = host.as_bytes().iter().chain(name.as_bytes());
    let hash = bytes.fold(BASIS, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    });
    uuid::Builder::from_random_bytes(hash.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtins_have_uuids_of_their_host() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let uuid = builtin_uuid(a, "clean-traffic");
        assert_eq!(uuid, builtin_uuid(a, "clean-traffic"));
        assert_ne!(uuid, builtin_uuid(b, "clean-traffic"));
        assert_ne!(uuid, builtin_uuid(a, "allow-arp"));
        assert_eq!(uuid.get_version_num(), 4);
    }

    #[test]
    fn a_loop_is_found_by_way_of_others() {
        let filter = |name: &str, to: &str| {
            let xml = format!("<filter name='{name}'><filterref filter='{to}'/></filter>");
            (name.to_owned(), Filter::parse(&xml).expect("a filter"))
        };
        let map: FilterMap = [filter("a", "b"), filter("b", "c"), filter("c", "none")].into();
        assert!(refuse_loop(&map, "a").is_ok());
        let map: FilterMap = [filter("a", "b"), filter("b", "c"), filter("c", "a")].into();
        assert!(refuse_loop(&map, "a").is_err());
    }
}
