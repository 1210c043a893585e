//! Sound cards and the host's side of them.

use super::info::{DeviceInfo, VirtioDriver};
use crate::xml::{YesNo, element, keyword};

keyword! {
    /// Models of sound cards.
    pub enum SoundModel {
        Sb16 = "sb16",
        Es1370 = "es1370",
        Pcspk = "pcspk",
        Ac97 = "ac97",
        Ich6 = "ich6",
        Ich7 = "ich7",
        Ich9 = "ich9",
        Usb = "usb",
        Virtio = "virtio",
    }
}

keyword! {
    /// Codecs of HD Audio cards.
    pub enum CodecType {
        Duplex = "duplex",
        Micro = "micro",
        Output = "output",
    }
}

element! {
    /// A codec of a sound card.
    pub struct Codec {
        req kind: CodecType = "type",
    }
}

element! {
    /// The audio back end a card plays to.
    pub struct SoundAudio {
        req id: u32 = "id",
    }
}

element! {
    /// A sound card.
    pub struct Sound {
        req model: SoundModel = "model",
        attr multichannel: Option<YesNo> = "multichannel",
        attr streams: Option<u32> = "streams",
        list codecs: Vec<Codec> = "codec",
        child audio: Option<SoundAudio> = "audio",
        flat info: DeviceInfo,
        child driver: Option<VirtioDriver> = "driver",
    }
}

keyword! {
    /// Kinds of audio back ends.
    pub enum AudioType {
        None = "none",
        Alsa = "alsa",
        Coreaudio = "coreaudio",
        Jack = "jack",
        Oss = "oss",
        Pulseaudio = "pulseaudio",
        Sdl = "sdl",
        Spice = "spice",
        File = "file",
        Dbus = "dbus",
        Pipewire = "pipewire",
    }
}

keyword! {
    /// Sample formats.
    pub enum SampleFormat {
        S8 = "s8",
        U8 = "u8",
        S16 = "s16",
        U16 = "u16",
        S32 = "s32",
        U32 = "u32",
        F32 = "f32",
    }
}

element! {
    /// Fixed settings of one direction.
    pub struct AudioSettings {
        attr frequency: Option<u32> = "frequency",
        attr channels: Option<u32> = "channels",
        attr format: Option<SampleFormat> = "format",
    }
}

element! {
    /// One direction of an audio back end.
    pub struct AudioDirection {
        attr mixing_engine: Option<YesNo> = "mixingEngine",
        attr fixed_settings: Option<YesNo> = "fixedSettings",
        attr voices: Option<u32> = "voices",
        attr buffer_length: Option<u32> = "bufferLength",
        attr dev: Option<String> = "dev",
        attr buffer_count: Option<u32> = "bufferCount",
        attr try_poll: Option<YesNo> = "tryPoll",
        attr name: Option<String> = "name",
        attr stream_name: Option<String> = "streamName",
        attr latency: Option<u32> = "latency",
        attr server_name: Option<String> = "serverName",
        attr client_name: Option<String> = "clientName",
        attr connect_ports: Option<String> = "connectPorts",
        attr exact_name: Option<YesNo> = "exactName",
        child settings: Option<AudioSettings> = "settings",
    }
}

element! {
    /// An audio back end.
    pub struct Audio {
        req id: u32 = "id",
        req kind: AudioType = "type",
        attr timer_period: Option<u32> = "timerPeriod",
        attr try_mmap: Option<YesNo> = "tryMMap",
        attr exclusive: Option<YesNo> = "exclusive",
        attr dsp_policy: Option<i32> = "dspPolicy",
        attr server_name: Option<String> = "serverName",
        attr driver: Option<String> = "driver",
        attr path: Option<String> = "path",
        attr runtime_dir: Option<String> = "runtimeDir",
        child input: Option<AudioDirection> = "input",
        child output: Option<AudioDirection> = "output",
    }
}
