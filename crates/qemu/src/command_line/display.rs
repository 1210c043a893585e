//! Displays and graphics cards.

use model::domain::graphics::{Graphics, GraphicsType, ListenType, Port};
use model::domain::video::{Video, VideoBackend, VideoModel, VideoType};
use model::xml::{OnOff, YesNo};

use super::builder::{Builder, Result, alias};
use super::launch::{FileMode, FileRole, Unsupported};
use super::place::virtio;
use super::props::{List, Props};
use crate::qmp::commands::{self, DisplayProtocol};

/// The lowest port of a VNC server: its display numbers count from here.
const VNC_PORT_FIRST: i32 = 5900;

impl Builder<'_> {
    /// `-display`: nothing on the host's own screen, unless a display draws there.
    pub(super) fn no_display(&mut self) {
        let remote = |kind| matches!(kind, GraphicsType::Vnc | GraphicsType::Spice);
        let graphics = &self.domain.devices.graphics;
        if !graphics.iter().any(|display| remote(display.kind)) {
            self.option("-display", "none");
        }
    }

    /// VNC, SPICE and what else shows the guest's screen.
    pub(super) fn displays(&mut self) -> Result<()> {
        for graphics in &self.domain.devices.graphics {
            match graphics.kind {
                GraphicsType::Vnc => self.vnc(graphics)?,
                GraphicsType::Spice => self.spice(graphics)?,
                GraphicsType::EglHeadless => {
                    let mut list = List::new("egl-headless");
                    let node = graphics.gl.as_ref().and_then(|gl| gl.rendernode.as_deref());
                    list.set_some("rendernode", node);
                    self.option("-display", list.finish());
                }
                other => {
                    return Err(Unsupported::new(format!(
                        "graphics type '{other}' is not supported"
                    )));
                }
            }
        }
        Ok(())
    }

    fn vnc(&mut self, graphics: &Graphics) -> Result<()> {
        let mut list = match self.socket(graphics) {
            Some(path) => {
                self.file(&path, FileMode::Create, FileRole::Socket);
                {
                    // The key keeps QEMU from taking a path with '=' for a setting.
                    let mut list = List::default();
                    list.set("vnc", format!("unix:{path}"));
                    list
                }
            }
            None if listens_nowhere(graphics) => List::new("none"),
            None => {
                let port = port(graphics, graphics.port, "vnc")?;
                let address = bracketed(address(graphics).unwrap_or("127.0.0.1"));
                List::new(&format!("{address}:{}", port - VNC_PORT_FIRST))
            }
        };
        list.set_some(
            "websocket",
            graphics
                .websocket
                .filter(|port| port.0 > 0)
                .map(|port| port.0),
        );
        list.set_some("share", graphics.share_policy);
        list.switch("power-control", graphics.power_control.map(YesNo::is_yes));
        if graphics.password.secret.is_some() {
            list.set("password", "on");
            self.display_password(graphics, DisplayProtocol::Vnc);
        }
        let audio = graphics.audio.as_ref().map(|audio| audio.id);
        if let Some(id) = audio.or_else(|| self.default_audio()) {
            list.set("audiodev", format!("audio{id}"));
        }
        if let Some(keymap) = &graphics.keymap {
            self.option("-k", keymap);
        }
        self.option("-vnc", list.finish());
        Ok(())
    }

    /// The password goes over QMP: what is on the command line anybody can read.
    fn display_password(&mut self, graphics: &Graphics, protocol: DisplayProtocol) {
        let Some(password) = &graphics.password.secret else {
            return;
        };
        let connected = graphics.connected.map(|connected| connected.as_str());
        self.setup
            .push(commands::set_password(protocol, password, connected).untyped());
        if let Some(end) = graphics
            .password
            .valid_to
            .as_deref()
            .and_then(seconds_since_epoch)
        {
            self.setup
                .push(commands::expire_password(protocol, &end.to_string()).untyped());
        }
    }

    fn spice(&mut self, graphics: &Graphics) -> Result<()> {
        if !self.caps.has_option("spice") {
            return Err(Unsupported::new(
                "spice graphics are not supported with this QEMU: install its module for them (on Debian \
                 the package qemu-system-modules-spice)",
            ));
        }
        let mut list = List::default();
        match self.socket(graphics) {
            Some(path) => {
                list.set("unix", "on").set("addr", &path);
                self.file(&path, FileMode::Create, FileRole::Socket);
            }
            None if listens_nowhere(graphics) => {
                list.set("port", 0);
            }
            None => {
                let plain = graphics.port.filter(|port| port.0 > 0);
                let tls = graphics.tls_port.filter(|port| port.0 > 0);
                if tls.is_some() {
                    return Err(Unsupported::new("spice TLS is not supported"));
                }
                if plain.is_none() {
                    port(graphics, None, "spice")?;
                }
                list.set_some("port", plain.map(|port| port.0));
                list.set_some("addr", address(graphics));
            }
        }
        if graphics.password.secret.is_some() {
            self.display_password(graphics, DisplayProtocol::Spice);
        } else {
            list.set("disable-ticketing", "on");
        }
        spice_settings(&mut list, graphics);
        list.set("seamless-migration", "on");
        if let Some(keymap) = &graphics.keymap {
            self.option("-k", keymap);
        }
        self.option("-spice", list.finish());
        Ok(())
    }

    /// The path of the socket a display listens on, if it does.
    fn socket(&self, graphics: &Graphics) -> Option<String> {
        if let Some(socket) = &graphics.socket {
            return Some(socket.clone());
        }
        let listen = graphics
            .listens
            .iter()
            .find(|listen| listen.kind == ListenType::Socket)?;
        let default = || {
            let name = format!("{}.sock", graphics.kind);
            self.context
                .state_dir
                .join(name)
                .to_string_lossy()
                .into_owned()
        };
        Some(listen.socket.clone().unwrap_or_else(default))
    }

    /// All graphics cards.
    pub(super) fn videos(&mut self) -> Result<()> {
        for (position, video) in self.domain.devices.videos.iter().enumerate() {
            if video.kind() == VideoType::None {
                continue;
            }
            let primary = video.is_primary() || (position == 0 && !self.has_primary());
            let device = self.video(video, primary)?;
            self.device(device)?;
        }
        Ok(())
    }

    fn has_primary(&self) -> bool {
        self.domain.devices.videos.iter().any(Video::is_primary)
    }

    fn video(&mut self, video: &Video, primary: bool) -> Result<Props> {
        let model = video.model.clone().unwrap_or_default();
        let driver = video_driver(video, &model, primary)?;
        let mut props = Props::device(driver);
        if let Some(settings) = &video.driver {
            virtio(&mut props, &settings.virtio);
        }
        props.set("id", alias(&video.info)?);
        video_settings(&mut props, &model);
        self.place(&mut props, &video.info)?;
        Ok(props)
    }
}

