//! What the guest agent is asked, and raw commands to it and to QEMU.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use engine::DomainHandle;
use engine::guest::{AgentPatience, NetworkInterface};
use model::domain::interface::{Interface, InterfaceType};
use wire::consts::domain::{VIR_IP_ADDR_TYPE_IPV4, VIR_IP_ADDR_TYPE_IPV6};
use wire::consts::flags::*;
use wire::qemu::{DomainAgentCommandArgs, DomainAgentCommandRet};
use wire::qemu::{
    DomainMonitorCommandArgs, DomainMonitorCommandRet, DomainMonitorCommandWithFilesArgs,
    DomainMonitorCommandWithFilesRet,
};
use wire::remote::*;

use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

/// `VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP`: the command is a line for people.
const MONITOR_COMMAND_HMP: u32 = 1;
/// Nanoseconds of a second.
const NS: i64 = 1_000_000_000;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.task(interface_addresses);
    dispatch.task(agent_command);
    dispatch.task(monitor_command);
    dispatch.with_client_fds(monitor_command_with_files);
    dispatch.task(|client, args: DomainGetHostnameArgs| async move {
        const KNOWN: u32 = 3;
        check_flags(args.flags, KNOWN, "qemuDomainGetHostname")?;
        let hostname = domain(&client, &args.dom)?.guest_hostname().await?;
        Ok(DomainGetHostnameRet { hostname })
    });
    dispatch.task(|client, args: DomainGetTimeArgs| async move {
        check_flags(args.flags, 0, "qemuDomainGetTime")?;
        let ns = domain(&client, &args.dom)?.guest_time_ns().await?;
        Ok(DomainGetTimeRet {
            seconds: ns.div_euclid(NS),
            nseconds: ns.rem_euclid(NS) as u32,
        })
    });
    dispatch.task(set_time);
    dispatch.task(|client, args: DomainFsfreezeArgs| async move {
        check_flags(args.flags, 0, "qemuDomainFSFreeze")?;
        let mounts = (!args.mountpoints.is_empty()).then_some(args.mountpoints);
        let count = domain(&client, &args.dom)?.freeze(mounts).await?;
        Ok(DomainFsfreezeRet {
            filesystems: i32::try_from(count).unwrap_or(i32::MAX),
        })
    });
    dispatch.task(|client, args: DomainFsthawArgs| async move {
        check_flags(args.flags, 0, "qemuDomainFSThaw")?;
        let count = domain(&client, &args.dom)?.thaw().await?;
        Ok(DomainFsthawRet {
            filesystems: i32::try_from(count).unwrap_or(i32::MAX),
        })
    });
    dispatch.task(|client, args: DomainFstrimArgs| async move {
        check_flags(args.flags, 0, "qemuDomainFSTrim")?;
        if args.mount_point.is_some() {
            return Err(Failure::argument_unsupported(
                "Specifying mount point is not supported for now",
            ));
        }
        let minimum = (args.minimum > 0).then_some(args.minimum);
        Ok(domain(&client, &args.dom)?.trim(minimum).await?)
    });
    dispatch.task(|client, args: DomainSetUserPasswordArgs| async move {
        check_flags(
            args.flags,
            VIR_DOMAIN_PASSWORD_ENCRYPTED,
            "qemuDomainSetUserPassword",
        )?;
        let (Some(user), Some(password)) = (args.user, args.password) else {
            return Err(Failure::invalid_arg(
                "user in virDomainSetUserPassword must not be NULL",
            ));
        };
        let crypted = args.flags & VIR_DOMAIN_PASSWORD_ENCRYPTED != 0;
        let handle = domain(&client, &args.dom)?;
        let password = base64(password.as_bytes());
        Ok(handle.set_guest_password(&user, &password, crypted).await?)
    });
    dispatch.task(get_fsinfo);
    dispatch.task(get_guest_info);
}

async fn interface_addresses(
    client: Arc<Client>,
    args: DomainInterfaceAddressesArgs,
) -> Answer<DomainInterfaceAddressesRet> {
    check_flags(args.flags, 0, "qemuDomainInterfaceAddresses")?;
    let handle = domain(&client, &args.dom)?;
    handle.live()?;
    let ifaces = match args.source {
        VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT => {
            if client.is_read_only() {
                return Err(Failure::read_only(
                    "virDomainInterfaceAddresses with agent source",
                ));
            }
            let interfaces = handle.guest_interfaces().await?;
            interfaces.into_iter().map(told_by_agent).collect()
        }
        VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE => leases(&client, &handle).await,
        VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP => neighbours(&client, &handle)?,
        other => {
            return Err(Failure::argument_unsupported(format!(
                "Unknown IP address data source {other}"
            )));
        }
    };
    Ok(DomainInterfaceAddressesRet { ifaces })
}

