//! The library of images.

use client::api::{Evidence, Image, ImageImport, Job, Named};
use client::segment;

use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::follow;
use crate::output::extra;
use crate::session::Session;
use crate::table::{Completes, Opt, Verb, arg, flag, many, text};

use super::packages;

const NAME: Opt = arg("name", "the name of the image").of_things(crate::table::Thing::LibraryImage);

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new(
        "image import",
        "bring an image into the library",
        import,
    )
    .about(
        "From a URL or a file of the daemon's host. What is compressed (xz, gzip, zstd, bzip2) is \
         decompressed; VMDK, VDI, VHD and VHDX become qcow2. A download that breaks off goes on \
         where it was when the same command is given again. Images that name other files (a \
         backing file, a data file) are refused. A package of a machine (.ova, or .ovf with its \
         files beside it) becomes a machine: its manifest is compared, its disks become qcow2.",
    )
    .options(&[
        arg("source", "an http or https URL, or a file").completes(Completes::File),
        text("name", "the name it gets; without, the file's name without its endings"),
        text("sha256", "its SHA-256 checksum"),
        text("sha512", "its SHA-512 checksum"),
        text("checksum-file", "a URL or a file of checksums that names it: SHA256SUMS")
            .completes(Completes::File),
        text(
            "signature",
            "a URL or a file of a detached signature: of the file of checksums where one is given, \
             else of the image",
        )
        .completes(Completes::File),
        text("keyring", "the keys that may have signed, binary or as text").completes(Completes::File),
        text("source-format", "its format, where its own header is not to be believed")
            .words(&["raw", "qcow2", "iso", "vmdk", "vdi", "vpc", "vhdx", "qed", "qcow"]),
        many(
            "network",
            "of a package: what its cards are plugged into: NAME of a network, bridge=NAME or user",
        ),
        flag("virtio", "of a package: its disks and cards become virtio's"),
        flag("start", "of a package: start the machine"),
        flag("detach", "do not wait: `stead jobs` tells how far it is"),
    ])
    .over_rest(),
    Verb::new("image list", "list the library, with who uses what", list)
        .over_rest()
        .tabular(),
    Verb::new("image show", "show one image of the library", show)
        .options(&[NAME])
        .over_rest()
        .tabular(),
    Verb::new("image delete", "delete an image of the library", delete)
        .about("Refused while anything builds upon it.")
        .options(&[NAME])
        .over_rest(),
];

fn import(s: &mut Session, args: &Args) -> Outcome {
    let given = args.need("source")?;
    if packages::is_package(given) {
        return packages::import(s, args);
    }
    for option in ["network", "virtio", "start"] {
        if args.has(option) {
            return Err(Failure::said(format!(
                "--{option} is for packages of machines (.ova, .ovf): `stead create` makes machines \
                 of images"
            )));
        }
    }
    let source = place(given)?;
    let name = match args.text("name")? {
        Some(name) => name.to_owned(),
        None => name_of(&source),
    };
    let asked = ImageImport {
        source,
        name,
        evidence: evidence(args)?,
        format: args.text("source-format")?.map(str::to_owned),
    };
    let job: Job = s.rest()?.post("/images", &asked)?;
    if args.has("detach") {
        extra!(s, "Job {} imports '{}'\n", job.id, asked.name);
        return Ok(());
    }
    let made: Named = follow::follow(s, &job)?;
    extra!(s, "Image '{}' imported\n", made.name);
    Ok(())
}

/// A URL as it is, a file as the daemon knows it.
pub(super) fn place(given: &str) -> Result<String, Failure> {
    match given.contains("://") {
        true => Ok(given.to_owned()),
        false => super::inside::absolute(given),
    }
}

/// What a file that comes in is compared with.
pub(super) fn evidence(args: &Args) -> Result<Evidence, Failure> {
    args.exclusive("sha256", "sha512")?;
    let checksum = args.text("sha256")?.or(args.text("sha512")?);
    let place_of = |option| args.text(option)?.map(place).transpose();
    Ok(Evidence {
        checksum: checksum.map(str::to_owned),
        checksum_file: place_of("checksum-file")?,
        signature: place_of("signature")?,
        keyring: place_of("keyring")?,
    })
}

/// The file's name without the endings of images and compressions.
pub(super) fn name_of(source: &str) -> String {
    let path = source.split(['?', '#']).next().unwrap_or_default();
    let mut name = path.rsplit('/').next().unwrap_or_default();
    const ENDINGS: [&str; 17] = [
        ".xz", ".gz", ".bz2", ".zst", ".qcow2", ".img", ".raw", ".iso", ".vmdk", ".vdi", ".vhd",
        ".vpc", ".vhdx", ".qed", ".qcow", ".ova", ".ovf",
    ];
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)) {
        name = shorter;
    }
    name.to_owned()
}

fn list(s: &mut Session, _: &Args) -> Outcome {
    let images: Vec<Image> = s.rest()?.get("/images")?;
    let rows: Vec<_> = images
        .into_iter()
        .map(|image| {
            let used = match image.used_by.as_slice() {
                [] => "-".to_owned(),
                users => users.join(", "),
            };
            vec![image.name, image.format, size(image.capacity), used]
        })
        .collect();
    s.out
        .table(&["Name", "Format", "Capacity", "Used by"], &rows);
    Ok(())
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

fn show(s: &mut Session, args: &Args) -> Outcome {
    let path = format!("/images/{}", segment(args.need("name")?));
    let image: Image = s.rest()?.get(&path)?;
    let pairs = [
        ("Name:", image.name),
        ("Path:", image.path),
        ("Format:", image.format),
        ("Capacity:", image.capacity.to_string()),
        ("SHA-256:", image.sha256),
        ("Signed by:", image.signed_by.unwrap_or_default()),
        ("Source:", image.source),
        ("Used by:", image.used_by.join(", ")),
    ];
    s.out.pairs(15, &pairs);
    Ok(())
}

fn delete(s: &mut Session, args: &Args) -> Outcome {
    let name = args.need("name")?;
    let gone: Named = s.rest()?.delete(&format!("/images/{}", segment(name)))?;
    extra!(s, "Image '{}' deleted\n", gone.name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_files_names() {
        let url = "https://cloud.example/x/debian-12-genericcloud-amd64.qcow2?a=b";
        assert_eq!(name_of(url), "debian-12-genericcloud-amd64");
        assert_eq!(name_of("/srv/fedora-41.raw.xz"), "fedora-41");
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(size(512), "512.00 B");
        assert_eq!(size(2 << 30), "2.00 GiB");
    }
}
