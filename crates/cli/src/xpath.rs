//! `--xpath`: the forms of XPath people use on definitions.
//!
//! Location paths with `/`, `//`, `*`, `.`, `..`, `@name`, `text()` and the
//! predicates `[N]`, `[@name='v']`, `[path]`, `[path='v']`; paths joined by `|`.
//! Anything else is refused by name.

use roxmltree::{Attribute, Node};

use crate::failure::Failure;
use crate::query;

/// Longest expression taken, in bytes.
const EXPRESSION_MAX_BYTES: usize = 4096;

/// What a path selects.
#[derive(Clone)]
enum Item<'a, 'i> {
    Node(Node<'a, 'i>),
    Attribute(Attribute<'a, 'i>),
}

/// The nodes `path` selects in `xml`, serialised one a line, or inside `<nodes>`.
///
/// # Errors
/// An expression that is not understood.
pub(crate) fn select(xml: &str, path: &str, wrap: bool) -> Result<String, Failure> {
    let document = query::parse(xml)?;
    if path.len() > EXPRESSION_MAX_BYTES {
        return Err(refused(path));
    }
    let mut found = Vec::new();
    for part in split_outside(path, '|') {
        found.extend(evaluate(document.root(), part.trim())?);
    }
    let level = usize::from(wrap);
    let show = |item: &Item<'_, '_>| match item {
        Item::Node(node) => crate::serialise::node(*node, level),
        Item::Attribute(a) => format!(" {}=\"{}\"", a.name(), a.value()),
    };
    let shown: Vec<String> = found.iter().map(show).collect();
    Ok(match (wrap, shown.is_empty()) {
        (false, _) => shown.iter().map(|text| format!("{text}\n")).collect(),
        (true, true) => "<nodes/>\n".to_owned(),
        (true, false) => format!("<nodes>\n  {}\n</nodes>\n", shown.join("\n  ")),
    })
}

fn refused(what: &str) -> Failure {
    Failure::said(format!(
        "unsupported configuration: XPath expression '{what}'"
    ))
}

/// Splits at `separator` where no bracket or quote is open.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quote, mut start) = (0i32, None, 0);
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth -= 1,
            (None, c) if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn evaluate<'a, 'i>(start: Node<'a, 'i>, path: &str) -> Result<Vec<Item<'a, 'i>>, Failure> {
    let (mut context, rest) = match path.strip_prefix('/') {
        Some(rest) => (vec![Item::Node(start.document().root())], rest),
        None => (vec![Item::Node(start)], path),
    };
    if rest.is_empty() {
        return if path.is_empty() {
            Err(refused(path))
        } else {
            Ok(context)
        };
    }
    // A relative path at the top starts at the root element's parent, as in virsh.
    let mut deep = false;
    for step in split_outside(rest, '/') {
        if step.is_empty() {
            deep = true;
            continue;
        }
        context = take_step(context, step, deep)?;
        deep = false;
    }
    if deep {
        Err(refused(path))
    } else {
        Ok(context)
    }
}

fn take_step<'a, 'i>(
    context: Vec<Item<'a, 'i>>,
    step: &str,
    deep: bool,
) -> Result<Vec<Item<'a, 'i>>, Failure> {
    let (test, predicates) = step.split_at(step.find('[').unwrap_or(step.len()));
    let test = test.trim();
    let mut out = Vec::new();
    for item in context {
        let Item::Node(node) = item else { continue };
        let froms: Vec<Node<'a, 'i>> = if deep {
            node.descendants().collect()
        } else {
            vec![node]
        };
        for from in froms {
            out.extend(filter(candidates(from, test)?, predicates, step)?);
        }
    }
    Ok(out)
}

