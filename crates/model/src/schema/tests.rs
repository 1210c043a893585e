//! Each kind of document is taken whole, and with a strange part anywhere in it refused.

use super::Schema;
use crate::xml::{XmlErrorKind, parse_document, root};

const DOCUMENTS: &[(Schema, &str)] = &[
    (
        Schema::Domain,
        "<domain type='qemu'>
  <name>web1</name>
  <memory unit='KiB'>65536</memory>
  <vcpu placement='static'>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/srv/web1.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'><source network='default'/><model type='virtio'/></interface>
  </devices>
</domain>",
    ),
    (
        Schema::Snapshot,
        "<domainsnapshot>
  <name>before</name>
  <description>as it was</description>
  <memory snapshot='no'/>
  <disks><disk name='vda' snapshot='external'><source file='/srv/web1.before'/></disk></disks>
</domainsnapshot>",
    ),
    (
        Schema::Cpu,
        "<cpu mode='custom' match='exact'>
  <model fallback='allow'>Nehalem</model>
  <topology sockets='1' cores='2' threads='1'/>
  <feature policy='require' name='aes'/>
  <numa><cell id='0' cpus='0-1' memory='1024' unit='MiB'/></numa>
</cpu>",
    ),
    (
        Schema::Cpu,
        "<cpu>
  <arch>x86_64</arch>
  <model>Nehalem</model>
  <vendor>Intel</vendor>
  <topology sockets='1' dies='1' cores='2' threads='1'/>
  <feature name='aes'/>
  <pages unit='KiB' size='4'/>
</cpu>",
    ),
    (
        Schema::Network,
        "<network>
  <name>lan</name>
  <forward mode='nat'/>
  <bridge name='virbr7' stp='on' delay='0'/>
  <ip address='10.1.0.1' netmask='255.255.255.0'>
    <dhcp><range start='10.1.0.2' end='10.1.0.9'/></dhcp>
  </ip>
</network>",
    ),
    (
        Schema::NetworkPort,
        "<networkport>
  <uuid>5d744f21-ba4a-4d6e-bdb2-30a35ff3207d</uuid>
  <owner><name>web1</name><uuid>ff3209af-b44a-4d6e-bdb2-30a35ff32a11</uuid></owner>
  <mac address='52:54:00:7b:35:93'/>
</networkport>",
    ),
    (
        Schema::Filter,
        "<filter name='mine' chain='ipv4' priority='-700'>
  <uuid>5d744f21-ba4a-4d6e-bdb2-30a35ff3207d</uuid>
  <filterref filter='clean-traffic'><parameter name='IP' value='10.1.0.7'/></filterref>
  <rule action='drop' direction='out' priority='500'><tcp dstportstart='25'/></rule>
</filter>",
    ),
    (
        Schema::FilterBinding,
        "<filterbinding>
  <owner><name>web1</name><uuid>ff3209af-b44a-4d6e-bdb2-30a35ff32a11</uuid></owner>
  <portdev name='vnet0'/>
  <mac address='52:54:00:7b:35:93'/>
  <filterref filter='clean-traffic'/>
</filterbinding>",
    ),
    (
        Schema::Pool,
        "<pool type='dir'>
  <name>images</name>
  <source/>
  <target><path>/srv/images</path><permissions><mode>0755</mode></permissions></target>
</pool>",
    ),
    (
        Schema::Volume,
        "<volume type='file'>
  <name>web1.qcow2</name>
  <capacity unit='MiB'>64</capacity>
  <target><format type='qcow2'/><compat>1.1</compat><features><lazy_refcounts/></features></target>
  <backingStore><path>/srv/base.qcow2</path><format type='qcow2'/></backingStore>
</volume>",
    ),
    (
        Schema::Secret,
        "<secret ephemeral='no' private='yes'>
  <description>of a disk</description>
  <usage type='volume'><volume>/srv/web1.luks</volume></usage>
</secret>",
    ),
    (
        Schema::NodeDevice,
        "<device>
  <parent>scsi_host3</parent>
  <capability type='scsi_host'><capability type='fc_host'/></capability>
</device>",
    ),
];

#[test]
fn whole_documents_are_taken() {
    for (schema, text) in DOCUMENTS {
        assert_eq!(schema.check(text), Ok(()), "{text}");
    }
}

/// Where the opening tags of a document's elements end, and whether the element has a content.
fn tag_ends(text: &str) -> Vec<(String, usize, bool)> {
    let document = parse_document(text).expect("a document");
    let nodes = root(&document).raw().descendants();
    let elements = nodes.filter(|node| node.is_element());
    elements
        .map(|node| {
            let from = node.range().start;
            let end = from + text[from..].find('>').expect("the tag's end");
            let empty = text[..end].ends_with('/');
            (
                node.tag_name().name().to_owned(),
                end - usize::from(empty),
                !empty,
            )
        })
        .collect()
}

#[test]
fn a_strange_attribute_is_found_anywhere() {
    for (schema, text) in DOCUMENTS {
        for (name, at, _) in tag_ends(text) {
            let odd = format!("{} odd='1'{}", &text[..at], &text[at..]);
            let error = schema.check(&odd).expect_err(&odd);
            assert_eq!(error.kind, XmlErrorKind::Schema, "{name}: {error}");
            assert!(error.message.contains("odd"), "{error}");
            let line = 1 + text[..at].matches('\n').count();
            assert_eq!(error.line as usize, line, "{error}");
        }
    }
}

#[test]
fn a_strange_element_is_found_anywhere() {
    for (schema, text) in DOCUMENTS {
        for (name, at, filled) in tag_ends(text) {
            // An element that holds text is read as text.
            let holds_elements = text[at..]
                .trim_start_matches('>')
                .trim_start()
                .starts_with('<');
            if !filled || !holds_elements {
                continue;
            }
            let odd = format!("{}<odd/>{}", &text[..=at], &text[at + 1..]);
            let error = schema.check(&odd).expect_err(&odd);
            assert_eq!(error.kind, XmlErrorKind::Schema, "{name}: {error}");
            assert!(error.message.contains("odd"), "{error}");
        }
    }
}

#[test]
fn what_must_be_there_and_is_not_is_told() {
    let refused = |schema: Schema, text: &str| schema.check(text).expect_err(text).to_string();
    assert_eq!(
        refused(Schema::Cpu, "<cpu><feature name='aes'/></cpu>"),
        "Unable to validate doc against cpu.rng\n\
         Element feature failed to validate attributes: policy is missing (line 1, column 6)"
    );
    assert_eq!(
        refused(Schema::Cpu, "<domain/>"),
        "Unable to validate doc against cpu.rng\n\
         expecting element <cpu>, got <domain> (line 1, column 1)"
    );
}

#[test]
fn a_document_that_is_not_xml_is_told_as_that() {
    let error = Schema::Cpu.check("<cpu>").expect_err("not closed");
    assert_eq!(error.kind, XmlErrorKind::Malformed);
}
