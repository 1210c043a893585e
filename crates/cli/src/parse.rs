//! Words into commands, by virsh's grammar: `--name value`, `--name=value`,
//! bare values for positional options, `--` before values that begin with dashes.

use crate::args::Args;
use crate::nearest::{hint, nearest};
use crate::table::{Kind, Verb};
use crate::verbs;
use crate::words::Token;

/// A command ready to run.
pub(crate) enum Command {
    /// A verb with its options.
    Verb(Args),
    /// `VERB --help`.
    Help(&'static Verb),
}

/// Parses the words of the shell's argument vector: `;` is a word like any other.
///
/// # Errors
/// The message for the person.
pub(crate) fn argv(words: &[String]) -> Result<Vec<Command>, String> {
    let tokens: Vec<Token> = words.iter().cloned().map(Token::Word).collect();
    commands(&tokens)
}

/// Parses one line: several commands, separated by `;`.
///
/// # Errors
/// The message for the person.
pub(crate) fn line(line: &str) -> Result<Vec<Command>, String> {
    commands(&crate::words::split(line)?)
}

fn commands(tokens: &[Token]) -> Result<Vec<Command>, String> {
    let mut all = Vec::new();
    for part in tokens.split(|t| *t == Token::Semicolon) {
        let words: Vec<&str> = part
            .iter()
            .filter_map(|t| match t {
                Token::Word(w) => Some(w.as_str()),
                Token::Semicolon => None,
            })
            .collect();
        match words.split_first() {
            None => {}
            Some((name, _)) if name.starts_with('#') => {}
            Some(_) => all.push(command(&words)?),
        }
    }
    Ok(all)
}

fn command(words: &[&str]) -> Result<Command, String> {
    let (verb, taken) = verbs::resolve(words).ok_or_else(|| unknown(words))?;
    let words = &words[taken..];
    let mut parser = Parser {
        args: Args::new(verb),
        help: false,
        lenient: verb.name == "help",
    };
    parser.words(words)?;
    if parser.help {
        return Ok(Command::Help(verb));
    }
    parser.check_required()?;
    Ok(Command::Verb(parser.args))
}

/// Why there is no such verb: an unfinished family of verbs says what it has.
fn unknown(words: &[&str]) -> String {
    let name = words.first().copied().unwrap_or_default();
    let family: Vec<_> = verbs::family(name).collect();
    if let Some(refusal) = crate::absent::refusal(name) {
        return refusal;
    }
    match (words.get(1), family.is_empty()) {
        (_, true) => {
            let known = verbs::all().map(|verb| verb.name.split(' ').next().unwrap_or_default());
            let near = nearest(name, known).map(str::to_owned);
            format!("unknown command: '{name}'{}", hint(near))
        }
        (None, false) => format!("command '{name}' takes one of: {}", family.join(", ")),
        (Some(second), false) => format!(
            "unknown command: '{name} {second}'; '{name}' takes one of: {}",
            family.join(", ")
        ),
    }
}

struct Parser {
    args: Args,
    help: bool,
    /// `help` ignores options it does not know.
    lenient: bool,
}

impl Parser {
    fn words(&mut self, words: &[&str]) -> Result<(), String> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some("") => return words.try_for_each(|w| self.positional(w)),
                Some(name) => self.named(name, &mut words)?,
                None => self.positional(word)?,
            }
        }
        Ok(())
    }

    fn positional(&mut self, word: &str) -> Result<(), String> {
        match self.args.next_positional() {
            Some(index) => self.args.assign(index, Some(word.to_owned())),
            None if self.lenient => {}
            None => return Err(format!("unexpected data '{word}'")),
        }
        Ok(())
    }

    fn named<'a>(
        &mut self,
        word: &str,
        rest: &mut impl Iterator<Item = &'a &'a str>,
    ) -> Result<(), String> {
        let (name, mut value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        if name == "help" {
            self.help = true;
            return Ok(());
        }
        if name == "format" && self.args.verb.tabular {
            let next = || rest.next().map(|w| (*w).to_owned());
            self.args.format = Some(value.or_else(next).ok_or_else(|| expected("format"))?);
            return Ok(());
        }
        let Some(index) = self.resolve(name, &mut value)? else {
            return Ok(());
        };
        let opt = &self.args.verb.options[index];
        if opt.kind == Kind::Flag {
            if value.is_some() {
                return Err(format!("invalid '=' after option --{}", opt.name));
            }
        } else if value.is_none() {
            value = Some((*rest.next().ok_or_else(|| missing(opt.kind, opt.name))?).to_owned());
        }
        self.args.assign(index, value);
        Ok(())
    }

    /// The option called `name`, aliases followed.
    fn resolve(&self, name: &str, value: &mut Option<String>) -> Result<Option<usize>, String> {
        let verb = self.args.verb;
        let mut name = name;
        for (index, opt) in verb.options.iter().enumerate() {
            if opt.name != name {
                continue;
            }
            if let Kind::Alias(target, stands_for) = opt.kind {
                if let Some(stands_for) = stands_for {
                    if value.is_some() {
                        return Err(format!("invalid '=' after option --{name}"));
                    }
                    *value = Some(stands_for.to_owned());
                }
                name = target;
                continue;
            }
            if self.args.given(index) && !opt.kind.repeats() {
                return Err(format!("option --{name} already seen"));
            }
            return Ok(Some(index));
        }
        if self.lenient {
            return Ok(None);
        }
        let known = crate::help::visible(verb).map(|opt| opt.name);
        let near = nearest(name, known.chain(verb.tabular.then_some("format")));
        Err(format!(
            "command '{}' doesn't support option --{name}{}",
            verb.name,
            hint(near.map(|near| format!("--{near}")))
        ))
    }

    fn check_required(&self) -> Result<(), String> {
        let verb = self.args.verb;
        for (index, opt) in verb.options.iter().enumerate() {
            if opt.required && !self.args.given(index) {
                let shown = match opt.place {
                    crate::table::Place::Positional => format!("<{}>", opt.name),
                    _ => format!("--{}", opt.name),
                };
                return Err(format!("command '{}' requires {shown} option", verb.name));
            }
        }
        Ok(())
    }
}

