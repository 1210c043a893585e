//! A line typed by a person, cut into words the way virsh does it: blanks
//! separate, quotes and backslashes protect, `;` and newlines end a command.

/// One token of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A word.
    Word(String),
    /// The end of one command.
    Semicolon,
}

/// Cuts `line` into tokens.
///
/// # Errors
/// The message virsh prints: a backslash at the end or an open double quote.
pub(crate) fn split(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while let Some(&c) = rest.peek() {
            match c {
                ' ' | '\t' => _ = rest.next(),
                '\\' if rest.clone().nth(1) == Some('\n') => {
                    rest.next();
                    rest.next();
                }
                _ => break,
            }
        }
        match rest.peek() {
            None => return Ok(tokens),
            Some(';' | '\n') => {
                rest.next();
                tokens.push(Token::Semicolon);
            }
            Some('#') => {
                while rest.next().is_some_and(|c| c != '\n') {}
                tokens.push(Token::Semicolon);
            }
            Some(_) => tokens.push(Token::Word(word(&mut rest)?)),
        }
    }
}

fn word(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let (mut single, mut double) = (false, false);
    let mut out = String::new();
    while let Some(&c) = rest.peek() {
        match c {
            ' ' | '\t' | ';' | '\n' if !single && !double => break,
            '\'' if !double => {
                single = !single;
                rest.next();
            }
            '\\' if !single => {
                rest.next();
                match rest.next() {
                    None => return Err("dangling \\".into()),
                    Some('\n') => {}
                    Some(escaped) => out.push(escaped),
                }
            }
            '"' if !single => {
                double = !double;
                rest.next();
            }
            c => {
                rest.next();
                out.push(c);
            }
        }
    }
    if double {
        Err("missing \"".into())
    } else {
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let tokens = split(line).expect(line);
        let show = |t: &Token| match t {
            Token::Word(w) => w.clone(),
            Token::Semicolon => ";".to_owned(),
        };
        tokens.iter().map(show).collect()
    }

    #[test]
    fn blanks_quotes_and_semicolons() {
        assert_eq!(words("list --all"), ["list", "--all"]);
        assert_eq!(words("a;b ; c"), ["a", ";", "b", ";", "c"]);
        assert_eq!(
            words(r#"echo "a b" 'c;d' e\ f"#),
            ["echo", "a b", "c;d", "e f"]
        );
        assert_eq!(
            words(r#"echo '"' "'" '\' "\"""#),
            ["echo", "\"", "'", "\\", "\""]
        );
        assert_eq!(words("a # b ; c\nd"), ["a", ";", "d"]);
        assert_eq!(words("a b#c"), ["a", "b#c"]);
        assert_eq!(words("ab\\\nc"), ["abc"]);
        assert_eq!(words("''"), [""]);
    }

    #[test]
    fn what_is_left_open_is_refused() {
        assert_eq!(split("a\\").unwrap_err(), "dangling \\");
        assert_eq!(split("a \"b").unwrap_err(), "missing \"");
        assert_eq!(words("a 'b"), ["a", "b"]);
    }
}
