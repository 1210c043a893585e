//! The commands: virsh's verbs over libvirt's protocol.
