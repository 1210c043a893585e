//! Speaks libvirt's protocol to Stead or to a libvirtd.
