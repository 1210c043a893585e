//! Why a verb failed, and the lines it prints on stderr.

/// What a handler returns.
pub(crate) type Outcome = Result<(), Failure>;

/// A failed verb: what it said itself, then what the server said.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    /// Lines of the verb, each printed after `error: `.
    pub lines: Vec<String>,
    /// The server's or the connection's error, printed last.
    pub cause: Option<client::Error>,
    /// What the person can do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure the verb words itself.
    pub(crate) fn said(line: impl Into<String>) -> Failure {
        Failure {
            lines: vec![line.into()],
            ..Failure::default()
        }
    }

    /// Fails without another word: everything was printed already.
    pub(crate) fn silent() -> Failure {
        Failure::default()
    }

    /// With a hint for the person.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Puts a line before the others.
    pub(crate) fn context(mut self, line: impl Into<String>) -> Failure {
        self.lines.insert(0, line.into());
        self
    }
}

impl From<client::Error> for Failure {
    fn from(cause: client::Error) -> Failure {
        Failure {
            cause: Some(cause),
            ..Failure::default()
        }
    }
}

/// Adds the verb's own line to an error.
pub(crate) trait OrFail<T> {
    /// Says `line` before the cause.
    ///
    /// # Errors
    /// The error with the line before it.
    fn or_fail(self, line: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> OrFail<T> for Result<T, E> {
    fn or_fail(self, line: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|e| e.into().context(line()))
    }
}
