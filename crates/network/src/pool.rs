//! Which device of a network's pool a card gets.

use std::collections::BTreeMap;

/// The device for one more card, of those a network has, by how many cards
/// each has already. One that only one card can have is taken when it is free;
/// of others the one with the fewest cards, the first of several.
pub fn choose<'a>(
    devices: &'a [String],
    used: &BTreeMap<String, u32>,
    exclusive: bool,
) -> Option<&'a str> {
    let cards = |device: &String| used.get(device).copied().unwrap_or(0);
    let found = match exclusive {
        true => devices.iter().find(|device| cards(device) == 0),
        false => devices.iter().min_by_key(|device| cards(device)),
    };
    found.map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_spread_and_exclusive_devices_run_out() {
        let devices = ["eth1", "eth2"].map(str::to_owned);
        let mut used = BTreeMap::new();
        let mut take = |exclusive| {
            let found = choose(&devices, &used, exclusive)?.to_owned();
            *used.entry(found.clone()).or_insert(0) += 1;
            Some(found)
        };
        assert_eq!(take(true).as_deref(), Some("eth1"));
        assert_eq!(take(false).as_deref(), Some("eth2"));
        assert_eq!(take(false).as_deref(), Some("eth1"));
        assert_eq!(take(true), None);
        assert_eq!(choose(&[], &BTreeMap::new(), false), None);
    }
}
