//! `web{1..50}` and `{a,b}` in names, where no shell has taken them apart.

/// Names one pattern may stand for.
const NAMES_MAX: usize = 10_000;

/// All names that the patterns stand for, in order.
///
/// # Errors
/// A pattern that stands for too many.
pub(crate) fn expand_all(patterns: &[String]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for pattern in patterns {
        all.extend(expand(pattern)?);
    }
    Ok(all)
}

fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let Some((before, choices, after)) = braces(pattern) else {
        return Ok(vec![pattern.to_owned()]);
    };
    let ends = expand(after)?;
    if choices.len().saturating_mul(ends.len()) > NAMES_MAX {
        return Err(format!(
            "'{pattern}' stands for more than {NAMES_MAX} names"
        ));
    }
    let each = |choice: String| {
        let ends = ends.iter();
        ends.map(move |end| format!("{before}{choice}{end}"))
    };
    Ok(choices.into_iter().flat_map(each).collect())
}

/// The first pair of braces that stands for something.
fn braces(pattern: &str) -> Option<(&str, Vec<String>, &str)> {
    let (before, rest) = pattern.split_once('{')?;
    let (inside, after) = rest.split_once('}')?;
    let choices = match inside.split_once("..") {
        Some((first, last)) => range(first, last)?,
        None if inside.contains(',') => inside.split(',').map(str::to_owned).collect(),
        None => return None,
    };
    Some((before, choices, after))
}

/// Numbers; as wide as the ends where these begin with a zero.
fn range(first: &str, last: &str) -> Option<Vec<String>> {
    let (from, to): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    let padded = [first, last]
        .iter()
        .any(|end| end.len() > 1 && end.starts_with('0'));
    let width = if padded {
        first.len().max(last.len())
    } else {
        0
    };
    let name = |number: u32| format!("{number:0width$}");
    let most = NAMES_MAX + 1;
    Some(match from <= to {
        true => (from..=to).take(most).map(name).collect(),
        false => (to..=from).rev().take(most).map(name).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names() {
        let names = |pattern: &str| expand(pattern).unwrap().join(" ");
        assert_eq!(names("web{1..3}"), "web1 web2 web3");
        assert_eq!(names("n{09..11}x"), "n09x n10x n11x");
        assert_eq!(names("{a,b}{2..1}"), "a2 a1 b2 b1");
        for plain in ["web", "w{b", "w{1}", "w{x..y}"] {
            assert_eq!(names(plain), plain);
        }
        assert!(expand("x{0..4294967295}").is_err());
        assert!(expand("{1..200}{1..200}").is_err());
    }
}
