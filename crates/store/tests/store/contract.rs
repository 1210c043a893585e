//! Get, list and transactions, case by case.

use store::{Condition, ListOptions, Store, StoreError, Txn, TxnOutcome};

use crate::fresh;

#[tokio::test]
async fn an_entry_remembers_its_revisions() {
    let (_directory, _, store) = fresh();
    assert_eq!(store.revision(), 0);
    assert_eq!(store.put("a", "1").await.unwrap(), 1);
    assert_eq!(store.put("b", "1").await.unwrap(), 2);
    assert_eq!(store.put("a", "2").await.unwrap(), 3);
    let entry = store.get("a").await.unwrap().unwrap();
    assert_eq!((&*entry.key, &*entry.value), ("a", &b"2"[..]));
    assert_eq!((entry.create_revision, entry.mod_revision), (1, 3));

    assert_eq!(store.delete("a").await.unwrap(), 4);
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(
        store.delete("a").await.unwrap(),
        4,
        "nothing changed, so no new revision"
    );
    store.put("a", "3").await.unwrap();
    assert_eq!(store.get_blocking("a").unwrap().unwrap().create_revision, 5);
}

#[tokio::test]
async fn a_transaction_is_applied_whole_or_says_what_failed() {
    let (_directory, _, store) = fresh();
    store.put("head", "1").await.unwrap();
    let txn = Txn::new()
        .when_absent("other")
        .when_unchanged("head", 7)
        .put("x", "1")
        .delete("head");
    let TxnOutcome::Failed(failed) = store.txn(txn).await.unwrap() else {
        panic!("applied")
    };
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (failed[0].index, &*failed[0].key, failed[0].found),
        (1, "head", Some(1))
    );
    assert_eq!(store.get("x").await.unwrap(), None);
    assert_eq!(store.revision(), 1);

    let txn = Txn::new()
        .when_unchanged("head", 1)
        .put("x", "1")
        .delete("head");
    assert_eq!(
        store.txn(txn).await.unwrap(),
        TxnOutcome::Committed { revision: 2 }
    );
    assert_eq!(store.get("x").await.unwrap().unwrap().mod_revision, 2);
    assert_eq!(store.get("head").await.unwrap(), None);
}

#[tokio::test]
async fn every_condition_holds_and_fails() {
    let (_directory, _, store) = fresh();
    store.put("k", "old").await.unwrap();
    store.put("k", "new").await.unwrap();
    let cases = [
        ("k", Condition::Absent, false),
        ("none", Condition::Absent, true),
        ("k", Condition::Present, true),
        ("none", Condition::Present, false),
        ("k", Condition::ModRevision(2), true),
        ("k", Condition::ModRevision(1), false),
        ("none", Condition::ModRevision(0), false),
        ("k", Condition::CreateRevision(1), true),
        ("k", Condition::CreateRevision(2), false),
        ("k", Condition::Value(b"new".to_vec()), true),
        ("k", Condition::Value(b"old".to_vec()), false),
        ("none", Condition::Value(Vec::new()), false),
    ];
    for (key, condition, holds) in cases {
        let outcome = store
            .txn(Txn::new().when(key, condition.clone()))
            .await
            .unwrap();
        assert_eq!(outcome.into_result().is_ok(), holds, "{key} {condition:?}");
    }
}

#[tokio::test]
async fn a_list_comes_in_pages_and_in_order() {
    let (_directory, _, store) = fresh();
    for key in ["d/b", "d/a", "d/c", "d", "d0", "e"] {
        store.put(key, key).await.unwrap();
    }
    let keys = |items: &[store::KeyValue]| -> Vec<String> {
        items.iter().map(|item| item.key.to_string()).collect()
    };
    let limit = |limit| ListOptions {
        limit: Some(limit),
        ..ListOptions::default()
    };
    let first = store.list("d/", limit(2)).await.unwrap();
    assert_eq!(keys(&first.items), ["d/a", "d/b"]);
    assert_eq!((first.revision, first.next.as_deref()), (6, Some("d/b")));
    let options = ListOptions {
        after: first.next,
        ..limit(2)
    };
    let second = store.list("d/", options).await.unwrap();
    assert_eq!(keys(&second.items), ["d/c"]);
    assert_eq!(second.next, None);
    assert_eq!(
        keys(&store.list_all("").await.unwrap().0),
        ["d", "d/a", "d/b", "d/c", "d0", "e"]
    );

    let options = ListOptions {
        keys_only: true,
        ..ListOptions::default()
    };
    let bare = store.list("e", options).await.unwrap();
    assert_eq!(bare.items[0].value.len(), 0);
    assert_eq!(bare.items[0].mod_revision, 6);
}

