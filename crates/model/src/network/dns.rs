//! What the name server of a network knows.

use crate::xml::{YesNo, element};

element! {
    /// A server asked for what is not known here, or for one domain.
    pub struct Forwarder {
        attr domain: Option<String> = "domain",
        attr addr: Option<String> = "addr",
    }
}

element! {
    /// A text record.
    pub struct Txt {
        req name: String = "name",
        attr value: Option<String> = "value",
    }
}

element! {
    /// A service record.
    pub struct Srv {
        req service: String = "service",
        req protocol: String = "protocol",
        attr domain: Option<String> = "domain",
        attr target: Option<String> = "target",
        attr port: Option<u32> = "port",
        attr priority: Option<u32> = "priority",
        attr weight: Option<u32> = "weight",
    }
}

element! {
    /// Names of an address.
    pub struct DnsHost {
        attr ip: Option<String> = "ip",
        leaves hostnames: Vec<String> = "hostname",
    }
}

element! {
    /// What the name server knows.
    pub struct Dns {
        attr enable: Option<YesNo> = "enable",
        attr forward_plain_names: Option<YesNo> = "forwardPlainNames",
        list forwarders: Vec<Forwarder> = "forwarder",
        list txts: Vec<Txt> = "txt",
        list srvs: Vec<Srv> = "srv",
        list hosts: Vec<DnsHost> = "host",
    }
}

impl Dns {
    /// What libvirt makes of it while reading.
    pub(super) fn normalise(&mut self) {
        for host in &mut self.hosts {
            host.normalise();
        }
    }
}

impl DnsHost {
    /// Addresses are shown in their shortest form.
    pub(super) fn normalise(&mut self) {
        let parsed = self
            .ip
            .as_deref()
            .and_then(|ip| ip.parse::<std::net::IpAddr>().ok());
        if let Some(ip) = parsed {
            self.ip = Some(ip.to_string());
        }
    }
}
