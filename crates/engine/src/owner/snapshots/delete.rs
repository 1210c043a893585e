//! Deleting snapshots: what they alone needed is put away, everything that
//! remains keeps its content.

use super::super::{Owner, Reply, Request, answer};
use super::{Then, stored, text_of};
use crate::error::Result;
use crate::options::SnapshotDelete;
use crate::snapshots::SnapshotTree;
use crate::snapshots::graph::{Graph, follow_definition};
use crate::snapshots::journal::Outcome;
use crate::snapshots::work::Plan;
use model::domain::Domain;
use model::domain::disk::SnapshotMode;
use model::snapshot::{Snapshot, SnapshotParent};
use std::collections::BTreeSet;
use storage::chain::Step;
use storage::merge::Extent;

impl Owner {
    pub(in crate::owner) fn delete_snapshot(
        &mut self,
        name: String,
        options: SnapshotDelete,
        reply: Reply<()>,
    ) {
        let mut slot = Some((name, reply));
        let is_settled = self.is_settled(|| {
            let (name, reply) = slot.take().expect("taken once");
            Request::DeleteSnapshot {
                name,
                options,
                reply,
            }
        });
        let Some((name, reply)) = slot.filter(|_| is_settled) else {
            return;
        };
        match self.plan_deletion(&name, options) {
            Err(error) => answer(reply, Err(error)),
            Ok(plan) if self.live.is_some() && !plan.finish.is_empty() => {
                self.delete_live_snapshots(plan, reply);
            }
            Ok(plan) => self.hold_plan("snapshot-delete", plan, Then::Answer, reply),
        }
    }

    fn plan_deletion(&self, name: &str, options: SnapshotDelete) -> Result<Plan> {
        let tree = self.tree();
        if tree.get(name).is_none() {
            return Err(crate::snapshots::api::no_snapshot(name));
        }
        let doomed = doomed(&tree, name, options);
        let mut current = self.present_definition()?;
        let mut graph = self.graph(&current)?;
        let mut finish = Vec::new();
        let gone: Vec<Snapshot> = doomed
            .iter()
            .filter_map(|name| graph.snapshots.get(name).cloned())
            .collect();
        graph.drop_snapshots(&doomed);
        let mut moved = std::collections::BTreeMap::new();
        if !options.metadata_only {
            for snapshot in &gone {
                finish.extend(own_parts(snapshot));
            }
            graph.images.foreign = self.foreign_images(&graph);
            let candidates = graph.candidates.clone();
            let plan = graph.images.put_away(&candidates, Extent::Merge);
            finish.extend(plan.steps);
            moved = plan.moved;
            let copies = doomed
                .iter()
                .filter_map(|name| tree.get(name)?.nvram.clone());
            finish.extend(copies.map(|image| Step::Remove { image }));
        }
        let mut changed = graph.follow(&moved);
        changed.extend(reparent(&tree, &doomed, &mut graph));
        follow_definition(&mut current, &moved, &graph.images.formats, &graph.keys);
        let outcome = Outcome {
            put: changed
                .iter()
                .filter_map(|name| {
                    let nvram = tree.get(name).and_then(|head| head.nvram.clone());
                    Some(stored(graph.snapshots.get(name)?, nvram))
                })
                .collect(),
            current: heir(&tree, tree.current(), &doomed),
            definition: self.moved_definition(&moved, &graph)?,
            layers: graph.layers(),
            remove: doomed.into_iter().collect(),
        };
        Ok(Plan {
            what: format!("delete snapshot '{name}'"),
            finish,
            keys: graph.keys,
            outcome,
            ..Plan::default()
        })
    }

    /// The stored definition, if images it names moved.
    fn moved_definition(
        &self,
        moved: &std::collections::BTreeMap<String, String>,
        graph: &Graph,
    ) -> Result<Option<String>> {
        if moved.is_empty() || self.entry.view().stored.is_none() {
            return Ok(None);
        }
        let before: Domain = self.stored_definition()?;
        let mut after = before.clone();
        follow_definition(&mut after, moved, &graph.images.formats, &graph.keys);
        Ok((after != before).then(|| text_of(after)))
    }

    /// Images of this domain that other domains or other files build upon.
    fn foreign_images(&self, graph: &Graph) -> BTreeSet<String> {
        let images = &graph.images;
        let known: BTreeSet<&str> = images
            .below
            .keys()
            .chain(&graph.candidates)
            .chain(&images.active)
            .map(String::as_str)
            .collect();
        crate::snapshots::foreign::users(&self.engine, self.entry.uuid, &graph.candidates, &known)
    }
}

/// The snapshots to be deleted.
fn doomed(tree: &SnapshotTree, name: &str, options: SnapshotDelete) -> BTreeSet<String> {
    let mut doomed = BTreeSet::new();
    if !options.children_only {
        doomed.insert(name.to_owned());
    }
    if options.children || options.children_only {
        let after = tree.descendants(Some(name));
        doomed.extend(after.iter().map(|head| head.name.clone()));
    }
    doomed
}

/// What belongs to a snapshot alone: its part inside images, its memory.
fn own_parts(snapshot: &Snapshot) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(domain) = snapshot.whole_domain() {
        for wish in snapshot.disks() {
            let image = storage::snapshot::find(domain, wish.name()).and_then(|d| d.source_path());
            if let (Some(SnapshotMode::Internal), Some(image)) = (wish.mode, image) {
                steps.push(Step::Untag {
                    image: image.to_owned(),
                    tag: snapshot.name().to_owned(),
                });
            }
        }
    }
    let memory = snapshot.memory.as_ref().and_then(|m| m.file.clone());
    steps.extend(memory.map(|image| Step::Remove { image }));
    steps
}

/// The nearest one at or above `name` that remains.
fn heir(tree: &SnapshotTree, name: Option<&str>, doomed: &BTreeSet<String>) -> Option<String> {
    let mut at = name?;
    for _ in 0..=tree.len() {
        if !doomed.contains(at) {
            return tree.get(at).map(|head| head.name.clone());
        }
        at = tree.get(at)?.parent.as_deref()?;
    }
    None
}

/// Those whose parent goes get the nearest one that remains.
fn reparent(tree: &SnapshotTree, doomed: &BTreeSet<String>, graph: &mut Graph) -> Vec<String> {
    let mut changed = Vec::new();
    for (name, snapshot) in &mut graph.snapshots {
        let parent = snapshot.parent_name().map(str::to_owned);
        if parent
            .as_ref()
            .is_some_and(|parent| doomed.contains(parent))
        {
            let heir = heir(tree, parent.as_deref(), doomed);
            snapshot.parent = heir.map(|name| SnapshotParent { name: Some(name) });
            changed.push(name.clone());
        }
    }
    changed
}