#[tokio::test]
async fn a_prefix_is_deleted_whole() {
    let (_directory, _, store) = fresh();
    for key in ["d/a", "d/b", "d0"] {
        store.put(key, "").await.unwrap();
    }
    store
        .txn(Txn::new().delete_prefix("d/").put("e", "1"))
        .await
        .unwrap();
    let (left, _) = store.list_all("").await.unwrap();
    assert_eq!(
        left.iter().map(|e| &*e.key).collect::<Vec<_>>(),
        ["d0", "e"]
    );
}

#[tokio::test]
async fn large_and_small_values_replace_each_other_and_nothing_is_left() {
    let (_directory, path, store) = fresh();
    let large = store::limits::SQLITE_INLINE_VALUE_MAX_BYTES + 1;
    for size in [10, large, 0, large - 1, large, 3 * large] {
        store.put("d/a", vec![7; size]).await.unwrap();
        store.put("d/b", vec![8; size]).await.unwrap();
        let entry = store.get("d/a").await.unwrap().unwrap();
        assert_eq!((&*entry.value, entry.create_revision), (&*vec![7; size], 1));
        assert_eq!(store.list_all("d/").await.unwrap().0[1].value.len(), size);
        let same = Condition::Value(vec![7; size]);
        let outcome = store.txn(Txn::new().when("d/a", same)).await.unwrap();
        assert!(outcome.into_result().is_ok());
    }
    store.delete("d/a").await.unwrap();
    store.txn(Txn::new().delete_prefix("d/")).await.unwrap();
    drop(store);
    let database = rusqlite::Connection::open(&path).unwrap();
    let left: i64 = database
        .query_row("SELECT count(*) FROM large", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn works_without_a_runtime() {
    let (_directory, _, store) = fresh();
    store
        .txn_blocking(Txn::new().put("a", "1").put("b", "2"))
        .unwrap();
    let mut seen = Vec::new();
    let revision = store
        .for_each_blocking("", |entry| seen.push(entry.key.to_string()))
        .unwrap();
    assert_eq!((revision, seen), (1, vec!["a".to_owned(), "b".to_owned()]));
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let (_directory, path, store) = fresh();
    store.put("a", "1").await.unwrap();
    store.delete("a").await.unwrap();
    store.put("b", "2").await.unwrap();
    drop(store);
    let store = Store::open_sqlite(&path).unwrap();
    assert_eq!(store.revision(), 3);
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(store.put("c", "3").await.unwrap(), 4);
}

#[tokio::test]
async fn bad_keys_and_sizes_are_refused_before_anything_happens() {
    let (_directory, _, store) = fresh();
    assert!(matches!(
        store.put("/a", "").await,
        Err(StoreError::BadKey { .. })
    ));
    assert!(matches!(
        store.get("").await,
        Err(StoreError::BadKey { .. })
    ));
    let huge = vec![0; store::limits::VALUE_MAX_BYTES + 1];
    assert!(matches!(
        store.put("a", huge).await,
        Err(StoreError::TooLarge { .. })
    ));
    let twice = store.txn(Txn::new().put("a", "1").put("a", "2")).await;
    assert!(matches!(twice, Err(StoreError::ChangedTwice { .. })));
    assert_eq!(store.revision(), 0);
}

#[tokio::test]
async fn many_writers_at_once_each_get_their_own_revision() {
    let (_directory, _, store) = fresh();
    let writers: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.put(&format!("k{n}"), "x").await.unwrap() })
        })
        .collect();
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=200).collect::<Vec<_>>());
}
