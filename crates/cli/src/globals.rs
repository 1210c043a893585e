//! The options before the verb: virsh's own, and `--format`.

use crate::output::Format;

/// What stands before the verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Globals {
    /// `-c URI`.
    pub uri: Option<String>,
    /// `-r`: a read-only connection.
    pub readonly: bool,
    /// `-q`.
    pub quiet: bool,
    /// `-t`: say how long each command took.
    pub timing: bool,
    /// `-e`: the byte that leaves a console.
    pub escape: u8,
    /// `-k`: seconds between keepalive messages; 0 for none.
    pub keepalive_interval: Option<u32>,
    /// `-K`: keepalive messages that may go unanswered.
    pub keepalive_count: Option<u32>,
    /// `-l`: a file that errors are appended to.
    pub log: Option<String>,
    /// `--format`.
    pub format: Format,
}

impl Default for Globals {
    fn default() -> Globals {
        Globals {
            uri: None,
            readonly: false,
            quiet: false,
            timing: false,
            escape: ESCAPE_DEFAULT,
            keepalive_interval: None,
            keepalive_count: None,
            log: None,
            format: Format::default(),
        }
    }
}

/// `^]`, telnet's.
const ESCAPE_DEFAULT: u8 = 0x1d;

/// What the options ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Run the words that follow, or the shell if there are none.
    Run(Globals, Vec<String>),
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// `--version=long`.
    LongVersion,
}

/// One option: its letter (or `\0`), its name, whether it takes a value.
pub(crate) struct Global {
    /// The letter, or NUL if it has none.
    pub letter: char,
    /// The name.
    pub name: &'static str,
    /// What the value is called; empty for a flag.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
}

const fn global(
    letter: char,
    name: &'static str,
    value: &'static str,
    help: &'static str,
) -> Global {
    Global {
        letter,
        name,
        value,
        help,
    }
}

/// All options before the verb.
pub(crate) const GLOBALS: &[Global] = &[
    global('c', "connect", "URI", "the daemon to talk to"),
    global('d', "debug", "NUM", "debug level, 0 to 4"),
    global('e', "escape", "CHAR", "the key that leaves a console (^])"),
    global('h', "help", "", "this help"),
    global(
        'k',
        "keepalive-interval",
        "NUM",
        "seconds between keepalive messages, 0 for none",
    ),
    global(
        'K',
        "keepalive-count",
        "NUM",
        "keepalive messages that may go unanswered",
    ),
    global('l', "log", "FILE", "also write errors into a file"),
    global('q', "quiet", "", "no headings, no blank lines"),
    global('r', "readonly", "", "a connection that can change nothing"),
    global('t', "timing", "", "say how long each command took"),
    global(
        'v',
        "version",
        "",
        "the version; --version=long for all of it",
    ),
    global('V', "", "", "the long version"),
    global(
        '\0',
        "format",
        "FORMAT",
        "print rows as table, json or yaml",
    ),
];

/// Parses everything before the verb.
///
/// # Errors
/// The message for the person.
pub(crate) fn parse(argv: &[String]) -> Result<Asked, String> {
    let mut globals = Globals::default();
    let mut words = argv.iter();
    while let Some(word) = words.as_slice().first() {
        if word == "--" {
            words.next();
            break;
        }
        if !word.starts_with('-') || word == "-" {
            break;
        }
        words.next();
        let asked = match word.strip_prefix("--") {
            Some(long) => long_option(&mut globals, word, long, &mut words)?,
            None => letters(&mut globals, &word[1..], &mut words)?,
        };
        if let Some(asked) = asked {
            return Ok(asked);
        }
    }
    Ok(Asked::Run(globals, words.as_slice().to_vec()))
}

fn long_option<'a>(
    globals: &mut Globals,
    word: &str,
    long: &str,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<Option<Asked>, String> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (long, None),
    };
    let unknown = || format!("unsupported option '{word}'. See --help.");
    let option = find_long(name).ok_or_else(unknown)?;
    let value = match value {
        None if !option.value.is_empty() => words.next().cloned(),
        value => value,
    };
    if option.name == "version" && value.as_deref() == Some("long") {
        return Ok(Some(Asked::LongVersion));
    }
    apply(globals, option, value, &format!("--{}", option.name))
}

/// The option by its name, or by a beginning of it that no other shares.
fn find_long(name: &str) -> Option<&'static Global> {
    if name.is_empty() {
        return None;
    }
    let exact = GLOBALS.iter().find(|g| g.name == name);
    let mut like = GLOBALS.iter().filter(|g| g.name.starts_with(name));
    exact.or_else(|| like.next().filter(|_| like.next().is_none()))
}

