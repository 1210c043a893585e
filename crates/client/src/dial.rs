//! Reaching the daemon: a socket here, or ssh to another host.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::uri::{self, Proxy, Ssh, Transport, Uri};
use crate::{Error, Origin, os_message};

/// Bytes of ssh's complaints that are repeated to the person.
const SSH_WORDS_MAX_BYTES: u64 = 4096;

/// A connected socket, and the process at its other end if there is one.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// The socket.
    pub socket: UnixStream,
    ssh: Option<Child>,
}

/// Connects to where `uri` points.
///
/// # Errors
/// If nobody answers there.
pub(crate) fn dial(uri: &Uri, readonly: bool) -> Result<Dialled, Error> {
    match &uri.transport {
        Transport::Unix { socket: Some(path) } => local(path),
        Transport::Unix { socket: None } => {
            let candidates = uri::usual_sockets(uri.scope, readonly);
            local(&first_there(candidates))
        }
        Transport::Ssh(ssh) => through_ssh(ssh, uri, readonly),
    }
}

/// Connects to the REST socket of the daemon that `uri` points to: it lies
/// beside the one libvirt's clients use.
///
/// # Errors
/// If nobody answers there.
pub(crate) fn dial_rest(uri: &Uri) -> Result<Dialled, Error> {
    match &uri.transport {
        Transport::Unix { socket } => {
            let path = match socket {
                Some(socket) => socket.with_file_name(api::SOCKET_NAME),
                None => uri::rest_socket(uri.scope),
            };
            local(&path).map_err(|error| no_stead(uri, error))
        }
        Transport::Ssh(ssh) => {
            let libvirts = ssh.socket.as_ref().map(PathBuf::from);
            let path = match libvirts {
                Some(socket) => socket.with_file_name(api::SOCKET_NAME),
                None => uri::rest_socket(uri.scope),
            };
            let ssh = Ssh {
                socket: Some(path.to_string_lossy().into_owned()),
                proxy: Proxy::Netcat,
                ..ssh.clone()
            };
            through_ssh(&ssh, uri, false)
        }
    }
}

/// A libvirtd is found by the same URIs, and has no such socket.
fn no_stead(uri: &Uri, error: Error) -> Error {
    Error {
        message: format!(
            "no Stead daemon answers at {}: this is a verb of Stead's own, which a libvirtd \
             cannot do ({})",
            uri.text, error.message
        ),
        ..error
    }
}

/// The first that exists; if none does, the last.
fn first_there(candidates: Vec<PathBuf>) -> PathBuf {
    let there = candidates.iter().find(|p| p.exists()).cloned();
    there
        .or_else(|| candidates.last().cloned())
        .unwrap_or_default()
}

fn local(path: &Path) -> Result<Dialled, Error> {
    match UnixStream::connect(path) {
        Ok(socket) => Ok(Dialled { socket, ssh: None }),
        Err(e) => Err(Error::local(
            Origin::Connecting,
            format!(
                "Failed to connect socket to '{}': {}",
                path.display(),
                os_message(&e)
            ),
        )),
    }
}

fn through_ssh(ssh: &Ssh, uri: &Uri, readonly: bool) -> Result<Dialled, Error> {
    let failed = |e: std::io::Error| {
        let program = ssh.command.as_deref().unwrap_or("ssh");
        Error::local(
            Origin::Connecting,
            format!("cannot run '{program}': {}", os_message(&e)),
        )
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let input: OwnedFd = theirs.try_clone().map_err(failed)?.into();
    let child = ssh_command(ssh, uri, readonly)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    Ok(Dialled {
        socket: ours,
        ssh: Some(child),
    })
}

fn ssh_command(ssh: &Ssh, uri: &Uri, readonly: bool) -> Command {
    let mut command = Command::new(ssh.command.as_deref().unwrap_or("ssh"));
    if let Some(port) = ssh.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &ssh.user {
        command.arg("-l").arg(user);
    }
    if let Some(keyfile) = &ssh.keyfile {
        command.arg("-i").arg(keyfile);
    }
    if !ssh.verify {
        command.args(["-o", "StrictHostKeyChecking=no"]);
    }
    if !ssh.tty {
        command.args(["-o", "BatchMode=yes"]);
    }
    command.args(["-T", "-e", "none", "--"]).arg(&ssh.host);
    command.arg(far_side(ssh, uri, readonly));
    command
}

/// The shell command for the far side: the helper where it is installed and no
/// socket is named, else a program that copies to the first socket there is.
fn far_side(ssh: &Ssh, uri: &Uri, readonly: bool) -> String {
    let sockets = match &ssh.socket {
        Some(socket) => quote(socket),
        None => {
            let usual = uri::usual_sockets(uri.scope, readonly);
            let shown: Vec<_> = usual.iter().map(|p| quote(&p.to_string_lossy())).collect();
            shown.join(" ")
        }
    };
    let netcat = quote(ssh.netcat.as_deref().unwrap_or("nc"));
    let helper = format!(
        "virt-ssh-helper {}{}",
        if readonly { "-r " } else { "" },
        quote(&uri.open)
    );
    let copy = format!(
        "for s in {sockets}; do [ -S \"$s\" ] && break; done; \
         if command -v {netcat} >/dev/null 2>&1; then exec {netcat} -U \"$s\"; \
         elif command -v socat >/dev/null 2>&1; then exec socat - UNIX-CONNECT:\"$s\"; \
         else exec stead socket \"$s\"; fi"
    );
    let script = match ssh.proxy {
        Proxy::Native => format!("exec {helper}"),
        Proxy::Netcat => copy,
        Proxy::Auto if ssh.socket.is_some() || ssh.netcat.is_some() => copy,
        Proxy::Auto => format!(
            "if [ ! -S /run/stead/libvirt-sock ] && \
             command -v virt-ssh-helper >/dev/null 2>&1; then exec {helper}; fi; {copy}"
        ),
    };
    format!("sh -c {}", quote(&script))
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl Dialled {
    /// Adds what ssh had to say to the error that ended the connection.
    pub(crate) fn explain(&mut self, error: Error) -> Error {
        let Some(child) = &mut self.ssh else {
            return error;
        };
        _ = self.socket.shutdown(std::net::Shutdown::Both);
        let mut words = String::new();
        if let Some(stderr) = child.stderr.take() {
            _ = stderr.take(SSH_WORDS_MAX_BYTES).read_to_string(&mut words);
        }
        _ = child.wait();
        match words.trim() {
            "" => error,
            words => Error {
                message: format!("{}: {words}", error.message),
                ..error
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(uri: &str) -> Vec<String> {
        let uri = Uri::parse(uri).unwrap();
        let Transport::Ssh(ssh) = &uri.transport else {
            panic!("not ssh")
        };
        let command = ssh_command(ssh, &uri, false);
        command
            .get_args()
            .map(|a| a.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn ssh_is_told_what_the_uri_says() {
        let words = words("qemu+ssh://me@host:22/system?keyfile=/k&no_verify=1&socket=/tmp/s");
        let options = &words[..words.len() - 1];
        let want = "-p 22 -l me -i /k -o StrictHostKeyChecking=no -T -e none -- host";
        assert_eq!(options.join(" "), want);
        assert!(words.last().unwrap().contains("/tmp/s"));
    }

    #[test]
    fn a_socket_with_a_quote_stays_one_word() {
        let words = words("qemu+ssh://host/system?socket=/a'b");
        let line = words.last().unwrap();
        let out = Command::new("sh")
            .arg("-c")
            .arg(line.replace("exec", "echo").replace("command -v", "echo"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(said.contains("-U /a'b"), "{said}");
    }
}
