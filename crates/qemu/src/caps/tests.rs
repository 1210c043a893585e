//! The probe against short extracts of real replies.

use serde_json::{Value, json};

use super::*;

fn replies(version: Value, machine: Value) -> Vec<Result<Value, String>> {
    let vendor = json!({"vendor": "AuthenticAMD", "avx": true, "aes": true});
    let mut list = vec![
        Ok(version),
        Ok(json!({"arch": "x86_64"})),
        Ok(json!({"present": true, "enabled": false})),
        Ok(json!([{"name": "none", "cpu-max": 1}, machine])),
        Ok(
            json!([{"name": "virtio-rng-pci"}, {"name": "pc-q35-10.0-machine"},
            {"name": "EPYC-v1-x86_64-cpu"}]),
        ),
        Ok(json!([{"name": "cont"}, {"name": "quit"}])),
        Ok(json!([{"option": "vnc", "parameters": [{"name": "websocket", "type": "string"}]}])),
        Ok(json!(["tpm-tis"])),
        Ok(json!(["emulator"])),
        Ok(json!([
            {"name": "max", "unavailable-features": []},
            {"name": "EPYC-v1", "unavailable-features": ["fxsr-opt"]},
            {"name": "EPYC", "unavailable-features": ["fxsr-opt"], "alias-of": "EPYC-v1"},
            {"name": "Nehalem", "unavailable-features": [], "alias-of": "Nehalem-v1"},
        ])),
        Ok(json!({"model": {"name": "base", "props": vendor}})),
    ];
    list.extend(vec![Err("no such device".to_owned()); 5]);
    list.push(Ok(json!([{"name": "rss", "type": "bool"}])));
    list
}

fn version(major: u32) -> Value {
    json!({"qemu": {"major": major, "minor": 0, "micro": 2}, "package": "Debian"})
}

fn q35() -> Value {
    json!({"name": "pc-q35-10.0", "alias": "q35", "cpu-max": 4096, "is-default": true,
        "default-cpu-type": "qemu64-x86_64-cpu", "default-ram-id": "pc.ram",
        "hotpluggable-cpus": true, "deprecated": false})
}

fn probed() -> QemuCaps {
    let mut probe = Probe::new(Accelerator::Tcg);
    probe.take(replies(version(10), q35())).unwrap();
    let commands = probe.commands();
    let asked: Vec<_> = commands
        .iter()
        .map(|c| c.arguments()["model"].clone())
        .collect();
    let named = ["EPYC", "EPYC-v1", "Nehalem"].map(|name| json!({"name": name}));
    assert_eq!(asked, named);
    let epyc = json!({"vendor": "AuthenticAMD", "avx": true, "fxsr-opt": true});
    let nehalem = json!({"vendor": "GenuineIntel", "aes": true, "vmx-ept": true});
    let answer = |props: &Value| Ok(json!({"model": {"name": "base", "props": props}}));
    probe
        .take(vec![answer(&epyc), answer(&epyc), answer(&nehalem)])
        .unwrap();
    assert!(probe.commands().is_empty());
    probe.finish()
}

#[test]
fn two_rounds_find_out_everything() {
    let caps = probed();
    assert_eq!(caps.version_number(), 10_000_002);
    let machine = caps.machine("q35").unwrap();
    assert_eq!(machine.default_cpu.as_deref(), Some("qemu64"));
    assert_eq!(caps.default_machine(), Some(machine));
    assert!(caps.has_type("virtio-rng-pci") && !caps.has_type("EPYC-v1-x86_64-cpu"));
    assert!(caps.has_property("virtio-net-pci", "rss"));
    assert!(!caps.has_property("scsi-hd", "rss"));
    let tcg = caps.accelerator(Accelerator::Tcg).unwrap();
    assert_eq!(
        tcg.cpu("EPYC").unwrap().blockers,
        ["fxsr_opt".to_owned()].into()
    );
    assert!(tcg.cpu("Nehalem").unwrap().is_usable());
    let host = tcg.host_model.as_ref().unwrap();
    assert_eq!(
        (host.model.as_str(), host.vendor),
        ("EPYC", Some(CpuVendor::Amd))
    );
    assert_eq!(host.require, ["aes".to_owned()].into());
    assert_eq!(host.disable, ["fxsr_opt".to_owned()].into());
}

#[test]
fn models_are_taken_apart() {
    let table = &probed().cpu_table;
    assert_eq!(table.features("Nehalem"), Some(["aes".to_owned()].into()));
    assert_eq!(table.features("nothing"), None);
    assert!(table.knows("avx") && !table.knows("a"));
    let host = ["avx", "fxsr_opt", "aes"].map(str::to_owned).into();
    let nearest = |vendor| table.contained_in(Some(vendor), (0, 0), &host);
    assert_eq!(nearest(CpuVendor::Amd), Some("EPYC"));
    assert_eq!(nearest(CpuVendor::Intel), Some("Nehalem"));
    assert_eq!(nearest(CpuVendor::Hygon), None);
}

#[test]
fn json_keeps_everything() {
    let caps = probed();
    assert_eq!(QemuCaps::from_json(&caps.to_json()), Some(caps.clone()));
    let other = QemuCaps {
        format: CAPS_FORMAT + 1,
        ..caps
    };
    assert_eq!(QemuCaps::from_json(&other.to_json()), None);
    assert_eq!(QemuCaps::from_json("{"), None);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let old = Probe::new(Accelerator::Tcg)
        .take(replies(version(6), q35()))
        .unwrap_err();
    assert_eq!(
        old.to_string(),
        "QEMU 6.0.2 is too old; 7.2.0 or newer is needed"
    );
    let kvm = Probe::new(Accelerator::Kvm)
        .take(replies(version(10), q35()))
        .unwrap_err();
    assert!(matches!(kvm, ProbeError::NoKvm));
    let odd = Probe::new(Accelerator::Tcg)
        .take(replies(version(10), json!({})))
        .unwrap_err();
    assert!(odd.to_string().contains("query-machines"), "{odd}");
    let few = Probe::new(Accelerator::Tcg).take(Vec::new()).unwrap_err();
    assert!(matches!(few, ProbeError::Count { .. }));
}
