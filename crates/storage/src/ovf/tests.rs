//! Descriptors as other programs write them, and our own, there and back.

use super::*;
use proptest::prelude::*;

/// As VMware's ovftool writes it, shortened.
const VMWARE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References>
  <File ovf:href="web-disk1.vmdk" ovf:id="file1" ovf:size="512"/>
  <File ovf:href="web-disk2.vmdk.gz" ovf:id="file2" ovf:compression="gzip"/>
 </References>
 <DiskSection><Info>disks</Info>
  <Disk ovf:capacity="16" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="d1" ovf:fileRef="file1"/>
  <Disk ovf:capacity="1048576" ovf:diskId="d2" ovf:fileRef="file2"/>
  <Disk ovf:capacity="4096" ovf:diskId="d3"/>
 </DiskSection>
 <DeploymentOptionSection>
  <Configuration ovf:id="small"/><Configuration ovf:id="large" ovf:default="true"/>
 </DeploymentOptionSection>
 <VirtualSystem ovf:id="vm"><Info>x</Info><Name>Web server</Name>
  <OperatingSystemSection ovf:id="94" vmw:osType="ubuntu64Guest"><Info/></OperatingSystemSection>
  <AnnotationSection><Info/><Annotation>by hand</Annotation></AnnotationSection>
  <VirtualHardwareSection><Info/>
   <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>4</rasd:VirtualQuantity></Item>
   <Item ovf:configuration="small"><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
   <Item ovf:configuration="large other"><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>4096</rasd:VirtualQuantity></Item>
   <Item ovf:bound="max"><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>9</rasd:VirtualQuantity></Item>
   <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:InstanceID>4</rasd:InstanceID><rasd:ResourceType>5</rasd:ResourceType></Item>
   <Item><rasd:HostResource>ovf:/disk/d1</rasd:HostResource><rasd:InstanceID>8</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:HostResource>/disk/d2</rasd:HostResource><rasd:InstanceID>9</rasd:InstanceID><rasd:Parent>4</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:HostResource>ovf:/disk/d3</rasd:HostResource><rasd:InstanceID>10</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:InstanceID>11</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
   <Item><rasd:Connection>VM Network</rasd:Connection><rasd:InstanceID>12</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
   <Item ovf:required="false"><rasd:ElementName>sound</rasd:ElementName><rasd:InstanceID>13</rasd:InstanceID><rasd:ResourceType>35</rasd:ResourceType></Item>
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>"#;

#[test]
fn a_package_of_vmware() {
    let machine = read(VMWARE).expect("it is one");
    assert_eq!(machine.name, "Web server");
    assert_eq!(machine.annotation.as_deref(), Some("by hand"));
    assert_eq!((machine.vcpus, machine.memory_bytes), (4, 4 << 30));
    assert!(machine.uefi);
    assert_eq!(machine.system, System::Linux);
    let disks: Vec<_> = machine.disks.iter().map(|d| (d.capacity, d.bus)).collect();
    let wanted = [
        (16 << 30, OvfBus::Pvscsi),
        (1 << 20, OvfBus::Sata),
        (4096, OvfBus::Sata),
    ];
    assert_eq!(disks, wanted);
    let second = machine.disks[1].file.as_ref().expect("it has one");
    assert!(second.gzip && second.name == "web-disk2.vmdk.gz");
    assert_eq!(machine.disks[2].file, None);
    assert_eq!(machine.cd_drives, 1);
    assert_eq!(
        machine.cards,
        [OvfCard {
            model: OvfCardModel::Vmxnet3,
            network: "VM Network".into()
        }]
    );
    assert_eq!(machine.notes, ["left out: sound"]);
}

#[test]
fn virtualbox_says_firmware_in_its_own_way() {
    let bios = VMWARE.replace("vmw:value=\"efi\"", "vmw:value=\"bios\"");
    assert!(!read(&bios).expect("it is one").uefi);
    let its = bios.replace(
        "</VirtualSystem>",
        "<vbox:Machine xmlns:vbox='v'><Hardware><Firmware type='EFI64'/></Hardware></vbox:Machine></VirtualSystem>",
    );
    assert!(read(&its).expect("it is one").uefi);
}

