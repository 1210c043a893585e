//! What the guest agent tells and does.

use client::wire::remote;

use crate::args::Args;
use crate::domain::{flags, read_file, target};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{extra, fact, say};
use crate::params;
use crate::session::Session;
use crate::table::{Completes, DOMAIN, Verb, arg, flag, maybe, number, rest, text};

/// The verbs of this file.
pub(crate) const VERBS: &[Verb] = &[
    Verb::new("domfsfreeze", "freeze a guest's file systems", freeze)
        .options(&[DOMAIN, rest("mountpoint", "only these mount points")]),
    Verb::new("domfsinfo", "a guest's mounted file systems", fsinfo)
        .options(&[DOMAIN])
        .tabular(),
    Verb::new("domfsthaw", "let a guest's file systems go on", thaw)
        .options(&[DOMAIN, rest("mountpoint", "only these mount points")]),
    Verb::new(
        "domfstrim",
        "discard unused blocks of a guest's file systems",
        trim,
    )
    .options(&[
        DOMAIN,
        number(
            "minimum",
            "leave out free ranges smaller than this, in bytes",
        )
        .bare(),
        text("mountpoint", "only this mount point").bare(),
    ]),
    Verb::new(
        "get-user-sshkeys",
        "list a guest user's authorized SSH keys",
        get_keys,
    )
    .options(&[DOMAIN, arg("user", "the user in the guest")])
    .tabular(),
    Verb::new(
        "guest-agent-timeout",
        "how long to wait for the guest agent",
        timeout,
    )
    .options(&[
        DOMAIN,
        number(
            "timeout",
            "seconds; -2 for ever, -1 the default, 0 not at all",
        ),
    ]),
    Verb::new("guestinfo", "what a guest says of itself", guestinfo)
        .about("Prints users, operating system, time zone, host name, disks and more.")
        .options(&[
            DOMAIN,
            flag("user", "users logged in"),
            flag("os", "operating system"),
            flag("timezone", "time zone"),
            flag("hostname", "host name"),
            flag("filesystem", "file systems"),
            flag("disk", "disks"),
            flag("interface", "network interfaces"),
            flag("load", "load averages"),
        ])
        .tabular(),
    Verb::new("guestvcpus", "vCPUs as the guest sees them", guestvcpus)
        .options(&[
            DOMAIN,
            text("cpulist", "the vCPUs to change").bare(),
            flag("enable", "take them into use"),
            flag("disable", "take them out of use"),
        ])
        .tabular(),
    Verb::new(
        "set-user-password",
        "set a user's password in the guest",
        set_password,
    )
    .options(&[
        DOMAIN,
        arg("user", "the user in the guest"),
        arg("password", "the new password"),
        flag("encrypted", "the password is a hash already"),
    ]),
    Verb::new(
        "set-user-sshkeys",
        "change a guest user's authorized SSH keys",
        set_keys,
    )
    .options(&[
        DOMAIN,
        arg("user", "the user in the guest"),
        maybe("file", "a file with keys, one a line").completes(Completes::File),
        flag("reset", "replace all keys"),
        flag("remove", "remove these keys"),
    ]),
];

fn freeze(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let mountpoints = args.many("mountpoint").to_vec();
    let got = s.call(&remote::DomainFsfreezeArgs {
        dom,
        mountpoints,
        flags: 0,
    });
    let got = got.or_fail(|| "Unable to freeze filesystems".into())?;
    extra!(s, "Froze {} filesystem(s)\n", got.filesystems);
    Ok(())
}

fn thaw(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let mountpoints = args.many("mountpoint").to_vec();
    let got = s.call(&remote::DomainFsthawArgs {
        dom,
        mountpoints,
        flags: 0,
    });
    let got = got.or_fail(|| "Unable to thaw filesystems".into())?;
    extra!(s, "Thawed {} filesystem(s)\n", got.filesystems);
    Ok(())
}

fn trim(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let minimum = args.number("minimum")?.unwrap_or(0);
    let mount_point = args.text("mountpoint")?.map(str::to_owned);
    s.call(&remote::DomainFstrimArgs {
        dom,
        mount_point,
        minimum,
        flags: 0,
    })
    .or_fail(|| "Unable to invoke fstrim".into())
}

