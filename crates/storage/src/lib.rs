//! Plans for pools, volumes, snapshots and chains; image headers; seed images.
