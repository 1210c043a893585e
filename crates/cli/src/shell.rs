//! `stead shell`: verbs typed at a prompt, with history and completion.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::rc::Rc;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Context, Editor, Helper, Highlighter, Hinter, Validator};

use crate::args::Args;
use crate::candidates::{Candidates, candidates};
use crate::session::Session;
use crate::{offered, parse, words};

/// Lines the history keeps.
const HISTORY_LINES_MAX: usize = 500;

/// Reads and runs lines until `quit` or the end of the input.
pub(crate) fn run(mut session: Session) -> Session {
    let interactive = std::io::stdin().is_terminal();
    session.at_prompt = true;
    let session = Rc::new(RefCell::new(session));
    if interactive {
        greet(&mut session.borrow_mut());
    }
    let history = history_file();
    if let Ok(mut editor) = editor(Rc::clone(&session)) {
        if let Some(path) = &history {
            _ = editor.load_history(path);
        }
        read_lines(&mut editor, &session);
        if let Some(path) = history.filter(|_| interactive) {
            _ = path.parent().map(std::fs::create_dir_all);
            _ = editor.save_history(&path);
        }
    }
    // The editor is gone, and with it the other owner.
    match Rc::try_unwrap(session) {
        Ok(session) => session.into_inner(),
        Err(shared) => shared.borrow_mut().take(),
    }
}

type ShellEditor = Editor<ShellHelper, DefaultHistory>;

fn editor(session: Rc<RefCell<Session>>) -> rustyline::Result<ShellEditor> {
    let config = rustyline::Config::builder()
        .max_history_size(HISTORY_LINES_MAX)?
        .history_ignore_space(true)
        .completion_type(rustyline::CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(ShellHelper {
        session,
        files: FilenameCompleter::new(),
    }));
    Ok(editor)
}

fn greet(s: &mut Session) {
    s.out.extra(format_args!(
        "Welcome to stead, the virtualization interactive terminal.\n\n\
         Type:  'help' for help with commands\n       'quit' to quit\n\n"
    ));
    s.out.flush();
}

fn read_lines(editor: &mut ShellEditor, session: &RefCell<Session>) {
    loop {
        let readonly = session.borrow().globals.readonly;
        let line = match editor.readline(if readonly { "stead > " } else { "stead # " }) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(_) => return,
        };
        if line.trim().is_empty() {
            continue;
        }
        _ = editor.add_history_entry(&line);
        let mut s = session.borrow_mut();
        match parse::line(&line) {
            Ok(commands) => _ = s.run(commands),
            Err(message) => s.out.error(&message),
        }
        if s.quit || s.out.broken() {
            return;
        }
    }
}

/// `$XDG_CACHE_HOME/stead/history`.
fn history_file() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|d| !d.is_empty())
        .map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Some(cache?.join("stead/history"))
}

#[derive(Helper, Highlighter, Hinter, Validator)]
struct ShellHelper {
    session: Rc<RefCell<Session>>,
    files: FilenameCompleter,
}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let line = &line[..at];
        let start = line.rfind([' ', '\t', ';']).map_or(0, |i| i + 1);
        let words = last_command(line);
        let names = |what, args: &Args| match self.session.try_borrow_mut() {
            Ok(mut s) => offered::names(&mut s, what, args),
            Err(_) => Vec::new(),
        };
        match candidates(&words, names) {
            Candidates::Files => self.files.complete(line, at, context),
            Candidates::Words(all) => {
                let pair = |word: String| Pair {
                    replacement: format!("{word} "),
                    display: word,
                };
                Ok((start, all.into_iter().map(pair).collect()))
            }
        }
    }
}

/// The words of the command being typed, the last of them unfinished or empty.
fn last_command(line: &str) -> Vec<String> {
    let tokens = words::split(line).unwrap_or_default();
    let mut words: Vec<String> = tokens
        .rsplit(|t| *t == words::Token::Semicolon)
        .next()
        .unwrap_or_default()
        .iter()
        .filter_map(|t| match t {
            words::Token::Word(word) => Some(word.clone()),
            words::Token::Semicolon => None,
        })
        .collect();
    if words.is_empty() || line.ends_with([' ', '\t']) {
        words.push(String::new());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::last_command;

    #[test]
    fn only_the_last_command_counts() {
        assert_eq!(last_command("list; start we"), ["start", "we"]);
        assert_eq!(last_command("start "), ["start", ""]);
        assert_eq!(last_command("list;"), [""]);
        assert_eq!(last_command(""), [""]);
    }
}
