//! Where a connection goes: libvirt's URIs, and the default ones.
//!
//! `DRIVER[+TRANSPORT]://[USER@][HOST][:PORT]/PATH[?KEY=VALUE&…]`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of the socket for libvirt's clients, beside the REST socket.
const LIBVIRT_SOCKET_NAME: &str = "libvirt-sock";

/// Longest URI taken, in bytes.
pub(crate) const URI_MAX_BYTES: usize = 4096;

/// A parsed connection URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// The URI as given.
    pub text: String,
    /// What the daemon is asked to open: `qemu:///system`.
    pub open: String,
    /// Whose daemon.
    pub scope: Scope,
    /// How to get there.
    pub transport: Transport,
}

/// Whose daemon is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The host's.
    System,
    /// The calling user's.
    Session,
}

/// How to get to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A socket here; the usual places if none is named.
    Unix {
        /// The socket.
        socket: Option<PathBuf>,
    },
    /// Through ssh.
    Ssh(Ssh),
}

/// A host reached through ssh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssh {
    /// The host's name or address.
    pub host: String,
    /// The user there.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The socket there, if not the usual one.
    pub socket: Option<String>,
    /// The ssh program, `ssh` unless named.
    pub command: Option<String>,
    /// An identity file.
    pub keyfile: Option<String>,
    /// Whether an unknown host key is refused.
    pub verify: bool,
    /// Whether ssh may ask for a password.
    pub tty: bool,
    /// The program there that copies to the socket.
    pub netcat: Option<String>,
    /// How the far side is entered.
    pub proxy: Proxy,
}

/// What ssh runs on the far side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// The helper if it is installed, netcat if not.
    #[default]
    Auto,
    /// netcat only.
    Netcat,
    /// `virt-ssh-helper` only.
    Native,
}

/// Why a URI is no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Longer than the limit.
    #[error("URI is longer than {URI_MAX_BYTES} bytes")]
    TooLong,
    /// Not of the form of a URI.
    #[error("failed to parse URI '{uri}': {reason}")]
    Malformed {
        /// The text given.
        uri: String,
        /// What is wrong.
        reason: String,
    },
    /// A driver other than QEMU's.
    #[error("no connection driver available for {uri}")]
    Driver {
        /// The text given.
        uri: String,
    },
    /// A transport that is not there.
    #[error("unsupported configuration: {what}")]
    Unsupported {
        /// What is not done, and what to use instead.
        what: String,
    },
    /// A path other than `/system` and `/session`.
    #[error("unexpected QEMU URI path '{path}', try qemu:///system")]
    Path {
        /// The path given.
        path: String,
    },
}

struct Parts<'a> {
    driver: &'a str,
    transport: Option<&'a str>,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: &'a str,
    query: BTreeMap<String, String>,
}

impl Uri {
    /// Parses a URI: one of libvirt's, or `unix:///DIR/stead.sock`, which names a
    /// Stead daemon by its REST socket; libvirt's lies beside it.
    ///
    /// # Errors
    /// What is malformed, unknown or not done yet.
    pub fn parse(text: &str) -> Result<Uri, UriError> {
        if text.len() > URI_MAX_BYTES {
            return Err(UriError::TooLong);
        }
        let parts = split(text)?;
        match parts.driver {
            "qemu" => parts.qemu(text),
            "unix" => parts.rest(text),
            "https" => Err(UriError::Unsupported {
                what: format!("'{text}': REST over TLS is not done yet; use qemu+ssh or unix"),
            }),
            _ => Err(UriError::Driver {
                uri: text.to_owned(),
            }),
        }
    }

    /// The URI of the environment (`STEAD_URI`, `VIRSH_DEFAULT_CONNECT_URI`,
    /// `LIBVIRT_DEFAULT_URI`), else root's system daemon or the user's own.
    ///
    /// # Errors
    /// If the environment names something unusable.
    pub fn default_here() -> Result<Uri, UriError> {
        let named = [
            "STEAD_URI",
            "VIRSH_DEFAULT_CONNECT_URI",
            "LIBVIRT_DEFAULT_URI",
        ];
        let set = named.iter().filter_map(|n| std::env::var(n).ok());
        match set.into_iter().find(|v| !v.is_empty()) {
            Some(uri) => Uri::parse(&uri),
            None if is_root() => Uri::parse("qemu:///system"),
            None => Uri::parse("qemu:///session"),
        }
    }
}

