//! Seeds: the small CD by which a machine learns at its first boot who it is
//! (cloud-init's NoCloud).
//!
//! The three documents are JSON, which is YAML too, so that nothing a user
//! gives can break out of its place.

use crate::iso::{self, IsoFile};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The name of the volume, by which cloud-init knows it.
const VOLUME: &str = "cidata";

/// What a machine is told at its first boot. Kept beside the machine, so that
/// its clones can be told the same under other names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The account to make; without a name the image's own first account.
    #[serde(default)]
    pub account: Account,
    /// Packages to install.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The cards, in the order of the definition.
    #[serde(default)]
    pub cards: Vec<Card>,
    /// cloud-init's own document, in place of all but the names and the cards.
    #[serde(default)]
    pub user_data: Option<String>,
    /// Whether the machine's disk has been another machine's, whose machine id is on it.
    #[serde(default)]
    pub is_clone: bool,
}

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its password as crypt(3) keeps it, `$6$…`.
    #[serde(default)]
    pub password_hash: Option<String>,
    /// Lines of `authorized_keys`.
    #[serde(default)]
    pub ssh_keys: Vec<String>,
}

/// A network card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its address, `52:54:00:…`.
    pub mac: String,
    /// Fixed addresses with their prefix, `192.168.122.50/24`; none for DHCP.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The way out.
    #[serde(default)]
    pub gateway: Option<String>,
    /// Name servers.
    #[serde(default)]
    pub dns: Vec<String>,
}

/// Who the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedName<'a> {
    /// A new one makes cloud-init do its work again, SSH host keys included.
    pub instance_id: &'a str,
    /// The host name.
    pub hostname: &'a str,
}

impl Seed {
    /// The CD's content.
    pub fn image(&self, name: SeedName<'_>) -> Vec<u8> {
        let file = |name: &str, text: String| IsoFile {
            name: name.to_owned(),
            bytes: text.into_bytes(),
        };
        let mut files = vec![
            file("meta-data", self.meta_data(name)),
            file("user-data", self.user_data()),
        ];
        if !self.cards.is_empty() {
            files.push(file("network-config", self.network_config()));
        }
        if self.is_clone {
            files.push(file("vendor-data", new_machine_id()));
        }
        iso::write(VOLUME, &files)
    }

    fn meta_data(&self, name: SeedName<'_>) -> String {
        pretty(&json!({"instance-id": name.instance_id, "local-hostname": name.hostname}))
    }

    fn user_data(&self) -> String {
        if let Some(own) = &self.user_data {
            return own.clone();
        }
        let mut all = Map::new();
        let mut put = |key: &str, value: Value| drop(all.insert(key.to_owned(), value));
        let Account {
            name,
            password_hash,
            ssh_keys,
        } = &self.account;
        match name.as_deref() {
            None => {
                if !ssh_keys.is_empty() {
                    put("ssh_authorized_keys", json!(ssh_keys));
                }
                if let Some(hash) = password_hash {
                    put("password", json!(hash));
                }
            }
            Some(name) => put("users", json!([self.user(name)])),
        }
        if password_hash.is_some() {
            put("chpasswd", json!({"expire": false}));
            put("ssh_pwauth", json!(true));
        }
        if name.as_deref() == Some("root") {
            put("disable_root", json!(false));
        }
        if !self.packages.is_empty() {
            put("package_update", json!(true));
            put("packages", json!(self.packages));
        }
        format!("#cloud-config\n{}", pretty(&Value::Object(all)))
    }

    fn user(&self, name: &str) -> Value {
        let mut user = json!({
            "name": name,
            "shell": "/bin/bash",
            "ssh_authorized_keys": self.account.ssh_keys,
        });
        if name != "root" {
            user["sudo"] = json!("ALL=(ALL) NOPASSWD:ALL");
            user["groups"] = json!("sudo");
        }
        if let Some(hash) = &self.account.password_hash {
            user["lock_passwd"] = json!(false);
            // `passwd` is for accounts that are new, the other for those that are there.
            user["passwd"] = json!(hash);
            user["hashed_passwd"] = json!(hash);
        }
        user
    }

