//! Tables as virsh draws them: one blank before each cell, columns padded to the
//! widest cell and two blanks apart, a dashed line below the heading.

use unicode_width::UnicodeWidthChar;

/// Draws `rows` below `header`; without the header when `quiet`.
pub(crate) fn draw(header: &[&str], rows: &[Vec<String>], quiet: bool) -> String {
    let encode = |cell: &str| encode(cell);
    let head: Vec<_> = header.iter().map(|c| encode(c)).collect();
    let body: Vec<Vec<_>> = rows
        .iter()
        .map(|r| r.iter().map(|c| encode(c)).collect())
        .collect();
    let mut widths = vec![0; header.len()];
    let counted = body.iter().chain((!quiet).then_some(&head));
    for row in counted {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.1.max(*width);
        }
    }
    let mut out = String::new();
    if !quiet {
        line(&mut out, &head, &widths);
        out.push_str(&"-".repeat(widths.iter().map(|w| w + 3).sum()));
        out.push('\n');
    }
    for row in &body {
        line(&mut out, row, &widths);
    }
    out
}

fn line(out: &mut String, row: &[(String, usize)], widths: &[usize]) {
    for (i, (text, width)) in row.iter().enumerate() {
        out.push(' ');
        out.push_str(text);
        if i + 1 < row.len() {
            out.extend(std::iter::repeat_n(' ', widths[i] - width + 2));
        }
    }
    out.push('\n');
}

/// A cell fit for a terminal, and its width in columns: control characters and a
/// literal `\x` are shown in hexadecimal.
fn encode(cell: &str) -> (String, usize) {
    let mut out = String::with_capacity(cell.len());
    let mut width = 0;
    let mut rest = cell.chars().peekable();
    while let Some(c) = rest.next() {
        let shown = (c == '\\' && rest.peek() == Some(&'x')) || c.width().is_none();
        if shown {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("\\x{byte:02x}"));
                width += 4;
            }
        } else {
            out.push(c);
            width += c.width().unwrap_or(0);
        }
    }
    (out, width)
}

#[cfg(test)]
mod tests {
    use super::draw;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter()
            .map(|r| r.iter().map(|c| (*c).to_owned()).collect())
            .collect()
    }

    #[test]
    fn empty_table_keeps_its_heading() {
        assert_eq!(
            draw(&["Id", "Name", "State"], &[], false),
            " Id   Name   State\n--------------------\n"
        );
        assert_eq!(draw(&["Id", "Name", "State"], &[], true), "");
    }

    #[test]
    fn columns_grow_and_the_last_is_not_padded() {
        let body = rows(&[&["1", "a-long-name", "running"], &["-", "b", "shut off"]]);
        insta::assert_snapshot!(draw(&["Id", "Name", "State"], &body, false));
        insta::assert_snapshot!(draw(&["Id", "Name", "State"], &body, true));
    }

    #[test]
    fn wide_and_control_characters() {
        let body = rows(&[
            &["虚拟机", "x"],
            &["a\tb", "y"],
            &["\\x", "z"],
            &["e\u{301}", "w"],
        ]);
        insta::assert_snapshot!(draw(&["Name", "V"], &body, false));
    }
}
