//! A command to QEMU (or, with the same shape, to the guest agent) that knows its reply's type.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;

/// A reply that says nothing but that the command succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Done {}

/// QEMU answered with something other than what the command's reply should be.
#[derive(Debug, Error)]
#[error("the reply to '{command}' could not be understood: {cause}")]
pub struct ReplyError {
    /// The command that was answered.
    pub command: String,
    /// What is wrong with the reply.
    #[source]
    pub cause: serde_json::Error,
}

/// A command with its arguments; `R` is what its reply is read as.
#[derive(Debug, PartialEq)]
pub struct Command<R = Value> {
    name: Cow<'static, str>,
    arguments: Map<String, Value>,
    reply: PhantomData<fn() -> R>,
}

/// A command can be copied whatever its reply is read as.
impl<R> Clone for Command<R> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            reply: PhantomData,
        }
    }
}

impl<R> Command<R> {
    /// A command without arguments.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            arguments: Map::new(),
            reply: PhantomData,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(key.to_owned(), value.into());
        self
    }

    /// Adds an argument where there is a value.
    #[must_use]
    pub fn maybe(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.arg(key, value),
            None => self,
        }
    }

    /// Takes all of an object's members as arguments.
    #[must_use]
    pub fn args(mut self, arguments: Map<String, Value>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    /// The command's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments.
    #[must_use]
    pub fn arguments(&self) -> &Map<String, Value> {
        &self.arguments
    }

    /// Whether a file descriptor has to be sent along with the command's bytes.
    #[must_use]
    pub fn carries_descriptor(&self) -> bool {
        matches!(self.name(), "getfd" | "add-fd")
    }

    /// The line to send, its end included, numbered so that the reply can be told apart.
    #[must_use]
    pub fn encode(&self, id: u64) -> Vec<u8> {
        let mut object = self.object();
        object.insert("id".to_owned(), id.into());
        line(object)
    }

    /// The line to send where the peer knows no numbers, as the guest agent.
    #[must_use]
    pub fn encode_unnumbered(&self) -> Vec<u8> {
        line(self.object())
    }

    /// The same command with its reply left as it comes.
    #[must_use]
    pub fn untyped(self) -> Command {
        Command {
            name: self.name,
            arguments: self.arguments,
            reply: PhantomData,
        }
    }

    /// The same command, of whose reply only its being one matters.
    #[must_use]
    pub fn without_reply(self) -> Command<Done> {
        Command {
            name: self.name,
            arguments: self.arguments,
            reply: PhantomData,
        }
    }

    fn object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("execute".to_owned(), self.name.as_ref().into());
        if !self.arguments.is_empty() {
            object.insert("arguments".to_owned(), self.arguments.clone().into());
        }
        object
    }
}

impl<R: DeserializeOwned> Command<R> {
    /// Reads the value of a [`Message::Return`](super::Message::Return) as this command's reply.
    ///
    /// # Errors
    /// If the value does not have the reply's shape.
    pub fn parse(&self, value: Value) -> Result<R, ReplyError> {
        serde_json::from_value(value).map_err(|cause| ReplyError {
            command: self.name.to_string(),
            cause,
        })
    }
}

fn line(object: Map<String, Value>) -> Vec<u8> {
    let mut line = Value::Object(object).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_is_one_line() {
        let command = Command::<Done>::new("cont");
        assert_eq!(command.encode(3), b"{\"execute\":\"cont\",\"id\":3}\n");
        let command = Command::<Done>::new("a")
            .arg("text", "x\ny")
            .maybe("no", None::<u64>);
        let line = command.encode_unnumbered();
        assert_eq!(
            line,
            b"{\"arguments\":{\"text\":\"x\\ny\"},\"execute\":\"a\"}\n"
        );
    }

    #[test]
    fn a_reply_is_read_as_the_commands_type() {
        assert_eq!(
            Command::<Done>::new("cont")
                .parse(json!({"more": 1}))
                .unwrap(),
            Done {}
        );
        let error = Command::<Vec<u8>>::new("list")
            .parse(json!({}))
            .unwrap_err();
        assert!(
            error.to_string().starts_with("the reply to 'list'"),
            "{error}"
        );
    }
}
