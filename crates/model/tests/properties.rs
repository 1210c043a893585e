//! Properties of reading, completing and writing that hold for any input.

use proptest::prelude::*;
use stead_model::domain::Domain;
use stead_model::domain::complete::DefineContext;
use stead_model::xml::{XML_DEPTH_MAX, XML_SIZE_MAX_BYTES};
use stead_model::{XmlErrorKind, XmlFlags};

const SHOWN: XmlFlags = XmlFlags {
    inactive: true,
    secure: true,
    migratable: false,
};

/// A guest with a device of most kinds, as a user would write it.
const GUEST: &str = include_str!("guest.xml");

fn context() -> DefineContext {
    DefineContext {
        arch: "x86_64".to_owned(),
        emulators: [(
            "x86_64".to_owned(),
            "/usr/bin/qemu-system-x86_64".to_owned(),
        )]
        .into(),
        machine_aliases: [("q35".to_owned(), "pc-q35-10.0".to_owned())].into(),
        default_machine: Some("q35".to_owned()),
        default_cpu: Some("qemu64".to_owned()),
        uuid: Some(
            "c7a5fdbd-edaf-9455-926a-d65c16db1809"
                .parse()
                .expect("a uuid"),
        ),
        macs: vec![stead_model::xml::Mac([0x52, 0x54, 0, 1, 2, 3]); 8],
        nvram_dir: "/nvram".to_owned(),
        abi_update: true,
        ..DefineContext::default()
    }
}

/// What must hold for any text: no panic, and what was read is written in a
/// form that is read as the same.
fn check(xml: &str) {
    let Ok(mut domain) = Domain::parse(xml) else {
        return;
    };
    for flags in [SHOWN, XmlFlags::default()] {
        let written = domain.to_xml(flags);
        let again = Domain::parse(&written).expect("what was written can be read");
        assert_eq!(again.to_xml(flags), written);
    }
    domain.assign_aliases();
    if domain.complete(&context()).is_err() {
        return;
    }
    let completed = domain.to_xml(SHOWN);
    let mut again = Domain::parse(&completed).expect("what was completed can be read");
    again
        .complete(&context())
        .expect("what was completed is complete");
    assert_eq!(again.to_xml(SHOWN), completed);
}

/// The text with one of its pieces changed.
fn change(text: &str, at: usize, length: usize, with: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = at % chars.len();
    let end = (at + length).min(chars.len());
    chars[..at]
        .iter()
        .copied()
        .chain(with.chars())
        .chain(chars[end..].iter().copied())
        .collect()
}

/// The text with the value of its `n`th attribute replaced.
fn change_value(text: &str, n: usize, value: &str) -> String {
    let quotes: Vec<usize> = text.match_indices('\'').map(|(i, _)| i).collect();
    let pair = n % (quotes.len() / 2) * 2;
    format!(
        "{}'{value}{}",
        &text[..quotes[pair]],
        &text[quotes[pair + 1]..]
    )
}

/// The text without its `n`th line, or with it twice.
fn change_line(text: &str, n: usize, times: usize) -> String {
    let count = text.lines().count();
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(i, l)| std::iter::repeat_n(l, if i == n % count { times } else { 1 }))
        .fold(String::new(), |text, line| text + line + "\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn damaged_definitions_are_read_or_refused(
        at in any::<usize>(), length in 0..40_usize, with in "[<>/'a-z0-9= -]{0,8}",
    ) {
        check(&change(GUEST, at, length, &with));
    }

    #[test]
    fn odd_values_are_taken_or_refused(
        edits in prop::collection::vec(
            (any::<usize>(), prop_oneof![
                "[0-9a-zA-Z:.,/^-]{0,6}",
                Just("4294967295".to_owned()),
                Just("18446744073709551615".to_owned()),
                Just("0xffffffffffffffff".to_owned()),
                Just("-1".to_owned()),
                Just("0".to_owned()),
            ]),
            1..4,
        ),
    ) {
        let text = edits.iter().fold(GUEST.to_owned(), |t, (n, value)| change_value(&t, *n, value));
        check(&text);
    }

    #[test]
    fn missing_and_repeated_lines_are_taken_or_refused(
        edits in prop::collection::vec((any::<usize>(), prop_oneof![Just(0), Just(2)]), 1..4),
    ) {
        let text = edits.iter().fold(GUEST.to_owned(), |t, (n, times)| change_line(&t, *n, *times));
        check(&text);
    }
}

#[test]
fn the_guest_itself_is_completed() {
    let mut domain = Domain::parse(GUEST).expect("the guest is read");
    domain.complete(&context()).expect("the guest is completed");
    check(GUEST);
}

#[test]
fn entities_depth_and_size_are_refused() {
    let bomb = "<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><domain>&b;</domain>";
    assert_eq!(
        Domain::parse(bomb).unwrap_err().kind,
        XmlErrorKind::Malformed
    );

    let deep = XML_DEPTH_MAX + 1;
    let text = format!("{}{}", "<domain>".repeat(deep), "</domain>".repeat(deep));
    assert_eq!(
        Domain::parse(&text).unwrap_err().kind,
        XmlErrorKind::TooLarge
    );

    // Depth is refused before anything recursive runs, however deep it is.
    let text = format!("{}{}", "<a>".repeat(150_000), "</a>".repeat(150_000));
    assert_eq!(
        Domain::parse(&text).unwrap_err().kind,
        XmlErrorKind::TooLarge
    );

    let text = format!("<domain>{}</domain>", " ".repeat(XML_SIZE_MAX_BYTES));
    assert_eq!(
        Domain::parse(&text).unwrap_err().kind,
        XmlErrorKind::TooLarge
    );
}
