//! Watches: what they deliver, resume from and admit to have missed.

use store::{Change, StoreError, Txn};

use crate::fresh;

fn summary(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            Change::Put(entry) => {
                format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value))
            }
            Change::Delete { key, .. } => format!("{key} gone"),
        })
        .collect()
}

#[tokio::test]
async fn delivers_what_happens_below_its_prefix() {
    let (_directory, _, store) = fresh();
    let mut watch = store.watch("d/", 1).unwrap();
    store.put("other", "0").await.unwrap();
    store
        .txn(Txn::new().put("d/a", "1").put("e", "2"))
        .await
        .unwrap();
    store.delete("d/a").await.unwrap();
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(watch.next().await.unwrap());
    }
    assert_eq!(summary(&got), ["d/a=1", "d/a gone"]);
    assert_eq!(got[1].revision(), 3);
    assert!(watch.ready().unwrap().is_empty());
}

#[tokio::test]
async fn wakes_for_a_change_made_while_it_waits() {
    let (_directory, _, store) = fresh();
    let mut watch = store.watch("", 1).unwrap();
    let waiting = tokio::spawn(async move { watch.next().await });
    store.put("a", "1").await.unwrap();
    assert_eq!(summary(&waiting.await.unwrap().unwrap()), ["a=1"]);
}

#[tokio::test]
async fn resumes_from_a_revision() {
    let (_directory, _, store) = fresh();
    for n in 1..=5 {
        store.put("k", n.to_string()).await.unwrap();
    }
    let mut watch = store.watch("", 4).unwrap();
    assert_eq!(summary(&watch.next().await.unwrap()), ["k=4", "k=5"]);
}

#[tokio::test]
async fn says_so_when_the_history_is_gone() {
    let (_directory, path, store) = fresh();
    let mut slow = store.watch("", 1).unwrap();
    let big = vec![0; store::limits::WATCH_HISTORY_MAX_BYTES / 2];
    for _ in 0..3 {
        store.put("big", big.clone()).await.unwrap();
    }
    assert!(matches!(
        slow.next().await,
        Err(StoreError::Compacted { requested: 1, .. })
    ));

    drop(store);
    assert!(matches!(slow.next().await, Err(StoreError::Closed)));
    let store = store::Store::open_sqlite(&path).unwrap();
    let mut watch = store.watch("", 2).unwrap();
    assert!(matches!(
        watch.next().await,
        Err(StoreError::Compacted {
            requested: 2,
            oldest: 4
        })
    ));
}

#[tokio::test]
async fn a_watch_ends_with_its_store() {
    let (_directory, _, store) = fresh();
    let mut watch = store.watch("", 1).unwrap();
    let waiting = tokio::spawn(async move { watch.next().await });
    drop(store);
    assert!(matches!(waiting.await.unwrap(), Err(StoreError::Closed)));
}
