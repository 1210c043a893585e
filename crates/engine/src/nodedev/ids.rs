//! Names of vendors and products: the lists that Debian's packages pci.ids
//! and usb.ids bring.

use std::collections::BTreeMap;

/// Where the lists may be.
const PCI_LISTS: [&str; 2] = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];
const USB_LISTS: [&str; 2] = ["/usr/share/misc/usb.ids", "/usr/share/hwdata/usb.ids"];

/// A list of vendors and their products, as text.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: String,
    known: BTreeMap<(u16, u16), (Option<String>, Option<String>)>,
}

impl Names {
    /// The list of PCI devices.
    pub(super) fn pci() -> Self {
        Self::first_of(&PCI_LISTS)
    }

    /// The list of USB devices.
    pub(super) fn usb() -> Self {
        Self::first_of(&USB_LISTS)
    }

    fn first_of(paths: &[&str]) -> Self {
        // Lists of names are not all in one encoding.
        let bytes = paths.iter().find_map(|path| std::fs::read(path).ok());
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        Self::of(text)
    }

    fn of(text: String) -> Self {
        Self {
            text,
            known: BTreeMap::new(),
        }
    }

    /// The names of a vendor and of its product.
    pub(super) fn of_device(
        &mut self,
        vendor: u16,
        product: u16,
    ) -> (Option<String>, Option<String>) {
        let Self { text, known } = self;
        let key = (vendor, product);
        known
            .entry(key)
            .or_insert_with(|| search(text, key))
            .clone()
    }
}

/// A vendor begins its line; its products follow, a tab in front of each.
fn search(text: &str, (vendor, product): (u16, u16)) -> (Option<String>, Option<String>) {
    let (vendor, product) = (format!("{vendor:04x}"), format!("{product:04x}"));
    let mut lines = text.lines();
    let named = |line: &str, id: &str| {
        let name = line.strip_prefix(id)?.strip_prefix("  ")?;
        Some(name.to_owned())
    };
    let Some(vendor_name) = lines.by_ref().find_map(|line| named(line, &vendor)) else {
        return (None, None);
    };
    let products = lines.take_while(|line| line.starts_with(['\t', '#']) || line.is_empty());
    let product_name = products
        .filter_map(|line| line.strip_prefix('\t'))
        .find_map(|line| named(line, &product));
    (Some(vendor_name), product_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_under_their_vendor() {
        let list = "# list\n1af4  Red Hat, Inc.\n\t1041  Virtio network\n\t\t1af4 1100  QEMU\n\n8086  Intel\n\t1041  Other\n";
        let mut names = Names::of(list.to_owned());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            names.of_device(0x1af4, 0x1041),
            (some("Red Hat, Inc."), some("Virtio network"))
        );
        assert_eq!(
            names.of_device(0x8086, 0x1041),
            (some("Intel"), some("Other"))
        );
        assert_eq!(names.of_device(0x8086, 0x1100), (some("Intel"), None));
        assert_eq!(names.of_device(1, 1), (None, None));
    }
}
