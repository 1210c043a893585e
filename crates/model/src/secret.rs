//! `<secret>`: what a secret is for. Its value is never part of it.

use uuid::Uuid;

use crate::storage::xml_error;
use crate::xml::{Node, Scalar, XmlError, XmlFlags, XmlWriter, YesNo};
use crate::xml::{expect_root, parse_document};

/// What uses a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretUse {
    /// Whatever names it by its uuid.
    #[default]
    None,
    /// An encrypted volume, known by its path.
    Volume,
    /// A Ceph client.
    Ceph,
    /// An iSCSI target.
    Iscsi,
    /// A TLS key.
    Tls,
    /// An emulated TPM.
    Vtpm,
}

impl SecretUse {
    /// Every use, in the order of libvirt's numbers.
    pub const ALL: [SecretUse; 6] = [
        SecretUse::None,
        SecretUse::Volume,
        SecretUse::Ceph,
        SecretUse::Iscsi,
        SecretUse::Tls,
        SecretUse::Vtpm,
    ];

    /// The word in the XML.
    pub fn as_str(self) -> &'static str {
        match self {
            SecretUse::None => "none",
            SecretUse::Volume => "volume",
            SecretUse::Ceph => "ceph",
            SecretUse::Iscsi => "iscsi",
            SecretUse::Tls => "tls",
            SecretUse::Vtpm => "vtpm",
        }
    }

    /// The element that says what exactly, and what libvirt calls it where it is missing.
    fn object(self) -> Option<(&'static str, &'static str)> {
        match self {
            SecretUse::None => None,
            SecretUse::Volume => Some((
                "volume",
                "volume usage specified, but volume path is missing",
            )),
            SecretUse::Ceph => Some(("name", "Ceph usage specified, but name is missing")),
            SecretUse::Iscsi => Some(("target", "iSCSI usage specified, but target is missing")),
            SecretUse::Tls => Some(("name", "TLS usage specified, but name is missing")),
            SecretUse::Vtpm => Some(("name", "vTPM usage specified, but name is missing")),
        }
    }
}

/// A secret as a person defines it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretDefinition {
    /// Whether it is in memory only.
    pub ephemeral: bool,
    /// Whether its value is never given back to a client.
    pub private: bool,
    /// Its uuid; chosen by whoever stores it if not given.
    pub uuid: Option<Uuid>,
    /// What a person says of it.
    pub description: Option<String>,
    /// What uses it.
    pub used_by: SecretUse,
    /// Which one of these: a path, a name, a target; empty for [`SecretUse::None`].
    pub usage: String,
}

impl SecretDefinition {
    /// Reads libvirt's XML.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<SecretDefinition, XmlError> {
        let document = parse_document(text)?;
        let root = expect_root(&document, "secret")?;
        let mut secret = SecretDefinition {
            ephemeral: yes(&root, "ephemeral")?,
            private: yes(&root, "private")?,
            ..SecretDefinition::default()
        };
        for child in root.children() {
            match child.name() {
                "uuid" => {
                    let uuid = <Uuid as Scalar>::parse(child.text().trim());
                    let malformed = || xml_error(&child, "malformed uuid element");
                    secret.uuid = Some(uuid.ok_or_else(malformed)?);
                }
                "description" => secret.description = Some(child.text()),
                "usage" => (secret.used_by, secret.usage) = usage(&child)?,
                _ => return Err(child.unknown_element()),
            }
        }
        Ok(secret)
    }

    /// Writes libvirt's XML.
    pub fn to_xml(&self) -> String {
        let word = |is: bool| if is { "yes" } else { "no" };
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("secret");
        w.attr_str("ephemeral", word(self.ephemeral));
        w.attr_str("private", word(self.private));
        if let Some(uuid) = &self.uuid {
            w.leaf("uuid", uuid);
        }
        if let Some(description) = &self.description {
            w.leaf("description", description);
        }
        if let Some((element, _)) = self.used_by.object() {
            w.begin("usage");
            w.attr_str("type", self.used_by.as_str());
            w.leaf(element, &self.usage);
            w.end("usage");
        }
        w.end("secret");
        w.finish()
    }
}

fn yes(node: &Node<'_, '_>, name: &str) -> Result<bool, XmlError> {
    let Some(word) = node.attribute(name) else {
        return Ok(false);
    };
    let malformed = || xml_error(node, format_args!("invalid value of '{name}'"));
    YesNo::parse(word).map(YesNo::is_yes).ok_or_else(malformed)
}

fn usage(node: &Node<'_, '_>) -> Result<(SecretUse, String), XmlError> {
    let word = node.attribute("type");
    let word = word.ok_or_else(|| xml_error(node, "unknown secret usage type"))?;
    let known = SecretUse::ALL
        .into_iter()
        .find(|known| known.as_str() == word);
    let unknown = || xml_error(node, format_args!("unknown secret usage type {word}"));
    let used_by = known.ok_or_else(unknown)?;
    let Some((element, missing)) = used_by.object() else {
        return Ok((used_by, String::new()));
    };
    if let Some(other) = node.children().find(|child| child.name() != element) {
        return Err(other.unknown_element());
    }
    let named = node.child(element).map(|child| child.text());
    let named = named.filter(|text| !text.is_empty());
    Ok((used_by, named.ok_or_else(|| xml_error(node, missing))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_as_libvirt_shows_it() {
        let text = "<secret><uuid>55806c7d-8e93-456f-829b-607d8c198367</uuid>\
                    <usage type='volume'><volume>/v</volume></usage></secret>";
        let shown = "<secret ephemeral='no' private='no'>\n  \
                     <uuid>55806c7d-8e93-456f-829b-607d8c198367</uuid>\n  \
                     <usage type='volume'>\n    <volume>/v</volume>\n  </usage>\n</secret>\n";
        let secret = SecretDefinition::parse(text).unwrap();
        assert_eq!(secret.to_xml(), shown);
        assert_eq!(SecretDefinition::parse(shown).unwrap(), secret);
    }

    #[test]
    fn every_use_says_what_exactly() {
        for used_by in SecretUse::ALL {
            let secret = SecretDefinition {
                used_by,
                usage: match used_by {
                    SecretUse::None => String::new(),
                    _ => "a & b".to_owned(),
                },
                ephemeral: true,
                description: Some("<d>".to_owned()),
                ..SecretDefinition::default()
            };
            assert_eq!(SecretDefinition::parse(&secret.to_xml()).unwrap(), secret);
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_libvirts_words() {
        for (text, words) in [
            ("<secret ephemeral='x'/>", "invalid value of 'ephemeral'"),
            ("<secret><uuid>1</uuid></secret>", "malformed uuid element"),
            ("<secret><usage/></secret>", "unknown secret usage type"),
            (
                "<secret><usage type='x'/></secret>",
                "unknown secret usage type x",
            ),
            ("<secret><usage type='tls'/></secret>", "name is missing"),
            ("<secret><value>x</value></secret>", "value"),
            ("<domain/>", "expecting <secret>"),
        ] {
            let error = SecretDefinition::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
