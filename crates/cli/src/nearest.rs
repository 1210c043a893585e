//! What somebody may have meant by a word that is none.

/// Words longer than this share of their own letters apart are different words.
const LETTERS_PER_SLIP: usize = 3;

/// The nearest of some words, if it is only a slip of the fingers away.
pub(crate) fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let slips_max = (word.chars().count() / LETTERS_PER_SLIP).max(1);
    among
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .filter(|(slips, _)| *slips <= slips_max)
        .min()
        .map(|(_, known)| known)
}

/// A line that asks for the nearest, put behind an error; empty if there is none.
pub(crate) fn hint(nearest: Option<String>) -> String {
    nearest
        .map(|nearest| format!("\nhint: did you mean '{nearest}'?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_told_from_other_words() {
        let of = |word| nearest(word, ["list", "help", "dominfo", "domid"].into_iter());
        assert_eq!(of("lst"), Some("list"));
        assert_eq!(of("hlep"), Some("help"));
        assert_eq!(of("domifno"), Some("dominfo"));
        for other in ["", "x", "nonsense", "frobnicate"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
