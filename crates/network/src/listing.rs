//! What `nft -j` lists of the host's rules, those of others too.

use serde::Deserialize;

/// A listing, of which only chains and rules matter here.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Listing {
    nftables: Vec<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    chain: Option<Chain>,
    rule: Option<Rule>,
}

/// A chain of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Chain {
    /// Its table's family.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// What it is for: `filter`, `nat` or `route`. Chains that are only jumped to have none of
    /// the following.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// Where packets meet it.
    pub(crate) hook: Option<String>,
    /// What becomes of a packet that no rule decides about.
    pub(crate) policy: Option<String>,
}

impl Chain {
    /// Whether it is this hook's and drops what no rule of it lets through.
    pub(crate) fn drops_at(&self, hook: &str) -> bool {
        self.hook.as_deref() == Some(hook) && self.policy.as_deref() == Some("drop")
    }
}

/// A rule of a chain.
#[derive(Debug, Deserialize)]
pub(crate) struct Rule {
    pub(crate) family: String,
    pub(crate) table: String,
    pub(crate) chain: String,
    /// What it is deleted by.
    #[serde(default)]
    pub(crate) handle: u64,
    pub(crate) comment: Option<String>,
    #[serde(default)]
    pub(crate) expr: serde_json::Value,
}

impl Listing {
    /// Reads a listing; what is none lists nothing.
    pub(crate) fn read(text: &str) -> Listing {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(crate) fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.nftables.iter().filter_map(|o| o.chain.as_ref())
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.nftables.iter().filter_map(|o| o.rule.as_ref())
    }
}
