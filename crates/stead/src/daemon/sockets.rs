//! The sockets clients connect to: libvirt's and the one of the REST API, and
//! the usual ones of libvirt where no other daemon has them.

use super::options::Options;
use engine::Mode;
use rpc::{Server, Serving, Socket};
use std::error::Error;
use std::path::{Path, PathBuf};

/// The group that may administer machines by libvirt's custom.
const USUAL_GROUP: &str = "libvirt";

/// The names of libvirt's sockets: of its one daemon, and of its daemon for
/// QEMU, which newer clients try first.
const LIBVIRT_NAMES: [&str; 2] = ["libvirt-sock", "virtqemud-sock"];

/// Listens for the REST API's clients, beside libvirt's socket.
pub(crate) fn listen_rest(
    server: &rest::Server,
    options: &Options,
) -> Result<rest::Serving, Box<dyn Error>> {
    let path = options.engine.places.run.join("stead.sock");
    Ok(server.listen(&path, group(options)?)?)
}

/// Listens everywhere for libvirt's clients.
pub(crate) fn listen(server: &Server, options: &Options) -> Result<Vec<Serving>, Box<dyn Error>> {
    let gid = group(options)?;
    let run = &options.engine.places.run;
    let mut serving = listen_pair(server, &run.join("libvirt-sock"), gid, options.engine.mode)?;
    if options.rooted {
        return Ok(serving);
    }
    for path in usual_sockets(options) {
        match listen_pair(server, &path, gid, options.engine.mode) {
            Ok(pair) => serving.extend(pair),
            Err(error) => tracing::warn!(
                %error,
                "another daemon serves libvirt's own socket; clients reach this one at {}",
                run.join("libvirt-sock").display()
            ),
        }
    }
    Ok(serving)
}

fn listen_pair(
    server: &Server,
    path: &Path,
    gid: Option<u32>,
    mode: Mode,
) -> Result<Vec<Serving>, Box<dyn Error>> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|e| format!("cannot create directory {}: {e}", directory.display()))?;
    }
    let mut serving = vec![server.listen(&Socket::read_write(path.to_owned(), gid))?];
    // An ordinary user's machines are nobody else's business.
    if mode == Mode::System {
        let mut read_only = path.as_os_str().to_owned();
        read_only.push("-ro");
        serving.push(server.listen(&Socket::read_only(read_only.into()))?);
    }
    Ok(serving)
}

fn usual_sockets(options: &Options) -> Vec<PathBuf> {
    let directory = match options.engine.mode {
        Mode::System => PathBuf::from("/run/libvirt"),
        Mode::Session => match options.engine.places.run.parent() {
            Some(runtime) => runtime.join("libvirt"),
            None => return Vec::new(),
        },
    };
    LIBVIRT_NAMES
        .iter()
        .map(|name| directory.join(name))
        .collect()
}

fn group(options: &Options) -> Result<Option<u32>, Box<dyn Error>> {
    if options.engine.mode == Mode::Session {
        return Ok(None);
    }
    match &options.group {
        Some(name) => match sys::user::find_group(name)? {
            Some(gid) => Ok(Some(gid)),
            None => Err(format!("--group {name}: there is no such group").into()),
        },
        None => Ok(sys::user::find_group(USUAL_GROUP)?),
    }
}
