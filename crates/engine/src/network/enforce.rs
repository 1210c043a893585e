//! Puts the firewall's tables in force: what differs from what is there, in one
//! transaction of nft. What others take away comes back.

use super::tools::{Started, Tool};
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::limits::FIREWALL_SETTLE_MS;
use ::network::firewall::Firewall;
use ::network::ruleset::Ruleset;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::Interest;

const PACKAGE: &str = "nftables";

/// The rules in force, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Enforcement {
    /// Held while the tables are changed.
    applied: tokio::sync::Mutex<Applied>,
    /// How many changes were asked for.
    requests: AtomicU64,
    /// Our own processes that change tables: what they remove was not taken from us.
    writers: Arc<Started>,
}

/// What was put in force last.
#[derive(Debug, Default)]
struct Applied {
    known: Known,
    /// How many requests it answers.
    requests: u64,
}

#[derive(Debug, Default)]
enum Known {
    /// Nothing was ever put in force.
    #[default]
    Nothing,
    /// An earlier daemon did, or somebody has meddled with it.
    Unsure,
    /// This.
    Rules(Ruleset),
}

impl Engine {
    /// Has the next [`Engine::apply_firewall`] look at what is in force.
    pub(super) async fn distrust_firewall(&self) {
        self.enforcement().applied.lock().await.known = Known::Unsure;
    }

    fn enforcement(&self) -> &Enforcement {
        &self.networks_table().firewall
    }

    /// Puts the rules in force, in one transaction, unless they are already. What is asked for
    /// while a transaction is under way is done in one that follows it.
    pub(crate) async fn apply_firewall(&self) -> Result<()> {
        let enforcement = self.enforcement();
        let ticket = enforcement.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let mut applied = enforcement.applied.lock().await;
        if applied.requests >= ticket {
            return Ok(());
        }
        let answered = enforcement.requests.load(Ordering::SeqCst);
        self.put_in_force(&mut applied).await?;
        applied.requests = answered;
        Ok(())
    }

