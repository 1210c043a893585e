//! A processor somebody asks about: `<cpu>` as hosts describe theirs, or as machines ask for one.
//!
//! It is a question and no definition, so what does not bear on the answer (topology, caches,
//! sizes of pages) is passed over.

use crate::domain::cpu::{CpuFeature, CpuMatch, CpuMode, FeaturePolicy};
use crate::xml::{
    Element, Node, XmlError, XmlErrorKind, XmlFlags, XmlWriter, parse_document, root,
};

/// What is said of a processor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DescribedCpu {
    /// The architecture; only hosts say theirs.
    pub arch: Option<String>,
    /// How it is chosen; only machines say so.
    pub mode: Option<CpuMode>,
    /// How closely it is to be matched.
    pub match_: Option<CpuMatch>,
    /// The named model.
    pub model: Option<String>,
    /// The vendor.
    pub vendor: Option<String>,
    /// Features besides the model's; a host's are all required.
    pub features: Vec<CpuFeature>,
}

impl DescribedCpu {
    /// Reads a `<cpu>`.
    ///
    /// # Errors
    /// If it is not one, or says what cannot be.
    pub fn parse(text: &str) -> Result<Self, XmlError> {
        let document = parse_document(text)?;
        let node = root(&document);
        if !node.is("cpu") {
            let message = "XML does not contain expected 'cpu' element";
            return Err(node.error(XmlErrorKind::Invalid, message));
        }
        let mut cpu = Self {
            arch: text_of(&node, "arch"),
            model: text_of(&node, "model"),
            vendor: text_of(&node, "vendor"),
            ..Self::default()
        };
        if let Some(mode) = node.attribute("mode") {
            cpu.mode = Some(node.scalar("mode", mode)?);
        }
        if let Some(match_) = node.attribute("match") {
            cpu.match_ = Some(node.scalar("match", match_)?);
        }
        cpu.take_features(&node)?;
        cpu.check(&node)?;
        Ok(cpu)
    }

    /// Whether it is a host's own processor, not one that a machine asks for.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.arch.is_some()
    }

    fn take_features(&mut self, node: &Node) -> Result<(), XmlError> {
        for child in node.children().filter(|child| child.is("feature")) {
            let wrong = |message: String| child.error(XmlErrorKind::Invalid, message);
            let name = child.attribute("name").unwrap_or_default();
            if name.is_empty() {
                return Err(wrong("Invalid CPU feature name".to_owned()));
            }
            let policy = match child.attribute("policy") {
                Some(policy) if !self.is_host() => child.scalar("policy", policy)?,
                _ => FeaturePolicy::Require,
            };
            if self.features.iter().any(|feature| feature.name == name) {
                return Err(wrong(format!(
                    "CPU feature '{name}' specified more than once"
                )));
            }
            self.features.push(CpuFeature {
                policy,
                name: name.to_owned(),
            });
        }
        Ok(())
    }

    fn check(&self, node: &Node) -> Result<(), XmlError> {
        let wrong = match self.model {
            Some(_) => return Ok(()),
            None if self.is_host() => "Missing CPU model name",
            None if self.mode.is_some_and(|mode| mode != CpuMode::Custom) => return Ok(()),
            None if self.vendor.is_some() => "CPU vendor specified without CPU model",
            None if !self.features.is_empty() => {
                "Non-empty feature list specified without CPU model"
            }
            None => return Ok(()),
        };
        Err(node.error(XmlErrorKind::Missing, wrong))
    }
}

fn text_of(node: &Node, name: &str) -> Option<String> {
    let text = node.child(name)?.text();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Writes a processor for machines, as an answer of its own.
#[must_use]
pub fn cpu_to_xml(cpu: &crate::domain::cpu::Cpu) -> String {
    let mut writer = XmlWriter::new(XmlFlags::default());
    cpu.write("cpu", &mut writer);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hosts_processor_needs_no_policies() {
        let cpu = DescribedCpu::parse(
            "<cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor>\
             <microcode version='3'/><feature name='vmx'/><pages unit='KiB' size='4'/></cpu>",
        );
        let cpu = cpu.expect("a host's processor");
        assert!(cpu.is_host());
        assert_eq!(cpu.model.as_deref(), Some("EPYC"));
        assert_eq!(cpu.features[0].policy, FeaturePolicy::Require);
    }

    #[test]
    fn what_cannot_be_is_refused_in_libvirts_words() {
        for (text, words) in [
            ("<cp/>", "XML does not contain expected 'cpu' element"),
            ("<cpu><arch>x86_64</arch></cpu>", "Missing CPU model name"),
            (
                "<cpu><vendor>AMD</vendor></cpu>",
                "CPU vendor specified without CPU model",
            ),
            (
                "<cpu><model>a</model><feature name='x'/><feature name='x'/></cpu>",
                "CPU feature 'x' specified more than once",
            ),
            ("<cpu mode='odd'/>", "mode"),
        ] {
            let error = DescribedCpu::parse(text).expect_err(text);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(<cpu[ a-z'=]*>|<model>|</model>|<feature name='.?'/>|</cpu>|.){0,8}") {
            let _ = DescribedCpu::parse(&text);
        }
    }
}
