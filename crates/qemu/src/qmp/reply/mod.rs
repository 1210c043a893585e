//! Replies of QMP commands, as far as Stead reads them.

mod block;
mod display;
mod machine;
mod migration;

pub use block::*;
pub use display::*;
pub use machine::*;
pub use migration::*;
