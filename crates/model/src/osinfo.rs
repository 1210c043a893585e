//! What libosinfo's database says of an operating system: its name, what it
//! needs, which devices it knows.

use roxmltree::{Document, Node};

/// The longest file of the database, in bytes.
pub const OSINFO_FILE_MAX_BYTES: usize = 2 * 1024 * 1024;

/// virtio's network card and block device, older and newer.
const VIRTIO_DEVICES: [&str; 4] = ["1af4/1000", "1af4/1001", "1af4/1041", "1af4/1042"];
/// Where the database names PCI devices.
const PCI: &str = "http://pcisig.com/pci/";

/// An operating system of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRecord {
    /// Its id: a URL.
    pub id: String,
    /// The names people use: `debian11`.
    pub short_ids: Vec<String>,
    /// Its whole name.
    pub name: String,
    /// `linux`, `winnt`, `freebsd`, …
    pub family: String,
    /// The systems whose devices and needs it shares.
    pub derives_from: Vec<String>,
    /// Whether it is said to know virtio's devices.
    pub virtio: bool,
    /// Whether it starts with UEFI only.
    pub uefi_only: bool,
    /// Memory in bytes: what is recommended, else the least.
    pub memory_bytes: Option<u64>,
    /// Processors.
    pub vcpus: Option<u32>,
    /// Disk space in bytes.
    pub storage_bytes: Option<u64>,
    /// Kernel and initrd on its media, as paths.
    pub kernels: Vec<(String, String)>,
}

/// Reads a file of the database; nothing where it is about no operating system,
/// or no XML.
pub fn parse(text: &str, arch: &str) -> Option<OsRecord> {
    if text.len() > OSINFO_FILE_MAX_BYTES {
        return None;
    }
    let document = Document::parse(text).ok()?;
    let os = document
        .root_element()
        .children()
        .find(|n| n.has_tag_name("os"));
    record(os?, arch)
}

fn record(os: Node<'_, '_>, arch: &str) -> Option<OsRecord> {
    let texts = |name: &'static str| {
        let named = os.children().filter(move |n| n.has_tag_name(name));
        named.filter_map(|n| n.text()).map(|t| t.trim().to_owned())
    };
    let ids = |name: &'static str| {
        let named = os.children().filter(move |n| n.has_tag_name(name));
        named.filter_map(|n| n.attribute("id")).map(str::to_owned)
    };
    let fits = |n: &Node<'_, '_>| {
        n.attribute("arch")
            .is_none_or(|of| of == "all" || of == arch)
    };
    let resource = |what: &'static str| resource(os, what, fits);
    Some(OsRecord {
        id: os.attribute("id")?.to_owned(),
        short_ids: texts("short-id").collect(),
        name: texts("name").next().unwrap_or_default(),
        family: texts("family").next().unwrap_or_default(),
        derives_from: ids("derives-from").chain(ids("clones")).collect(),
        virtio: has_virtio(os),
        uefi_only: os.children().any(|n| {
            n.has_tag_name("firmware")
                && n.attribute("type") == Some("bios")
                && n.attribute("supported") == Some("false")
                && fits(&n)
        }),
        memory_bytes: resource("ram"),
        vcpus: resource("n-cpus").and_then(|n| u32::try_from(n).ok()),
        storage_bytes: resource("storage"),
        kernels: os
            .children()
            .filter(|n| matches!(n.tag_name().name(), "media" | "tree") && fits(n))
            .filter_map(kernel)
            .collect(),
    })
}

fn has_virtio(os: Node<'_, '_>) -> bool {
    let devices = os.children().filter(|n| n.has_tag_name("devices"));
    devices.flat_map(|n| n.children()).any(|device| {
        let id = device.attribute("id").and_then(|id| id.strip_prefix(PCI));
        id.is_some_and(|id| VIRTIO_DEVICES.contains(&id))
            && device.attribute("supported") != Some("false")
    })
}

fn resource(
    os: Node<'_, '_>,
    what: &'static str,
    fits: impl Fn(&Node<'_, '_>) -> bool,
) -> Option<u64> {
    let of = |level: &'static str| {
        os.children()
            .filter(|n| n.has_tag_name("resources") && fits(n))
            .flat_map(|n| n.children())
            .filter(|n| n.has_tag_name(level))
            .flat_map(|n| n.children())
            .find(|n| n.has_tag_name(what))
            .and_then(|n| n.text()?.trim().parse().ok())
    };
    of("recommended").or_else(|| of("minimum"))
}

fn kernel(media: Node<'_, '_>) -> Option<(String, String)> {
    let path = |name: &str| {
        let node = media.children().find(|n| n.has_tag_name(name))?;
        Some(node.text()?.trim().to_owned())
    };
    Some((path("kernel")?, path("initrd")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_system_and_what_it_needs() {
        let text = "<libosinfo version='0.0.1'><os id='http://x.org/x/2'><short-id>x2</short-id>\
            <name>X 2</name><family>linux</family><derives-from id='http://x.org/x/1'/>\
            <firmware arch='x86_64' type='bios' supported='false'/>\
            <resources arch='all'><minimum><ram>5</ram><n-cpus>2</n-cpus></minimum>\
            <recommended><ram>10</ram></recommended></resources>\
            <devices><device id='http://pcisig.com/pci/1af4/1041'/></devices>\
            <media arch='x86_64'><kernel>a/k</kernel><initrd>a/i</initrd></media>\
            <media arch='s390x'><kernel>s/k</kernel><initrd>s/i</initrd></media></os></libosinfo>";
        let os = parse(text, "x86_64").unwrap();
        assert_eq!(
            (os.memory_bytes, os.vcpus, os.storage_bytes),
            (Some(10), Some(2), None)
        );
        assert!(os.virtio && os.uefi_only);
        assert_eq!(os.kernels, [("a/k".to_owned(), "a/i".to_owned())]);
        assert_eq!(os.derives_from, ["http://x.org/x/1"]);
        assert!(!parse(text, "s390x").unwrap().uefi_only);
        assert_eq!(parse("<libosinfo/>", "x86_64"), None);
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(text in "(<|>|os|/|=|'|id|devices| |a){0,60}") {
            _ = parse(&text, "x86_64");
        }
    }
}