fn fsinfo(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let got = s.call(&remote::DomainGetFsinfoArgs { dom, flags: 0 });
    let got = got.or_fail(|| "Unable to get filesystem information".into())?;
    if got.info.is_empty() && s.out.is_text() {
        extra!(s, "No filesystems are mounted in the domain");
        return Ok(());
    }
    let row =
        |f: remote::DomainFsinfo| vec![f.mountpoint, f.name, f.fstype, f.dev_aliases.join(",")];
    let rows: Vec<_> = got.info.into_iter().map(row).collect();
    s.out
        .table(&["Mountpoint", "Name", "Type", "Target"], &rows);
    Ok(())
}

fn guestinfo(s: &mut Session, args: &Args) -> Outcome {
    let table = [
        ("user", 1),
        ("os", 2),
        ("timezone", 4),
        ("hostname", 8),
        ("filesystem", 16),
        ("disk", 32),
        ("interface", 64),
        ("load", 128),
    ];
    let types = flags(args, &table);
    let dom = target(s, args)?.dom;
    let got = s.call(&remote::DomainGetGuestInfoArgs {
        dom,
        types,
        flags: 0,
    })?;
    for p in &got.params {
        let shown = params::show(&p.value);
        fact!(
            s,
            &p.field,
            params::json(&p.value),
            "{:<20}: {shown}",
            p.field
        );
    }
    Ok(())
}

fn guestvcpus(s: &mut Session, args: &Args) -> Outcome {
    args.exclusive("enable", "disable")?;
    args.requires("enable", "cpulist")?;
    args.requires("disable", "cpulist")?;
    let cpumap = args.text("cpulist")?.map(str::to_owned);
    if cpumap.is_some() && !args.has("enable") && !args.has("disable") {
        let what = "One of options --enable or --disable is required by option --cpulist";
        return Err(Failure::said(what));
    }
    let dom = target(s, args)?.dom;
    if let Some(cpumap) = cpumap {
        let state = i32::from(args.has("enable"));
        return Ok(s.call(&remote::DomainSetGuestVcpusArgs {
            dom,
            cpumap,
            state,
            flags: 0,
        })?);
    }
    let got = s.call(&remote::DomainGetGuestVcpusArgs { dom, flags: 0 })?;
    for p in &got.params {
        let shown = params::show(&p.value);
        fact!(
            s,
            &p.field,
            params::json(&p.value),
            "{:<15}: {shown}",
            p.field
        );
    }
    Ok(())
}

fn set_password(s: &mut Session, args: &Args) -> Outcome {
    let flags = flags(args, &[("encrypted", 1)]);
    let user = args.need("user")?.to_owned();
    let password = Some(args.need("password")?.to_owned());
    let t = target(s, args)?;
    let call = remote::DomainSetUserPasswordArgs {
        dom: t.dom,
        user: Some(user.clone()),
        password,
        flags,
    };
    s.call(&call)?;
    extra!(s, "Password set successfully for {user} in {}", t.given);
    Ok(())
}

fn timeout(s: &mut Session, args: &Args) -> Outcome {
    const FOR_EVER: i32 = -2;
    let dom = target(s, args)?.dom;
    let timeout = args.number("timeout")?.unwrap_or(FOR_EVER);
    let call = remote::DomainAgentSetResponseTimeoutArgs {
        dom,
        timeout,
        flags: 0,
    };
    s.call(&call)?;
    Ok(())
}

fn get_keys(s: &mut Session, args: &Args) -> Outcome {
    let dom = target(s, args)?.dom;
    let user = args.need("user")?.to_owned();
    let got = s.call(&remote::DomainAuthorizedSshKeysGetArgs {
        dom,
        user,
        flags: 0,
    })?;
    if !s.out.is_text() {
        s.out.document(&got.keys.into());
        return Ok(());
    }
    for key in got.keys {
        say!(s, "{key}");
    }
    Ok(())
}

fn set_keys(s: &mut Session, args: &Args) -> Outcome {
    const APPEND: u32 = 1;
    const REMOVE: u32 = 2;
    args.requires("remove", "file")?;
    args.exclusive("reset", "remove")?;
    let dom = target(s, args)?.dom;
    let user = args.need("user")?.to_owned();
    let from = args.text("file")?;
    let flags = match (args.has("remove"), args.has("reset")) {
        (true, _) => REMOVE,
        (false, true) => 0,
        (false, false) if from.is_none() => {
            return Err(Failure::said("Option --file is required"));
        }
        (false, false) => APPEND,
    };
    let text = from.map(read_file).transpose()?.unwrap_or_default();
    let keys = text
        .lines()
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect();
    Ok(s.call(&remote::DomainAuthorizedSshKeysSetArgs {
        dom,
        user,
        keys,
        flags,
    })?)
}