/// What networks have given to the machine's cards. QEMU's own network for
/// users keeps no list: the guest knows what it got, and is asked for the
/// cards on such a network.
async fn leases(client: &Client, handle: &DomainHandle) -> Vec<DomainInterface> {
    let Ok(live) = handle.live() else {
        return Vec::new();
    };
    let definition = live.definition();
    let cards = definition.devices.interfaces.iter();
    let macs: Vec<String> = cards
        .filter(|card| card.kind == InterfaceType::User)
        .filter_map(|card| Some(card.mac.as_ref()?.address.to_string()))
        .collect();
    let mut told = network_leases(client, &definition.devices.interfaces);
    // The guest is not asked on behalf of those who may only look.
    if macs.is_empty() || client.is_read_only() {
        return told;
    }
    let interfaces = handle.guest_interfaces().await.unwrap_or_default();
    let on_it = |interface: &NetworkInterface| {
        interface
            .hardware_address
            .as_ref()
            .is_some_and(|mac| macs.contains(mac))
    };
    told.extend(interfaces.into_iter().filter(on_it).map(told_by_agent));
    told
}

/// One entry for each card that has a lease.
fn network_leases(client: &Client, cards: &[Interface]) -> Vec<DomainInterface> {
    let cards = cards
        .iter()
        .filter(|card| card.kind == InterfaceType::Network);
    let entries = cards.filter_map(|card| {
        let mac = card.mac()?.to_string();
        let leases = client.engine.leases_of_mac(&mac);
        let addrs: Vec<DomainIpAddr> = leases
            .iter()
            .map(|lease| ip_address(lease.lease.address, u32::from(lease.prefix)))
            .collect();
        (!addrs.is_empty()).then(|| DomainInterface {
            name: device_of(card),
            hwaddr: Some(mac),
            addrs,
        })
    });
    entries.collect()
}

/// What the host's own table of neighbours knows of the machine's cards.
fn neighbours(client: &Client, handle: &DomainHandle) -> Answer<Vec<DomainInterface>> {
    let live = handle.live()?;
    let known = client.engine.neighbours()?;
    let definition = live.definition();
    let entries = definition.devices.interfaces.iter().filter_map(|card| {
        let mac = card.mac()?;
        let own = known.iter().filter(|(_, owner)| *owner == mac.0);
        let addrs: Vec<DomainIpAddr> = own.map(|(address, _)| ip_address(*address, 0)).collect();
        (!addrs.is_empty()).then(|| DomainInterface {
            name: device_of(card),
            hwaddr: Some(mac.to_string()),
            addrs,
        })
    });
    Ok(entries.collect())
}

fn device_of(card: &Interface) -> String {
    let target = card.target.as_ref();
    target.and_then(|t| t.dev.clone()).unwrap_or_default()
}

fn ip_address(address: std::net::IpAddr, prefix: u32) -> DomainIpAddr {
    DomainIpAddr {
        kind: match address.is_ipv6() {
            true => VIR_IP_ADDR_TYPE_IPV6,
            false => VIR_IP_ADDR_TYPE_IPV4,
        },
        addr: address.to_string(),
        prefix,
    }
}

fn told_by_agent(interface: NetworkInterface) -> DomainInterface {
    DomainInterface {
        name: interface.name,
        hwaddr: interface.hardware_address,
        addrs: interface
            .ip_addresses
            .into_iter()
            .map(|address| DomainIpAddr {
                kind: match address.ip_address_type.as_str() {
                    "ipv6" => VIR_IP_ADDR_TYPE_IPV6,
                    _ => VIR_IP_ADDR_TYPE_IPV4,
                },
                addr: address.ip_address,
                prefix: address.prefix,
            })
            .collect(),
    }
}

async fn agent_command(
    client: Arc<Client>,
    args: DomainAgentCommandArgs,
) -> Answer<DomainAgentCommandRet> {
    check_flags(args.flags, 0, "qemuDomainQemuAgentCommand")?;
    // libvirt's special times: -2 for ever, -1 the usual, 0 not at all.
    let patience = match args.timeout {
        -2 => AgentPatience::Forever,
        -1 => AgentPatience::Usual,
        0 => AgentPatience::NoWait,
        seconds => AgentPatience::Seconds(u32::try_from(seconds).map_err(|_| {
            Failure::invalid_arg(format!("guest agent timeout '{seconds}' is less than -2"))
        })?),
    };
    let handle = domain(&client, &args.dom)?;
    let reply = handle.agent_command(&args.cmd, patience).await?;
    Ok(DomainAgentCommandRet {
        result: Some(reply),
    })
}

