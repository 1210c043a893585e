//! Serial and parallel ports, consoles, channels, redirected USB devices and smartcards.

use model::domain::serial::{
    Channel, ChannelTargetType, Console, ConsoleTargetType, Serial, SerialModelName,
    SerialTargetType,
};
use model::domain::smartcard::SmartcardBackend;
use serde_json::json;

use super::builder::{Builder, Result, alias};
use super::launch::Unsupported;
use super::props::Props;

impl Builder<'_> {
    /// Everything that carries characters.
    pub(super) fn ports(&mut self) -> Result<()> {
        let devices = &self.domain.devices;
        for card in &devices.smartcards {
            self.smartcard(&card.backend, &card.info)?;
        }
        for serial in &devices.serials {
            self.serial(serial)?;
        }
        for parallel in &devices.parallels {
            let alias = alias(&parallel.info)?;
            let chardev = self.chardev(&parallel.chardev, alias)?;
            let props = Props::device("isa-parallel")
                .with("chardev", chardev)
                .with("id", alias);
            self.device(props)?;
        }
        for channel in &devices.channels {
            self.channel(channel)?;
        }
        for (position, console) in devices.consoles.iter().enumerate() {
            self.console(console, position)?;
        }
        Ok(())
    }

    fn serial(&mut self, serial: &Serial) -> Result<()> {
        let alias = alias(&serial.info)?;
        let target = serial.target.clone().unwrap_or_default();
        let model = target.model.as_ref().map(|model| model.name);
        let driver = match (model, target.kind.unwrap_or_default()) {
            (Some(SerialModelName::IsaDebugcon), _) => "isa-debugcon",
            (None, SerialTargetType::IsaDebug) => "isa-debugcon",
            (_, SerialTargetType::Isa) => "isa-serial",
            (_, SerialTargetType::Usb) => "usb-serial",
            (_, SerialTargetType::Pci) => "pci-serial",
            (_, other) => {
                return Err(Unsupported::new(format!(
                    "serial port target type '{other}' is not supported on this machine"
                )));
            }
        };
        let chardev = self.chardev(&serial.chardev, alias)?;
        let mut props = Props::device(driver)
            .with("chardev", chardev)
            .with("id", alias);
        if driver == "isa-serial" {
            props.set("index", target.port.unwrap_or(0));
        }
        self.place(&mut props, &serial.info)?;
        self.device(props)
    }

    fn console(&mut self, console: &Console, position: usize) -> Result<()> {
        let kind = console.target.as_ref().and_then(|target| target.kind);
        match kind.unwrap_or_default() {
            // The first console is another name for the first serial port.
            ConsoleTargetType::Serial if position == 0 || self.is_a_serial(console) => Ok(()),
            ConsoleTargetType::Virtio => {
                let alias = alias(&console.info)?;
                let chardev = self.chardev(&console.chardev, alias)?;
                let mut props = Props::device("virtconsole");
                self.place(&mut props, &console.info)?;
                // The bus is only named where there is a choice.
                props.set("chardev", chardev);
                props.set("id", alias);
                self.device(props)
            }
            other => Err(Unsupported::new(format!(
                "unsupported console target type {other}"
            ))),
        }
    }

    fn is_a_serial(&self, console: &Console) -> bool {
        let serials = &self.domain.devices.serials;
        serials
            .iter()
            .any(|serial| serial.info.alias == console.info.alias)
    }

    fn channel(&mut self, channel: &Channel) -> Result<()> {
        let Some(target) = &channel.target else {
            return Err(Unsupported::new("a channel needs a target"));
        };
        let alias = alias(&channel.info)?;
        let chardev = self.chardev(&channel.chardev, alias)?;
        match target.kind {
            ChannelTargetType::Virtio => {
                let mut props = Props::device("virtserialport");
                self.place(&mut props, &channel.info)?;
                props.set("chardev", chardev);
                props.set("id", alias);
                let spice = matches!(
                    channel.chardev.kind,
                    model::domain::chardev::ChardevType::Spicevmc
                        | model::domain::chardev::ChardevType::QemuVdagent
                );
                let default = spice.then_some("com.redhat.spice.0");
                props.set_some("name", target.name.as_deref().or(default));
                self.device(props)
            }
            ChannelTargetType::Guestfwd => {
                let address = target.address.as_deref().unwrap_or_default();
                let port = target.port.unwrap_or(0);
                let forward = format!("tcp:{address}:{port}-chardev:{chardev}");
                let netdev = Props::new("type", "user")
                    .with("guestfwd", json!([{"str": forward}]))
                    .with("id", alias);
                self.option("-netdev", netdev.to_json());
                Ok(())
            }
            ChannelTargetType::Xen => Err(Unsupported::new("unsupported channel type 'xen'")),
        }
    }

    fn smartcard(
        &mut self,
        backend: &SmartcardBackend,
        info: &model::domain::info::DeviceInfo,
    ) -> Result<()> {
        let alias = alias(info)?;
        let mut props = match backend {
            SmartcardBackend::Host => {
                Props::device("ccid-card-emulated").with("backend", "nss-emulated")
            }
            SmartcardBackend::HostCertificates {
                certificates,
                database,
            } => {
                let mut props = Props::device("ccid-card-emulated").with("backend", "certificates");
                for (number, certificate) in certificates.iter().enumerate() {
                    props.set(&format!("cert{}", number + 1), certificate.as_str());
                }
                props.set("db", database.as_deref().unwrap_or("/etc/pki/nssdb"));
                props
            }
            SmartcardBackend::Passthrough(chardev) => {
                let chardev = self.chardev(chardev, alias)?;
                Props::device("ccid-card-passthru").with("chardev", chardev)
            }
        };
        props.set("id", alias);
        self.place(&mut props, info)?;
        self.device(props)
    }

    /// Ports for USB devices that are redirected over the network.
    pub(super) fn redirected_devices(&mut self) -> Result<()> {
        for redirected in &self.domain.devices.redirdevs {
            let alias = alias(&redirected.info)?;
            let chardev = self.chardev(&redirected.chardev, alias)?;
            let mut props = Props::device("usb-redir")
                .with("chardev", chardev)
                .with("id", alias);
            props.set_some("filter", self.redirection_filter());
            props.set_some("bootindex", redirected.info.boot_order());
            self.place(&mut props, &redirected.info)?;
            self.device(props)?;
        }
        Ok(())
    }

    /// Rules as `class:vendor:product:version:allow`, with -1 for any.
    fn redirection_filter(&self) -> Option<String> {
        let filter = self.domain.devices.redirfilter.as_ref()?;
        let rules: Vec<String> = filter
            .rules
            .iter()
            .map(|rule| {
                let hex = |value: Option<u64>, width: usize| match value {
                    Some(value) => format!("0x{value:0width$X}"),
                    None => "-1".to_owned(),
                };
                let version = rule.version.as_deref().and_then(bcd_version);
                format!(
                    "{}:{}:{}:{}:{}",
                    hex(rule.class.map(|class| class.0), 2),
                    hex(rule.vendor.map(|vendor| vendor.0), 4),
                    hex(rule.product.map(|product| product.0), 4),
                    hex(version, 4),
                    u8::from(rule.allow.is_yes())
                )
            })
            .collect();
        (!rules.is_empty()).then(|| rules.join("|"))
    }
}

/// A version such as `1.10` as USB writes it: `0x0110`.
fn bcd_version(version: &str) -> Option<u64> {
    let (major, minor) = version.split_once('.')?;
    let digits = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(digits(major)? << 8 | digits(&format!("{minor:0<2}"))?)
}

#[cfg(test)]
mod tests {
    use super::bcd_version;

    #[test]
    fn usb_versions_are_coded_in_decimals() {
        assert_eq!(bcd_version("1.10"), Some(0x110));
        assert_eq!(bcd_version("2.0"), Some(0x200));
        assert_eq!(bcd_version("x"), None);
    }
}
