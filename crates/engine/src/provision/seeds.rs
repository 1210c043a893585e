//! What machines are told at their first boot, and the CDs that tell it. What
//! was said is kept beside the machine (`host/HOST/seed/UUID`), so that its
//! clones are told the same under names of their own.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use model::domain::Domain;
use model::domain::disk::Disk;
use std::path::PathBuf;
use storage::seed::{Account, Card, Seed, SeedName};
use uuid::Uuid;

/// What a machine is to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeedRequest {
    /// The account; without a name the image's own first one.
    pub user: Option<String>,
    /// Its password as crypt(3) keeps it.
    pub password_hash: Option<String>,
    /// Lines of `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// Packages to install.
    pub packages: Vec<String>,
    /// Addresses with their prefix, one for each card from the first on.
    pub ips: Vec<String>,
    /// The way out.
    pub gateway: Option<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// cloud-init's own document in place of account and packages.
    pub user_data: Option<String>,
}

impl SeedRequest {
    /// Whether anything is said at all.
    pub fn is_empty(&self) -> bool {
        *self == SeedRequest::default()
    }

    /// For a machine with these cards.
    pub(crate) fn seed(&self, macs: &[String]) -> Result<Seed> {
        if self.ips.len() > macs.len() {
            return Err(EngineError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "{} addresses are given for {} network cards",
                    self.ips.len(),
                    macs.len()
                ),
            ));
        }
        let cards = macs.iter().enumerate().map(|(number, mac)| {
            let address = self.ips.get(number);
            let first = number == 0 && address.is_some();
            let (gateway, guessed) = match address {
                Some(address) => ways_out(address)?,
                None => (String::new(), String::new()),
            };
            Ok(Card {
                mac: mac.clone(),
                addresses: address.cloned().into_iter().collect(),
                gateway: first.then(|| self.gateway.clone().unwrap_or(gateway)),
                dns: match first {
                    true if self.dns.is_empty() => vec![guessed],
                    true => self.dns.clone(),
                    false => Vec::new(),
                },
            })
        });
        Ok(Seed {
            account: Account {
                name: self.user.clone(),
                password_hash: self.password_hash.clone(),
                ssh_keys: self.ssh_keys.clone(),
            },
            packages: self.packages.clone(),
            cards: cards.collect::<Result<_>>()?,
            user_data: self.user_data.clone(),
            is_clone: false,
        })
    }
}

/// The gateway and the name server of a network where nobody says: the first
/// address, which is where libvirt's networks have both.
fn ways_out(address: &str) -> Result<(String, String)> {
    let bad = || {
        EngineError::new(
            ErrorKind::InvalidArgument,
            format!("'{address}' is no address with a prefix, such as 192.168.122.50/24"),
        )
    };
    let (ip, prefix) = address.split_once('/').ok_or_else(bad)?;
    let ip: std::net::IpAddr = ip.parse().map_err(|_| bad())?;
    let prefix: u32 = prefix.parse().map_err(|_| bad())?;
    let first = match ip {
        std::net::IpAddr::V4(ip) if prefix <= 30 => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            std::net::Ipv4Addr::from((u32::from(ip) & mask) + 1).to_string()
        }
        std::net::IpAddr::V6(ip) if prefix <= 126 => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            std::net::Ipv6Addr::from((u128::from(ip) & mask) + 1).to_string()
        }
        _ => return Err(bad()),
    };
    Ok((first.clone(), first))
}

impl Engine {
    /// Where the CD of a machine lies.
    pub(crate) fn seed_path(&self, name: &str) -> PathBuf {
        let file = crate::files::file_name(name);
        self.places().images.join(format!("{file}-seed.iso"))
    }

    /// What a machine was told, if it was.
    pub(crate) fn seed_of(&self, uuid: Uuid) -> Result<Option<Seed>> {
        let found = self.records().get_item("seed", &uuid.to_string())?;
        found
            .map(|bytes| {
                serde_json::from_slice(&bytes).map_err(|e| {
                    EngineError::new(
                        ErrorKind::Store,
                        format!("what {uuid} was told cannot be read: {e}"),
                    )
                })
            })
            .transpose()
    }

    /// Keeps what a machine is told, and makes its CD.
    pub(crate) async fn make_seed(
        &self,
        seed: &Seed,
        uuid: Uuid,
        name: &str,
        path: &std::path::Path,
    ) -> Result<()> {
        let record = crate::record::encode(seed)?;
        let (id, instance_id) = (uuid.to_string(), format!("stead-{uuid}"));
        self.records().put_item("seed", &id, record).await?;
        let image = seed.image(SeedName {
            instance_id: &instance_id,
            hostname: name,
        });
        super::files::write(path, &image)
    }
}

/// The drive with a machine's seed in it.
pub(crate) fn drive_of<'a>(domain: &'a mut Domain, path: &str) -> Option<&'a mut Disk> {
    let mut disks = domain.devices.disks.iter_mut();
    disks.find(|disk| disk.source_path() == Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_is_the_networks_first_address() {
        let request = SeedRequest {
            ips: vec!["192.168.122.50/24".into()],
            ..SeedRequest::default()
        };
        let seed = request.seed(&["m".into(), "n".into()]).expect("seed");
        assert_eq!(seed.cards[0].gateway.as_deref(), Some("192.168.122.1"));
        assert_eq!(seed.cards[0].dns, ["192.168.122.1"]);
        assert_eq!(
            seed.cards[1],
            Card {
                mac: "n".into(),
                ..Card::default()
            }
        );
        for bad in ["10.0.0.1", "10.0.0.1/33", "x/24", "10.0.0.1/32"] {
            let request = SeedRequest {
                ips: vec![bad.into()],
                ..SeedRequest::default()
            };
            assert!(request.seed(&["m".into()]).is_err(), "{bad}");
        }
        assert!(request.seed(&[]).is_err(), "an address without a card");
    }
}
