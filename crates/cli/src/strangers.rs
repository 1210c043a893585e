//! Whatever is typed: an error at worst.

use proptest::prelude::*;

proptest! {
    #[test]
    fn no_line_is_too_strange(line in ".{0,80}") {
        _ = crate::parse::line(&line);
    }

    #[test]
    fn no_words_are_too_strange(words in proptest::collection::vec("(-){0,2}[a-z=;'é]{0,8}", 0..6)) {
        _ = crate::parse::argv(&words);
        _ = crate::globals::parse(&words);
        _ = crate::candidates::candidates(&words, |_, _| Vec::new());
    }

    #[test]
    fn no_expression_is_too_strange(path in "[/@.*a-c\\[\\]='|()0-9é]{0,24}") {
        let xml = "<a b='1'><b c='é'>t</b><c/></a>";
        _ = crate::xpath::select(xml, &path, false);
        _ = crate::xpath::select(xml, &path, true);
    }

    #[test]
    fn a_row_takes_as_many_lines_as_rows(cells in proptest::collection::vec(".{0,12}", 0..8)) {
        let rows: Vec<_> = cells.iter().map(|c| vec![c.clone()]).collect();
        let drawn = crate::textable::draw(&["Cell"], &rows, false);
        prop_assert_eq!(drawn.lines().count(), rows.len() + 2);
    }
}
