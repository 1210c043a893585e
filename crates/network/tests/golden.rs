//! Networks as plans, rules and configurations, kept as text.

use std::path::Path;

use model::network::Network;
use model::network::policy::Policy;
use model::xml::Mac;
use stead_network::firewall::{Firewall, NetworkRules};
use stead_network::machine_rules::{Guard, MachinePort};
use stead_network::{bandwidth, dnsmasq, plan};

const LAB: &str = "<network><name>lab</name><forward mode='nat' dev='eth0'><nat><address start='203.0.113.5' end='203.0.113.6'/></nat></forward>
<bridge name='lab0' delay='2'/><mac address='52:54:00:00:00:01'/><mtu size='9000'/>
<domain name='lab.example' localOnly='yes'/>
<dns forwardPlainNames='no'><forwarder addr='192.0.2.53'/><srv service='ldap' protocol='tcp' domain='lab.example' target='a.lab.example' priority='10'/></dns>
<bandwidth><inbound average='1000' peak='5000' burst='1024'/><outbound average='128'/></bandwidth>
<ip address='192.168.50.1' prefix='24' localPtr='yes'><dhcp><range start='192.168.50.100' end='192.168.50.200'/></dhcp></ip>
<ip family='ipv6' address='fd00:50::1' prefix='64'/>
<route address='10.9.0.0' prefix='16' gateway='192.168.50.9'/></network>";

fn network(xml: &str) -> Network {
    Network::parse(xml).expect("a network")
}

#[test]
fn a_network_becomes_steps() {
    let network = network(LAB);
    let steps = plan::start(&network, "lab0", Mac([0; 6]), None);
    let text: Vec<String> = steps.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_network_becomes_a_configuration() {
    let files = dnsmasq::Files::below(Path::new("/run/n"), Path::new("/state/n"));
    let texts = dnsmasq::texts(&network(LAB), "lab0", &files, Some("nobody"));
    insta::assert_snapshot!(texts.config);
}

#[test]
fn limits_become_commands_of_tc() {
    let network = network(LAB);
    insta::assert_snapshot!(bandwidth::batch("lab0", network.bandwidth.as_ref()));
}

#[test]
fn networks_and_machines_become_rules() {
    let isolated =
        "<network><name>i</name><bridge name='i0'/><ip address='10.0.0.1' prefix='8'/></network>";
    let routed = "<network><name>r</name><forward mode='route'/><bridge name='r0'/><ip address='10.1.0.1' prefix='16'/></network>";
    let rules = |xml: &str, bridge: &str| NetworkRules {
        bridge: bridge.into(),
        network: network(xml),
    };
    let policy = "<f inbound='drop' log='yes'><member group='web'/><allow in='tcp/80,443'/>\
        <allow in='udp/53' from='10.0.0.0/8 group:db'/><allow in='icmp' from='group:web'/>\
        <forward port='tcp/8080:80'/></f>";
    let firewall = Firewall {
        table: "stead_t".into(),
        networks: vec![
            rules(LAB, "lab0"),
            rules(isolated, "i0"),
            rules(routed, "r0"),
        ],
        machines: vec![MachinePort {
            device: "vnet0".into(),
            mac: Mac([0x52, 0x54, 0, 0, 0, 7]),
            guard: Some(Guard {
                nets: vec![("192.168.50.0".parse().expect("an address"), 24)],
                gateways: vec!["192.168.50.1".parse().expect("an address")],
            }),
            policy: Policy::parse(policy).expect("a policy"),
            sending: Some((128, 256)),
            address: Some("192.168.50.7".parse().expect("an address")),
            filter: None,
        }],
        ..Firewall::default()
    };
    insta::assert_snapshot!(firewall.ruleset().whole());
    // Nothing to say: no table at all.
    let none = Firewall {
        table: "stead_t".into(),
        ..Firewall::default()
    };
    assert_eq!(none.ruleset().whole(), none.ruleset().removal());
}

#[test]
fn every_kind_of_network_becomes_steps() {
    let kinds = [
        (
            "isolated",
            "<bridge name='b0'/><ip address='10.0.0.1' prefix='24'/>",
        ),
        ("bare", "<bridge name='b0' stp='off'/>"),
        (
            "routed",
            "<forward mode='route'/><bridge name='b0'/><ip address='10.0.0.1' prefix='24'/>",
        ),
        (
            "open",
            "<forward mode='open'/><bridge name='b0'/><ip family='ipv6' address='fd00::1' prefix='64'><dhcp><range start='fd00::10' end='fd00::20'/></dhcp></ip>",
        ),
        (
            "registered",
            "<forward mode='nat'/><bridge name='b0'/><domain name='lab.example' register='yes'/>\
             <ip address='10.0.0.1' prefix='24'/>",
        ),
        (
            "nameless",
            "<forward mode='nat'/><bridge name='b0'/><dns enable='no'/><ip address='10.0.0.1' prefix='24'/>",
        ),
    ];
    let texts = kinds.map(|(kind, body)| {
        let network = network(&format!("<network><name>{kind}</name>{body}</network>"));
        let steps = plan::start(&network, "b0", Mac([2, 0, 0, 0, 0, 1]), None);
        let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
        format!("# {kind}\n{}", steps.join("\n"))
    });
    insta::assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn every_plug_becomes_steps() {
    use stead_network::plug::{DirectMode, Plug};
    let plugs = [
        Plug::Bridge {
            name: "b0".into(),
            isolated: true,
            vlans: None,
        },
        Plug::Direct {
            device: "eth0".into(),
            mode: DirectMode::Vepa,
        },
        Plug::Ethernet { made: true },
        Plug::Ethernet { made: false },
    ];
    let texts = plugs.map(|plug| plan::plug_steps("vnet0", &plug).join("\n"));
    insta::assert_snapshot!(texts.join("\n\n"));
}
