//! Changes of one section of a network, as `net-update` makes them.

use super::check::{check_dns_host, check_host, check_range, check_srv, check_txt};
use super::dns::{Dns, DnsHost, Srv, Txt};
use super::forward::{Forward, ForwardInterface};
use super::ip::{Dhcp, DhcpHost, DhcpRange, NetworkIp};
use super::{Network, PortGroup};
use crate::xml::{Element, XmlError, YesNo, expect_root, parse_document};

/// What is done to a section; the numbers are libvirt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Replace what is there.
    Modify = 1,
    /// Take it out.
    Delete = 2,
    /// Put it behind the others.
    AddLast = 3,
    /// Put it before the others.
    AddFirst = 4,
}

/// What is changed; the numbers are libvirt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `<bridge>`.
    Bridge = 1,
    /// `<domain>`.
    Domain = 2,
    /// `<ip>`.
    Ip = 3,
    /// `<host>` of `<dhcp>`.
    DhcpHost = 4,
    /// `<range>` of `<dhcp>`.
    DhcpRange = 5,
    /// `<forward>`.
    Forward = 6,
    /// `<interface>` of `<forward>`.
    ForwardInterface = 7,
    /// `<pf>` of `<forward>`.
    ForwardPf = 8,
    /// `<portgroup>`.
    PortGroup = 9,
    /// `<host>` of `<dns>`.
    DnsHost = 10,
    /// `<txt>` of `<dns>`.
    DnsTxt = 11,
    /// `<srv>` of `<dns>`.
    DnsSrv = 12,
}

/// Why a section was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The XML given is wrong.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// It does not fit what is there.
    #[error("{0}")]
    Invalid(String),
    /// Such a change cannot be made.
    #[error("{0}")]
    Unsupported(String),
}

type Updated = Result<(), UpdateError>;

fn no<T>(message: String) -> Result<T, UpdateError> {
    Err(UpdateError::Invalid(message))
}

impl Command {
    /// The command of this number.
    pub fn of(number: u32) -> Option<Command> {
        use Command::{AddFirst, AddLast, Delete, Modify};
        [Modify, Delete, AddLast, AddFirst]
            .into_iter()
            .find(|command| *command as u32 == number)
    }

    fn adds(self) -> bool {
        matches!(self, Command::AddLast | Command::AddFirst)
    }
}

impl Section {
    /// The section of this number.
    pub fn of(number: u32) -> Option<Section> {
        Section::ALL
            .into_iter()
            .find(|section| *section as u32 == number)
    }

    const ALL: [Section; 12] = [
        Section::Bridge,
        Section::Domain,
        Section::Ip,
        Section::DhcpHost,
        Section::DhcpRange,
        Section::Forward,
        Section::ForwardInterface,
        Section::ForwardPf,
        Section::PortGroup,
        Section::DnsHost,
        Section::DnsTxt,
        Section::DnsSrv,
    ];

    /// Its name, as `net-update` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Section::Bridge => "bridge",
            Section::Domain => "domain",
            Section::Ip => "ip",
            Section::DhcpHost => "ip-dhcp-host",
            Section::DhcpRange => "ip-dhcp-range",
            Section::Forward => "forward",
            Section::ForwardInterface => "forward-interface",
            Section::ForwardPf => "forward-pf",
            Section::PortGroup => "portgroup",
            Section::DnsHost => "dns-host",
            Section::DnsTxt => "dns-txt",
            Section::DnsSrv => "dns-srv",
        }
    }
}

fn read<T: Element>(xml: &str, name: &str) -> Result<T, XmlError> {
    let document = parse_document(xml)?;
    let root = expect_root(&document, name)?;
    super::text::check(root)?;
    T::parse(root)
}

fn put<T>(list: &mut Vec<T>, command: Command, item: T) {
    match command {
        Command::AddFirst => list.insert(0, item),
        _ => list.push(item),
    }
}