impl Parts<'_> {
    fn qemu(self, text: &str) -> Result<Uri, UriError> {
        let scope = match self.path {
            "/system" => Scope::System,
            "/session" => Scope::Session,
            "" | "/" => {
                return Err(UriError::Path {
                    path: self.path.to_owned(),
                });
            }
            other => {
                return Err(UriError::Path {
                    path: other.to_owned(),
                });
            }
        };
        let open = format!("qemu://{}", self.path);
        let transport = match self.transport {
            None if self.host.is_empty() => self.unix()?,
            Some("unix") if self.host.is_empty() => self.unix()?,
            Some("unix") => {
                return Err(malformed(text, "a unix socket has no host"));
            }
            Some("ssh") => Transport::Ssh(self.ssh(text)?),
            None | Some("tls" | "tcp" | "libssh" | "libssh2" | "ext") => {
                let name = self.transport.unwrap_or("tls");
                return Err(UriError::Unsupported {
                    what: format!("transport '{name}' is not done yet; use qemu+ssh"),
                });
            }
            Some(other) => {
                return Err(malformed(text, &format!("unknown transport '{other}'")));
            }
        };
        Ok(Uri {
            text: text.to_owned(),
            open,
            scope,
            transport,
        })
    }

    fn rest(self, text: &str) -> Result<Uri, UriError> {
        if !self.host.is_empty() || self.transport.is_some() || !self.query.is_empty() {
            return Err(malformed(text, "unix:// takes a path and nothing else"));
        }
        let path = Path::new(self.path);
        if path.file_name().is_none() {
            return Err(malformed(text, "no socket in it"));
        }
        let scope = match path.starts_with(runtime_dir()) {
            true => Scope::Session,
            false => Scope::System,
        };
        let open = match scope {
            Scope::Session => "qemu:///session",
            Scope::System => "qemu:///system",
        };
        Ok(Uri {
            text: text.to_owned(),
            open: open.to_owned(),
            scope,
            transport: Transport::Unix {
                socket: Some(path.with_file_name(LIBVIRT_SOCKET_NAME)),
            },
        })
    }

    fn unix(&self) -> Result<Transport, UriError> {
        for key in self.query.keys() {
            if !matches!(key.as_str(), "socket" | "mode") {
                return Err(unknown_key(key));
            }
        }
        Ok(Transport::Unix {
            socket: self.query.get("socket").map(PathBuf::from),
        })
    }

    fn ssh(self, text: &str) -> Result<Ssh, UriError> {
        if self.host.is_empty() {
            return Err(malformed(text, "ssh needs a host"));
        }
        let mut ssh = Ssh {
            host: self.host,
            user: self.user,
            port: self.port,
            verify: true,
            tty: true,
            ..Ssh::default()
        };
        for (key, value) in self.query {
            match key.as_str() {
                "socket" => ssh.socket = Some(value),
                "command" => ssh.command = Some(value),
                "keyfile" => ssh.keyfile = Some(value),
                "netcat" => ssh.netcat = Some(value),
                "no_verify" => ssh.verify = value == "0",
                "no_tty" => ssh.tty = value == "0",
                "proxy" => ssh.proxy = proxy(text, &value)?,
                "mode" => {}
                other => return Err(unknown_key(other)),
            }
        }
        Ok(ssh)
    }
}

fn proxy(text: &str, value: &str) -> Result<Proxy, UriError> {
    match value {
        "auto" => Ok(Proxy::Auto),
        "netcat" => Ok(Proxy::Netcat),
        "native" => Ok(Proxy::Native),
        other => Err(malformed(
            text,
            &format!("proxy '{other}' is not auto, netcat or native"),
        )),
    }
}

fn unknown_key(key: &str) -> UriError {
    UriError::Unsupported {
        what: format!("URI parameter '{key}'"),
    }
}

fn malformed(uri: &str, reason: &str) -> UriError {
    UriError::Malformed {
        uri: uri.to_owned(),
        reason: reason.to_owned(),
    }
}

fn split(text: &str) -> Result<Parts<'_>, UriError> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| malformed(text, "no '://' in it"))?;
    let (driver, transport) = match scheme.split_once('+') {
        Some((driver, transport)) => (driver, Some(transport)),
        None => (scheme, None),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(unescape(text, user)?), host),
        None => (None, authority),
    };
    let (host, port) = host_and_port(text, host)?;
    let mut pairs = BTreeMap::new();
    for pair in query.split(['&', ';']).filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.insert(unescape(text, key)?, unescape(text, value)?);
    }
    Ok(Parts {
        driver,
        transport,
        user,
        host,
        port,
        path,
        query: pairs,
    })
}