#[test]
fn what_cannot_be_is_refused_with_its_line() {
    let refused = |from: &str, to: &str| {
        assert!(VMWARE.contains(from), "{from}");
        read(&VMWARE.replacen(from, to, 1))
            .expect_err(to)
            .to_string()
    };
    for path in [
        "../etc/shadow",
        "/etc/shadow",
        "a/b",
        "http://h/x",
        "..",
        "",
        ".x",
        "a\\b",
    ] {
        let said = refused("web-disk1.vmdk", path);
        assert!(
            said.starts_with("line 6:") && said.contains("no name of a file"),
            "{said}"
        );
    }
    assert!(refused("ovf:size=\"512\"", "ovf:chunkSize=\"5\"").contains("chunkSize"));
    assert!(refused("\"gzip\"", "\"bzip2\"").contains("only gzip"));
    assert!(
        refused(
            "ovf:capacity=\"4096\"",
            "ovf:capacity=\"4096\" ovf:parentRef=\"d1\""
        )
        .contains("builds upon")
    );
    assert!(refused("ovf:capacity=\"16\"", "ovf:capacity=\"17179869184\"").contains("a capacity"));
    assert!(refused("/disk/d3", "/disk/d9").contains("no disk 'd9'"));
    assert!(refused(">4</rasd:VirtualQuantity", ">0</rasd:VirtualQuantity").contains("processors"));
    assert!(refused(">4096</rasd", ">99999999999999</rasd").contains("memory"));
    let several = VMWARE
        .replace("VirtualSystem>", "VirtualSystemCollection>")
        .replace("<VirtualSystem ", "<VirtualSystemCollection ");
    assert!(
        read(&several)
            .unwrap_err()
            .to_string()
            .contains("collection")
    );
    assert!(
        read("<a/>")
            .unwrap_err()
            .to_string()
            .contains("no OVF envelope")
    );
    assert!(read("x").is_err());
}

fn file() -> impl Strategy<Value = OvfFile> {
    (
        "[a-zA-Z0-9][a-zA-Z0-9 ._-]{0,20}",
        any::<Option<u32>>(),
        any::<bool>(),
    )
        .prop_map(|(name, size, gzip)| OvfFile {
            name,
            size: size.map(u64::from),
            gzip,
        })
}

fn bus() -> impl Strategy<Value = OvfBus> {
    prop_oneof![
        Just(OvfBus::Sata),
        Just(OvfBus::Pvscsi),
        Just(OvfBus::LsiSas),
        Just(OvfBus::Virtio)
    ]
}

fn card() -> impl Strategy<Value = OvfCard> {
    use OvfCardModel::*;
    let model = prop_oneof![
        Just(E1000),
        Just(E1000e),
        Just(Vmxnet3),
        Just(Pcnet),
        Just(Virtio)
    ];
    (model, "[a-z<&'][a-zé '\"]{0,9}[a-z]").prop_map(|(model, network)| OvfCard { model, network })
}

prop_compose! {
    fn machine()(
        name in "[a-zA-Z<>&'\"]{1,20}",
        annotation in prop::option::of("[a-z]([a-z<&\n ]{0,30}[a-z])?"),
        memory_bytes in 1..OVF_MEMORY,
        vcpus in 1u32..4096,
        uefi in any::<bool>(),
        system in prop_oneof![Just(System::Linux), Just(System::Windows), Just(System::Other)],
        disks in prop::collection::vec((prop::option::of(file()), 0u64..(1 << 50), bus()), 0..6),
        cd_drives in 0u32..3,
        cards in prop::collection::vec(card(), 0..4),
    ) -> OvfMachine {
        let disks = disks.into_iter().map(|(file, capacity, bus)| OvfDisk { file, capacity, bus });
        OvfMachine { name, annotation, memory_bytes, vcpus, uefi, system, disks: disks.collect(), cd_drives, cards, notes: Vec::new() }
    }
}

const OVF_MEMORY: u64 = crate::limits::OVF_MEMORY_MAX_BYTES;

proptest! {
    #[test]
    fn what_is_written_is_read(machine in machine()) {
        let text = write(&machine);
        let read = read(&text);
        prop_assert!(read.is_ok(), "{read:?}\n{text}");
        prop_assert_eq!(read.unwrap(), machine);
    }

    #[test]
    fn damaged_descriptors_are_read_or_refused(at in 0usize..4000, with in "[<>/\"a-z0-9 ]{0,9}") {
        let mut text = VMWARE.to_owned();
        let at = text.floor_char_boundary(at.min(text.len()));
        text.insert_str(at, &with);
        let _ = super::read(&text);
    }
}
