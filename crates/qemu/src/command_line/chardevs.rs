//! The host's side of serial ports, consoles, channels and the like.

use std::path::PathBuf;

use model::domain::chardev::{Chardev, ChardevSource, ChardevType, SocketMode, TcpProtocol};
use model::xml::{OnOff, YesNo};

use super::builder::{Builder, Result};
use super::launch::{DescriptorPurpose, FileMode, FileRole, Unsupported};
use super::props::List;

impl Builder<'_> {
    /// Makes a character back end and returns its id. `alias` is the device it is for.
    pub(super) fn chardev(&mut self, chardev: &Chardev, alias: &str) -> Result<String> {
        let id = format!("char{alias}");
        let empty = ChardevSource::default();
        let source = chardev.source().unwrap_or(&empty).clone();
        let mut list = match chardev.kind {
            ChardevType::Pty => self.pty(&id),
            ChardevType::Null => backend("null", &id),
            ChardevType::Vc => backend("vc", &id),
            ChardevType::Stdio => backend("stdio", &id),
            ChardevType::File => self.file_backend(&source, &id, alias)?,
            ChardevType::Pipe => {
                let path = needs_path(&source)?;
                for end in ["", ".in", ".out"] {
                    let path = format!("{path}{end}");
                    self.file(path, FileMode::ReadWrite, FileRole::Chardev);
                }
                path_backend("pipe", &id, path)
            }
            ChardevType::Dev => {
                let path = needs_path(&source)?;
                self.file(path, FileMode::ReadWrite, FileRole::Device);
                let kind = if path.contains("/parport") {
                    "parallel"
                } else {
                    "serial"
                };
                path_backend(kind, &id, path)
            }
            ChardevType::Unix => self.unix(&source, &id, alias)?,
            ChardevType::Tcp => tcp(chardev, &source, &id)?,
            ChardevType::Udp => udp(chardev, &id),
            ChardevType::Spicevmc => {
                let mut list = backend("spicevmc", &id);
                list.set("name", spice_channel(alias));
                list
            }
            ChardevType::Spiceport => {
                let mut list = backend("spiceport", &id);
                list.set_some("name", source.channel.as_deref());
                list
            }
            ChardevType::QemuVdagent => vdagent(&source, &id),
            ChardevType::Dbus => {
                let mut list = backend("dbus", &id);
                list.set_some("name", source.channel.as_deref());
                list
            }
            ChardevType::Nmdm => {
                return Err(Unsupported::new("unsupported chardev 'nmdm'"));
            }
        };
        if let Some(log) = &chardev.log {
            let append = log.append.map(OnOff::is_on);
            let path = self.output(&log.file, append, &format!("{alias}-log"));
            // What is in a set of descriptors can only be appended to.
            list.set("logfile", path).set("logappend", "on");
        }
        self.option("-chardev", list.finish());
        Ok(id)
    }

    fn pty(&mut self, id: &str) -> List {
        self.file("/dev/ptmx", FileMode::ReadWrite, FileRole::SharedDevice);
        self.file("/dev/pts", FileMode::ReadWrite, FileRole::SharedDevice);
        backend("pty", id)
    }

    fn file_backend(&mut self, source: &ChardevSource, id: &str, alias: &str) -> Result<List> {
        let append = source.append.map(OnOff::is_on);
        let path = self.output(needs_path(source)?, append, &format!("{alias}-source"));
        let mut list = path_backend("file", id, &path);
        list.set("append", "on");
        Ok(list)
    }

    /// Hands QEMU a file to write to, which it could not open by itself, and returns the name it
    /// has there.
    fn output(&mut self, path: &str, append: Option<bool>, what: &str) -> String {
        let append = append.unwrap_or(false);
        let set = self.outputs;
        self.outputs += 1;
        let number = self.descriptor(DescriptorPurpose::Output {
            path: path.into(),
            append,
        });
        let mut list = List::default();
        list.set("set", set).set("fd", number).set("opaque", what);
        self.option("-add-fd", list.finish());
        format!("/dev/fdset/{set}")
    }

    fn unix(&mut self, source: &ChardevSource, id: &str, alias: &str) -> Result<List> {
        if source.mode == Some(SocketMode::Bind) || source.path.is_none() {
            let path = match &source.path {
                Some(path) => PathBuf::from(path),
                None => self.context.state_dir.join(format!("{alias}.sock")),
            };
            let purpose = DescriptorPurpose::Listener {
                alias: alias.to_owned(),
                path,
            };
            let number = self.descriptor(purpose);
            let mut list = backend("socket", id);
            list.set("fd", number)
                .set("server", "on")
                .set("wait", "off");
            return Ok(list);
        }
        let path = needs_path(source)?;
        self.file(path, FileMode::ReadWrite, FileRole::Socket);
        let mut list = path_backend("socket", id, path);
        reconnect(&mut list, source);
        Ok(list)
    }
}