impl Network {
    /// Changes one section; on an error nothing is changed.
    ///
    /// # Errors
    /// What is wrong with the XML, or does not fit what is there.
    pub fn update(
        &mut self,
        command: Command,
        section: Section,
        parent: Option<usize>,
        xml: &str,
    ) -> Updated {
        let mut changed = self.clone();
        match section {
            Section::DhcpHost => changed.update_dhcp_host(command, parent, &read(xml, "host")?)?,
            Section::DhcpRange => changed.update_range(command, parent, &read(xml, "range")?)?,
            Section::ForwardInterface => {
                changed.update_forward(command, read(xml, "interface")?)?;
            }
            Section::PortGroup => changed.update_group(command, read(xml, "portgroup")?)?,
            Section::DnsHost => changed.update_dns_host(command, read(xml, "host")?)?,
            Section::DnsTxt => changed.update_txt(command, read(xml, "txt")?)?,
            Section::DnsSrv => changed.update_srv(command, read(xml, "srv")?)?,
            Section::Bridge
            | Section::Domain
            | Section::Ip
            | Section::Forward
            | Section::ForwardPf => {
                return Err(UpdateError::Unsupported(format!(
                    "can't update '{}' section of network '{}'",
                    section.name(),
                    self.name
                )));
            }
        }
        *self = changed;
        Ok(())
    }

    /// The address whose DHCP server is meant.
    fn served_ip(&mut self, parent: Option<usize>) -> Result<&mut NetworkIp, UpdateError> {
        let name = &self.name;
        if let Some(index) = parent {
            let message = format!(
                "couldn't update dhcp host entry - no <ip> element found at index {index} in network '{name}'"
            );
            return self.ips.get_mut(index).ok_or(UpdateError::Invalid(message));
        }
        let message =
            format!("couldn't update dhcp host entry - no <ip> element found in network '{name}'");
        let served = self.ips.iter().position(|ip| ip.dhcp.is_some());
        let ipv4 = || self.ips.iter().position(|ip| !ip.is_ipv6());
        let index = served.or_else(ipv4).unwrap_or(0);
        self.ips.get_mut(index).ok_or(UpdateError::Invalid(message))
    }

    fn update_dhcp_host(
        &mut self,
        command: Command,
        parent: Option<usize>,
        host: &DhcpHost,
    ) -> Updated {
        let name = self.name.clone();
        let whole = self.clone();
        let ip = self.served_ip(parent)?;
        let partial = command == Command::Delete;
        check_host(&whole, ip, host, partial).or_else(no)?;
        let hosts = &mut ip.dhcp.get_or_insert_with(Dhcp::default).hosts;
        let same = |a: &Option<String>, b: &Option<String>| {
            let fold = |text: &Option<String>| text.as_deref().map(str::to_ascii_lowercase);
            a.is_some() && fold(a) == fold(b)
        };
        let shown = format!(
            "<host mac='{}' name='{}' ip='{}'/>",
            host.mac.as_deref().unwrap_or("unknown"),
            host.name.as_deref().unwrap_or("(null)"),
            host.ip.as_deref().unwrap_or("unknown")
        );
        match command {
            Command::Modify => {
                let found = hosts.iter_mut().find(|other| {
                    same(&host.mac, &other.mac)
                        || same(&host.id, &other.id)
                        || same(&host.name, &other.name)
                });
                match found {
                    Some(found) => *found = host.clone(),
                    None => {
                        return no(format!(
                            "couldn't locate an existing dhcp host entry with \"mac='{}'\" in network '{name}'",
                            host.mac.as_deref().unwrap_or("(null)")
                        ));
                    }
                }
            }
            Command::Delete => {
                let fits = |mine: &Option<String>, other: &Option<String>| {
                    mine.is_none() || same(mine, other)
                };
                let found = hosts.iter().position(|other| {
                    fits(&host.mac, &other.mac)
                        && fits(&host.id, &other.id)
                        && fits(&host.name, &other.name)
                        && fits(&host.ip, &other.ip)
                });
                let Some(found) = found else {
                    return no(format!(
                        "couldn't locate a matching dhcp host entry in network '{name}'"
                    ));
                };
                hosts.remove(found);
            }
            Command::AddLast | Command::AddFirst => {
                let taken = hosts.iter().any(|other| {
                    same(&host.mac, &other.mac)
                        || same(&host.id, &other.id)
                        || same(&host.name, &other.name)
                        || same(&host.ip, &other.ip)
                });
                if taken {
                    return no(format!(
                        "there is an existing dhcp host entry in network '{name}' that matches \"{shown}\""
                    ));
                }
                put(hosts, command, host.clone());
            }
        }
        ip.drop_empty_dhcp();
        Ok(())
    }

