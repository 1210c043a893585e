//! Domains, networks, pools, volumes, snapshots and capabilities: libvirt's XML, typed.