fn backend(kind: &str, id: &str) -> List {
    let mut list = List::new(kind);
    list.set("id", id);
    list
}

fn path_backend(kind: &str, id: &str, path: &str) -> List {
    let mut list = backend(kind, id);
    list.set("path", path);
    list
}

fn needs_path(source: &ChardevSource) -> Result<&str> {
    source
        .path
        .as_deref()
        .ok_or_else(|| Unsupported::new("a character device needs a path"))
}

fn reconnect(list: &mut List, source: &ChardevSource) {
    if let Some(reconnect) = &source.reconnect
        && reconnect.enabled.is_some_and(YesNo::is_yes)
    {
        list.set_some("reconnect", reconnect.timeout);
    }
}

fn tcp(chardev: &Chardev, source: &ChardevSource, id: &str) -> Result<List> {
    if source.tls.is_some_and(YesNo::is_yes) {
        return Err(Unsupported::new(
            "TLS is not supported for character devices",
        ));
    }
    let mut list = backend("socket", id);
    list.set("host", source.host.as_deref().unwrap_or_default());
    list.set("port", source.service.as_deref().unwrap_or_default());
    match chardev
        .protocol
        .as_ref()
        .map(|protocol| protocol.kind)
        .unwrap_or_default()
    {
        TcpProtocol::Raw => {}
        TcpProtocol::Telnet => {
            list.set("telnet", "on");
        }
        other => {
            return Err(Unsupported::new(format!(
                "protocol '{other}' is not supported"
            )));
        }
    }
    if source.mode == Some(SocketMode::Bind) {
        list.set("server", "on").set("wait", "off");
    } else {
        reconnect(&mut list, source);
    }
    Ok(list)
}

fn udp(chardev: &Chardev, id: &str) -> List {
    let mut list = backend("udp", id);
    let remote = chardev
        .source_with(SocketMode::Connect)
        .or_else(|| chardev.source());
    if let Some(remote) = remote {
        list.set("host", remote.host.as_deref().unwrap_or_default());
        list.set("port", remote.service.as_deref().unwrap_or_default());
    }
    if let Some(local) = chardev.source_with(SocketMode::Bind) {
        list.set_some("localaddr", local.host.as_deref());
        list.set_some("localport", local.service.as_deref());
    }
    list
}

fn vdagent(source: &ChardevSource, id: &str) -> List {
    let mut list = backend("qemu-vdagent", id);
    list.set("name", "vdagent");
    list.switch(
        "clipboard",
        source.clipboard.as_ref().map(|c| c.copypaste.is_yes()),
    );
    let mouse = source.mouse.as_ref().map(|mouse| mouse.mode);
    list.switch(
        "mouse",
        mouse.map(|mode| mode == model::domain::chardev::MouseMode::Client),
    );
    list
}

/// Which of SPICE's services a device uses.
fn spice_channel(alias: &str) -> &'static str {
    if alias.starts_with("redir") {
        "usbredir"
    } else if alias.starts_with("smartcard") {
        "smartcard"
    } else {
        "vdagent"
    }
}