fn letters<'a>(
    globals: &mut Globals,
    letters: &str,
    words: &mut impl Iterator<Item = &'a String>,
) -> Result<Option<Asked>, String> {
    let mut rest = letters.chars();
    while let Some(letter) = rest.next() {
        let unknown = || format!("unsupported option '-{letter}'. See --help.");
        let option = GLOBALS
            .iter()
            .find(|g| g.letter == letter)
            .ok_or_else(unknown)?;
        if letter == 'V' {
            return Ok(Some(Asked::LongVersion));
        }
        let takes = !option.value.is_empty();
        let value = match rest.as_str() {
            "" if takes => words.next().cloned(),
            glued if takes => Some(glued.to_owned()),
            _ => None,
        };
        let asked = apply(globals, option, value, &format!("-{letter}"))?;
        if asked.is_some() || takes {
            return Ok(asked);
        }
    }
    Ok(None)
}

fn apply(
    globals: &mut Globals,
    option: &Global,
    value: Option<String>,
    shown: &str,
) -> Result<Option<Asked>, String> {
    if !option.value.is_empty() && value.is_none() {
        return Err(match option.letter {
            '\0' => format!("option '--{}' requires an argument", option.name),
            letter => format!(
                "option '-{letter}'/'--{}' requires an argument",
                option.name
            ),
        });
    }
    let value = value.unwrap_or_default();
    match option.name {
        "connect" => globals.uri = Some(value),
        "debug" => {
            value
                .parse::<i32>()
                .map_err(|_| format!("option {shown} takes a numeric argument"))?;
        }
        "escape" => globals.escape = escape(&value)?,
        "help" => return Ok(Some(Asked::Help)),
        "keepalive-interval" => globals.keepalive_interval = Some(positive(&value, shown)?),
        "keepalive-count" => globals.keepalive_count = Some(positive(&value, shown)?),
        "log" => globals.log = Some(value),
        "quiet" => globals.quiet = true,
        "readonly" => globals.readonly = true,
        "timing" => globals.timing = true,
        "version" => return Ok(Some(Asked::Version)),
        "format" => globals.format = Format::parse(&value)?,
        name => unreachable!("option --{name} has no meaning"),
    }
    Ok(None)
}

fn positive(value: &str, shown: &str) -> Result<u32, String> {
    let number: i64 = value
        .parse()
        .map_err(|_| format!("Invalid value for option {shown}"))?;
    if number < 0 {
        return Err(format!(
            "option {shown} requires a positive integer argument"
        ));
    }
    u32::try_from(number).map_err(|_| format!("Invalid value for option {shown}"))
}

/// `^X` as the control character, any other single byte as itself.
fn escape(value: &str) -> Result<u8, String> {
    match value.as_bytes() {
        [b'^', c] if matches!(c.to_ascii_uppercase(), b'@'..=b'_') => {
            Ok(c.to_ascii_uppercase() ^ 0x40)
        }
        [c] if *c != b'^' => Ok(*c),
        _ => Err(format!("Invalid string '{value}' for escape sequence")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Result<(Globals, Vec<String>), String> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        match parse(&words)? {
            Asked::Run(globals, rest) => Ok((globals, rest)),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn options_end_where_the_verb_begins() {
        let (globals, rest) = run(&["-c", "qemu:///system", "-qr", "list", "--all"]).unwrap();
        assert_eq!(globals.uri.as_deref(), Some("qemu:///system"));
        assert!(globals.quiet && globals.readonly && !globals.timing);
        assert_eq!(rest, ["list", "--all"]);
        let (globals, _) = run(&["-cqemu:///session", "--keepalive-i=3"]).unwrap();
        assert_eq!(globals.uri.as_deref(), Some("qemu:///session"));
        assert_eq!(globals.keepalive_interval, Some(3));
        assert_eq!(run(&["--", "-x"]).unwrap().1, ["-x"]);
    }

    #[test]
    fn refusals() {
        let refused = |words: &[&str]| run(words).unwrap_err();
        assert_eq!(refused(&["-x"]), "unsupported option '-x'. See --help.");
        assert_eq!(
            refused(&["--xyz"]),
            "unsupported option '--xyz'. See --help."
        );
        assert_eq!(
            refused(&["-c"]),
            "option '-c'/'--connect' requires an argument"
        );
        assert_eq!(refused(&["-k", "x"]), "Invalid value for option -k");
        assert_eq!(
            refused(&["-e", "^"]),
            "Invalid string '^' for escape sequence"
        );
        assert_eq!(
            refused(&["--format", "xml"]),
            "unknown format 'xml': use table, json or yaml"
        );
    }

    #[test]
    fn escapes() {
        assert_eq!(escape("^]"), Ok(0x1d));
        assert_eq!(escape("^a"), Ok(1));
        assert_eq!(escape("~"), Ok(b'~'));
    }
}
