//! What a verb prints: plain text, tables and pairs, each also as JSON or YAML.

use std::io::{IsTerminal, Write};

use serde_json::{Map, Value};

/// How rows and pairs are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// As virsh prints them.
    #[default]
    Table,
    /// A JSON document.
    Json,
    /// A YAML document.
    Yaml,
}

impl Format {
    /// The names `--format` takes.
    pub(crate) const NAMES: &'static [&'static str] = &["table", "json", "yaml"];

    /// Parses `--format`'s value.
    ///
    /// # Errors
    /// A message that names the formats there are.
    pub(crate) fn parse(name: &str) -> Result<Format, String> {
        match name {
            "table" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            "yaml" => Ok(Format::Yaml),
            other => Err(format!("unknown format '{other}': use table, json or yaml")),
        }
    }
}

/// Standard output and error of the commands.
pub(crate) struct Output {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// No headings and no blank line after a command.
    pub quiet: bool,
    /// How rows are printed.
    pub format: Format,
    /// Whether the verb may print rows and values: it says in the table that it takes `--format`.
    pub tabular: bool,
    /// Whether states are coloured.
    pub colour: bool,
    broken: bool,
    log: Option<std::fs::File>,
    facts: Facts,
}

/// What a verb said line by line, kept until it ends when the format is not text.
#[derive(Default)]
struct Facts {
    records: Vec<Map<String, Value>>,
    /// Whether there may be any number of records: then they are printed as a list.
    many: bool,
}