    fn update_range(
        &mut self,
        command: Command,
        parent: Option<usize>,
        range: &DhcpRange,
    ) -> Updated {
        let name = self.name.clone();
        let ip = self.served_ip(parent)?;
        if command == Command::Modify {
            return Err(UpdateError::Unsupported(
                "dhcp ranges cannot be modified, only added or deleted".into(),
            ));
        }
        check_range(ip, &range.start, &range.end).or_else(no)?;
        let ranges = &mut ip.dhcp.get_or_insert_with(Dhcp::default).ranges;
        let found = ranges
            .iter()
            .position(|other| other.start == range.start && other.end == range.end);
        match (command.adds(), found) {
            (true, Some(_)) => no(format!(
                "there is an existing dhcp range entry in network '{name}' that matches \"<range start='{}' end='{}'/>\"",
                range.start, range.end
            )),
            (true, None) => {
                put(ranges, command, range.clone());
                Ok(())
            }
            (false, None) => no(format!(
                "couldn't locate a matching dhcp range entry in network '{name}'"
            )),
            (false, Some(found)) => {
                ranges.remove(found);
                ip.drop_empty_dhcp();
                Ok(())
            }
        }
    }

    fn update_forward(&mut self, command: Command, interface: ForwardInterface) -> Updated {
        let name = &self.name;
        if command == Command::Modify {
            return Err(UpdateError::Unsupported(
                "forward interface entries cannot be modified, only added or deleted".into(),
            ));
        }
        let forward = self.forward.get_or_insert_with(Forward::default);
        let found = forward
            .interfaces
            .iter()
            .position(|other| other.dev == interface.dev);
        match (command.adds(), found) {
            (true, Some(_)) => {
                return no(format!(
                    "there is an existing interface entry in network '{name}' that matches \"<interface dev='{}'>\"",
                    interface.dev
                ));
            }
            (true, None) => put(&mut forward.interfaces, command, interface),
            (false, None) => {
                return no(format!(
                    "couldn't find an interface entry in network '{name}' matching <interface dev='{}'>",
                    interface.dev
                ));
            }
            (false, Some(found)) => drop(forward.interfaces.remove(found)),
        }
        forward.show_first();
        Ok(())
    }

    fn update_group(&mut self, command: Command, group: PortGroup) -> Updated {
        let name = &self.name;
        let found = self
            .portgroups
            .iter()
            .position(|other| other.name == group.name);
        let is_default = |group: &PortGroup| group.default.is_some_and(YesNo::is_yes);
        let other_default = self
            .portgroups
            .iter()
            .any(|other| is_default(other) && other.name != group.name);
        if command != Command::Delete && is_default(&group) && other_default {
            return no(format!(
                "a different portgroup entry in network '{name}' is already set as the default. Only one default is allowed."
            ));
        }
        match (command, found) {
            (Command::Modify | Command::Delete, None) => no(format!(
                "couldn't find a portgroup entry in network '{name}' matching <portgroup name='{}'>",
                group.name
            )),
            (Command::AddFirst | Command::AddLast, Some(_)) => no(format!(
                "there is an existing portgroup entry in network '{name}' that matches \"<portgroup name='{}'>\"",
                group.name
            )),
            (Command::Modify, Some(found)) => {
                self.portgroups[found] = group;
                Ok(())
            }
            (Command::Delete, Some(found)) => {
                self.portgroups.remove(found);
                Ok(())
            }
            (_, None) => {
                put(&mut self.portgroups, command, group);
                Ok(())
            }
        }
    }

    /// Changes what the name server knows; an emptied one is gone.
    fn with_dns(&mut self, change: impl FnOnce(&str, &mut Dns) -> Updated) -> Updated {
        let mut dns = self.dns.take().unwrap_or_default();
        change(&self.name, &mut dns)?;
        self.dns = Some(dns).filter(|dns| *dns != Dns::default());
        Ok(())
    }

