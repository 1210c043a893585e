//! The owner tasks of machines; jobs, events and the snapshots of state that readers see.
