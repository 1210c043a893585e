//! Turns the protocol tables into Rust: one file per program, in `OUT_DIR`.
//!
//! The tables' notation is explained at the head of `protocol/remote.txt`. A table that does not
//! parse stops the build with its file and line.

// The ban on I/O is for the crate, not for what generates a part of it.
#![allow(clippy::disallowed_methods)]

#[path = "build/render.rs"]
mod render;
#[path = "build/table.rs"]
mod table;

use std::path::Path;
use std::{env, fs};

fn main() {
    let out_dir = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    for program in ["remote", "qemu", "keepalive"] {
        let source = format!("protocol/{program}.txt");
        println!("cargo::rerun-if-changed={source}");
        let text = fs::read_to_string(&source).unwrap_or_else(|e| panic!("{source}: {e}"));
        let table = table::Table::parse(&text).unwrap_or_else(|e| panic!("{source}:{e}"));
        let target = Path::new(&out_dir).join(format!("{program}.rs"));
        fs::write(&target, render::program(&table))
            .unwrap_or_else(|e| panic!("{}: {e}", target.display()));
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
}