fn host_and_port(text: &str, host: &str) -> Result<(String, Option<u16>), UriError> {
    let (name, port) = match host.strip_prefix('[') {
        Some(v6) => {
            let (name, after) = v6
                .split_once(']')
                .ok_or_else(|| malformed(text, "no ']' after the address"))?;
            (name, after.strip_prefix(':'))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let port = match port {
        None | Some("") => None,
        Some(p) => Some(
            p.parse()
                .map_err(|_| malformed(text, "the port is not a number"))?,
        ),
    };
    // A name that begins with a dash would be an option to ssh.
    if name.starts_with('-') {
        return Err(malformed(text, "the host begins with a dash"));
    }
    Ok((name.to_owned(), port))
}

fn unescape(uri: &str, text: &str) -> Result<String, UriError> {
    let wrong = || malformed(uri, "'%' without two hexadecimal digits of UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let value = high.zip(low).map(|(h, l)| h * 16 + l).ok_or_else(wrong)?;
                u8::try_from(value).map_err(|_| wrong())?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The usual REST socket for `scope`.
pub(crate) fn rest_socket(scope: Scope) -> PathBuf {
    let run = match scope {
        Scope::System => PathBuf::from("/run"),
        Scope::Session => runtime_dir(),
    };
    run.join("stead").join(api::SOCKET_NAME)
}

/// The sockets to try for `scope`, best first.
pub(crate) fn usual_sockets(scope: Scope, readonly: bool) -> Vec<PathBuf> {
    let suffix = if readonly { "-ro" } else { "" };
    match scope {
        Scope::System => vec![
            PathBuf::from(format!("/run/stead/libvirt-sock{suffix}")),
            PathBuf::from(format!("/run/libvirt/virtqemud-sock{suffix}")),
            PathBuf::from(format!("/run/libvirt/libvirt-sock{suffix}")),
        ],
        Scope::Session => {
            let run = runtime_dir();
            let in_run = |name: &str| run.join(name);
            vec![
                in_run("stead/libvirt-sock"),
                in_run("libvirt/virtqemud-sock"),
                in_run("libvirt/libvirt-sock"),
            ]
        }
    }
}

fn runtime_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => {
            let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
            Path::new(&home).join(".cache")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(socket: Option<&str>) -> Transport {
        Transport::Unix {
            socket: socket.map(PathBuf::from),
        }
    }

    #[test]
    fn local_sockets() {
        let uri = Uri::parse("qemu:///system").unwrap();
        assert_eq!((uri.scope, &uri.transport), (Scope::System, &unix(None)));
        assert_eq!(uri.open, "qemu:///system");
        let uri = Uri::parse("qemu+unix:///session?socket=/tmp/a%20b").unwrap();
        assert_eq!(
            (uri.scope, &uri.transport),
            (Scope::Session, &unix(Some("/tmp/a b")))
        );
    }

    #[test]
    fn ssh() {
        let uri = Uri::parse("qemu+ssh://me@[::1]:2222/system?keyfile=/k&no_verify=1").unwrap();
        let want = Ssh {
            host: "::1".into(),
            user: Some("me".into()),
            port: Some(2222),
            keyfile: Some("/k".into()),
            verify: false,
            tty: true,
            ..Ssh::default()
        };
        assert_eq!(uri.transport, Transport::Ssh(want));
    }

    #[test]
    fn a_rest_socket_stands_for_the_one_beside_it() {
        let uri = Uri::parse("unix:///r/run/stead.sock").unwrap();
        assert_eq!(uri.transport, unix(Some("/r/run/libvirt-sock")));
        assert_eq!(uri.open, "qemu:///system");
    }

    #[test]
    fn refused_by_name() {
        let refused = |text| Uri::parse(text).unwrap_err().to_string();
        assert!(refused("https://host:8006").contains("not done yet"));
        assert!(refused("unix://").contains("no socket"));
        assert!(refused("unix://host/x").contains("a path and nothing else"));
        assert!(refused("qemu+tls://host/system").contains("'tls' is not done yet"));
        assert!(refused("qemu://host/system").contains("'tls' is not done yet"));
        assert!(refused("qemu+tcp://host/system").contains("'tcp'"));
        assert_eq!(
            refused("xen:///system"),
            "no connection driver available for xen:///system"
        );
        assert_eq!(
            refused("qemu:///x"),
            "unexpected QEMU URI path '/x', try qemu:///system"
        );
        assert!(refused("qemu+ssh:///system").contains("needs a host"));
        assert!(refused("qemu+ssh://-oProxyCommand=x/system").contains("dash"));
        assert!(refused("qemu+unix:///system?sock=/x").contains("'sock'"));
        assert!(refused("system").contains("://"));
        assert!(refused("qemu+unix:///system?socket=%zz").contains('%'));
    }
}
