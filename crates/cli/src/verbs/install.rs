//! Installations, with virt-install's options.

use std::path::Path;

use client::api::{InstallDisk, InstallFrom, Installed, Job, MachineInstall};

use super::inside::absolute;
use super::machine_options as options;
use crate::args::Args;
use crate::domain;
use crate::failure::{Failure, Outcome};
use crate::follow;
use crate::output::extra;
use crate::session::Session;
use crate::table::{Completes, Verb, alias, flag, many, number, text};

/// The step from which on the installer runs by itself.
const INSTALLING: &str = "installing";
const GIB: u64 = 1 << 30;

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[Verb::new("install", "install a machine", install)
    .about(
        "Takes virt-install's options. The machine starts from a CD (--cdrom), from the \
             kernel of a CD image, a directory or a server (--location), from the network \
             (--pxe) or from a disk that is there (--import). It is told what to do by \
             --extra-args, by files in its initrd (--initrd-inject) or by --answers: a preseed, \
             a kickstart or an autoinstall document, which is put where the installer looks for \
             it. When the installer is done the machine starts from its own disk.",
    )
    .options(&[
        text("name", "its name").required().bare(),
        text("title", "its title"),
        alias("ram", "memory"),
        text("memory", "its memory in MiB, or with a unit: 2G"),
        number("vcpus", "its processors"),
        many(
            "disk",
            "size=GIB, a file that is there, or path=FILE,size=GIB,format=qcow2|raw",
        ),
        many(
            "network",
            "NAME of a network, bridge=NAME, user or none; as often as wanted",
        ),
        text("cdrom", "the image of a CD to start from").completes(Completes::File),
        text(
            "location",
            "a CD image, a directory or a URL whose kernel is started; \
                 LOCATION,kernel=PATH,initrd=PATH says where it lies",
        ),
        flag(
            "import",
            "start from the first disk: there is nothing to install",
        ),
        flag("pxe", "start from the network"),
        text("boot", "uefi: start by UEFI"),
        text(
            "graphics",
            "vnc, spice or none; vnc,listen=ADDRESS,port=NUMBER,password=WORD",
        ),
        alias("osinfo", "os-variant"),
        text(
            "os-variant",
            "the system, as libosinfo names it: debian12, win11, generic",
        ),
        many("extra-args", "what the installer's kernel is told"),
        many("initrd-inject", "a file put into the installer's initrd").completes(Completes::File),
        text(
            "answers",
            "a file with answers to the installer's questions",
        )
        .completes(Completes::File),
        text("user", "the account that cloud-init makes"),
        text("password", "its password"),
        many("ssh-key", "a public key that may log in, or a file of them"),
        many("packages", "packages cloud-init installs"),
        many("ip", "its address with prefix; without, DHCP"),
        text("gateway", "the way out"),
        text("dns", "name servers, separated by commas"),
        text("user-data", "a file with cloud-init's own user-data").completes(Completes::File),
        flag("autostart", "start it with the host"),
        flag("noreboot", "leave it off when the installer is done"),
        flag("wait", "wait until the installer is done"),
        flag(
            "noautoconsole",
            "what virt-install's scripts say; it is so anyway",
        ),
    ])
    .over_rest()];

fn install(s: &mut Session, args: &Args) -> Outcome {
    let boot = args.text("boot")?;
    if let Some(other) = boot.filter(|boot| *boot != "uefi") {
        return Err(Failure::said(format!(
            "--boot {other}: only uefi is supported"
        )));
    }
    let asked = MachineInstall {
        name: args.need("name")?.to_owned(),
        title: args.text("title")?.map(str::to_owned),
        memory_kib: args
            .scaled("memory", 1 << 20, u64::MAX)?
            .map(|bytes| bytes >> 10),
        vcpus: args.number("vcpus")?,
        disks: disks(args)?,
        networks: options::networks(args, "network")?,
        graphics: options::graphics(args.text("graphics")?)?,
        from: from(args)?,
        uefi: boot.is_some(),
        os_variant: args.text("os-variant")?.map(variant),
        extra_args: args.many("extra-args").join(" "),
        injected: args
            .many("initrd-inject")
            .iter()
            .map(|path| injected(path))
            .collect::<Result<_, _>>()?,
        answers: args.text("answers")?.map(domain::read_file).transpose()?,
        cloud_init: options::cloud_init(args)?,
        autostart: args.has("autostart"),
        reboot: !args.has("noreboot"),
    };
    let is_import = asked.from == InstallFrom::Import;
    let job: Job = s.rest()?.post("/installs", &asked)?;
    if args.has("wait") || is_import {
        let made: Installed = follow::follow(s, &job)?;
        if let Some(note) = &made.note {
            s.out.note(note);
        }
        extra!(s, "Domain '{}' is installed\n", made.name);
        return Ok(());
    }
    follow::follow_to_step(s, &job, INSTALLING)?;
    extra!(
        s,
        "Domain '{0}' runs its installer; `stead console {0}` shows its terminal, `stead job wait \
         {1}` waits for its end\n",
        asked.name,
        job.id
    );
    Ok(())
}

