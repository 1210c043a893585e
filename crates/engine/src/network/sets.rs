//! Named sets of addresses and ports that firewall rules speak of:
//! `host/HOST/firewall-set/NAME`, as JSON.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
pub use ::network::sets::NamedSet;
use model::network::policy::is_name;
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// The kind of the records' keys.
const KIND: &str = "firewall-set";
/// Most elements of one set.
const ELEMENTS_MAX: usize = 4096;

impl Engine {
    /// Every set, in the order of their names.
    pub fn firewall_sets(&self) -> Vec<NamedSet> {
        self.sets().values().cloned().collect()
    }

    /// The set with this name.
    pub fn firewall_set(&self, name: &str) -> Result<NamedSet> {
        self.sets().get(name).cloned().ok_or_else(|| {
            EngineError::new(
                ErrorKind::InvalidArgument,
                format!("there is no firewall set '{name}'"),
            )
        })
    }

    /// Adds elements to a set, which is made where it does not exist, and takes some out.
    pub async fn change_firewall_set(
        &self,
        name: &str,
        add: &[String],
        remove: &[String],
    ) -> Result<NamedSet> {
        let _choosing = self.networks_table().choosing.lock().await;
        let invalid = |what: String| EngineError::new(ErrorKind::InvalidArgument, what);
        if !is_name(name) {
            return Err(invalid(format!(
                "'{name}' is no name for a set: up to 32 letters, digits, '-' and '_'"
            )));
        }
        let read = |words: &[String]| {
            NamedSet::read(name, words)
                .map_err(|word| invalid(format!("'{word}' is no address, network or port")))
        };
        let (add, remove) = (read(add)?, read(remove)?);
        let before = self.sets().get(name).cloned().unwrap_or_default();
        let mut words = before.words();
        words.extend(add.words());
        let gone = remove.words();
        if let Some(strange) = gone.iter().find(|word| !words.contains(word)) {
            return Err(invalid(format!("'{strange}' is not in the set '{name}'")));
        }
        words.retain(|word| !gone.contains(word));
        let set = read(&words)?;
        if set.nets.len() + set.ports.len() > ELEMENTS_MAX {
            return Err(invalid(format!(
                "a set has at most {ELEMENTS_MAX} elements"
            )));
        }
        let bytes = serde_json::to_vec(&set.words())
            .map_err(|e| EngineError::new(ErrorKind::Internal, e.to_string()))?;
        self.records().put_item(KIND, name, bytes).await?;
        self.sets().insert(name.to_owned(), set.clone());
        self.apply_firewall().await?;
        Ok(set)
    }

    /// Forgets a set that no running machine's rules speak of.
    pub async fn delete_firewall_set(&self, name: &str) -> Result<()> {
        let _choosing = self.networks_table().choosing.lock().await;
        self.firewall_set(name)?;
        let firewall = self.firewall();
        let user = firewall
            .machines
            .iter()
            .find(|port| port.policy.sets().any(|set| set == name));
        if let Some(port) = user {
            return Err(EngineError::invalid(format!(
                "the firewall set '{name}' is used by the rules of {}",
                port.device
            )));
        }
        self.records().delete_item(KIND, name).await?;
        self.sets().remove(name);
        self.apply_firewall().await
    }

    /// Reads which sets there are.
    pub(super) fn load_firewall_sets(&self) -> Result<()> {
        let mut sets = BTreeMap::new();
        self.records().for_each_item(KIND, |name, bytes| {
            let words: Vec<String> = serde_json::from_slice(bytes).unwrap_or_default();
            match NamedSet::read(name, &words) {
                Ok(set) => {
                    sets.insert(name.to_owned(), set);
                }
                Err(word) => tracing::error!(name, word, "a firewall set cannot be read"),
            }
        })?;
        *self.sets() = sets;
        Ok(())
    }

    fn sets(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, NamedSet>> {
        let sets = self.networks_table().sets.lock();
        sets.unwrap_or_else(PoisonError::into_inner)
    }
}
