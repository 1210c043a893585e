//! The store against a map that does the same, on random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::{Change, Condition, ListOptions, Store, Txn, TxnOutcome};

use crate::fresh;

/// What the store should hold: key → (value, create revision, mod revision).
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<String, (Vec<u8>, u64, u64)>,
    revision: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Txn(Vec<(String, Check)>, Vec<Edit>),
    List(String, usize),
    Reopen,
}

#[derive(Debug, Clone)]
enum Check {
    Absent,
    Present,
    /// The mod revision that is `n` before the newest.
    Modified(u64),
    Value(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Edit {
    Put(String, Vec<u8>),
    Delete(String),
    DeletePrefix(String),
}

impl Model {
    fn holds(&self, key: &str, condition: &Condition) -> bool {
        match (condition, self.entries.get(key)) {
            (Condition::Absent, found) => found.is_none(),
            (_, None) => false,
            (Condition::Present, _) => true,
            (Condition::ModRevision(wanted), Some(entry)) => entry.2 == *wanted,
            (Condition::CreateRevision(wanted), Some(entry)) => entry.1 == *wanted,
            (Condition::Value(value), Some(entry)) => entry.0 == *value,
        }
    }

    fn apply(&mut self, edits: &[Edit]) {
        let revision = self.revision + 1;
        let mut changed = false;
        for edit in edits {
            match edit {
                Edit::Put(key, value) => {
                    let created = self.entries.get(key).map_or(revision, |entry| entry.1);
                    self.entries
                        .insert(key.clone(), (value.clone(), created, revision));
                    changed = true;
                }
                Edit::Delete(key) => changed |= self.entries.remove(key).is_some(),
                Edit::DeletePrefix(prefix) => {
                    let before = self.entries.len();
                    self.entries
                        .retain(|key, _| !key.starts_with(prefix.as_str()));
                    changed |= self.entries.len() < before;
                }
            }
        }
        if changed {
            self.revision = revision;
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "a/x",
        "a/y",
        "a/é",
        "a0",
        "b",
        "b/\u{10ffff}",
        "ü",
    ])
    .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![vec![], vec![0], b"one".to_vec(), vec![255; 3000]])
}

fn step() -> impl Strategy<Value = Step> {
    let check = prop_oneof![
        Just(Check::Absent),
        Just(Check::Present),
        (0u64..3).prop_map(Check::Modified),
        value().prop_map(Check::Value),
    ];
    let edit = prop_oneof![
        4 => (key(), value()).prop_map(|(key, value)| Edit::Put(key, value)),
        2 => key().prop_map(Edit::Delete),
        1 => prop::sample::select(vec!["a/", "b", "z"]).prop_map(|p| Edit::DeletePrefix(p.into())),
    ];
    let checks = prop::collection::vec((key(), check), 0..2);
    prop_oneof![
        20 => (checks, prop::collection::vec(edit, 0..4)).prop_map(|(c, e)| Step::Txn(c, e)),
        4 => (prop::sample::select(vec!["", "a", "a/", "b/"]), 1usize..4)
            .prop_map(|(prefix, limit)| Step::List(prefix.into(), limit)),
        1 => Just(Step::Reopen),
    ]
}

fn condition(check: Check, newest: u64) -> Condition {
    match check {
        Check::Absent => Condition::Absent,
        Check::Present => Condition::Present,
        Check::Modified(ago) => Condition::ModRevision(newest.saturating_sub(ago)),
        Check::Value(value) => Condition::Value(value),
    }
}

/// Runs a transaction on both and compares what they say.
fn run_txn(store: &Store, model: &mut Model, checks: Vec<(String, Check)>, edits: &[Edit]) {
    let mut txn = Txn::new();
    let mut failing = Vec::new();
    for (index, (key, check)) in checks.into_iter().enumerate() {
        let condition = condition(check, model.revision);
        if !model.holds(&key, &condition) {
            failing.push((index, model.entries.get(&key).map(|entry| entry.2)));
        }
        txn = txn.when(key, condition);
    }
    for edit in edits {
        txn = match edit {
            Edit::Put(key, value) => txn.put(key.clone(), value.clone()),
            Edit::Delete(key) => txn.delete(key.clone()),
            Edit::DeletePrefix(prefix) => txn.delete_prefix(prefix.clone()),
        };
    }
    match store.txn_blocking(txn) {
        // The same key twice: refused, nothing done.
        Err(store::StoreError::ChangedTwice { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(TxnOutcome::Failed(failed)) => {
            let failed: Vec<_> = failed.into_iter().map(|f| (f.index, f.found)).collect();
            assert_eq!(failed, failing);
        }
        Ok(TxnOutcome::Committed { revision }) => {
            assert!(failing.is_empty(), "applied in spite of {failing:?}");
            model.apply(edits);
            assert_eq!(revision, model.revision);
        }
    }
    assert_eq!(store.revision(), model.revision);
}

/// Lists page by page and compares with the model.
fn run_list(store: &Store, model: &Model, prefix: &str, limit: usize) {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let options = ListOptions {
            limit: Some(limit),
            after,
            keys_only: false,
        };
        let page = store.list_blocking(prefix, options).unwrap();
        assert_eq!(page.revision, model.revision);
        assert!(page.items.len() <= limit);
        found.extend(page.items.into_iter().map(|item| {
            (
                item.key.to_string(),
                (item.value.to_vec(), item.create_revision, item.mod_revision),
            )
        }));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let wanted: Vec<_> = model
        .entries
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .map(|(key, entry)| (key.clone(), entry.clone()))
        .collect();
    assert_eq!(found, wanted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec(step(), 1..40)) {
        let (_directory, path, mut store) = fresh();
        let mut model = Model::default();
        // What a watch of everything makes of the changes must be the map.
        let mut watch = store.watch("", 1).unwrap();
        let mut mirror: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut seen = 0;
        for step in steps {
            match step {
                Step::Txn(checks, edits) => run_txn(&store, &mut model, checks, &edits),
                Step::List(prefix, limit) => run_list(&store, &model, &prefix, limit),
                Step::Reopen => {
                    drop(store);
                    store = Store::open_sqlite(&path).unwrap();
                    watch = store.watch("", model.revision + 1).unwrap();
                }
            }
            for change in watch.ready().unwrap() {
                prop_assert!(change.revision() >= seen);
                seen = change.revision();
                match change {
                    Change::Put(entry) => {
                        mirror.insert(entry.key.to_string(), entry.value.to_vec());
                    }
                    Change::Delete { key, .. } => {
                        prop_assert!(mirror.remove(&*key).is_some());
                    }
                }
            }
            let held: BTreeMap<_, _> =
                model.entries.iter().map(|(k, entry)| (k.clone(), entry.0.clone())).collect();
            prop_assert_eq!(&mirror, &held);
        }
        run_list(&store, &model, "", 3);
    }
}
