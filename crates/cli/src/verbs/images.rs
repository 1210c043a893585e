//! Images: qemu-img's commands, with progress and without harm to running machines; and what is
//! left over in pools.

use client::api::{ImageName, ImageOutput, ImageRequest, ImageTask, Job, Stray};

use super::inside::absolute;
use super::vol_make::size;
use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::follow;
use crate::session::Session;
use crate::table::{Completes, Opt, Verb, alias, arg, flag, maybe, text};

const IMAGE: Opt = arg("image", "the image's file").completes(Completes::File);
/// `--format` is how a verb prints; where it prints nothing, it is taken for this one too.
const FORMAT: Opt =
    text("image-format", "the image's format; found out if not given").words(IMAGE_FORMATS);
const ALSO_FORMAT: Opt = alias("format", FORMAT.name);
const OPTIONS: Opt = text("options", "further options: NAME=VALUE,…");
const BACKING: Opt = text("backing", "the image it builds upon").completes(Completes::File);
const BACKING_FORMAT: Opt = text("backing-format", "that one's format").words(IMAGE_FORMATS);

/// The formats that images have.
const IMAGE_FORMATS: &[&str] = &[
    "raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx", "qed", "qcow", "luks",
];

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("image check", "look for damage in an image", check)
        .options(&[
            IMAGE,
            text("repair", "mend what is found").words(&["leaks", "all"]),
            FORMAT,
        ])
        .about("Ends with status 1 where damage is left.")
        .over_rest()
        .tabular(),
    Verb::new(
        "image commit",
        "write an image into the one behind it",
        commit,
    )
    .options(&[IMAGE, ALSO_FORMAT, FORMAT])
    .over_rest(),
    Verb::new(
        "image compare",
        "compare the content of two images",
        compare,
    )
    .options(&[
        IMAGE,
        arg("other", "the other image's file").completes(Completes::File),
        FORMAT,
        text("other-format", "that one's format; found out if not given").words(IMAGE_FORMATS),
    ])
    .about("Ends with status 1 where they differ.")
    .over_rest()
    .tabular(),
    Verb::new(
        "image convert",
        "copy an image into another format",
        convert,
    )
    .options(&[
        IMAGE,
        arg("target", "the file to make").completes(Completes::File),
        text("to", "the new image's format; qcow2 if not given").words(IMAGE_FORMATS),
        flag("compress", "compress it"),
        OPTIONS,
        ALSO_FORMAT,
        FORMAT,
    ])
    .over_rest(),
    Verb::new("image create", "make an image", create)
        .options(&[
            IMAGE,
            maybe("size", "its size, in bytes or with a unit"),
            ALSO_FORMAT,
            text(FORMAT.name, "its format; qcow2 if not given").words(IMAGE_FORMATS),
            BACKING,
            BACKING_FORMAT,
            OPTIONS,
        ])
        .over_rest(),
    Verb::new("image info", "what an image is", info)
        .options(&[
            IMAGE,
            flag("backing-chain", "with the images behind it"),
            FORMAT,
        ])
        .over_rest()
        .tabular(),
    Verb::new("image map", "where the parts of an image are", map)
        .options(&[IMAGE, FORMAT])
        .over_rest()
        .tabular(),
    Verb::new(
        "image measure",
        "the space an image would take in a format",
        measure,
    )
    .options(&[
        IMAGE,
        text("to", "the format; qcow2 if not given").words(IMAGE_FORMATS),
        FORMAT,
    ])
    .over_rest()
    .tabular(),
    Verb::new("image rebase", "put another image behind an image", rebase)
        .about("Without --backing the image holds everything itself afterwards.")
        .options(&[
            IMAGE,
            BACKING,
            BACKING_FORMAT,
            flag(
                "unsafe",
                "change the name only: the image behind it was moved",
            ),
            ALSO_FORMAT,
            FORMAT,
        ])
        .over_rest(),
    Verb::new("image resize", "resize an image", resize)
        .options(&[
            IMAGE,
            arg("size", "the new size, in bytes or with a unit"),
            flag("shrink", "it may become smaller"),
            text("preallocation", "how much is taken at once")
                .words(&["off", "metadata", "falloc", "full"]),
            ALSO_FORMAT,
            FORMAT,
        ])
        .over_rest(),
    Verb::new(
        "image snapshot",
        "list or change the snapshots inside an image",
        snapshot,
    )
    .options(&[
        IMAGE,
        text("create", "make one of this name"),
        text("apply", "go back to this one"),
        text("delete", "delete this one"),
        FORMAT,
    ])
    .over_rest()
    .tabular(),
    Verb::new(
        "storage fsck",
        "find files that are left over in pools",
        fsck,
    )
    .about(
        "Lists files in the pools' directories that somebody began to make a volume of, and \
             says what each is.",
    )
    .over_rest()
    .tabular(),
];

