//! The options given to one verb, and typed access to them.

use crate::failure::Failure;
use crate::table::{Kind, Opt, Verb};

/// The value of one option.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Value {
    /// Not given.
    #[default]
    Absent,
    /// A flag that was given.
    Set,
    /// One string.
    Text(String),
    /// Several strings.
    Many(Vec<String>),
}

/// A verb's options as given.
pub(crate) struct Args {
    /// The verb.
    pub verb: &'static Verb,
    values: Vec<Value>,
    /// `--format`, for verbs that know it.
    pub format: Option<String>,
}

impl Args {
    /// No option given yet.
    pub(crate) fn new(verb: &'static Verb) -> Args {
        Args {
            verb,
            values: vec![Value::Absent; verb.options.len()],
            format: None,
        }
    }

    /// Records `value` for the option at `index`.
    pub(crate) fn assign(&mut self, index: usize, value: Option<String>) {
        let slot = &mut self.values[index];
        match (self.verb.options[index].kind, value) {
            (kind, Some(value)) if kind.repeats() => match slot {
                Value::Many(all) => all.push(value),
                _ => *slot = Value::Many(vec![value]),
            },
            (Kind::Flag, _) | (_, None) => *slot = Value::Set,
            (_, Some(value)) => *slot = Value::Text(value),
        }
    }

    /// What was given for the option at `index`.
    pub(crate) fn value(&self, index: usize) -> &Value {
        &self.values[index]
    }

    /// Whether the option at `index` was given.
    pub(crate) fn given(&self, index: usize) -> bool {
        self.values[index] != Value::Absent
    }

    /// The first bare argument's option: not yet filled, or taking several.
    pub(crate) fn next_positional(&self) -> Option<usize> {
        let free = |(i, o): &(usize, &Opt)| o.takes_bare() && (!self.given(*i) || o.kind.repeats());
        self.verb
            .options
            .iter()
            .enumerate()
            .find(free)
            .map(|(i, _)| i)
    }

    fn slot(&self, name: &str) -> (&'static Opt, &Value) {
        let index = self.verb.options.iter().position(|o| o.name == name);
        let index =
            index.unwrap_or_else(|| unreachable!("{} has no option {name}", self.verb.name));
        (&self.verb.options[index], &self.values[index])
    }

    /// Whether the option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        *self.slot(name).1 != Value::Absent
    }

    /// The string given.
    ///
    /// # Errors
    /// The empty string, where the option does not take it.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.slot(name) {
            (o, Value::Text(t)) if t.is_empty() && !o.may_be_empty => Err(Failure::said(format!(
                "Failed to get option '{name}': Option argument is empty"
            ))),
            (_, Value::Text(t)) => Ok(Some(t)),
            _ => Ok(None),
        }
    }

    /// The string of a required option.
    ///
    /// # Errors
    /// As [`Args::text`].
    pub(crate) fn need(&self, name: &str) -> Result<&str, Failure> {
        let missing = || format!("Failed to get option '{name}': Mandatory option not present");
        self.text(name)?.ok_or_else(|| Failure::said(missing()))
    }

    /// All strings of an option that takes several.
    pub(crate) fn many(&self, name: &str) -> &[String] {
        match self.slot(name).1 {
            Value::Many(all) => all,
            _ => &[],
        }
    }

    /// An integer that fits `T`.
    ///
    /// # Errors
    /// What is not a decimal integer of that range.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Value::Text(text) = self.slot(name).1 else {
            return Ok(None);
        };
        let digits = text
            .trim_start()
            .strip_prefix('+')
            .unwrap_or(text.trim_start());
        digits
            .parse()
            .map(Some)
            .map_err(|_| self.malformed("Numeric", name, text))
    }

    /// A required integer.
    ///
    /// # Errors
    /// As [`Args::number`].
    pub(crate) fn need_number<T: std::str::FromStr>(&self, name: &str) -> Result<T, Failure> {
        self.need(name)?;
        let missing = || format!("Failed to get option '{name}': Mandatory option not present");
        self.number(name)?.ok_or_else(|| Failure::said(missing()))
    }

    /// A size with a unit (`512`, `2G`, `1GiB`, `5MB`) in bytes; a bare number
    /// counts in `scale` bytes.
    ///
    /// # Errors
    /// What is not a size, or is above `max` bytes.
    pub(crate) fn scaled(&self, name: &str, scale: u64, max: u64) -> Result<Option<u64>, Failure> {
        let Value::Text(text) = self.slot(name).1 else {
            return Ok(None);
        };
        match scaled(text, scale).filter(|bytes| *bytes <= max) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(self.malformed("Scaled numeric", name, text)),
        }
    }

    fn malformed(&self, what: &str, name: &str, text: &str) -> Failure {
        Failure::said(format!(
            "{what} value '{text}' for <{name}> option is malformed or out of range"
        ))
    }

    /// Refuses two options given together.
    ///
    /// # Errors
    /// If both are given.
    pub(crate) fn exclusive(&self, a: &str, b: &str) -> Result<(), Failure> {
        if self.has(a) && self.has(b) {
            return Err(Failure::said(format!(
                "Options --{a} and --{b} are mutually exclusive"
            )));
        }
        Ok(())
    }

    /// Refuses `option` without the one it needs.
    ///
    /// # Errors
    /// If `needed` is missing.
    pub(crate) fn requires(&self, option: &str, needed: &str) -> Result<(), Failure> {
        if self.has(option) && !self.has(needed) {
            return Err(Failure::said(format!(
                "Option --{needed} is required by option --{option}"
            )));
        }
        Ok(())
    }
}

/// Parses a size: digits and a unit of powers of 1024 (`K`, `KiB`) or 1000 (`KB`).
pub(crate) fn scaled(text: &str, scale: u64) -> Option<u64> {
    let text = text.trim_start();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (value, unit) = text.split_at(digits);
    let value: u64 = value.parse().ok()?;
    if unit.is_empty() {
        return value.checked_mul(scale);
    }
    let unit = unit.to_ascii_lowercase();
    if unit == "b" || unit == "byte" || unit == "bytes" {
        return Some(value);
    }
    let mut letters = unit.chars();
    let power = "kmgtpe".find(letters.next()?)?;
    let base: u64 = match letters.as_str() {
        "" | "ib" => 1024,
        "b" => 1000,
        _ => return None,
    };
    value.checked_mul(base.checked_pow(u32::try_from(power).ok()? + 1)?)
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn sizes() {
        assert_eq!(scaled("512", 1024), Some(524_288));
        assert_eq!(scaled("2G", 1024), Some(2 << 30));
        assert_eq!(scaled("2GiB", 1), Some(2 << 30));
        assert_eq!(scaled("5mb", 1), Some(5_000_000));
        assert_eq!(scaled("7b", 1024), Some(7));
        assert_eq!(scaled("7bytes", 1024), Some(7));
        for wrong in [
            "",
            "x",
            "5x",
            "5kibi",
            "-1",
            "99999999999999999999",
            "16e",
            "ééé",
            "1é",
        ] {
            assert_eq!(scaled(wrong, 1), None, "{wrong}");
        }
    }
}
