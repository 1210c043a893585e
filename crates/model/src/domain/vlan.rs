//! What a card's VLANs mean: one network, or a trunk of several.

use super::interface::Vlan;
use crate::xml::YesNo;

/// The largest tag.
pub const VLAN_TAG_MAX: u32 = 4094;

/// The VLANs of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortVlans {
    /// The machine knows of no VLAN: all it sends and gets belongs to this one.
    Access(u16),
    /// The machine tags what it sends.
    Trunk {
        /// Every VLAN it sees, the native one included.
        tags: Vec<u16>,
        /// The VLAN of what has no tag.
        native: Option<Native>,
    },
}

/// The VLAN of frames without a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Native {
    /// Its tag.
    pub tag: u16,
    /// Whether the machine gets its frames with the tag.
    pub tagged: bool,
}

impl Vlan {
    /// What the element means; none where it names no VLAN.
    ///
    /// # Errors
    /// What is wrong with it, in libvirt's words where it has some.
    pub fn port(&self) -> Result<Option<PortVlans>, String> {
        let mut tags = Vec::new();
        let mut native = None;
        for tag in &self.tags {
            let number = u16::try_from(tag.id)
                .ok()
                .filter(|_| tag.id <= VLAN_TAG_MAX)
                .ok_or_else(|| {
                    format!("vlan tag id {} too large (maximum {VLAN_TAG_MAX})", tag.id)
                })?;
            tags.push(number);
            let tagged = match tag.native_mode.as_deref() {
                None => continue,
                Some("tagged") => true,
                Some("untagged") => false,
                Some(other) => {
                    return Err(format!(
                        "Invalid \"nativeMode='{other}'\" in vlan <tag> element"
                    ));
                }
            };
            if native.is_some() {
                return Err("duplicate native vlan setting".into());
            }
            native = Some(Native {
                tag: number,
                tagged,
            });
        }
        let trunk = match self.trunk {
            Some(YesNo::No) if tags.len() > 1 => {
                return Err(
                    "invalid \"trunk='no'\" in <vlan> - trunk='yes' is required for more than one vlan tag"
                        .into(),
                );
            }
            Some(YesNo::No) if native.is_some() => {
                return Err(
                    "invalid configuration in <vlan> - \"trunk='no'\" is not allowed with a native vlan id"
                        .into(),
                );
            }
            Some(said) => said.is_yes(),
            None => tags.len() > 1 || native.is_some(),
        };
        Ok(match (trunk, tags.first()) {
            (_, None) => None,
            (true, Some(_)) => Some(PortVlans::Trunk { tags, native }),
            (false, Some(tag)) => Some(PortVlans::Access(*tag)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::interface::VlanTag;

    fn vlan(trunk: Option<YesNo>, tags: &[(u32, Option<&str>)]) -> Vlan {
        Vlan {
            trunk,
            tags: tags
                .iter()
                .map(|(id, native)| VlanTag {
                    id: *id,
                    native_mode: native.map(str::to_owned),
                })
                .collect(),
        }
    }

    #[test]
    fn one_tag_is_an_access_port_and_several_a_trunk() {
        assert_eq!(vlan(None, &[]).port(), Ok(None));
        assert_eq!(
            vlan(None, &[(20, None)]).port(),
            Ok(Some(PortVlans::Access(20)))
        );
        let tags = vec![20, 30];
        let native = None;
        assert_eq!(
            vlan(None, &[(20, None), (30, None)]).port(),
            Ok(Some(PortVlans::Trunk { tags, native }))
        );
        let native = Some(Native {
            tag: 20,
            tagged: false,
        });
        let tags = vec![20];
        assert_eq!(
            vlan(Some(YesNo::Yes), &[(20, Some("untagged"))]).port(),
            Ok(Some(PortVlans::Trunk { tags, native }))
        );
    }

    #[test]
    fn what_contradicts_itself_is_said() {
        let no = Some(YesNo::No);
        for (vlan, said) in [
            (vlan(None, &[(4095, None)]), "too large"),
            (vlan(no, &[(1, None), (2, None)]), "trunk='yes' is required"),
            (vlan(no, &[(1, Some("tagged"))]), "native vlan"),
            (
                vlan(None, &[(1, Some("tagged")), (2, Some("untagged"))]),
                "duplicate native",
            ),
            (vlan(None, &[(1, Some("x"))]), "nativeMode='x'"),
        ] {
            let error = vlan.port().expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