    async fn put_in_force(&self, applied: &mut Applied) -> Result<()> {
        let mut firewall = self.firewall();
        firewall.rejects = self.kernel_rejects(&firewall).await;
        let watched = firewall.learns();
        if watched && !matches!(applied.known, Known::Rules(_)) {
            self.read_learnt(&firewall.table).await;
        }
        self.recall_addresses(&mut firewall);
        let rules = firewall.ruleset();
        let change = match &applied.known {
            Known::Nothing if rules.is_empty() => return Ok(()),
            Known::Rules(before) => rules.change_from(before),
            Known::Nothing | Known::Unsure => rules.change_from(&self.listed(&rules).await),
        };
        let before = std::mem::replace(&mut applied.known, Known::Unsure);
        match change {
            Some(change) if change.is_empty() => {}
            Some(change) => match self.transact(change).await {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::ResourceUnavailable => {
                    applied.known = before;
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%error, "the rules could not be changed: replacing them");
                    self.transact(rules.whole()).await?;
                }
            },
            None => self.transact(rules.whole()).await?,
        }
        applied.known = Known::Rules(rules);
        if watched {
            let engine = self.clone();
            tokio::spawn(async move { engine.read_learnt(&firewall.table).await });
        }
        Ok(())
    }

    async fn transact(&self, text: String) -> Result<()> {
        let tool = Tool::new("nft", PACKAGE, ["-f", "-"]).reading(text);
        let tool = tool.telling(self.enforcement().writers.clone());
        tool.run().await.map(drop)
    }

    /// What is in force of the daemon's tables, as far as it has the names that `rules` has.
    async fn listed(&self, rules: &Ruleset) -> Ruleset {
        let list = |family| {
            let words = ["-j", "-t", "list", "table", family, &rules.name];
            Tool::new("nft", PACKAGE, words).run()
        };
        // A table that is gone has nothing.
        let (inet, bridge) = tokio::join!(list("inet"), list("bridge"));
        let [inet, bridge] = [inet, bridge].map(Result::unwrap_or_default);
        rules.in_force([&inet, &bridge])
    }

    /// What putting `firewall` in force would do now, as a transaction; none where that is nothing.
    pub(super) async fn planned_rules(&self, firewall: &Firewall) -> Option<String> {
        let mut firewall = firewall.clone();
        firewall.rejects = self.kernel_rejects(&firewall).await;
        let rules = firewall.ruleset();
        let applied = self.enforcement().applied.lock().await;
        let change = match &applied.known {
            Known::Nothing if rules.is_empty() => Some(String::new()),
            Known::Rules(before) => rules.change_from(before),
            Known::Nothing | Known::Unsure => None,
        };
        let text = change.unwrap_or_else(|| rules.whole());
        Some(text).filter(|text| !text.is_empty())
    }

    /// Keeps the rules as they should be while the daemon runs: what others
    /// take away comes back.
    pub(crate) fn guard_firewall(&self) {
        let engine = self.clone();
        let watch = match sys::firewall::changes() {
            Ok(watch) => watch,
            Err(error) => {
                tracing::warn!(%error, "rules that others remove are not noticed");
                return;
            }
        };
        tokio::spawn(async move {
            if let Err(error) = engine.watch_firewall(watch).await {
                tracing::warn!(%error, "rules that others remove are no longer noticed");
            }
        });
    }

    async fn watch_firewall(&self, watch: std::os::fd::OwnedFd) -> std::io::Result<()> {
        let table = self.firewall_table();
        let watch = sys::watch::watch(watch, Interest::READABLE)?;
        let mut stopping = self.stopping();
        // Docker may have come while nobody watched.
        self.settle_active_beside_docker().await;
        loop {
            // An engine that stops is let go of, so that another can take its place.
            let mut ready = tokio::select! {
                ready = watch.readable() => ready?,
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            };
            let news = self.firewall_news(watch.get_ref(), &table);
            ready.clear_ready();
            let mut news = news?;
            if !news.lost && !news.others {
                continue;
            }
            // A transaction has many messages; the last one ends it.
            tokio::time::sleep(Duration::from_millis(FIREWALL_SETTLE_MS)).await;
            let later = self.firewall_news(watch.get_ref(), &table)?;
            news.lost |= later.lost;
            // Docker may have come, or come again.
            if news.others || later.others {
                self.settle_active_beside_docker().await;
            }
            if !news.lost {
                continue;
            }
            if let Err(error) = self.restore_firewall().await {
                tracing::error!(%error, "the firewall's rules could not be restored");
            }
        }
    }

    /// News of the tables, without what our own transactions have removed.
    fn firewall_news(
        &self,
        watch: &std::os::fd::OwnedFd,
        table: &str,
    ) -> std::io::Result<sys::firewall::News> {
        let writers = &self.enforcement().writers;
        sys::firewall::news(watch, table, |pid| writers.has(pid))
    }

    /// Puts the rules in force again if some of them are gone.
    async fn restore_firewall(&self) -> Result<()> {
        let mut applied = self.enforcement().applied.lock().await;
        let Known::Rules(rules) = &applied.known else {
            return Ok(());
        };
        let table = self.firewall_table();
        let mut there = 0;
        for family in ["inet", "bridge"] {
            let tool = Tool::new("nft", PACKAGE, ["-s", "list", "table", family, &table]);
            // A table that is gone has none.
            there += tool.run().await.map_or(0, |listed| landmarks(&listed));
        }
        if there == landmarks(&rules.whole()) {
            return Ok(());
        }
        tracing::warn!("somebody removed rules of ours: restoring them");
        applied.known = Known::Unsure;
        self.put_in_force(&mut applied).await
    }
}

/// Rules that count and ways that lead to chains, each of which a listing shows once.
fn landmarks(text: &str) -> usize {
    text.split_ascii_whitespace()
        .filter(|word| ["counter", "jump"].contains(word))
        .count()
}