fn video_driver(video: &Video, model: &VideoModel, primary: bool) -> Result<&'static str> {
    let backend = video.driver.as_ref().and_then(|driver| driver.name);
    if backend == Some(VideoBackend::VhostUser) {
        return Err(Unsupported::new(
            "the video driver 'vhostuser' is not supported",
        ));
    }
    let accelerated = model
        .acceleration
        .as_ref()
        .and_then(|acceleration| acceleration.accel3d)
        .is_some_and(YesNo::is_yes);
    let driver = match (model.kind, primary) {
        (VideoType::Vga, true) => "VGA",
        (VideoType::Cirrus, _) => "cirrus-vga",
        (VideoType::Vmvga, _) => "vmware-svga",
        (VideoType::Qxl, true) => "qxl-vga",
        (VideoType::Qxl, false) => "qxl",
        (VideoType::Virtio, true) if accelerated => "virtio-vga-gl",
        (VideoType::Virtio, true) => "virtio-vga",
        (VideoType::Virtio, false) if accelerated => "virtio-gpu-gl-pci",
        (VideoType::Virtio, false) => "virtio-gpu-pci",
        (VideoType::Bochs, _) => "bochs-display",
        (VideoType::Ramfb, _) => "ramfb",
        (other, _) => {
            return Err(Unsupported::new(format!(
                "domain configuration does not support video model '{other}'"
            )));
        }
    };
    Ok(driver)
}

const KIB: u64 = 1024;
const MIB_IN_KIB: u32 = 1024;

