//! Titles, descriptions and metadata.

use client::wire::errors::ErrorCode;
use client::wire::remote::{self, RemoteDomain};

use crate::args::Args;
use crate::domain::{affect, target};
use crate::edit::{self, Edited, Subject};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, say, sayln};
use crate::session::Session;
use crate::table::{CONFIG, CURRENT, DOMAIN, LIVE, Verb, arg, flag, rest, text};

const DESCRIPTION: i32 = 0;
const TITLE: i32 = 1;
const ELEMENT: i32 = 2;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("desc", "show or set a domain's description or title", desc)
        .about("Without a new text: prints the description, or with --title the title.")
        .options(&[
            DOMAIN,
            LIVE,
            CONFIG,
            CURRENT,
            flag("title", "the title, not the description"),
            flag("edit", "open it in the editor"),
            rest("new-desc", "the new text"),
        ]),
    Verb::new(
        "metadata",
        "show or set a domain's own XML metadata",
        metadata,
    )
    .about("Reads or changes the metadata element of one XML namespace.")
    .options(&[
        DOMAIN,
        arg("uri", "the namespace's URI"),
        LIVE,
        CONFIG,
        CURRENT,
        flag("edit", "open it in the editor"),
        text("key", "the namespace's prefix, for a change").bare(),
        text("set", "the new element").bare(),
        flag("remove", "remove the element"),
    ]),
];

/// A domain's title; empty if it has none.
///
/// # Errors
/// The daemon's.
pub(crate) fn title(s: &mut Session, dom: &RemoteDomain) -> Result<String, Failure> {
    read(s, dom, TITLE, None, 0)
}

fn read(
    s: &mut Session,
    dom: &RemoteDomain,
    kind: i32,
    uri: Option<String>,
    flags: u32,
) -> Result<String, Failure> {
    let got = s.call(&remote::DomainGetMetadataArgs {
        dom: dom.clone(),
        kind,
        uri,
        flags,
    });
    match got {
        Ok(got) => Ok(got.metadata),
        Err(e) if e.is(ErrorCode::NoDomainMetadata) => Ok(String::new()),
        Err(e) => Err(e.into()),
    }
}

/// How a title or description is spoken of.
pub(crate) struct Words<'a> {
    /// `title` or `description`.
    pub noun: &'a str,
    /// What has it, within a sentence and at its start.
    pub of: &'a str,
    /// See `of`.
    pub start: &'a str,
    /// The name of what has it.
    pub name: &'a str,
}

/// What a title or description is to become, from the options or the editor.
/// Nothing when it was only asked for, and is printed, or stays as it is.
///
/// # Errors
/// The editor's.
pub(crate) fn new_text(
    s: &mut Session,
    args: &Args,
    before: String,
    words: &Words<'_>,
) -> Result<Option<String>, Failure> {
    let Words {
        noun,
        of,
        start,
        name,
    } = words;
    let given = args
        .has("new-desc")
        .then(|| args.many("new-desc").join(" "));
    if given.is_none() && !args.has("edit") {
        match before.is_empty() {
            true => extra!(s, "No {noun} for {of}: {name}"),
            false => say!(s, "{before}"),
        }
        return Ok(None);
    }
    let mut new = given.unwrap_or_else(|| before.clone());
    if args.has("edit") {
        new = edit::edit_text(s, &new)?.trim_end_matches('\n').to_owned();
        if new == before {
            extra!(s, "{start} {noun} not changed\n");
            return Ok(None);
        }
    }
    Ok(Some(new))
}

fn desc(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    let query = flags & crate::domain::AFFECT_CONFIG;
    let t = target(s, args)?;
    let (kind, noun) = if args.has("title") {
        (TITLE, "title")
    } else {
        (DESCRIPTION, "description")
    };
    let before = read(s, &t.dom, kind, None, query)?;
    let words = Words {
        noun,
        of: "domain",
        start: "Domain",
        name: &t.dom.name,
    };
    let Some(new) = new_text(s, args, before, &words)? else {
        return Ok(());
    };
    let call = remote::DomainSetMetadataArgs {
        dom: t.dom,
        kind,
        metadata: Some(new),
        key: None,
        uri: None,
        flags,
    };
    s.call(&call)
        .or_fail(|| format!("Failed to set new domain {noun}"))?;
    extra!(s, "Domain {noun} updated successfully");
    Ok(())
}

struct Element {
    dom: RemoteDomain,
    uri: String,
    key: Option<String>,
    flags: u32,
}

impl Element {
    fn set(&self, s: &mut Session, metadata: Option<String>) -> Result<(), client::Error> {
        s.call(&remote::DomainSetMetadataArgs {
            dom: self.dom.clone(),
            kind: ELEMENT,
            metadata,
            key: self.key.clone(),
            uri: Some(self.uri.clone()),
            flags: self.flags,
        })
    }
}

impl Subject for Element {
    fn read(&mut self, s: &mut Session) -> Result<String, Failure> {
        let text = read(s, &self.dom, ELEMENT, Some(self.uri.clone()), self.flags)?;
        Ok(if text.is_empty() {
            "\n".to_owned()
        } else {
            text
        })
    }

    fn store(&mut self, s: &mut Session, text: &str) -> Result<(), Failure> {
        Ok(self.set(s, Some(text.to_owned()))?)
    }
}

fn metadata(s: &mut Session, args: &Args) -> Outcome {
    let flags = affect(args)?;
    args.exclusive("edit", "set")?;
    args.exclusive("remove", "set")?;
    args.exclusive("remove", "edit")?;
    let dom = target(s, args)?.dom;
    let uri = args.need("uri")?.to_owned();
    let key = args.text("key")?.map(str::to_owned);
    let set = args.text("set")?.map(str::to_owned);
    if (set.is_some() || args.has("edit")) && key.is_none() {
        return Err(Failure::said(
            "namespace key is required when modifying metadata",
        ));
    }
    let mut element = Element {
        dom,
        uri,
        key,
        flags,
    };
    if set.is_some() || args.has("remove") {
        let word = if args.has("remove") {
            "removed"
        } else {
            "modified"
        };
        element.set(s, set)?;
        extra!(s, "Metadata {word}\n");
    } else if args.has("edit") {
        match edit::edit(s, &mut element)? {
            Edited::Unchanged => extra!(s, "Metadata not changed"),
            Edited::Stored => extra!(s, "Metadata modified\n"),
        }
    } else {
        let text = read(s, &element.dom, ELEMENT, Some(element.uri), flags)?;
        sayln!(s, "{text}");
    }
    Ok(())
}