async fn monitor_command(
    client: Arc<Client>,
    args: DomainMonitorCommandArgs,
) -> Answer<DomainMonitorCommandRet> {
    check_flags(
        args.flags,
        MONITOR_COMMAND_HMP,
        "qemuDomainQemuMonitorCommand",
    )?;
    let human = args.flags & MONITOR_COMMAND_HMP != 0;
    let handle = domain(&client, &args.dom)?;
    Ok(DomainMonitorCommandRet {
        result: handle.monitor_command(&args.cmd, human).await?,
    })
}

async fn monitor_command_with_files(
    client: Arc<Client>,
    args: DomainMonitorCommandWithFilesArgs,
    mut files: Vec<OwnedFd>,
) -> Answer<DomainMonitorCommandWithFilesRet> {
    check_flags(args.flags, 0, "qemuDomainQemuMonitorCommandWithFiles")?;
    if files.len() > 1 {
        return Err(Failure::invalid_arg(
            "at most 1 fd can be passed to qemu along with a command",
        ));
    }
    let handle = domain(&client, &args.dom)?;
    let result = handle.monitor_command_with(&args.cmd, files.pop());
    Ok(DomainMonitorCommandWithFilesRet {
        result: result.await?,
    })
}

async fn set_time(client: Arc<Client>, args: DomainSetTimeArgs) -> Answer<()> {
    check_flags(args.flags, VIR_DOMAIN_TIME_SYNC, "qemuDomainSetTime")?;
    let time = match args.flags & VIR_DOMAIN_TIME_SYNC != 0 {
        true => None,
        false => Some(
            args.seconds
                .checked_mul(NS)
                .and_then(|ns| ns.checked_add(i64::from(args.nseconds)))
                .ok_or_else(|| {
                    Failure::invalid_arg(format!(
                        "Time '{}' is too big for guest agent",
                        args.seconds
                    ))
                })?,
        ),
    };
    Ok(domain(&client, &args.dom)?.set_guest_time_ns(time).await?)
}

async fn get_fsinfo(client: Arc<Client>, args: DomainGetFsinfoArgs) -> Answer<DomainGetFsinfoRet> {
    check_flags(args.flags, 0, "qemuDomainGetFSInfo")?;
    let systems = domain(&client, &args.dom)?.guest_file_systems().await?;
    let info: Vec<DomainFsinfo> = systems
        .into_iter()
        .map(|system| DomainFsinfo {
            mountpoint: system.mountpoint,
            name: system.name,
            fstype: system.kind,
            dev_aliases: Vec::new(),
        })
        .collect();
    let ret = info.len() as u32;
    Ok(DomainGetFsinfoRet { info, ret })
}

/// The groups of DOMAIN_GET_GUEST_INFO that are answered.
const GUEST_INFO: u32 = VIR_DOMAIN_GUEST_INFO_USERS
    | VIR_DOMAIN_GUEST_INFO_OS
    | VIR_DOMAIN_GUEST_INFO_TIMEZONE
    | VIR_DOMAIN_GUEST_INFO_HOSTNAME
    | VIR_DOMAIN_GUEST_INFO_FILESYSTEM
    | VIR_DOMAIN_GUEST_INFO_INTERFACES;

async fn get_guest_info(
    client: Arc<Client>,
    args: DomainGetGuestInfoArgs,
) -> Answer<DomainGetGuestInfoRet> {
    check_flags(args.flags, 0, "qemuDomainGetGuestInfo")?;
    let unknown = args.types & !GUEST_INFO;
    if unknown != 0 {
        return Err(Failure::argument_unsupported(format!(
            "unsupported guest information types '0x{unknown:x}'"
        )));
    }
    let types = if args.types == 0 {
        GUEST_INFO
    } else {
        args.types
    };
    // Asked for all, what this guest's agent does not know is left out.
    let must = args.types != 0;
    let guest = GuestInfo {
        handle: domain(&client, &args.dom)?,
        must,
    };
    guest.handle.live()?;
    let mut params = Vec::new();
    if types & VIR_DOMAIN_GUEST_INFO_USERS != 0 {
        guest.users(&mut params).await?;
    }
    if types & VIR_DOMAIN_GUEST_INFO_OS != 0 {
        guest.os(&mut params).await?;
    }
    if types & VIR_DOMAIN_GUEST_INFO_TIMEZONE != 0 {
        guest.timezone(&mut params).await?;
    }
    if types & VIR_DOMAIN_GUEST_INFO_HOSTNAME != 0
        && let Some(name) = guest.known(guest.handle.guest_hostname().await)?
    {
        params.push(TypedParam::new("hostname", name));
    }
    if types & VIR_DOMAIN_GUEST_INFO_FILESYSTEM != 0 {
        guest.file_systems(&mut params).await?;
    }
    if types & VIR_DOMAIN_GUEST_INFO_INTERFACES != 0 {
        guest.interfaces(&mut params).await?;
    }
    Ok(DomainGetGuestInfoRet { params })
}

