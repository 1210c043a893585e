//! Writing QEMU's options: JSON objects and comma-separated lists.

use serde_json::{Map, Value};

/// The properties of a device, object or back end, in the order they were set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Props {
    entries: Vec<(String, Value)>,
}

impl Props {
    /// Properties that begin with one: the driver, or the type of object.
    #[must_use]
    pub fn new(key: &str, kind: &str) -> Self {
        Self::default().with(key, kind)
    }

    /// A device of a kind.
    #[must_use]
    pub fn device(driver: &str) -> Self {
        Self::new("driver", driver)
    }

    /// An object of a type with an id.
    #[must_use]
    pub fn object(kind: &str, id: &str) -> Self {
        Self::new("qom-type", kind).with("id", id)
    }

    /// Sets a property, and gives the properties on.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// Sets a property where there is a value, and gives the properties on.
    #[must_use]
    pub fn maybe(mut self, key: &str, value: Option<impl Into<Value>>) -> Self {
        self.set_some(key, value);
        self
    }

    /// Sets a property; an earlier value is replaced.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// Sets a property where there is a value.
    pub fn set_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// The value of a property.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// Removes a property.
    pub fn remove(&mut self, key: &str) {
        self.entries.retain(|(known, _)| known != key);
    }

    /// The JSON text for the command line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let members: Vec<String> = self
            .entries
            .iter()
            .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// The properties as arguments of a QMP command.
    #[must_use]
    pub fn into_map(self) -> Map<String, Value> {
        self.entries.into_iter().collect()
    }
}

impl From<Props> for Value {
    fn from(props: Props) -> Self {
        Self::Object(props.into_map())
    }
}

/// Doubles the commas of a value inside a comma-separated list.
pub(super) fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

/// A comma-separated list of settings.
#[derive(Debug, Default)]
pub(super) struct List {
    text: String,
}

impl List {
    /// A list that begins with a bare word.
    pub(super) fn new(first: &str) -> Self {
        Self {
            text: escape(first),
        }
    }

    /// Appends `key=value`.
    pub(super) fn set(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(key);
        self.text.push('=');
        self.text.push_str(&escape(&value.to_string()));
        self
    }

    /// Appends `key=value` where there is a value.
    pub(super) fn set_some(
        &mut self,
        key: &str,
        value: Option<impl std::fmt::Display>,
    ) -> &mut Self {
        if let Some(value) = value {
            self.set(key, value);
        }
        self
    }

    /// Appends `key=on` or `key=off` where it is said.
    pub(super) fn switch(&mut self, key: &str, on: Option<bool>) -> &mut Self {
        self.set_some(key, on.map(on_off))
    }

    pub(super) fn finish(&self) -> String {
        self.text.clone()
    }
}

/// QEMU's word for a switch.
pub(super) fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn properties_keep_their_order() {
        let mut props = Props::device("e1000")
            .with("id", "net0")
            .maybe("mac", None::<&str>);
        props.set("driver", "e1000e");
        assert_eq!(props.to_json(), r#"{"driver":"e1000e","id":"net0"}"#);
        props.remove("driver");
        assert_eq!(Value::from(props), json!({"id": "net0"}));
    }

    #[test]
    fn json_text_is_escaped() {
        let props = Props::default().with("a\"b", "c\n\"");
        let back: Value = serde_json::from_str(&props.to_json()).unwrap();
        assert_eq!(back, json!({"a\"b": "c\n\""}));
    }

    #[test]
    fn commas_are_doubled() {
        let mut list = List::new("file");
        list.set("path", "/a,b")
            .switch("append", Some(true))
            .set_some("x", None::<u8>);
        assert_eq!(list.finish(), "file,path=/a,,b,append=on");
    }
}
