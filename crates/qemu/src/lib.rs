//! What a QEMU can do, a definition as its command line, QMP, and the life of a machine as a state machine.

pub mod agent;
pub mod caps;
pub mod command_line;
pub mod cpu_match;
pub mod domcaps;
pub mod hostcaps;
pub mod machine;
pub mod qmp;

pub use command_line::command_line;
