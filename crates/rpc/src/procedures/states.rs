//! What lists of networks and of storage pools have in common.

/// `VIR_CONNECT_LIST_NETWORKS_*`, and the first of `VIR_CONNECT_LIST_STORAGE_POOLS_*`: the
/// numbers are the same.
mod bit {
    pub(super) const INACTIVE: u32 = 1;
    pub(super) const ACTIVE: u32 = 2;
    pub(super) const PERSISTENT: u32 = 4;
    pub(super) const TRANSIENT: u32 = 8;
    pub(super) const AUTOSTART: u32 = 16;
    pub(super) const NO_AUTOSTART: u32 = 32;
}

/// All of these bits.
pub(super) const ALL: u32 = 63;

/// Whether something in this state is in a list with these flags.
pub(super) fn is_wanted(flags: u32, active: bool, persistent: bool, autostart: bool) -> bool {
    let groups = [
        (bit::ACTIVE, bit::INACTIVE, active),
        (bit::PERSISTENT, bit::TRANSIENT, persistent),
        (bit::AUTOSTART, bit::NO_AUTOSTART, autostart),
    ];
    groups
        .iter()
        .all(|(yes, no, is)| flags & (yes | no) == 0 || flags & (if *is { yes } else { no }) != 0)
}

/// A list as a call answers it: how many there are, and which, where they are asked for.
pub(super) fn listed<T>(all: Vec<T>, need_results: i32) -> (Vec<T>, u32) {
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    match need_results {
        0 => (Vec::new(), count),
        _ => (all, count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_one_group_are_alternatives() {
        assert!(is_wanted(0, true, false, true));
        assert!(is_wanted(1 | 2, true, false, false));
        assert!(!is_wanted(1, true, true, true));
        assert!(!is_wanted(2 | 8, true, true, true));
        assert_eq!(listed(vec![1, 2], 0), (Vec::new(), 2));
        assert_eq!(listed(vec![1, 2], 1), (vec![1, 2], 2));
    }
}
