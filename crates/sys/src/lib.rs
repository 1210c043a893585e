//! Linux itself: processes, pidfds, cgroups, taps, descriptor passing, atomic files. All unsafe code lives here.
