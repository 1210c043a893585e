//! End-to-end tests: real QEMU, real virsh, real clients against a running daemon.
