//! What cards are plugged into, and what that is for the host's own programs.

use model::domain::Domain;
use model::domain::interface::{BandwidthLimit, Interface};
use model::domain::vlan::PortVlans;
use model::network::Network;
use model::xml::Mac;
use stead_network::openvswitch::{SwitchPort, attach, detach, ports_of};
use stead_network::plug::{DirectMode, Plug, plug, settle, settle_alone};
use stead_network::{passt, plan};
use uuid::Uuid;

fn card(xml: &str) -> Interface {
    let domain = format!(
        "<domain type='qemu'><name>m</name><memory>1024</memory><os><type>hvm</type></os><devices>{xml}</devices></domain>"
    );
    let domain = Domain::parse(&domain).expect("a domain");
    domain
        .devices
        .interfaces
        .into_iter()
        .next()
        .expect("a card")
}

fn network(xml: &str) -> Network {
    Network::parse(&format!("<network><name>n</name>{xml}</network>")).expect("a network")
}

fn settled(card_xml: &str, network_xml: &str) -> Result<Option<Plug>, String> {
    let mut card = card(card_xml);
    let network = network(network_xml);
    settle(&mut card, &network, network.bridge_name(), [Uuid::nil(); 2])
        .and_then(|()| plug(&card))
        .map_err(|refusal| refusal.to_string())
}

const ON_NETWORK: &str = "<interface type='network'><source network='n'/></interface>";
const IN_GROUP: &str =
    "<interface type='network'><source network='n' portgroup='lab'/></interface>";

#[test]
fn a_network_decides_where_its_cards_are_plugged() {
    let bridge = "<forward mode='bridge'/><bridge name='br0'/>";
    let vlan = format!("{bridge}<vlan><tag id='20'/></vlan>");
    let access = Plug::Bridge {
        name: "br0".into(),
        isolated: false,
        vlans: Some(PortVlans::Access(20)),
    };
    assert_eq!(settled(ON_NETWORK, &vlan), Ok(Some(access)));
    let group = format!(
        "{vlan}<portgroup name='lab'><port isolated='yes'/><vlan><tag id='30'/></vlan></portgroup>"
    );
    let isolated = Plug::Bridge {
        name: "br0".into(),
        isolated: true,
        vlans: Some(PortVlans::Access(30)),
    };
    assert_eq!(settled(IN_GROUP, &group), Ok(Some(isolated)));
    let own = IN_GROUP.replace("</interface>", "<vlan><tag id='7'/></vlan></interface>");
    let Ok(Some(Plug::Bridge { vlans, .. })) = settled(&own, &group) else {
        panic!("a bridge");
    };
    assert_eq!(vlans, Some(PortVlans::Access(7)));
    let missing = settled(IN_GROUP, &vlan).expect_err("no such group");
    assert!(missing.contains("no port group 'lab'"), "{missing}");
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let device = "<forward mode='vepa'><interface dev='eth1'/></forward><vlan><tag id='5'/></vlan>";
    let mut on_device = card(ON_NETWORK);
    settle(&mut on_device, &network(device), None, [Uuid::nil(); 2]).expect("settled");
    on_device.source.as_mut().expect("it has one").mode = Some("vepa".into());
    let error = plug(&on_device).expect_err("no VLANs there").to_string();
    assert!(
        error.contains("network 'n' is requesting a vlan tag"),
        "{error}"
    );
    for (xml, said) in [
        (
            "<interface type='direct'><source dev='e' mode='odd'/></interface>",
            "unknown mode 'odd'",
        ),
        (
            "<interface type='ethernet'><script path='/x'/></interface>",
            "'/x'",
        ),
        (
            "<interface type='ethernet'><target managed='no'/></interface>",
            "name of the tap",
        ),
        (
            "<interface type='bridge'><source bridge='b'/><virtualport type='802.1Qbh'><parameters profileid='p'/></virtualport></interface>",
            "802.1Qbh",
        ),
        (
            "<interface type='bridge'><source bridge='b'/><virtualport type='openvswitch'/><port isolated='yes'/></interface>",
            "port isolation",
        ),
    ] {
        let error = plug(&card(xml)).expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
    let direct = "<interface type='direct'><source dev='e'/></interface>";
    let expected = Plug::Direct {
        device: "e".into(),
        mode: DirectMode::Vepa,
    };
    assert_eq!(plug(&card(direct)), Ok(Some(expected)));
}

#[test]
fn ports_of_a_switch_are_one_transaction() {
    let mut card = card(
        "<interface type='bridge'><source bridge='ovs0'/><vlan trunk='yes'><tag id='20'/><tag id='30' nativeMode='tagged'/></vlan>\
         <virtualport type='openvswitch'><parameters profileid='a &quot;b&quot;'/></virtualport></interface>",
    );
    settle_alone(&mut card, Uuid::from_u128(7));
    let Ok(Some(Plug::Switch(plug))) = plug(&card) else {
        panic!("on a switch");
    };
    let port = SwitchPort {
        device: "vnet0".into(),
        plug,
        mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
        machine: Uuid::from_u128(9),
        sending: Some(BandwidthLimit {
            average: Some(128),
            burst: Some(256),
            ..BandwidthLimit::default()
        }),
    };
    let text = [
        attach(&port).join(" "),
        detach(["vnet0", "vnet1"]).join(" "),
        ports_of(port.machine).join(" "),
    ];
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn passt_is_told_addresses_and_ports() {
    let card = card(
        "<interface type='user'><backend type='passt'/><source dev='eth0'/>\
         <ip family='ipv4' address='172.17.2.4' prefix='24'/>\
         <portForward proto='tcp' address='192.0.2.1' dev='eth1'><range start='8080' to='80'/><range start='90' end='99'/><range start='95' exclude='yes'/></portForward>\
         <portForward proto='udp'><range start='5000' end='5010' to='6000'/></portForward>\
         <portForward proto='tcp' address='192.0.2.2'/></interface>",
    );
    let arguments = passt::arguments(&card, 3).expect("arguments");
    insta::assert_snapshot!(arguments.join(" "));
}

#[test]
fn passt_refuses_ranges_that_are_none() {
    for range in ["start='0'", "start='9' end='8'", "start='9' to='65536'"] {
        let xml = format!(
            "<interface type='user'><backend type='passt'/><portForward proto='tcp'><range {range}/></portForward></interface>"
        );
        assert!(passt::arguments(&card(&xml), 3).is_err(), "{range}");
    }
}

#[test]
fn a_bridge_of_the_host_is_only_told_to_keep_vlans_apart() {
    let bridge = network("<forward mode='bridge'/><bridge name='br0'/>");
    assert_eq!(plan::start(&bridge, "br0", Mac([0; 6]), None), []);
    let vlan = network("<forward mode='bridge'/><bridge name='br0'/><vlan><tag id='20'/></vlan>");
    let steps = plan::start(&vlan, "br0", Mac([0; 6]), None);
    let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["link set br0 type bridge vlan_filtering 1"]);
    let switched = "<virtualport type='openvswitch'/>";
    let switch = network(&format!(
        "<forward mode='bridge'/><bridge name='o'/><vlan><tag id='20'/></vlan>{switched}"
    ));
    assert_eq!(plan::start(&switch, "o", Mac([0; 6]), None), []);
}
