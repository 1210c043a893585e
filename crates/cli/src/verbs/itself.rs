//! The program itself: help, the shell's directory, echo, the connection.

use crate::absent;
use crate::args::Args;
use crate::candidates::{Candidates, candidates};
use crate::failure::{Failure, Outcome};
use crate::nearest::nearest;
use crate::output::sayln;
use crate::session::Session;
use crate::table::{Completes, Verb, flag, maybe, rest, text};
use crate::{grammar, help, offered, scripts};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("cd", "change the working directory", cd)
        .about("Without a directory: the home directory.")
        .options(&[maybe("dir", "the directory to change to").completes(Completes::File)])
        .offline(),
    Verb::new("echo", "print the arguments", echo)
        .about("Prints its arguments, quoted as asked: a way to test quoting.")
        .options(&[
            flag("shell", "quote for a shell"),
            flag("xml", "escape for XML"),
            flag("split", "print one argument a line"),
            flag("err", "print as an error"),
            crate::table::alias("hi", "string"),
            text("prefix", "print this first"),
            rest("string", "what to print"),
        ])
        .offline(),
    Verb::new("exit", "leave the shell", quit).offline(),
    Verb::new("help", "print help", help)
        .about("Prints all verbs, those of a group, or one verb with its options.")
        .options(&[
            maybe("command", "a verb or the keyword of a group").completes(Completes::Verb),
            maybe("second", "the second word of a verb of two words"),
        ])
        .offline(),
    Verb::new("pwd", "print the working directory", pwd).offline(),
    Verb::new("quit", "leave the shell", quit).offline(),
    Verb::new("connect", "connect to a daemon", connect)
        .about("Connects to another daemon, or again to the same one.")
        .options(&[
            maybe("name", "the URI of the daemon").may_be_empty(),
            flag("readonly", "a connection that can change nothing"),
        ])
        .offline(),
    Verb::new(
        "complete",
        "print what could come next on a command line",
        complete,
    )
    .about("What the completion scripts call.")
    .options(&[rest(
        "words",
        "the words typed so far, the last one unfinished",
    )])
    .offline(),
    Verb::new("completion", "print a completion script", completion)
        .about("Prints the script that completes verbs, options and names in a shell.")
        .options(&[crate::table::arg("shell", "bash, zsh or fish").words(&["bash", "zsh", "fish"])])
        .offline(),
    Verb::new("shell", "type verbs at a prompt", shell)
        .about("Reads verbs from a prompt, with history and completion, until quit.")
        .offline(),
    Verb::new(
        "socket",
        "copy standard input and output to a socket",
        socket,
    )
    .about("What a connection through ssh runs on the far side if netcat is missing.")
    .options(&[crate::table::arg("path", "the socket").completes(Completes::File)])
    .offline(),
    Verb::new("man", "write the man pages", man)
        .about("Writes stead.1 and one page for each verb.")
        .options(
            &[crate::table::arg("dir", "the directory to write to").completes(Completes::File)],
        )
        .offline(),
];

fn cd(_: &mut Session, args: &Args) -> Outcome {
    let dir = match args.text("dir")? {
        Some(dir) => dir.to_owned(),
        None => std::env::var("HOME").unwrap_or_else(|_| "/".to_owned()),
    };
    std::env::set_current_dir(&dir)
        .map_err(|e| Failure::said(format!("cd: {dir}: {}", client::os_message(&e))))
}

fn pwd(s: &mut Session, _: &Args) -> Outcome {
    let dir = std::env::current_dir()
        .map_err(|e| Failure::said(format!("pwd: cannot get current directory: {e}")))?;
    sayln!(s, "{}", dir.display());
    Ok(())
}

fn quit(s: &mut Session, _: &Args) -> Outcome {
    s.quit = true;
    Ok(())
}

fn connect(s: &mut Session, args: &Args) -> Outcome {
    let name = args
        .text("name")?
        .filter(|n| !n.is_empty())
        .map(str::to_owned);
    s.reconnect(name, args.has("readonly"))
}

fn help(s: &mut Session, args: &Args) -> Outcome {
    let Ok(Some(name)) = args.text("command") else {
        s.out.text(help::everything());
        return Ok(());
    };
    let second = args.text("second")?.unwrap_or_default();
    if let Some((verb, _)) = crate::verbs::resolve(&[name, second]) {
        s.out.text(help::verb(verb));
    } else if let Some(family) = help::family(name) {
        s.out.text(family);
    } else if let Some(group) = crate::verbs::find_group(name) {
        s.out.text(help::group(group));
    } else if let Some(refusal) = absent::refusal(name).or_else(|| absent::group_refusal(name)) {
        return Err(Failure::said(refusal));
    } else {
        let said = Failure::said(format!("command or command group '{name}' doesn't exist"));
        let known = crate::verbs::all().map(|verb| verb.name);
        return Err(match nearest(name, known) {
            Some(near) => said.hint(format!("did you mean '{near}'?")),
            None => said,
        });
    }
    Ok(())
}

fn echo(s: &mut Session, args: &Args) -> Outcome {
    let quote = |text: &String| {
        let text = if args.has("xml") {
            crate::element::escape(text)
        } else {
            text.clone()
        };
        if args.has("shell") {
            quote_for_shell(&text)
        } else {
            text
        }
    };
    let words: Vec<String> = args.many("string").iter().map(quote).collect();
    let separator = if args.has("split") { "\n" } else { " " };
    let line = format!(
        "{}{}",
        args.text("prefix")?.unwrap_or(""),
        words.join(separator)
    );
    if args.has("err") {
        s.out.error(&line);
    } else {
        s.out.text(line);
    }
    Ok(())
}

fn quote_for_shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+,-./:=@_^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn completion(s: &mut Session, args: &Args) -> Outcome {
    let script = scripts::completion(args.need("shell")?).map_err(Failure::said)?;
    s.out.text(script);
    Ok(())
}

fn man(_: &mut Session, args: &Args) -> Outcome {
    let dir = args.need("dir")?;
    grammar::write_man_pages(std::path::Path::new(dir))
        .map_err(|e| Failure::said(format!("{dir}: {}", client::os_message(&e))))
}

fn complete(s: &mut Session, args: &Args) -> Outcome {
    let words = args.many("words");
    // The options before the verb choose the daemon whose names are offered.
    let rest = match crate::globals::parse(words) {
        Ok(crate::globals::Asked::Run(globals, rest)) => {
            s.globals = crate::globals::Globals {
                quiet: true,
                ..globals
            };
            rest
        }
        _ => words.to_vec(),
    };
    s.out.quiet = true;
    match candidates(&rest, |what, args| offered::names(s, what, args)) {
        Candidates::Files => sayln!(s, "{}", scripts::FILES_MARK),
        Candidates::Words(all) => all.iter().for_each(|word| sayln!(s, "{word}")),
    }
    Ok(())
}

fn shell(s: &mut Session, _: &Args) -> Outcome {
    let taken = s.take();
    *s = crate::shell::run(taken);
    s.quit = true;
    Ok(())
}

fn socket(_: &mut Session, args: &Args) -> Outcome {
    let path = args.need("path")?;
    client::copy_to_socket(std::path::Path::new(path))
        .map_err(|e| Failure::said(format!("{path}: {}", client::os_message(&e))))
}