fn candidates<'a, 'i>(from: Node<'a, 'i>, test: &str) -> Result<Vec<Item<'a, 'i>>, Failure> {
    let name = |c: char| c.is_alphanumeric() || "-_.:".contains(c);
    if let Some(attribute) = test.strip_prefix('@') {
        let wanted = |a: &Attribute<'_, '_>| attribute == "*" || a.name() == attribute;
        return Ok(from
            .attributes()
            .filter(wanted)
            .map(Item::Attribute)
            .collect());
    }
    Ok(match test {
        "." => vec![Item::Node(from)],
        ".." => from.parent().into_iter().map(Item::Node).collect(),
        "*" => from
            .children()
            .filter(Node::is_element)
            .map(Item::Node)
            .collect(),
        "text()" => from
            .children()
            .filter(Node::is_text)
            .map(Item::Node)
            .collect(),
        _ if test.is_empty() || !test.chars().all(name) => return Err(refused(test)),
        _ => {
            let local = test.rsplit(':').next().unwrap_or(test);
            let wanted = |n: &Node<'_, '_>| n.is_element() && n.tag_name().name() == local;
            from.children().filter(wanted).map(Item::Node).collect()
        }
    })
}

fn filter<'a, 'i>(
    mut items: Vec<Item<'a, 'i>>,
    mut predicates: &str,
    step: &str,
) -> Result<Vec<Item<'a, 'i>>, Failure> {
    while let Some(rest) = predicates.strip_prefix('[') {
        let end = closing(rest).ok_or_else(|| refused(step))?;
        let (predicate, after) = (rest[..end].trim(), &rest[end + 1..]);
        if let Ok(position) = predicate.parse::<usize>() {
            let chosen = position.checked_sub(1).and_then(|i| items.get(i)).cloned();
            items = chosen.into_iter().collect();
        } else if predicate == "last()" {
            items = items.pop().into_iter().collect();
        } else {
            let mut kept = Vec::new();
            for item in items {
                if let Item::Node(node) = &item
                    && holds(*node, predicate)?
                {
                    kept.push(item);
                }
            }
            items = kept;
        }
        predicates = after;
    }
    if predicates.is_empty() {
        Ok(items)
    } else {
        Err(refused(step))
    }
}

fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn holds(node: Node<'_, '_>, predicate: &str) -> Result<bool, Failure> {
    let parts = split_outside(predicate, '=');
    let (path, wanted) = match parts.as_slice() {
        [path] => (path.trim(), None),
        [path, value] => (
            path.trim(),
            Some(unquote(value.trim()).ok_or_else(|| refused(predicate))?),
        ),
        _ => return Err(refused(predicate)),
    };
    let found = evaluate(node, path)?;
    Ok(match wanted {
        None => !found.is_empty(),
        Some(wanted) => found.iter().any(|item| match item {
            Item::Node(n) => query::text(*n) == wanted,
            Item::Attribute(a) => a.value() == wanted,
        }),
    })
}

fn unquote(text: &str) -> Option<&str> {
    let quoted = |q| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    quoted('\'').or_else(|| quoted('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<domain type='kvm'>\n  <name>a</name>\n  <devices>\n    \
        <disk type='file'><target dev='vda'/></disk>\n    \
        <disk type='block'><target dev='vdb'/></disk>\n  </devices>\n</domain>\n";

    fn select_one(path: &str) -> String {
        select(XML, path, false).unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    #[test]
    fn paths() {
        assert_eq!(select_one("/domain/name"), "<name>a</name>\n");
        assert_eq!(
            select_one("//target"),
            "<target dev=\"vda\"/>\n<target dev=\"vdb\"/>\n"
        );
        assert_eq!(select_one("//disk[2]/target"), "<target dev=\"vdb\"/>\n");
        assert_eq!(
            select_one("//disk[@type='file']/target"),
            "<target dev=\"vda\"/>\n"
        );
        assert_eq!(
            select_one("//disk[target/@dev=\"vdb\"]/@type"),
            " type=\"block\"\n"
        );
        assert_eq!(select_one("/domain/name/text()"), "a\n");
        assert_eq!(
            select_one("/domain/name|/domain/nothing"),
            "<name>a</name>\n"
        );
        assert_eq!(select_one("//nothing"), "");
    }

    #[test]
    fn wrapped() {
        let wrapped = select(XML, "//target", true).unwrap();
        insta::assert_snapshot!(wrapped);
    }

    #[test]
    fn refused_by_name() {
        for path in [
            "",
            "//",
            "count(//disk)",
            "//disk[position()<2]",
            "//disk[",
            "a]b",
            "//disk[1",
        ] {
            assert!(select(XML, path, false).is_err(), "{path}");
        }
    }
}
