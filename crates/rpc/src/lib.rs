//! The libvirt face: bytes in, an engine call, bytes out.
