//! One revisioned key-value interface: get, list, compare-and-swap, watch, lease.