    fn update_dns_host(&mut self, command: Command, mut host: DnsHost) -> Updated {
        host.normalise();
        self.with_dns(|name, dns| {
            check_dns_host(name, &host, command == Command::Delete).or_else(no)?;
            let matches = |other: &DnsHost| match command {
                // One address has one entry; a name may have several addresses.
                Command::AddFirst | Command::AddLast | Command::Modify => other.ip == host.ip,
                Command::Delete => {
                    (host.ip.is_some() && host.ip == other.ip)
                        || host.hostnames.iter().any(|n| other.hostnames.contains(n))
                }
            };
            let found: Vec<usize> = (0..dns.hosts.len())
                .filter(|at| matches(&dns.hosts[*at]))
                .collect();
            match (command, found.as_slice()) {
                (Command::AddFirst | Command::AddLast, []) => put(&mut dns.hosts, command, host),
                (Command::AddFirst | Command::AddLast, _) => {
                    return no(format!(
                        "there is already at least one DNS HOST record with a matching field in network {name}"
                    ));
                }
                (_, []) => {
                    return no(format!(
                        "couldn't locate a matching DNS HOST record in network {name}"
                    ));
                }
                (Command::Modify, [at]) => dns.hosts[*at] = host,
                (Command::Delete, [at]) => drop(dns.hosts.remove(*at)),
                _ => {
                    return no(format!(
                        "multiple matching DNS HOST records were found in network {name}"
                    ));
                }
            }
            Ok(())
        })
    }

    fn update_txt(&mut self, command: Command, txt: Txt) -> Updated {
        self.with_dns(|name, dns| {
            check_txt(name, &txt, command == Command::Delete).or_else(no)?;
            let found = dns.txts.iter().position(|other| other.name == txt.name);
            match (command, found) {
                (Command::AddFirst | Command::AddLast, None) => put(&mut dns.txts, command, txt),
                (Command::AddFirst | Command::AddLast, Some(_)) => {
                    return no(format!(
                        "there is already a DNS TXT record with name '{}' in network {name}",
                        txt.name
                    ));
                }
                (_, None) => {
                    return no(format!(
                        "couldn't locate a matching DNS TXT record in network {name}"
                    ));
                }
                (Command::Modify, Some(at)) => dns.txts[at] = txt,
                (Command::Delete, Some(at)) => drop(dns.txts.remove(at)),
            }
            Ok(())
        })
    }

    fn update_srv(&mut self, command: Command, srv: Srv) -> Updated {
        if command == Command::Modify {
            return Err(UpdateError::Unsupported(
                "DNS SRV records cannot be modified, only added or deleted".into(),
            ));
        }
        self.with_dns(|name, dns| {
            check_srv(name, &srv).or_else(no)?;
            let fits = |mine: &Option<String>, other: &Option<String>| mine.is_none() || mine == other;
            let fits_number = |mine: Option<u32>, other: Option<u32>| mine.is_none() || mine == other;
            let found: Vec<usize> = (0..dns.srvs.len())
                .filter(|at| {
                    let other = &dns.srvs[*at];
                    other.service == srv.service
                        && other.protocol == srv.protocol
                        && fits(&srv.domain, &other.domain)
                        && fits(&srv.target, &other.target)
                        && fits_number(srv.port, other.port)
                        && fits_number(srv.priority, other.priority)
                        && fits_number(srv.weight, other.weight)
                })
                .collect();
            match (command.adds(), found.as_slice()) {
                (true, []) => put(&mut dns.srvs, command, srv),
                (true, _) => {
                    return no(format!(
                        "there is already at least one DNS SRV record matching all specified fields in network {name}"
                    ));
                }
                (false, [at]) => drop(dns.srvs.remove(*at)),
                (false, []) => {
                    return no(format!(
                        "couldn't locate a matching DNS SRV record in network {name}"
                    ));
                }
                (false, _) => {
                    return no(format!(
                        "multiple DNS SRV records matching all specified fields were found in network {name}"
                    ));
                }
            }
            Ok(())
        })
    }
}

impl NetworkIp {
    /// A DHCP server that gives nothing out is none.
    fn drop_empty_dhcp(&mut self) {
        self.dhcp.take_if(|dhcp| *dhcp == Dhcp::default());
    }
}
