//! Processor features: libvirt's name and QEMU's name where they differ.

/// libvirt's name, then QEMU's.
const DIFFERENT: [(&str, &str); 14] = [
    ("cmp_legacy", "cmp-legacy"),
    ("ds_cpl", "ds-cpl"),
    ("fxsr_opt", "fxsr-opt"),
    ("kvm_pv_eoi", "kvm-pv-eoi"),
    ("kvm_pv_unhalt", "kvm-pv-unhalt"),
    ("lahf_lm", "lahf-lm"),
    ("nodeid_msr", "nodeid-msr"),
    ("pclmuldq", "pclmulqdq"),
    ("perfctr_core", "perfctr-core"),
    ("perfctr_nb", "perfctr-nb"),
    ("tsc_adjust", "tsc-adjust"),
    ("svm_lock", "svm-lock"),
    ("tsc_scale", "tsc-scale"),
    ("pause_filter", "pause-filter"),
];

/// QEMU's name of a feature that libvirt calls `name`.
#[must_use]
pub fn feature_to_qemu(name: &str) -> &str {
    DIFFERENT
        .iter()
        .find(|(ours, _)| *ours == name)
        .map_or(name, |(_, theirs)| theirs)
}

/// libvirt's name of a feature that QEMU calls `name`.
#[must_use]
pub fn feature_from_qemu(name: &str) -> &str {
    // `svm-lock`, `tsc-scale` and `pause-filter` are called so by libvirt too; their spelling
    // with an underscore is only read.
    DIFFERENT[..11]
        .iter()
        .find(|(_, theirs)| *theirs == name)
        .map_or(name, |(ours, _)| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        assert_eq!(feature_to_qemu("pclmuldq"), "pclmulqdq");
        assert_eq!(feature_from_qemu("fxsr-opt"), "fxsr_opt");
        assert_eq!(feature_from_qemu("nrip-save"), "nrip-save");
        assert_eq!(feature_to_qemu("vme"), "vme");
        for (ours, theirs) in &DIFFERENT[..11] {
            assert_eq!(feature_from_qemu(theirs), *ours);
        }
    }
}