/// `debian12`, `detect=on,name=debian12`.
fn variant(text: &str) -> String {
    let name = text.split(',').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        matches!(key, "name" | "short-id").then_some(value)
    });
    match name {
        Some(name) => name.to_owned(),
        None if text.starts_with("detect=") => "generic".to_owned(),
        None => text.to_owned(),
    }
}

fn injected(path: &str) -> Result<(String, String), Failure> {
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::said(format!("'{path}' is no file")))?;
    Ok((name.to_owned(), domain::read_file(path)?))
}

fn from(args: &Args) -> Result<InstallFrom, Failure> {
    let given = ["cdrom", "location", "pxe", "import"];
    let mut chosen = given.iter().filter(|option| args.has(option));
    let first = chosen.next().copied();
    if let (Some(first), Some(second)) = (first, chosen.next()) {
        args.exclusive(first, second)?;
    }
    match first {
        Some("cdrom") => Ok(InstallFrom::Cdrom(absolute(args.need("cdrom")?)?)),
        Some("location") => location(args.need("location")?),
        Some("pxe") => Ok(InstallFrom::Pxe),
        Some(_) => Ok(InstallFrom::Import),
        None => Err(Failure::said(
            "say what it starts from: --cdrom, --location, --pxe or --import",
        )),
    }
}

fn location(text: &str) -> Result<InstallFrom, Failure> {
    let mut parts = text.split(',');
    let location = parts.next().unwrap_or_default();
    let (mut kernel, mut initrd) = (None, None);
    for part in parts {
        match part.split_once('=') {
            Some(("kernel", path)) => kernel = Some(path.to_owned()),
            Some(("initrd", path)) => initrd = Some(path.to_owned()),
            _ => return Err(not_known(part, "--location", "kernel, initrd")),
        }
    }
    Ok(InstallFrom::Location {
        location: match location.contains("://") {
            true => location.to_owned(),
            false => absolute(location)?,
        },
        kernel,
        initrd,
    })
}

fn not_known(part: &str, of: &str, known: &str) -> Failure {
    Failure::said(format!("'{part}' of {of} is not known: {known}"))
}

fn disks(args: &Args) -> Result<Vec<InstallDisk>, Failure> {
    let given = args.many("disk").iter();
    let disks = given.filter(|text| *text != "none").map(|text| disk(text));
    let disks: Vec<InstallDisk> = disks.collect::<Result<_, _>>()?;
    match disks.is_empty() && args.many("disk").is_empty() {
        true => Ok(vec![InstallDisk::default()]),
        false => Ok(disks),
    }
}

fn disk(text: &str) -> Result<InstallDisk, Failure> {
    let mut disk = InstallDisk::default();
    for part in text.split(',') {
        match part.split_once('=') {
            None => disk.path = Some(absolute(part)?),
            Some(("path", path)) => disk.path = Some(absolute(path)?),
            Some(("size", size)) => {
                let size: f64 = size
                    .parse()
                    .map_err(|_| Failure::said(format!("'{part}': a size is a number of GiB")))?;
                if !(size > 0.0 && size < 8e9) {
                    return Err(Failure::said(format!("'{part}': no disk is of that size")));
                }
                disk.size_bytes = Some((size * GIB as f64) as u64);
            }
            Some(("format", format)) => disk.format = Some(format.to_owned()),
            Some(("bus", "virtio")) => {}
            Some(_) => return Err(not_known(part, "--disk", "path, size, format")),
        }
    }
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_locations_and_systems() {
        let made = disk("size=1.5,format=raw").unwrap();
        assert_eq!((made.size_bytes, made.path), (Some(3 << 29), None));
        assert_eq!(
            disk("/d.img,size=2").unwrap().path.as_deref(),
            Some("/d.img")
        );
        for wrong in ["size=x", "size=-1", "size=1,pool=x"] {
            assert!(disk(wrong).is_err(), "{wrong}");
        }
        let tree = location("http://h/x,kernel=a,initrd=b").unwrap();
        let want = InstallFrom::Location {
            location: "http://h/x".into(),
            kernel: Some("a".into()),
            initrd: Some("b".into()),
        };
        assert_eq!(tree, want);
        assert_eq!(variant("detect=on,name=debian12"), "debian12");
        assert_eq!(variant("win11"), "win11");
        assert_eq!(variant("detect=on,require=off"), "generic");
    }
}
