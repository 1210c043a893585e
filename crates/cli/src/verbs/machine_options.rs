//! Options of verbs that make machines: networks, screens, what cloud-init tells.

use client::api::{CloudInit, Graphics, Network};

use crate::args::Args;
use crate::domain;
use crate::failure::Failure;

/// Memory where nothing is said.
const MEMORY_DEFAULT_MIB: u64 = 1024;

/// Memory in MiB, or with a unit.
pub(super) fn memory_kib(args: &Args, option: &str) -> Result<u64, Failure> {
    let bytes = args.scaled(option, 1 << 20, u64::MAX)?;
    Ok(bytes.unwrap_or(MEMORY_DEFAULT_MIB << 20) >> 10)
}

/// `default`, `network=default`, `bridge=br0`, `user`, `none`.
pub(super) fn networks(args: &Args, option: &str) -> Result<Vec<Network>, Failure> {
    let given = args.many(option);
    if given.is_empty() {
        return Ok(vec![Network::Network("default".into())]);
    }
    let mut all = Vec::new();
    for text in given {
        all.extend(network(text)?);
    }
    Ok(all)
}

fn network(text: &str) -> Result<Option<Network>, Failure> {
    Ok(match text.split_once('=') {
        None if text == "none" => None,
        None if text == "user" => Some(Network::User),
        None => Some(Network::Network(text.to_owned())),
        Some(("network", name)) => Some(Network::Network(name.to_owned())),
        Some(("bridge", name)) => Some(Network::Bridge(name.to_owned())),
        Some(_) => {
            return Err(Failure::said(format!(
                "'{text}' is no network: NAME, network=NAME, bridge=NAME, user or none"
            )));
        }
    })
}

/// `none`, `vnc`, `spice,listen=…,port=…,password=…`.
pub(super) fn graphics(text: Option<&str>) -> Result<Option<Graphics>, Failure> {
    let Some(text) = text.filter(|text| *text != "none") else {
        return Ok(None);
    };
    let mut parts = text.split(',');
    let mut graphics = Graphics {
        spice: match parts.next() {
            Some("vnc") => false,
            Some("spice") => true,
            other => {
                let other = other.unwrap_or_default();
                return Err(Failure::said(format!(
                    "'{other}' is no kind of graphics: vnc, spice or none"
                )));
            }
        },
        ..Graphics::default()
    };
    for part in parts {
        match part.split_once('=') {
            Some(("listen", address)) => graphics.listen = Some(address.to_owned()),
            Some(("password" | "passwd", word)) => graphics.password = Some(word.to_owned()),
            Some(("port", port)) => {
                let port = port.parse();
                graphics.port =
                    Some(port.map_err(|_| Failure::said(format!("'{part}': no port")))?);
            }
            _ => {
                return Err(Failure::said(format!(
                    "'{part}' of --graphics is not known: listen, port, password"
                )));
            }
        }
    }
    Ok(Some(graphics))
}

/// What a new machine is told at its first boot.
pub(super) fn cloud_init(args: &Args) -> Result<CloudInit, Failure> {
    let ssh_keys = args
        .many("ssh-key")
        .iter()
        .map(|given| ssh_key(given))
        .collect::<Result<Vec<_>, _>>()?;
    let user_data = args.text("user-data")?.map(domain::read_file).transpose()?;
    for other in ["user", "password", "packages"] {
        args.exclusive("user-data", other)?;
    }
    let words = |text: &str| -> Vec<String> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    Ok(CloudInit {
        user: args.text("user")?.map(str::to_owned),
        password_hash: args.text("password")?.map(hash).transpose()?,
        ssh_keys: ssh_keys.concat(),
        packages: args
            .many("packages")
            .iter()
            .flat_map(|p| words(p))
            .collect(),
        ips: args.many("ip").to_vec(),
        gateway: args.text("gateway")?.map(str::to_owned),
        dns: args.text("dns")?.map(words).unwrap_or_default(),
        user_data,
    })
}

/// The keys of a file, or the key itself.
fn ssh_key(given: &str) -> Result<Vec<String>, Failure> {
    if given.contains(' ') {
        return Ok(vec![given.to_owned()]);
    }
    let text = domain::read_file(given)?;
    if text.contains("PRIVATE KEY") {
        return Err(Failure::said(format!(
            "{given} is a private key: give the file that ends in .pub"
        )));
    }
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// A password as crypt(3) keeps it: it leaves this program in no other form.
fn hash(password: &str) -> Result<String, Failure> {
    let failed =
        |e: sha_crypt::CryptError| Failure::said(format!("the password cannot be hashed: {e:?}"));
    let params = sha_crypt::Sha512Params::new(sha_crypt::ROUNDS_DEFAULT).map_err(failed)?;
    sha_crypt::sha512_simple(password, &params).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_graphics() {
        assert_eq!(network("user").unwrap(), Some(Network::User));
        assert_eq!(network("none").unwrap(), None);
        assert_eq!(
            network("bridge=br0").unwrap(),
            Some(Network::Bridge("br0".into()))
        );
        assert!(network("pool=x").is_err());
        let vnc = graphics(Some("vnc,password=s3cret,port=5901"))
            .unwrap()
            .unwrap();
        assert_eq!((vnc.spice, vnc.port), (false, Some(5901)));
        assert_eq!(vnc.password.as_deref(), Some("s3cret"));
        assert_eq!(graphics(Some("none")).unwrap(), None);
        assert!(graphics(Some("x11")).is_err() && graphics(Some("vnc,a=b")).is_err());
    }

    #[test]
    fn passwords_are_hashed() {
        assert!(hash("secret").unwrap().starts_with("$6$"));
    }
}