impl Output {
    /// The process's own output. Colours appear on a terminal only, and not if
    /// `NO_COLOR` is set.
    pub(crate) fn of_process() -> Output {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let colour = std::io::stdout().is_terminal() && !no_color;
        let out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout());
        Output {
            colour,
            ..Output::to(Box::new(out), Box::new(std::io::stderr()))
        }
    }

    /// Output into the given writers.
    pub(crate) fn to(out: Box<dyn Write>, err: Box<dyn Write>) -> Output {
        let format = Format::default();
        Output {
            out,
            err,
            quiet: false,
            format,
            tabular: false,
            colour: false,
            broken: false,
            log: None,
            facts: Facts::default(),
        }
    }

    fn write(&mut self, text: &[u8]) {
        self.broken |= self.out.write_all(text).is_err();
    }

    /// Prints `text` as it is: for people only.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        debug_assert!(
            self.is_text() || text.is_empty(),
            "words among what programs read"
        );
        self.write(text);
    }

    /// Prints formatted text: for people only.
    pub(crate) fn args(&mut self, args: std::fmt::Arguments<'_>) {
        debug_assert!(self.is_text(), "words among what programs read");
        self.broken |= self.out.write_fmt(args).is_err();
    }

    /// Whether a person reads.
    pub(crate) fn is_text(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints a line that tells one value; in the other formats, keeps `value` under `label`.
    pub(crate) fn fact(
        &mut self,
        label: &str,
        value: impl Into<Value>,
        line: std::fmt::Arguments<'_>,
    ) {
        self.told(label, value, line);
        if self.is_text() {
            self.text("\n");
        }
    }

    /// As [`Output::fact`], the line without its end.
    pub(crate) fn told(
        &mut self,
        label: &str,
        value: impl Into<Value>,
        line: std::fmt::Arguments<'_>,
    ) {
        debug_assert!(self.tabular, "the verb does not say that it takes --format");
        if self.is_text() {
            return self.args(line);
        }
        self.one_record();
        if let Some(record) = self.facts.records.last_mut() {
            record.insert(key(label), value.into());
        }
    }

    /// Says that the facts to come belong to one more of a list of things.
    pub(crate) fn next_record(&mut self) {
        self.many_records();
        self.facts.records.push(Map::new());
    }

    /// Prints a name a line; in the other formats, a list of records that hold one `label` each.
    pub(crate) fn names(
        &mut self,
        label: &str,
        names: impl IntoIterator<Item = impl Into<Value> + std::fmt::Display>,
    ) {
        self.many_records();
        for name in names {
            self.next_record();
            let shown = name.to_string();
            self.fact(label, name, format_args!("{shown}"));
        }
    }

    /// Says that there is a record, if only an empty one.
    pub(crate) fn one_record(&mut self) {
        if self.facts.records.is_empty() {
            self.facts.records.push(Map::new());
        }
    }

    /// Says that any number of records may come, none of them too.
    pub(crate) fn many_records(&mut self) {
        self.facts.many = true;
    }

    /// Prints the facts of a verb that ended.
    pub(crate) fn print_facts(&mut self) {
        let facts = std::mem::take(&mut self.facts);
        let mut records = facts.records.into_iter().map(Value::Object);
        match (facts.many, self.format) {
            (_, Format::Table) => {}
            (true, _) => self.document(&records.collect()),
            (false, _) => {
                if let Some(record) = records.next() {
                    self.document(&record);
                }
            }
        }
    }

    /// Prints what `--quiet` leaves out, and what is nothing to a program.
    pub(crate) fn extra(&mut self, text: std::fmt::Arguments<'_>) {
        if !self.quiet && self.is_text() {
            self.args(text);
        }
    }

    /// Prints `error: LINE` on standard error.
    pub(crate) fn error(&mut self, line: &str) {
        self.flush();
        self.broken |= writeln!(self.err, "error: {line}").is_err();
        if let Some(log) = &mut self.log {
            let now = jiff::Zoned::now();
            let (when, who) = (now.strftime("%Y.%m.%d %H:%M:%S"), std::process::id());
            // A full disk must not stop the command.
            _ = writeln!(log, "[{when} stead {who}] ERROR {line}");
        }
    }

    /// Also appends errors to a file.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn log_to(&mut self, path: &str) -> std::io::Result<()> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        self.log = Some(file);
        Ok(())
    }

    /// Prints a line on standard error as it is.
    pub(crate) fn note(&mut self, line: &str) {
        self.flush();
        self.broken |= writeln!(self.err, "{line}").is_err();
    }

    /// Hands everything to the system.
    pub(crate) fn flush(&mut self) {
        self.broken |= self.out.flush().is_err();
    }

    /// Whether the reader has gone (a closed pipe).
    pub(crate) fn broken(&self) -> bool {
        self.broken
    }

    /// Prints rows below their headings.
    pub(crate) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        debug_assert!(self.tabular, "the verb does not say that it takes --format");
        match self.format {
            Format::Table => {
                let drawn = crate::textable::draw(header, rows, self.quiet);
                let drawn = if self.colour {
                    colour_states(&drawn)
                } else {
                    drawn
                };
                self.text(drawn);
            }
            _ => {
                let rows = rows
                    .iter()
                    .map(|row| object(header.iter().copied().zip(row)));
                self.document(&Value::Array(rows.collect()));
            }
        }
    }

    /// Prints labelled values one a line, the values from column `width` on.
    pub(crate) fn pairs(&mut self, width: usize, pairs: &[(&str, String)]) {
        debug_assert!(self.tabular, "the verb does not say that it takes --format");
        if self.format != Format::Table {
            let all = object(pairs.iter().map(|(label, value)| (*label, value)));
            return self.document(&all);
        }
        for (label, value) in pairs {
            let line = format!("{label:<width$} {value}\n");
            let line = if self.colour {
                colour_states(&line)
            } else {
                line
            };
            self.text(line);
        }
    }

    /// Prints a document in the format asked for.
    pub(crate) fn document(&mut self, value: &Value) {
        let text = match self.format {
            Format::Yaml => serde_norway::to_string(value).unwrap_or_default(),
            _ => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
        };
        self.write(text.as_bytes());
    }

    /// Prints one document of a row of them that has no end: a line each as JSON.
    pub(crate) fn one_of_many(&mut self, value: &Value) {
        let text = match self.format {
            Format::Yaml => {
                "---\n".to_owned() + &serde_norway::to_string(value).unwrap_or_default()
            }
            _ => format!("{value}\n"),
        };
        self.write(text.as_bytes());
    }
}

