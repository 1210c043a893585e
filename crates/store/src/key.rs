//! Keys, values with their revisions, and the order of keys.

use std::sync::Arc;

use crate::error::StoreError;
use crate::limits::{KEY_MAX_BYTES, VALUE_MAX_BYTES};

/// The store-wide revision. 0 is the revision of an empty, new store.
pub type Revision = u64;

/// Names a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// One entry of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key: a path without a leading slash.
    pub key: Arc<str>,
    /// The value; empty in a list of keys only.
    pub value: Arc<[u8]>,
    /// Revision at which the key came into being (anew after a delete).
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// The lease that takes the entry with it when it ends.
    pub lease: Option<LeaseId>,
}

/// The first key after all keys that begin with `prefix`; none when the
/// prefix is empty or no such key exists.
pub fn prefix_end(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            char::MAX => continue,
            '\u{d7ff}' => '\u{e000}',
            other => char::from_u32(u32::from(other) + 1).unwrap_or(char::MAX),
        };
        chars.push(next);
        return Some(chars.into_iter().collect());
    }
    None
}

/// Refuses keys that are no paths or beyond their bound.
pub(crate) fn check_key(key: &str) -> Result<(), StoreError> {
    let reason = if key.is_empty() {
        "empty"
    } else if key.len() > KEY_MAX_BYTES {
        "longer than 1024 bytes"
    } else if key.starts_with('/') {
        "begins with a slash"
    } else if key.ends_with('/') {
        "ends with a slash"
    } else if key.contains("//") {
        "has an empty component"
    } else if key.chars().any(char::is_control) {
        "has a control character"
    } else {
        return Ok(());
    };
    Err(bad_key(key, reason))
}

/// Refuses prefixes beyond the bound of a key.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    if prefix.len() > KEY_MAX_BYTES {
        return Err(bad_key(prefix, "longer than 1024 bytes"));
    }
    if prefix.chars().any(char::is_control) {
        return Err(bad_key(prefix, "has a control character"));
    }
    Ok(())
}

/// Refuses values beyond their bound.
pub(crate) fn check_value(key: &str, value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_MAX_BYTES {
        return Err(StoreError::TooLarge {
            what: format!("value of key {key:?}"),
            size: value.len(),
            max: VALUE_MAX_BYTES,
        });
    }
    Ok(())
}

fn bad_key(key: &str, reason: &'static str) -> StoreError {
    StoreError::BadKey {
        key: key.chars().take(80).collect(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_follows_every_key_below_it() {
        assert_eq!(prefix_end("host/a/"), Some("host/a0".into()));
        assert_eq!(prefix_end("a\u{d7ff}"), Some("a\u{e000}".into()));
        assert_eq!(prefix_end("a\u{10ffff}"), Some("b".into()));
        assert_eq!(prefix_end("\u{10ffff}"), None);
        assert_eq!(prefix_end(""), None);
    }

    #[test]
    fn keys_are_clean_paths() {
        assert!(check_key("host/h1/domain/ü/head").is_ok());
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "a\nb",
            &"x".repeat(KEY_MAX_BYTES + 1),
        ] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        assert!(check_key(&"x".repeat(KEY_MAX_BYTES)).is_ok());
    }

    #[test]
    fn values_are_bounded() {
        assert!(check_value("k", &vec![0; VALUE_MAX_BYTES]).is_ok());
        assert!(check_value("k", &vec![0; VALUE_MAX_BYTES + 1]).is_err());
    }
}
