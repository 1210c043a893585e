//! Leases: what ends with them, and when.

use std::time::Duration;

use store::{Change, Store, StoreError, Txn};

use crate::fresh;

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn takes_its_entries_with_it() {
    let (_directory, _, store) = fresh();
    let mut watch = store.watch("", 1).unwrap();
    let lease = store.lease(SHORT).await.unwrap();
    store
        .txn(Txn::new().put_leased("a", "1", lease).put("b", "2"))
        .await
        .unwrap();
    let mut changes = watch.next().await.unwrap();
    while changes.len() < 3 {
        changes.extend(watch.next().await.unwrap());
    }
    assert_eq!(
        changes[2],
        Change::Delete {
            key: "a".into(),
            revision: 2
        }
    );
    assert!(store.get("b").await.unwrap().is_some());
    assert!(matches!(
        store.keepalive(lease).await,
        Err(StoreError::LeaseUnknown(_))
    ));
}

#[tokio::test]
async fn an_entry_put_again_without_it_stays() {
    let (_directory, _, store) = fresh();
    let lease = store.lease(LONG).await.unwrap();
    store
        .txn(Txn::new().put_leased("a", "1", lease))
        .await
        .unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().lease, Some(lease));
    store.put("a", "2").await.unwrap();
    store.revoke(lease).await.unwrap();
    assert_eq!(&*store.get("a").await.unwrap().unwrap().value, b"2");
}

#[tokio::test]
async fn an_unknown_lease_is_refused_and_nothing_changes() {
    let (_directory, _, store) = fresh();
    let lease = store.lease(LONG).await.unwrap();
    store.revoke(lease).await.unwrap();
    let txn = Txn::new().put("b", "1").put_leased("a", "1", lease);
    assert!(matches!(store.txn(txn).await, Err(StoreError::LeaseUnknown(l)) if l == lease));
    assert_eq!(store.get("b").await.unwrap(), None);
    assert_eq!(store.revision(), 0);
    assert!(store.keepalive(lease).await.is_err());
    assert!(store.revoke(lease).await.is_err());
}

#[tokio::test]
async fn leases_survive_reopening_and_are_never_given_twice() {
    let (_directory, path, store) = fresh();
    let kept = store.lease(LONG).await.unwrap();
    let gone = store.lease(LONG).await.unwrap();
    store
        .txn(Txn::new().put_leased("a", "1", kept))
        .await
        .unwrap();
    store.revoke(gone).await.unwrap();
    drop(store);
    let store = Store::open_sqlite(&path).unwrap();
    store.keepalive(kept).await.unwrap();
    let new = store.lease(LONG).await.unwrap();
    assert!(new != kept && new != gone);
    store.revoke(kept).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn keepalives_hold_it() {
    let (_directory, _, store) = fresh();
    let lease = store.lease(Duration::from_millis(400)).await.unwrap();
    store
        .txn(Txn::new().put_leased("a", "1", lease))
        .await
        .unwrap();
    let mut watch = store.watch("a", 2).unwrap();
    for _ in 0..20 {
        // Longer than the time to live in all, shorter each.
        let ended = tokio::time::timeout(Duration::from_millis(40), watch.next()).await;
        assert!(ended.is_err(), "{ended:?}");
        store.keepalive(lease).await.unwrap();
    }
}
