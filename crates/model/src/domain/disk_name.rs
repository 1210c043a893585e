//! Disk names in the guest: `sda` is the first, `sdaa` the 27th.

/// Prefixes that are followed by letters.
const PREFIXES: [&str; 6] = ["fd", "hd", "vd", "sd", "xvd", "ubd"];

/// The place of a disk among those of its kind, from 0, and the partition
/// number that follows it, if there is one.
pub fn parse_disk_name(name: &str) -> Option<(u32, Option<u32>)> {
    let rest = PREFIXES.iter().find_map(|p| name.strip_prefix(p))?;
    let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    if letters == 0 {
        return None;
    }
    let (letters, digits) = rest.split_at(letters);
    let mut index: u32 = 0;
    for letter in letters.bytes() {
        index = index
            .checked_mul(26)?
            .checked_add(u32::from(letter - b'a') + 1)?;
    }
    if digits.is_empty() {
        return Some((index - 1, None));
    }
    // A partition is a number without leading zeroes.
    let valid =
        digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') || digits == "0";
    valid
        .then(|| digits.parse().ok())?
        .map(|partition| (index - 1, Some(partition)))
}

/// The place of a disk among those of its kind, from 0.
pub fn disk_index(name: &str) -> Option<u32> {
    parse_disk_name(name).map(|(index, _)| index)
}

/// The name of disk number `index` with `prefix`.
pub fn disk_name(prefix: &str, index: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = Some(index);
    while let Some(i) = rest {
        letters.push(char::from(b'a' + (i % 26) as u8));
        rest = (i / 26).checked_sub(1);
    }
    prefix.chars().chain(letters.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_like_spreadsheet_columns() {
        for (name, index) in [("vda", 0), ("sdz", 25), ("hdaa", 26), ("xvdzz", 701)] {
            assert_eq!(disk_index(name), Some(index), "{name}");
        }
        assert_eq!(parse_disk_name("vdb1"), Some((1, Some(1))));
        for bad in ["", "vd", "vda01x", "nvme0", "vdA", "sdzzzzzzzzzz"] {
            assert_eq!(disk_index(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_is_made_and_read_alike() {
        for index in 0..1000 {
            assert_eq!(disk_index(&disk_name("vd", index)), Some(index));
        }
    }
}
