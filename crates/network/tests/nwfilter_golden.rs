//! Network filters as rules, kept as text.

// One test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)]

use std::collections::BTreeMap;

use model::nwfilter::Filter;
use model::nwfilter::builtin::BUILTINS;
use model::nwfilter::variables::Variables;
use model::xml::Mac;
use stead_network::firewall::Firewall;
use stead_network::machine_rules::MachinePort;
use stead_network::nwfilter::expand::expand;
use stead_network::nwfilter::{DeviceFilter, FilterError, Learning};
use stead_network::sets::NamedSet;

fn variables(given: &[(&str, &[&str])]) -> Variables {
    let each = given.iter().map(|(name, values)| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        ((*name).to_owned(), values)
    });
    Variables(each.collect())
}

fn filters(own: &[&str]) -> BTreeMap<String, Filter> {
    let builtins = BUILTINS.iter().map(|builtin| builtin.xml());
    let all = builtins.chain(own.iter().map(|xml| (*xml).to_owned()));
    let parsed = all.map(|xml| Filter::parse(&xml).expect("a filter"));
    parsed.map(|filter| (filter.name.clone(), filter)).collect()
}

fn port(
    name: &str,
    own: &[&str],
    given: &[(&str, &[&str])],
    learning: Option<Learning>,
) -> Result<MachinePort, FilterError> {
    let filters = filters(own);
    let rules = expand(name, &|name| filters.get(name), &variables(given))?;
    Ok(MachinePort {
        device: "vnet0".into(),
        mac: Mac([0x52, 0x54, 0, 0, 0, 7]),
        guard: None,
        policy: Default::default(),
        sending: None,
        address: None,
        filter: Some(Ok(DeviceFilter {
            rules,
            learning,
            learnt: vec!["192.0.2.7".parse().expect("an address")],
        })),
    })
}

fn text(port: MachinePort) -> String {
    let firewall = Firewall {
        table: "stead_t".into(),
        machines: vec![port],
        sets: vec![NamedSet {
            name: "friends".into(),
            nets: vec![("198.51.100.0".parse().expect("an address"), 24)],
            ports: vec![(80, 80)],
        }],
        rejects: true,
        ..Firewall::default()
    };
    firewall.ruleset().whole()
}

const MAC: (&str, &[&str]) = ("MAC", &["52:54:00:00:00:07"]);

#[test]
fn clean_traffic_with_a_known_address() {
    let given = [MAC, ("IP", &["192.0.2.7", "192.0.2.8"][..])];
    let port = port("clean-traffic", &[], &given, None).expect("rules");
    insta::assert_snapshot!(text(port));
}

#[test]
fn clean_traffic_finds_the_address() {
    for (name, learning) in [
        ("any", Learning::Any),
        (
            "dhcp",
            Learning::Dhcp(vec!["192.0.2.1".parse().expect("an address")]),
        ),
    ] {
        let port = port("clean-traffic", &[], &[MAC], Some(learning)).expect("rules");
        insta::assert_snapshot!(format!("clean_traffic_learns_{name}"), text(port));
    }
}

#[test]
fn rules_about_connections() {
    let filter = "<filter name='own'>
        <rule action='accept' direction='in' priority='100'><tcp dstportstart='22'/></rule>
        <rule action='accept' direction='out' priority='200'><udp dstportstart='53' match='yes'/></rule>
        <rule action='accept' direction='in'><icmp type='8'/></rule>
        <rule action='accept' direction='in' statematch='false'><tcp-ipv6 srcipaddr='2001:db8::' srcipmask='32' dstportstart='80' dstportend='90'/></rule>
        <rule action='accept' direction='in'><all ipset='friends' ipsetflags='src'/></rule>
        <rule action='reject' direction='out' priority='900'><tcp dstportstart='25' flags='SYN/SYN,ACK'/></rule>
        <rule action='drop' direction='inout' priority='1000'><all/></rule></filter>";
    let port = port("own", &[filter], &[MAC], None).expect("rules");
    insta::assert_snapshot!(text(port));
}

#[test]
fn rules_about_states() {
    let filter = "<filter name='own'>
        <rule action='accept' direction='out'><all state='NEW,ESTABLISHED,RELATED'/></rule>
        <rule action='accept' direction='in'><all state='ESTABLISHED'/></rule>
        <rule action='accept' direction='in'><tcp state='NEW' dstportstart='22'/></rule>
        <rule action='drop' direction='inout'><all/></rule></filter>";
    let port = port("own", &[filter], &[MAC], None).expect("rules");
    insta::assert_snapshot!(text(port));
}

