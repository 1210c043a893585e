//! Machines made from images and templates.

use client::api::{
    CloudInit, Graphics, Job, MachineClone, MachineCreate, Named, Network, Template,
};
use client::segment;
use serde::Deserialize;

use crate::args::Args;
use crate::domain;
use crate::failure::{Failure, Outcome};
use crate::follow;
use crate::names;
use crate::output::extra;
use crate::session::Session;
use crate::table::{DOMAIN, Verb, flag, rest};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("clone", "make machines like another one", clone)
        .about(
            "Clones have names, uuids, MAC addresses and UEFI variables of their own; cloud-init \
             in them sees a new machine and makes new SSH host keys. They build upon the disks of \
             a template (stead template), or copy those of any machine that is shut off (--full). \
             Several names may be given, also as web{1..50}.",
        )
        .options(&[
            DOMAIN,
            flag("full", "copy the disks whole"),
            flag("start", "start the clones"),
            flag("detach", "do not wait: `stead jobs` tells how far it is"),
            rest("name", "the names of the clones").required(),
        ])
        .over_rest(),
    Verb::new("template", "make a template of a machine", template)
        .about(
            "A template is not started any more, so that others can build upon its disks. --undo \
             makes a machine of it again, once nothing builds upon it.",
        )
        .options(&[DOMAIN, flag("undo", "make a machine of it again")])
        .over_rest(),
    Verb::new(
        "template-list",
        "list templates, with their clones",
        template_list,
    )
    .over_rest()
    .tabular(),
];

fn clone(s: &mut Session, args: &Args) -> Outcome {
    let source = args.need("domain")?;
    let patterns = args.many("name");
    let names = names::expand_all(patterns).map_err(Failure::said)?;
    let asked = MachineClone {
        names,
        full: args.has("full"),
        start: args.has("start"),
    };
    let path = format!("/machines/{}/clones", segment(source));
    let job: Job = s.rest()?.post(&path, &asked)?;
    if args.has("detach") {
        extra!(s, "Job {} clones '{source}'\n", job.id);
        return Ok(());
    }
    #[derive(Deserialize)]
    struct Made {
        names: Vec<String>,
    }
    let made: Made = follow::follow(s, &job)?;
    for name in &made.names {
        extra!(s, "Domain '{name}' cloned from '{source}'\n");
    }
    Ok(())
}

fn template(s: &mut Session, args: &Args) -> Outcome {
    let path = format!("/templates/{}", segment(args.need("domain")?));
    if args.has("undo") {
        let made: Named = s.rest()?.delete(&path)?;
        extra!(s, "Domain '{}' is no template any more\n", made.name);
    } else {
        let made: Named = s.rest()?.put(&path, &())?;
        extra!(s, "Domain '{}' is a template\n", made.name);
    }
    Ok(())
}

fn template_list(s: &mut Session, _: &Args) -> Outcome {
    let templates: Vec<Template> = s.rest()?.get("/templates")?;
    let rows: Vec<_> = templates
        .into_iter()
        .map(|template| {
            let clones = match template.clones.as_slice() {
                [] => "-".to_owned(),
                clones => clones.join(", "),
            };
            vec![template.name, template.uuid, clones]
        })
        .collect();
    s.out.table(&["Name", "UUID", "Clones"], &rows);
    Ok(())
}

/// `stead create NAME --image IMAGE …`: the other half of virsh's verb.
pub(crate) fn create_from_image(s: &mut Session, args: &Args, image: &str) -> Outcome {
    let asked = MachineCreate {
        name: args.need("file")?.to_owned(),
        image: image.to_owned(),
        memory_kib: memory_kib(args, "ram")?,
        vcpus: args.number("vcpus")?.unwrap_or(1),
        disk_bytes: args.scaled("disk-size", GIB, u64::MAX)?,
        uefi: args.has("uefi"),
        networks: networks(args, "network")?,
        graphics: graphics(args.text("graphics")?)?,
        cloud_init: cloud_init(args)?,
        start: !args.has("nostart"),
    };
    let job: Job = s.rest()?.post("/machines", &asked)?;
    let made: Named = follow::follow(s, &job)?;
    extra!(s, "Domain '{}' created from image '{image}'\n", made.name);
    Ok(())
}

const GIB: u64 = 1 << 30;
/// Memory where nothing is said.
const MEMORY_DEFAULT_MIB: u64 = 1024;

/// Memory in MiB, or with a unit.
fn memory_kib(args: &Args, option: &str) -> Result<u64, Failure> {
    let bytes = args.scaled(option, 1 << 20, u64::MAX)?;
    Ok(bytes.unwrap_or(MEMORY_DEFAULT_MIB << 20) >> 10)
}

/// `default`, `network=default`, `bridge=br0`, `user`, `none`.
fn networks(args: &Args, option: &str) -> Result<Vec<Network>, Failure> {
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
fn graphics(text: Option<&str>) -> Result<Option<Graphics>, Failure> {
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

fn cloud_init(args: &Args) -> Result<CloudInit, Failure> {
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
