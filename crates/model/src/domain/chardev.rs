//! What is behind a character device: the part that serial ports, consoles,
//! channels, smartcards, redirected USB and random-number sources share.

use super::seclabel::DeviceSecLabel;
use super::storage::Reconnect;
use crate::xml::{OnOff, YesNo, element, keyword};

keyword! {
    /// Kinds of back ends; a terminal of the host where none is given.
    pub enum ChardevType {
        Pty = "pty",
        Null = "null",
        Vc = "vc",
        Dev = "dev",
        File = "file",
        Pipe = "pipe",
        Stdio = "stdio",
        Udp = "udp",
        Tcp = "tcp",
        Unix = "unix",
        Spicevmc = "spicevmc",
        Spiceport = "spiceport",
        Nmdm = "nmdm",
        QemuVdagent = "qemu-vdagent",
        Dbus = "dbus",
    }
}

keyword! {
    /// Which side of a socket.
    pub enum SocketMode {
        Connect = "connect",
        Bind = "bind",
    }
}

keyword! {
    /// What is spoken over a TCP connection.
    pub enum TcpProtocol {
        Raw = "raw",
        Telnet = "telnet",
        Telnets = "telnets",
        Tls = "tls",
    }
}

keyword! {
    /// Who draws the mouse pointer.
    pub enum MouseMode {
        Server = "server",
        Client = "client",
    }
}

element! {
    /// Whether clipboards are joined.
    pub struct Clipboard {
        req copypaste: YesNo = "copypaste",
    }
}

element! {
    /// The mouse setting of a spice or vdagent connection.
    pub struct Mouse {
        req mode: MouseMode = "mode",
    }
}

element! {
    /// One end of a back end. Which attributes are meant depends on the type.
    pub struct ChardevSource {
        attr mode: Option<SocketMode> = "mode",
        attr host: Option<String> = "host",
        attr service: Option<String> = "service",
        attr path: Option<String> = "path",
        attr append: Option<OnOff> = "append",
        attr channel: Option<String> = "channel",
        attr tls: Option<YesNo> = "tls",
        attr tls_from_config: Option<u32> = "tlsFromConfig",
        attr master: Option<String> = "master",
        attr slave: Option<String> = "slave",
        child reconnect: Option<Reconnect> = "reconnect",
        child clipboard: Option<Clipboard> = "clipboard",
        child mouse: Option<Mouse> = "mouse",
        list seclabels: Vec<DeviceSecLabel> = "seclabel",
    }
}

element! {
    /// What is spoken over a TCP connection.
    pub struct Protocol {
        req kind: TcpProtocol = "type",
    }
}

element! {
    /// A file that keeps what the guest wrote.
    pub struct ChardevLog {
        req file: String = "file",
        attr append: Option<OnOff> = "append",
    }
}

element! {
    /// A back end and its settings.
    pub struct Chardev {
        always kind: ChardevType = "type",
        live tty: Option<String> = "tty",
        list sources: Vec<ChardevSource> = "source",
        child protocol: Option<Protocol> = "protocol",
        child log: Option<ChardevLog> = "log",
    }
}

impl Chardev {
    /// A back end of `kind` without settings.
    pub fn new(kind: ChardevType) -> Self {
        Chardev {
            kind,
            ..Chardev::default()
        }
    }

    /// The source that does not say `mode='bind'`; for most kinds the only one.
    pub fn source(&self) -> Option<&ChardevSource> {
        self.sources.first()
    }

    /// The source with `mode`.
    pub fn source_with(&self, mode: SocketMode) -> Option<&ChardevSource> {
        self.sources.iter().find(|s| s.mode == Some(mode))
    }

    /// The path of the first source.
    pub fn path(&self) -> Option<&str> {
        self.source().and_then(|s| s.path.as_deref())
    }
}
