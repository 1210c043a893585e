//! libvirt's error numbers.
