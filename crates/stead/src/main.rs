//! The one binary: `stead daemon` runs a host, every other verb is a command.

fn main() {}
