//! Reads a protocol table.

/// One program: its number, version, structures and procedures.
pub(crate) struct Table {
    pub(crate) program: String,
    pub(crate) version: String,
    pub(crate) structs: Vec<Struct>,
    pub(crate) procedures: Vec<Procedure>,
}

pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Procedure {
    pub(crate) number: i32,
    /// Upper-case, as libvirt writes it: `DOMAIN_LOOKUP_BY_NAME`.
    pub(crate) name: String,
    pub(crate) high_priority: bool,
    /// Refused on a read-only connection.
    pub(crate) writes: bool,
    pub(crate) stream: Option<String>,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Call { args: Vec<Field>, ret: Vec<Field> },
    Event(Vec<Field>),
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// How a field travels.
pub(crate) enum Kind {
    /// A scalar, string or structure: the type itself knows how.
    Plain(String),
    /// A pointer that may be null.
    Nullable(String),
    /// At most so many of them.
    List(String, usize),
    Opaque(usize),
    Chars(usize),
    FixedChars(usize),
}

impl Table {
    pub(crate) fn parse(text: &str) -> Result<Table, String> {
        let mut table = Table {
            program: String::new(),
            version: String::new(),
            structs: Vec::new(),
            procedures: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            table
                .line(line)
                .map_err(|e| format!("{}: {e}", index + 1))?;
        }
        match table.program.is_empty() {
            true => Err("1: no program line".to_string()),
            false => Ok(table),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (head, lists) = line.split_once('(').unwrap_or((line, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        match words.as_slice() {
            ["program", number, version] => {
                self.program = number.to_string();
                self.version = version.to_string();
            }
            ["struct", name] => self.structs.push(Struct {
                name: name.to_string(),
                fields: fields(lists.trim_end_matches(')'))?,
            }),
            ["call", number, name, priority, attributes @ ..] => {
                let (args, ret) = lists
                    .split_once(") -> (")
                    .ok_or("a call needs (ARGUMENTS) -> (RESULTS)")?;
                let body = Body::Call {
                    args: fields(args)?,
                    ret: fields(ret.trim_end_matches(')'))?,
                };
                self.procedure(number, name, priority, attributes, body)?;
            }
            ["event", number, name, priority] => {
                let body = Body::Event(fields(lists.trim_end_matches(')'))?);
                self.procedure(number, name, priority, &[], body)?;
            }
            _ => return Err(format!("not understood: {line}")),
        }
        Ok(())
    }

    fn procedure(
        &mut self,
        number: &str,
        name: &str,
        priority: &str,
        attributes: &[&str],
        body: Body,
    ) -> Result<(), String> {
        let mut procedure = Procedure {
            number: number
                .parse()
                .map_err(|_| format!("not a number: {number}"))?,
            name: name.to_string(),
            high_priority: match priority {
                "high" => true,
                "low" => false,
                other => return Err(format!("priority is high or low, not {other}")),
            },
            writes: false,
            stream: None,
            body,
        };
        for attribute in attributes {
            match attribute.split_once('=') {
                Some(("stream", direction)) => procedure.stream = Some(direction.to_string()),
                None if *attribute == "write" => procedure.writes = true,
                _ => return Err(format!("unknown attribute {attribute}")),
            }
        }
        if procedure.number as usize != self.procedures.len() + 1 {
            return Err(format!("procedure {number} is out of order"));
        }
        self.procedures.push(procedure);
        Ok(())
    }
}

fn fields(text: &str) -> Result<Vec<Field>, String> {
    text.split(", ")
        .filter(|field| !field.is_empty())
        .map(|field| {
            let (name, kind) = field
                .split_once(": ")
                .ok_or_else(|| format!("a field is NAME: TYPE, not {field}"))?;
            Ok(Field {
                name: name.to_string(),
                kind: kind_of(kind)?,
            })
        })
        .collect()
}

fn kind_of(text: &str) -> Result<Kind, String> {
    if let Some(inner) = text.strip_suffix('?') {
        return Ok(Kind::Nullable(rust_type(inner)));
    }
    if let Some(length) = text.strip_prefix("chars[") {
        return Ok(Kind::FixedChars(number(length.trim_end_matches(']'))?));
    }
    match text.split_once('<') {
        None => Ok(Kind::Plain(rust_type(text))),
        Some((element, limit)) => {
            let limit = number(limit.trim_end_matches('>'))?;
            Ok(match element {
                "opaque" => Kind::Opaque(limit),
                "chars" => Kind::Chars(limit),
                _ => Kind::List(rust_type(element), limit),
            })
        }
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("not a limit: {text}"))
}

fn rust_type(word: &str) -> String {
    match word {
        "string" => "String",
        "uuid" => "[u8; 16]",
        other => other,
    }
    .to_string()
}