#[test]
fn rules_about_frames() {
    let filter = "<filter name='own' chain='root'>
        <rule action='continue' direction='inout'><vlan srcmacaddr='1:2:3:4:5:6' vlanid='291'/></rule>
        <rule action='drop' direction='out'><vlan encap-protocol='arp'/></rule>
        <rule action='drop' direction='in'><stp root-priority='0x1' root-priority-hi='0x9' root-address='1:2:3:4:5:6'/></rule>
        <rule action='return' direction='out'><rarp opcode='3' arpsrcmacaddr='$MAC' arpsrcipaddr='10.1.2.3' arpsrcipmask='8'/></rule>
        <rule action='accept' direction='inout'><arp opcode='Reply' arpsrcipaddr='10.1.2.3' arpsrcipmask='24'/></rule>
        <rule action='drop' direction='out'><mac match='no' srcmacaddr='52:54:0:0:0:0' srcmacmask='ff:ff:ff:0:0:0'/></rule>
        <rule action='accept' direction='in'><ip srcipaddr='$A' protocol='tcp' dstportstart='$B'/></rule>
        <rule action='accept' direction='in'><ip srcipaddr='$A[@1]' protocol='udp' dstportstart='$B[1]' dscp='2'/></rule>
        <rule action='drop' direction='in'><ipv6 dstipaddr='ff00::' dstipmask='8' protocol='icmpv6' type='128' typeend='129'/></rule>
        </filter>";
    let given = [
        MAC,
        ("A", &["10.0.0.1", "10.0.0.2"][..]),
        ("B", &["80", "90"][..]),
    ];
    let port = port("own", &[filter], &given, None).expect("rules");
    insta::assert_snapshot!(text(port));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let refused = |filter: &str, given: &[(&str, &[&str])]| {
        let port = port("own", &[filter], given, None);
        match port.and_then(|port| port.filter_chains(true)) {
            Ok(_) => panic!("accepted: {filter}"),
            Err(error) => error.to_string(),
        }
    };
    let with = |rule: &str| {
        format!("<filter name='own'><rule action='drop' direction='out'>{rule}</rule></filter>")
    };
    let missing = refused(
        "<filter name='own'><filterref filter='none'/></filter>",
        &[],
    );
    assert_eq!(missing, "referenced filter 'none' is missing");
    let looped = refused("<filter name='own'><filterref filter='own'/></filter>", &[]);
    assert!(looped.contains("loop"), "{looped}");
    let unresolved = refused(&with("<ip srcipaddr='$X'/>"), &[]);
    assert!(unresolved.ends_with("elements: X"), "{unresolved}");
    let lists = refused(
        &with("<ip srcipaddr='$A' dstipaddr='$B'/>"),
        &[("A", &["1.1.1.1"]), ("B", &["1.1.1.1", "2.2.2.2"])],
    );
    assert!(lists.starts_with("Cardinality"), "{lists}");
    let value = refused(&with("<ip srcipaddr='$A'/>"), &[("A", &["x"])]);
    assert_eq!(value, "'x' is no value for 'srcipaddr' of a filter's rule");
    let counted = refused(&with("<tcp connlimit-above='2'/>"), &[]);
    assert!(counted.contains("connlimit-above"), "{counted}");
}

/// Filters of libvirt's own tests (found by `STEAD_CORPUS`) become rules, with lists for all
/// variables that those have; what cannot become rules is named.
#[test]
fn libvirts_filters_become_rules() {
    let Some(root) = std::env::var_os("STEAD_CORPUS") else {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return;
    };
    let folder = std::path::PathBuf::from(root).join("nwfilterxml2firewalldata");
    let given = [
        MAC,
        ("IP", &["10.0.0.7"][..]),
        ("IPSETNAME", &["friends"][..]),
        ("A", &["1.1.1.1", "2.2.2.2", "3.3.3.3"][..]),
        ("B", &["80", "90", "80"][..]),
        ("C", &["1080", "1090", "1100"][..]),
    ];
    for entry in std::fs::read_dir(folder).expect("it can be listed") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if !name.ends_with(".xml") {
            continue;
        }
        let xml = std::fs::read_to_string(&path).expect("text");
        let filter = Filter::parse(&xml).unwrap_or_else(|e| panic!("{name}: {e}"));
        let made = port(&filter.name, &[&xml], &given, None).expect("rules");
        match made.filter_chains(true) {
            Ok(_) => {
                let text = text(made);
                assert!(text.contains("chain"), "{name}: {text}");
            }
            // The kernel counts no connections on a bridge, and sets here have one side.
            Err(FilterError::Unsupported(what)) => assert!(
                ["connlimit-above", "one side of a packet"]
                    .iter()
                    .any(|words| what.contains(words)),
                "{name}: {what}"
            ),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}
