//! The filters every host has: the names and meanings that libvirt documents.

/// A filter every host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// The chain its rules are in.
    pub chain: &'static str,
    /// The chain's place.
    pub priority: i32,
    /// Its rules and references.
    pub body: &'static str,
}

impl Builtin {
    /// Its definition, without a uuid.
    pub fn xml(&self) -> String {
        let Builtin {
            name,
            chain,
            priority,
            body,
        } = self;
        format!("<filter name='{name}' chain='{chain}' priority='{priority}'>{body}</filter>")
    }
}

const fn builtin(
    name: &'static str,
    chain: &'static str,
    priority: i32,
    body: &'static str,
) -> Builtin {
    Builtin {
        name,
        chain,
        priority,
        body,
    }
}

/// All of them, in the order of their names.
pub const BUILTINS: &[Builtin] = &[
    builtin(
        "allow-arp",
        "arp",
        -500,
        "<rule action='accept' direction='inout' priority='500'/>",
    ),
    builtin(
        "allow-dhcp",
        "ipv4",
        -700,
        "<rule action='accept' direction='out' priority='100'><ip srcipaddr='0.0.0.0' dstipaddr='255.255.255.255' protocol='udp' srcportstart='68' dstportstart='67'/></rule> \
         <rule action='accept' direction='in' priority='100'><ip protocol='udp' srcportstart='67' dstportstart='68'/></rule>",
    ),
    builtin(
        "allow-dhcp-server",
        "ipv4",
        -700,
        "<rule action='accept' direction='out' priority='100'><ip srcipaddr='0.0.0.0' dstipaddr='255.255.255.255' protocol='udp' srcportstart='68' dstportstart='67'/></rule> \
         <rule action='accept' direction='in' priority='100'><ip srcipaddr='$DHCPSERVER' protocol='udp' srcportstart='67' dstportstart='68'/></rule>",
    ),
    builtin(
        "allow-dhcpv6",
        "ipv6",
        -600,
        "<rule action='accept' direction='out' priority='100'><ipv6 srcipaddr='fe80::' srcipmask='10' dstipaddr='ff02::1:2' protocol='udp' srcportstart='546' dstportstart='547'/></rule> \
         <rule action='accept' direction='in' priority='100'><ipv6 protocol='udp' srcportstart='547' dstportstart='546'/></rule>",
    ),
    builtin(
        "allow-dhcpv6-server",
        "ipv6",
        -600,
        "<rule action='accept' direction='out' priority='100'><ipv6 srcipaddr='fe80::' srcipmask='10' dstipaddr='ff02::1:2' protocol='udp' srcportstart='546' dstportstart='547'/></rule> \
         <rule action='accept' direction='in' priority='100'><ipv6 srcipaddr='$DHCPSERVER' protocol='udp' srcportstart='547' dstportstart='546'/></rule>",
    ),
    builtin(
        "allow-incoming-ipv4",
        "ipv4",
        -700,
        "<rule action='accept' direction='in' priority='500'/>",
    ),
    builtin(
        "allow-incoming-ipv6",
        "ipv6",
        -600,
        "<rule action='accept' direction='in' priority='500'/>",
    ),
    builtin(
        "allow-ipv4",
        "ipv4",
        -700,
        "<rule action='accept' direction='inout' priority='500'/>",
    ),
    builtin(
        "allow-ipv6",
        "ipv6",
        -600,
        "<rule action='accept' direction='inout' priority='500'/>",
    ),
    builtin(
        "clean-traffic",
        "root",
        0,
        "<filterref filter='no-mac-spoofing'/> \
         <filterref filter='no-ip-spoofing'/> \
         <rule action='accept' direction='out' priority='-650'><mac protocolid='ipv4'/></rule> \
         <filterref filter='allow-incoming-ipv4'/> \
         <filterref filter='no-arp-spoofing'/> \
         <rule action='accept' direction='inout' priority='-500'><mac protocolid='arp'/></rule> \
         <filterref filter='no-other-l2-traffic'/> \
         <filterref filter='qemu-announce-self'/>",
    ),
    builtin(
        "clean-traffic-gateway",
        "root",
        0,
        "<filterref filter='no-mac-spoofing'/> \
         <filterref filter='no-ip-spoofing'/> \
         <filterref filter='no-arp-spoofing'/> \
         <rule action='accept' direction='inout' priority='-500'><mac protocolid='arp'/></rule> \
         <rule action='accept' direction='in' priority='500'><mac srcmacaddr='$GATEWAY_MAC'/></rule> \
         <rule action='accept' direction='out' priority='500'><mac dstmacaddr='$GATEWAY_MAC'/></rule> \
         <filterref filter='no-other-l2-traffic'/> \
         <filterref filter='qemu-announce-self'/>",
    ),
    builtin(
        "no-arp-ip-spoofing",
        "arp-ip",
        -510,
        "<rule action='return' direction='out' priority='400'><arp arpsrcipaddr='$IP'/></rule> \
         <rule action='drop' direction='out' priority='1000'/>",
    ),
    builtin(
        "no-arp-mac-spoofing",
        "arp-mac",
        -520,
        "<rule action='return' direction='out' priority='350'><arp arpsrcmacaddr='$MAC'/></rule> \
         <rule action='drop' direction='out' priority='1000'/>",
    ),
    builtin(
        "no-arp-spoofing",
        "root",
        0,
        "<filterref filter='no-arp-mac-spoofing'/> \
         <filterref filter='no-arp-ip-spoofing'/>",
    ),
    builtin(
        "no-ip-multicast",
        "ipv4",
        -700,
        "<rule action='drop' direction='out' priority='500'><ip dstipaddr='224.0.0.0' dstipmask='4'/></rule>",
    ),
    builtin(
        "no-ip-spoofing",
        "ipv4-ip",
        -710,
        "<rule action='return' direction='out' priority='100'><ip srcipaddr='0.0.0.0' protocol='udp'/></rule> \
         <rule action='return' direction='out' priority='500'><ip srcipaddr='$IP'/></rule> \
         <rule action='drop' direction='out' priority='1000'/>",
    ),
    builtin(
        "no-ipv6-multicast",
        "ipv6",
        -600,
        "<rule action='drop' direction='out' priority='500'><ipv6 dstipaddr='ff00::' dstipmask='8'/></rule>",
    ),
    builtin(
        "no-ipv6-spoofing",
        "ipv6-ip",
        -610,
        "<rule action='return' direction='out' priority='100'><ipv6 srcipaddr='fe80::' srcipmask='10' protocol='udp'/></rule> \
         <rule action='return' direction='out' priority='500'><ipv6 srcipaddr='$IPV6'/></rule> \
         <rule action='drop' direction='out' priority='1000'/>",
    ),
    builtin(
        "no-mac-broadcast",
        "ipv4",
        -700,
        "<rule action='drop' direction='out' priority='500'><mac dstmacaddr='ff:ff:ff:ff:ff:ff'/></rule>",
    ),
    builtin(
        "no-mac-spoofing",
        "mac",
        -800,
        "<rule action='return' direction='out' priority='500'><mac srcmacaddr='$MAC'/></rule> \
         <rule action='drop' direction='out' priority='500'><mac/></rule>",
    ),
    builtin(
        "no-other-l2-traffic",
        "root",
        0,
        "<rule action='drop' direction='inout' priority='1000'/>",
    ),
    builtin(
        "no-other-rarp-traffic",
        "rarp",
        -400,
        "<rule action='drop' direction='inout' priority='1000'/>",
    ),
    builtin(
        "qemu-announce-self",
        "root",
        0,
        "<rule action='accept' direction='out' priority='500'><mac protocolid='0x835'/></rule> \
         <filterref filter='qemu-announce-self-rarp'/> \
         <filterref filter='no-other-rarp-traffic'/>",
    ),
    builtin(
        "qemu-announce-self-rarp",
        "rarp",
        -400,
        "<rule action='accept' direction='out' priority='500'><rarp srcmacaddr='$MAC' dstmacaddr='ff:ff:ff:ff:ff:ff' opcode='Request_Reverse' arpsrcmacaddr='$MAC' arpdstmacaddr='$MAC' arpsrcipaddr='0.0.0.0' arpdstipaddr='0.0.0.0'/></rule> \
         <rule action='accept' direction='in' priority='500'><rarp dstmacaddr='ff:ff:ff:ff:ff:ff' opcode='Request_Reverse' arpsrcmacaddr='$MAC' arpdstmacaddr='$MAC' arpsrcipaddr='0.0.0.0' arpdstipaddr='0.0.0.0'/></rule>",
    ),
];

#[cfg(test)]
mod tests {
    use super::BUILTINS;
    use crate::nwfilter::Filter;
    use std::collections::BTreeSet;

    #[test]
    fn every_builtin_reads_and_refers_to_builtins() {
        let names: BTreeSet<&str> = BUILTINS.iter().map(|b| b.name).collect();
        assert_eq!(names.len(), BUILTINS.len());
        for builtin in BUILTINS {
            let filter = Filter::parse(&builtin.xml()).expect(builtin.name);
            for reference in filter.references() {
                assert!(
                    names.contains(reference.filter.as_str()),
                    "{}",
                    reference.filter
                );
            }
            assert_eq!(Filter::parse(&filter.to_xml()).expect("again"), filter);
        }
    }
}