fn video_settings(props: &mut Props, model: &VideoModel) {
    let bytes = |kib: u32| u64::from(kib) * KIB;
    match model.kind {
        VideoType::Qxl => {
            props.set_some("max_outputs", model.heads);
            props.set_some("ram_size", model.ram.map(bytes));
            props.set_some("vram_size", model.vram.map(bytes));
            props.set_some(
                "vram64_size_mb",
                Some(model.vram64.unwrap_or(0) / MIB_IN_KIB),
            );
            props.set_some("vgamem_mb", model.vgamem.map(|kib| kib / MIB_IN_KIB));
        }
        VideoType::Virtio => {
            props.set_some("max_outputs", model.heads);
            props.set_some("blob", model.blob.map(OnOff::is_on));
        }
        VideoType::Vga | VideoType::Vmvga => {
            props.set_some("vgamem_mb", model.vram.map(|kib| kib / MIB_IN_KIB));
        }
        VideoType::Bochs => props.set_some("vgamem", model.vram.map(bytes)),
        _ => {}
    }
    if matches!(
        model.kind,
        VideoType::Vga | VideoType::Virtio | VideoType::Bochs
    ) {
        props.set_some("edid", model.edid.map(OnOff::is_on));
    }
    if let Some(resolution) = &model.resolution {
        props.set("xres", resolution.x);
        props.set("yres", resolution.y);
    }
}

fn spice_settings(list: &mut List, graphics: &Graphics) {
    for channel in &graphics.channels {
        match channel.mode.as_str() {
            "secure" => list.set("tls-channel", channel.name),
            "insecure" => list.set("plaintext-channel", channel.name),
            _ => continue,
        };
    }
    if let Some(image) = &graphics.image {
        list.set("image-compression", image.compression);
    }
    if let Some(jpeg) = &graphics.jpeg {
        list.set("jpeg-wan-compression", jpeg.compression);
    }
    if let Some(zlib) = &graphics.zlib {
        list.set("zlib-glz-wan-compression", zlib.compression);
    }
    if let Some(playback) = &graphics.playback {
        list.set("playback-compression", playback.compression);
    }
    if let Some(streaming) = &graphics.streaming {
        list.set("streaming-video", streaming.mode);
    }
    if let Some(mouse) = &graphics.mouse
        && mouse.mode == model::domain::chardev::MouseMode::Server
    {
        list.set("agent-mouse", "off");
    }
    if graphics
        .clipboard
        .as_ref()
        .is_some_and(|clipboard| !clipboard.copypaste.is_yes())
    {
        list.set("disable-copy-paste", "on");
    }
    if graphics
        .file_transfer
        .as_ref()
        .is_some_and(|transfer| !transfer.enable.is_yes())
    {
        list.set("disable-agent-file-xfer", "on");
    }
    if let Some(gl) = &graphics.gl
        && gl.enable.is_some_and(YesNo::is_yes)
    {
        list.set("gl", "on")
            .set_some("rendernode", gl.rendernode.as_deref());
    }
}

fn listens_nowhere(graphics: &Graphics) -> bool {
    !graphics.listens.is_empty()
        && graphics
            .listens
            .iter()
            .all(|listen| listen.kind == ListenType::None)
}

/// The address a display listens on.
fn address(graphics: &Graphics) -> Option<&str> {
    let of_list = graphics
        .listens
        .iter()
        .find_map(|listen| listen.address.as_deref());
    of_list.or(graphics.listen.as_deref())
}

fn bracketed(address: &str) -> String {
    if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}

fn port(graphics: &Graphics, port: Option<Port>, kind: &str) -> Result<i32> {
    match port.map(|port| port.0) {
        Some(port) if port > 0 => Ok(port),
        _ => Err(Unsupported::new(format!(
            "no port was chosen for {kind} graphics (autoport={})",
            graphics.is_autoport()
        ))),
    }
}

/// A time such as `2026-11-21T13:00:00` (UTC) in seconds since the epoch.
fn seconds_since_epoch(text: &str) -> Option<i64> {
    let (date, time) = text.trim_end_matches('Z').split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let days = super::clock::days_since_epoch(year, month, day)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds_since_epoch("1970-01-02T00:00:01"), Some(86_401));
        assert_eq!(
            seconds_since_epoch("2009-02-13T23:31:30"),
            Some(1_234_567_890)
        );
        assert_eq!(seconds_since_epoch("soon"), None);
        assert_eq!(seconds_since_epoch("2009-13-13T23:31:30"), None);
    }
}
