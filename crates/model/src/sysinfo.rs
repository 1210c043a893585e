//! What the host's firmware says of the machine: libvirt's `<sysinfo>`.
//!
//! Written, never read.

use crate::xml::{XmlFlags, XmlWriter};

/// Named values, in libvirt's order.
pub type SysinfoEntries = Vec<(&'static str, String)>;

/// The host's SMBIOS tables, as far as libvirt shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostSysinfo {
    /// Each block's element (`bios`, `system`, `baseBoard`, …) and its entries.
    pub blocks: Vec<(&'static str, SysinfoEntries)>,
    /// Strings of the machine's maker.
    pub oem_strings: Vec<String>,
}

impl HostSysinfo {
    /// The document as libvirt writes it.
    pub fn to_xml(&self) -> String {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("sysinfo");
        w.attr_str("type", "smbios");
        for (name, entries) in self
            .blocks
            .iter()
            .filter(|(_, entries)| !entries.is_empty())
        {
            w.begin(name);
            for (entry, value) in entries {
                w.begin("entry");
                w.attr_str("name", entry);
                w.text(value);
                w.end("entry");
            }
            w.end(name);
        }
        if !self.oem_strings.is_empty() {
            w.begin("oemStrings");
            for value in &self.oem_strings {
                w.leaf("entry", value);
            }
            w.end("oemStrings");
        }
        w.end("sysinfo");
        w.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_libvirt_does() {
        let sysinfo = HostSysinfo {
            blocks: vec![
                (
                    "bios",
                    vec![("vendor", "A & B".into()), ("version", "1".into())],
                ),
                ("system", Vec::new()),
                ("baseBoard", vec![("product", "Board".into())]),
            ],
            oem_strings: vec!["one".into()],
        };
        let wanted = "\
<sysinfo type='smbios'>
  <bios>
    <entry name='vendor'>A &amp; B</entry>
    <entry name='version'>1</entry>
  </bios>
  <baseBoard>
    <entry name='product'>Board</entry>
  </baseBoard>
  <oemStrings>
    <entry>one</entry>
  </oemStrings>
</sysinfo>
";
        assert_eq!(sysinfo.to_xml(), wanted);
    }
}
