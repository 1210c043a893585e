//! A secret's value: something that is handed on and never shown.

use std::fmt;
use std::sync::Arc;

/// The bytes of a secret. Neither a log nor an error can show them.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<[u8]>);

impl SecretValue {
    /// A value.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Its bytes, for whoever needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_shown() {
        let shown = format!("{:?}", SecretValue::new(b"hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
