//! A domain's state, the reason for it, and the life-cycle events, with the
//! numbers libvirt gives them (`virDomainState` and its reason enums,
//! `virDomainEventType` and its detail enums).

pub use qemu::machine::{LifecycleEvent, RunState, StateReason};