fn run(s: &mut Session, args: &Args, format: Option<&str>, task: ImageTask) -> Outcome {
    let request = ImageRequest {
        image: absolute(args.need("image")?)?,
        format: format.map(str::to_owned),
        task,
        as_data: !s.out.is_text(),
    };
    let job: Job = s.rest()?.post("/images/tasks", &request)?;
    let said: ImageOutput = follow::follow(s, &job)?;
    s.out.text(said.output);
    if let Some(report) = &said.report {
        s.out.document(report);
    }
    match said.found {
        true => Err(Failure::silent()),
        false => Ok(()),
    }
}

fn run_plain(s: &mut Session, args: &Args, task: ImageTask) -> Outcome {
    run(s, args, args.text(FORMAT.name)?, task)
}

fn options(args: &Args) -> Result<Vec<String>, Failure> {
    let given = args.text("options")?.unwrap_or_default();
    Ok(given
        .split(',')
        .filter(|o| !o.is_empty())
        .map(str::to_owned)
        .collect())
}

fn backing(args: &Args) -> Result<Option<ImageName>, Failure> {
    args.requires("backing-format", "backing")?;
    args.requires("backing", "backing-format")?;
    match (args.text("backing")?, args.text("backing-format")?) {
        (Some(path), Some(format)) => Ok(Some(ImageName {
            path: absolute(path)?,
            format: format.to_owned(),
        })),
        _ => Ok(None),
    }
}

fn create(s: &mut Session, args: &Args) -> Outcome {
    let task = ImageTask::Create {
        size: args.text("size")?.map(size).transpose()?,
        backing: backing(args)?,
        options: options(args)?,
    };
    if !args.has("size") && !args.has("backing") {
        return Err(Failure::said(
            "say how large it is, or what it builds upon with --backing",
        ));
    }
    let format = args.text(FORMAT.name)?.unwrap_or("qcow2");
    run(s, args, Some(format), task)
}

fn info(s: &mut Session, args: &Args) -> Outcome {
    let chain = args.has("backing-chain");
    run_plain(s, args, ImageTask::Info { chain })
}

fn check(s: &mut Session, args: &Args) -> Outcome {
    let repair = args.text("repair")?.map(str::to_owned);
    run_plain(s, args, ImageTask::Check { repair })
}

fn commit(s: &mut Session, args: &Args) -> Outcome {
    run_plain(s, args, ImageTask::Commit)
}

fn map(s: &mut Session, args: &Args) -> Outcome {
    run_plain(s, args, ImageTask::Map)
}

fn convert(s: &mut Session, args: &Args) -> Outcome {
    let task = ImageTask::Convert {
        target: ImageName {
            path: absolute(args.need("target")?)?,
            format: args.text("to")?.unwrap_or("qcow2").to_owned(),
        },
        compress: args.has("compress"),
        options: options(args)?,
    };
    run_plain(s, args, task)
}

fn resize(s: &mut Session, args: &Args) -> Outcome {
    let task = ImageTask::Resize {
        size: size(args.need("size")?)?,
        shrink: args.has("shrink"),
        preallocation: args.text("preallocation")?.map(str::to_owned),
    };
    run_plain(s, args, task)
}

fn rebase(s: &mut Session, args: &Args) -> Outcome {
    let task = ImageTask::Rebase {
        backing: backing(args)?,
        name_only: args.has("unsafe"),
    };
    run_plain(s, args, task)
}

fn measure(s: &mut Session, args: &Args) -> Outcome {
    let target_format = args.text("to")?.unwrap_or("qcow2").to_owned();
    run_plain(s, args, ImageTask::Measure { target_format })
}

fn compare(s: &mut Session, args: &Args) -> Outcome {
    let other = ImageName {
        path: absolute(args.need("other")?)?,
        format: args.text("other-format")?.unwrap_or("auto").to_owned(),
    };
    run_plain(s, args, ImageTask::Compare { other })
}

fn snapshot(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("create", "apply")?;
    args.exclusive("create", "delete")?;
    args.exclusive("apply", "delete")?;
    let name = |option| Ok::<_, Failure>(args.text(option)?.map(str::to_owned));
    let task = match (name("create")?, name("apply")?, name("delete")?) {
        (Some(name), _, _) => ImageTask::CreateSnapshot { name },
        (_, Some(name), _) => ImageTask::ApplySnapshot { name },
        (_, _, Some(name)) => ImageTask::DeleteSnapshot { name },
        _ => ImageTask::ListSnapshots,
    };
    run_plain(s, args, task)
}

fn fsck(s: &mut Session, _: &Args) -> Outcome {
    let strays: Vec<Stray> = s.rest()?.get("/storage/strays")?;
    let row = |stray: &Stray| {
        let Stray {
            pool,
            path,
            length,
            explanation,
        } = stray;
        vec![
            pool.clone(),
            path.clone(),
            length.to_string(),
            explanation.clone(),
        ]
    };
    let rows: Vec<_> = strays.iter().map(row).collect();
    s.out.table(&["Pool", "File", "Bytes", "What it is"], &rows);
    Ok(())
}