struct GuestInfo {
    handle: engine::DomainHandle,
    must: bool,
}

impl GuestInfo {
    /// An agent that does not answer at all fails the call; one that refuses a command only if
    /// that very thing was asked for.
    fn known<T>(&self, told: engine::Result<T>) -> Answer<Option<T>> {
        match told {
            Ok(told) => Ok(Some(told)),
            Err(error) if !self.must && error.kind == engine::ErrorKind::AgentCommandFailed => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn users(&self, params: &mut Vec<TypedParam>) -> Answer<()> {
        let Some(users) = self.known(self.handle.guest_users().await)? else {
            return Ok(());
        };
        params.push(TypedParam::new("user.count", users.len() as u32));
        for (index, user) in users.into_iter().enumerate() {
            let field = |name: &str| format!("user.{index}.{name}");
            params.push(TypedParam::new(field("name"), user.user));
            if let Some(domain) = user.domain {
                params.push(TypedParam::new(field("domain"), domain));
            }
            let login_ms = (user.login_time * 1000.0) as u64;
            params.push(TypedParam::new(field("login-time"), login_ms));
        }
        Ok(())
    }

    async fn os(&self, params: &mut Vec<TypedParam>) -> Answer<()> {
        let Some(os) = self.known(self.handle.guest_os().await)? else {
            return Ok(());
        };
        for (name, value) in [
            ("id", os.id),
            ("name", os.name),
            ("pretty-name", os.pretty_name),
            ("version", os.version),
            ("version-id", os.version_id),
            ("machine", os.machine),
            ("variant", os.variant),
            ("variant-id", os.variant_id),
            ("kernel-release", os.kernel_release),
            ("kernel-version", os.kernel_version),
        ] {
            if let Some(value) = value {
                params.push(TypedParam::new(format!("os.{name}"), value));
            }
        }
        Ok(())
    }

    async fn timezone(&self, params: &mut Vec<TypedParam>) -> Answer<()> {
        let Some(zone) = self.known(self.handle.guest_timezone().await)? else {
            return Ok(());
        };
        if let Some(name) = zone.zone {
            params.push(TypedParam::new("timezone.name", name));
        }
        params.push(TypedParam::new("timezone.offset", zone.offset as i32));
        Ok(())
    }

    async fn file_systems(&self, params: &mut Vec<TypedParam>) -> Answer<()> {
        let Some(systems) = self.known(self.handle.guest_file_systems().await)? else {
            return Ok(());
        };
        params.push(TypedParam::new("fs.count", systems.len() as u32));
        for (index, system) in systems.into_iter().enumerate() {
            let field = |name: &str| format!("fs.{index}.{name}");
            params.push(TypedParam::new(field("name"), system.name));
            params.push(TypedParam::new(field("mountpoint"), system.mountpoint));
            params.push(TypedParam::new(field("fstype"), system.kind));
            for (name, bytes) in [
                ("total-bytes", system.total_bytes),
                ("used-bytes", system.used_bytes),
            ] {
                if let Some(bytes) = bytes {
                    params.push(TypedParam::new(field(name), bytes));
                }
            }
            params.push(TypedParam::new(field("disk.count"), 0u32));
        }
        Ok(())
    }

    async fn interfaces(&self, params: &mut Vec<TypedParam>) -> Answer<()> {
        let Some(interfaces) = self.known(self.handle.guest_interfaces().await)? else {
            return Ok(());
        };
        params.push(TypedParam::new("if.count", interfaces.len() as u32));
        for (index, interface) in interfaces.into_iter().enumerate() {
            let field = |name: &str| format!("if.{index}.{name}");
            params.push(TypedParam::new(field("name"), interface.name));
            if let Some(hwaddr) = interface.hardware_address {
                params.push(TypedParam::new(field("hwaddr"), hwaddr));
            }
            let count = interface.ip_addresses.len() as u32;
            params.push(TypedParam::new(field("addr.count"), count));
            for (number, address) in interface.ip_addresses.into_iter().enumerate() {
                let field = |name: &str| format!("if.{index}.addr.{number}.{name}");
                params.push(TypedParam::new(field("type"), address.ip_address_type));
                params.push(TypedParam::new(field("addr"), address.ip_address));
                params.push(TypedParam::new(field("prefix"), address.prefix));
            }
        }
        Ok(())
    }
}

/// The agent takes passwords in base64.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() {
                digit as char
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads_what_does_not_fill_its_groups() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