fn expected(name: &str) -> String {
    missing(Kind::Text, name)
}

fn missing(kind: Kind, name: &str) -> String {
    let what = if kind == Kind::Number {
        "number"
    } else {
        "string"
    };
    format!("expected syntax: --{name} <{what}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Args, String> {
        match line(text)?.pop() {
            Some(Command::Verb(args)) => Ok(args),
            Some(Command::Help(verb)) => Err(format!("help {}", verb.name)),
            None => Err("nothing".into()),
        }
    }

    fn error(text: &str) -> String {
        parse(text)
            .err()
            .unwrap_or_else(|| panic!("{text}: accepted"))
    }

    #[test]
    fn refusals_are_worded_as_virsh_words_them() {
        assert_eq!(error("frobnicate"), "unknown command: 'frobnicate'");
        assert_eq!(
            error("echo --bogus"),
            "command 'echo' doesn't support option --bogus"
        );
        assert_eq!(
            error("ehco a"),
            "unknown command: 'ehco'\nhint: did you mean 'echo'?"
        );
        assert!(error("echo --shel a").ends_with("did you mean '--shell'?"));
        assert_eq!(error("cd a b"), "unexpected data 'b'");
        assert_eq!(error("echo --shell --shell"), "option --shell already seen");
        assert_eq!(error("echo --shell=1"), "invalid '=' after option --shell");
        assert_eq!(error("echo --prefix"), "expected syntax: --prefix <string>");
        assert_eq!(error("echo a --help"), "help echo");
    }

    #[test]
    fn a_verb_may_be_two_words() {
        assert_eq!(parse("job show 1").unwrap().verb.name, "job show");
        assert!(error("job").starts_with("command 'job' takes one of: cancel, "));
        assert!(error("job frob").starts_with("unknown command: 'job frob'; 'job' takes"));
        assert!(error("job show 1 x").starts_with("unexpected data"));
    }

    #[test]
    fn values_come_by_name_by_equals_sign_or_bare() {
        for text in ["cd --dir /x", "cd --dir=/x", "cd /x", "cd -- /x"] {
            assert_eq!(
                parse(text).unwrap().text("dir").unwrap(),
                Some("/x"),
                "{text}"
            );
        }
        assert_eq!(
            parse("echo a -- --b c").unwrap().many("string"),
            ["a", "--b", "c"]
        );
        assert!(parse("cd ''").unwrap().text("dir").is_err());
    }

    #[test]
    fn several_commands_and_comments() {
        assert_eq!(line("echo a; echo b;; # echo c").unwrap().len(), 2);
        assert!(line("").unwrap().is_empty());
    }

    #[test]
    fn help_swallows_what_it_does_not_know() {
        assert_eq!(
            parse("help list --nonsense more")
                .unwrap()
                .text("command")
                .unwrap(),
            Some("list")
        );
    }
}