/// An object from headings and cells; repeated headings become a list.
fn object<'a>(cells: impl Iterator<Item = (&'a str, &'a String)>) -> Value {
    let mut map = Map::new();
    let mut last = String::new();
    for (label, text) in cells {
        let key = if label.is_empty() {
            last.clone()
        } else {
            key(label)
        };
        let value = scalar(text);
        match map.get_mut(&key) {
            None => _ = map.insert(key.clone(), value),
            Some(Value::Array(all)) => all.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
        last = key;
    }
    Value::Object(map)
}

/// A heading as a key: `CPU(s):` becomes `cpus`, `MAC address` `mac_address`.
fn key(label: &str) -> String {
    let kept = label.chars().filter(|c| !matches!(c, ':' | '(' | ')'));
    kept.map(|c| {
        if c == ' ' || c == '-' {
            '_'
        } else {
            c.to_ascii_lowercase()
        }
    })
    .collect()
}

/// A cell as a value: numbers as numbers, `-` as null.
fn scalar(text: &str) -> Value {
    match text {
        "-" => Value::Null,
        _ => match text.parse::<i64>() {
            Ok(n) if n.to_string() == text => n.into(),
            _ => text.into(),
        },
    }
}

/// Colours the words for a domain's state where they end a line.
fn colour_states(text: &str) -> String {
    const STATES: [(&str, &str); 5] = [
        ("running", "\x1b[32m"),
        ("paused", "\x1b[33m"),
        ("shut off", "\x1b[90m"),
        ("saved", "\x1b[36m"),
        ("crashed", "\x1b[31m"),
    ];
    let paint = |line: &str| {
        for (state, colour) in STATES {
            let before = line.strip_suffix(state);
            if let Some(before) = before.filter(|b| b.ends_with("  ")) {
                return format!("{before}{colour}{state}\x1b[0m\n");
            }
        }
        format!("{line}\n")
    };
    text.lines().map(paint).collect()
}

/// Prints formatted text to a session's output.
macro_rules! say {
    ($s:expr, $($arg:tt)*) => { $s.out.args(format_args!($($arg)*)) };
}
/// Prints a formatted line to a session's output.
macro_rules! sayln {
    ($s:expr) => { $s.out.text("\n") };
    ($s:expr, $($arg:tt)*) => {{ $s.out.args(format_args!($($arg)*)); $s.out.text("\n") }};
}
/// Prints formatted text that `--quiet` leaves out.
macro_rules! extra {
    ($s:expr, $($arg:tt)*) => { $s.out.extra(format_args!($($arg)*)) };
}
/// Prints one value without an end of line: `told!(session, label, value, "text", …)`; see [`Output::told`].
macro_rules! told {
    ($s:expr, $label:expr, $value:expr, $($arg:tt)*) => { $s.out.told($label, $value, format_args!($($arg)*)) };
}
/// Prints a line that tells one value: `fact!(session, label, value, "line", …)`; see [`Output::fact`].
macro_rules! fact {
    ($s:expr, $label:expr, $value:expr, $($arg:tt)*) => { $s.out.fact($label, $value, format_args!($($arg)*)) };
}
pub(crate) use {extra, fact, say, sayln, told};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_become_values() {
        let cells = [
            ("Id:", "-"),
            ("CPU(s):", "2"),
            ("Messages:", "a"),
            ("", "b"),
            ("V", "007"),
        ];
        let cells: Vec<_> = cells.map(|(k, v)| (k, v.to_owned())).into();
        let all = object(cells.iter().map(|(k, v)| (*k, v)));
        let want = serde_json::json!({"id": null, "cpus": 2, "messages": ["a", "b"], "v": "007"});
        assert_eq!(all, want);
    }

    #[test]
    fn only_a_state_at_the_end_of_a_line_is_coloured() {
        let line = " 1    running   running\n";
        assert_eq!(
            colour_states(line),
            " 1    running   \x1b[32mrunning\x1b[0m\n"
        );
        assert_eq!(
            colour_states("Name:   prerunning\n"),
            "Name:   prerunning\n"
        );
    }
}
