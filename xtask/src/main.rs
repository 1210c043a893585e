//! Checks of the tree, code generation, packaging.

fn main() {}