    fn network_config(&self) -> String {
        let cards = self.cards.iter().enumerate().map(|(number, card)| {
            // Older versions know a card by its name only: it gets one.
            let name = format!("eth{number}");
            (name.clone(), card.config(&name))
        });
        let cards: Map<String, Value> = cards.collect();
        pretty(&json!({"version": 2, "ethernets": cards}))
    }
}

/// Has cloud-init give a clone a machine id of its own, once. What the D-Bus daemon keeps is asked
/// by systemd first, unless it leads to the same file.
fn new_machine_id() -> String {
    const RENEW: &str = "rm -f /etc/machine-id; \
        [ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id; \
        systemd-machine-id-setup";
    let once = [
        "cloud-init-per",
        "instance",
        "stead-machine-id",
        "sh",
        "-c",
        RENEW,
    ];
    format!("#cloud-config\n{}", pretty(&json!({"bootcmd": [once]})))
}

impl Card {
    fn config(&self, name: &str) -> Value {
        let mut config = json!({"match": {"macaddress": self.mac}, "set-name": name});
        if self.addresses.is_empty() {
            config["dhcp4"] = json!(true);
            return config;
        }
        config["addresses"] = json!(self.addresses);
        if let Some(gateway) = &self.gateway {
            config["gateway4"] = json!(gateway);
        }
        if !self.dns.is_empty() {
            config["nameservers"] = json!({"addresses": self.dns});
        }
        config
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iso::Iso;

    const NAME: SeedName<'_> = SeedName {
        instance_id: "i-1",
        hostname: "web1",
    };

    fn text(image: &[u8], name: &str) -> String {
        let mut source = image;
        let iso = Iso::open(&mut source).unwrap();
        let (at, length) = iso.find(&mut source, name).unwrap().unwrap();
        let at = usize::try_from(at).unwrap();
        String::from_utf8(image[at..at + usize::try_from(length).unwrap()].to_vec()).unwrap()
    }

    #[test]
    fn what_is_said_is_on_the_cd() {
        let seed = Seed {
            account: Account {
                name: Some("ann".into()),
                password_hash: Some("$6$x".into()),
                ssh_keys: vec!["ssh-ed25519 AAAA \"x\": {y".into()],
            },
            packages: vec!["htop".into()],
            cards: vec![Card {
                mac: "52:54:00:00:00:01".into(),
                addresses: vec!["10.0.0.5/24".into()],
                gateway: Some("10.0.0.1".into()),
                dns: vec!["10.0.0.1".into()],
            }],
            user_data: None,
            is_clone: false,
        };
        let image = seed.image(NAME);
        assert_eq!(image, seed.image(NAME), "the same each time");
        let meta: Value = serde_json::from_str(&text(&image, "meta-data")).unwrap();
        assert_eq!(
            meta,
            json!({"instance-id": "i-1", "local-hostname": "web1"})
        );
        let user = text(&image, "user-data");
        let user: Value =
            serde_json::from_str(user.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(user["users"][0]["name"], "ann");
        assert_eq!(
            user["users"][0]["ssh_authorized_keys"][0],
            "ssh-ed25519 AAAA \"x\": {y"
        );
        assert_eq!(user["packages"], json!(["htop"]));
        let network: Value = serde_json::from_str(&text(&image, "network-config")).unwrap();
        let card = &network["ethernets"]["eth0"];
        assert_eq!(card["match"]["macaddress"], "52:54:00:00:00:01");
        assert_eq!(card["gateway4"], "10.0.0.1");
    }

    #[test]
    fn without_a_name_the_images_own_account_is_meant() {
        let seed = Seed {
            account: Account {
                ssh_keys: vec!["k".into()],
                ..Account::default()
            },
            ..Seed::default()
        };
        let user = text(&seed.image(NAME), "user-data");
        assert!(
            user.contains("ssh_authorized_keys") && !user.contains("users"),
            "{user}"
        );
        let own = Seed {
            user_data: Some("#!/bin/sh\ntrue\n".into()),
            ..seed
        };
        assert_eq!(text(&own.image(NAME), "user-data"), "#!/bin/sh\ntrue\n");
        let clone = Seed {
            is_clone: true,
            ..own
        };
        let vendor = text(&clone.image(NAME), "vendor-data");
        let read: Value =
            serde_json::from_str(vendor.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(read["bootcmd"][0][1], "instance");
    }
}
