//! Sound cards and the host's side of sound.

use model::domain::graphics::GraphicsType;
use model::domain::sound::{Audio, AudioDirection, AudioType, CodecType, Sound, SoundModel};
use model::xml::YesNo;

use super::builder::{Builder, Result, alias};
use super::launch::Unsupported;
use super::place::virtio;
use super::props::Props;

impl Builder<'_> {
    /// `-audiodev`. A machine that names no back end has one that is silent, or that plays over
    /// SPICE.
    pub(super) fn audio_backends(&mut self) -> Result<()> {
        let audios = self.domain.devices.audios.clone();
        if audios.is_empty() && self.needs_audio() {
            let spice = self
                .domain
                .devices
                .graphics
                .iter()
                .any(|g| g.kind == GraphicsType::Spice);
            let driver = if spice { "spice" } else { "none" };
            let props = Props::new("id", "audio1").with("driver", driver);
            self.option("-audiodev", props.to_json());
        }
        for audio in &audios {
            let props = audio_backend(audio)?;
            self.option("-audiodev", props.to_json());
        }
        Ok(())
    }

    fn needs_audio(&self) -> bool {
        let remote = |kind| matches!(kind, GraphicsType::Vnc | GraphicsType::Spice);
        let devices = &self.domain.devices;
        !devices.sounds.is_empty() || devices.graphics.iter().any(|g| remote(g.kind))
    }

    /// The back end for devices that name none.
    pub(super) fn default_audio(&self) -> Option<u32> {
        Some(
            self.domain
                .devices
                .audios
                .first()
                .map_or(1, |audio| audio.id),
        )
    }

    /// All sound cards.
    pub(super) fn sounds(&mut self) -> Result<()> {
        for sound in &self.domain.devices.sounds {
            let audio = sound
                .audio
                .as_ref()
                .map(|audio| audio.id)
                .or_else(|| self.default_audio());
            let audio = format!("audio{}", audio.unwrap_or(1));
            if sound.model == SoundModel::Pcspk {
                return Err(Unsupported::new("sound model 'pcspk' is not supported"));
            }
            let driver = sound_driver(sound.model);
            let alias = alias(&sound.info)?;
            let mut props = Props::device(driver);
            if let Some(settings) = &sound.driver {
                virtio(&mut props, &settings.virtio);
            }
            props.set("id", alias);
            if sound.model == SoundModel::Usb {
                props.set_some("multi", sound.multichannel.map(YesNo::is_yes));
            }
            if !has_codecs(sound.model) {
                props.set("audiodev", audio.as_str());
            }
            if sound.model == SoundModel::Virtio {
                props.set_some("streams", sound.streams);
            }
            self.place(&mut props, &sound.info)?;
            self.device(props)?;
            self.codecs(sound, alias, &audio)?;
        }
        Ok(())
    }

    fn codecs(&mut self, sound: &Sound, card: &str, audio: &str) -> Result<()> {
        if !has_codecs(sound.model) {
            return Ok(());
        }
        let default = [CodecType::Duplex];
        let given: Vec<CodecType> = sound.codecs.iter().map(|codec| codec.kind).collect();
        let codecs = if given.is_empty() {
            &default[..]
        } else {
            &given
        };
        for (number, codec) in codecs.iter().enumerate() {
            let driver = match codec {
                CodecType::Duplex => "hda-duplex",
                CodecType::Micro => "hda-micro",
                CodecType::Output => "hda-output",
            };
            let props = Props::device(driver)
                .with("id", format!("{card}-codec{number}"))
                .with("bus", format!("{card}.0"))
                .with("cad", number)
                .with("audiodev", audio);
            self.device(props)?;
        }
        Ok(())
    }
}

fn has_codecs(model: SoundModel) -> bool {
    matches!(
        model,
        SoundModel::Ich6 | SoundModel::Ich7 | SoundModel::Ich9
    )
}

fn sound_driver(model: SoundModel) -> &'static str {
    match model {
        SoundModel::Sb16 => "sb16",
        SoundModel::Es1370 => "ES1370",
        SoundModel::Pcspk => "pcspk",
        SoundModel::Ac97 => "AC97",
        SoundModel::Ich6 | SoundModel::Ich7 => "intel-hda",
        SoundModel::Ich9 => "ich9-intel-hda",
        SoundModel::Usb => "usb-audio",
        SoundModel::Virtio => "virtio-sound-pci",
    }
}

fn audio_backend(audio: &Audio) -> Result<Props> {
    let driver = match audio.kind {
        AudioType::Pulseaudio => "pa",
        AudioType::File => "wav",
        other => other.as_str(),
    };
    let mut props = Props::new("id", &format!("audio{}", audio.id)).with("driver", driver);
    props.set_some("timer-period", audio.timer_period);
    props.set_some("try-mmap", audio.try_mmap.map(YesNo::is_yes));
    props.set_some("exclusive", audio.exclusive.map(YesNo::is_yes));
    props.set_some("dsp-policy", audio.dsp_policy);
    props.set_some("server", audio.server_name.as_deref());
    props.set_some("path", audio.path.as_deref());
    if audio.kind == AudioType::Sdl && audio.driver.is_some() {
        return Err(Unsupported::new("the driver of SDL audio cannot be set"));
    }
    for (name, direction) in [("in", &audio.input), ("out", &audio.output)] {
        if let Some(direction) = direction {
            props.set(name, audio_direction(direction));
        }
    }
    Ok(props)
}

fn audio_direction(direction: &AudioDirection) -> Props {
    let mut props = Props::default();
    let yes = |switch: Option<YesNo>| switch.map(YesNo::is_yes);
    props.set_some("mixing-engine", yes(direction.mixing_engine));
    props.set_some("fixed-settings", yes(direction.fixed_settings));
    props.set_some("voices", direction.voices);
    props.set_some("buffer-length", direction.buffer_length);
    if let Some(settings) = &direction.settings {
        props.set_some("frequency", settings.frequency);
        props.set_some("channels", settings.channels);
        props.set_some("format", settings.format.map(|format| format.as_str()));
    }
    props.set_some("dev", direction.dev.as_deref());
    props.set_some("buffer-count", direction.buffer_count);
    props.set_some("try-poll", yes(direction.try_poll));
    props.set_some("name", direction.name.as_deref());
    props.set_some("stream-name", direction.stream_name.as_deref());
    props.set_some("latency", direction.latency);
    props.set_some("server-name", direction.server_name.as_deref());
    props.set_some("client-name", direction.client_name.as_deref());
    props.set_some("connect-ports", direction.connect_ports.as_deref());
    props.set_some("exact-name", yes(direction.exact_name));
    props
}
