//! Which of QEMU's own events a client wants.

use regex_lite::{Regex, RegexBuilder};

use crate::failure::{Answer, Failure};
use crate::limits::EVENT_PATTERN_MAX_BYTES;

/// The names of events that are wanted.
#[derive(Debug)]
pub(crate) enum EventName {
    /// All.
    Any,
    /// This one.
    Exact(String),
    /// This one, whatever its letters' case.
    AnyCase(String),
    /// Those that a pattern is found in.
    Pattern(Regex),
}

impl EventName {
    /// Patterns of a bounded size.
    pub(crate) fn pattern(text: &str, any_case: bool) -> Answer<EventName> {
        let mut builder = RegexBuilder::new(text);
        builder.case_insensitive(any_case);
        builder.size_limit(EVENT_PATTERN_MAX_BYTES);
        let pattern = builder.build();
        pattern.map(EventName::Pattern).map_err(|error| {
            Failure::invalid_arg(format!("failed to compile regex '{text}': {error}"))
        })
    }

    /// Whether an event of this name is wanted.
    pub(crate) fn matches(&self, event: &str) -> bool {
        match self {
            EventName::Any => true,
            EventName::Exact(name) => name == event,
            EventName::AnyCase(name) => name.eq_ignore_ascii_case(event),
            EventName::Pattern(pattern) => pattern.is_match(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_asked() {
        assert!(EventName::Any.matches("STOP"));
        assert!(!EventName::Exact("stop".into()).matches("STOP"));
        assert!(EventName::AnyCase("stop".into()).matches("STOP"));
        let pattern = EventName::pattern("^(st|re)", true).expect("a pattern");
        assert!(pattern.matches("RESUME") && !pattern.matches("SHUTDOWN"));
        let Failure(error) = EventName::pattern("(", false).expect_err("no pattern");
        assert!(error.text().contains("failed to compile regex '('"));
    }
}
