//! The guest's clock, its timers, and what follows a life-cycle event.

use crate::xml::{YesNo, element, keyword};

keyword! {
    /// What the guest's clock follows.
    pub enum ClockOffset {
        Utc = "utc",
        Localtime = "localtime",
        Variable = "variable",
        Timezone = "timezone",
        Absolute = "absolute",
    }
}

keyword! {
    /// What an adjustment counts from.
    pub enum ClockBasis {
        Utc = "utc",
        Localtime = "localtime",
    }
}

keyword! {
    /// Kinds of timers.
    pub enum TimerName {
        Platform = "platform",
        Pit = "pit",
        Rtc = "rtc",
        Hpet = "hpet",
        Tsc = "tsc",
        Kvmclock = "kvmclock",
        Hypervclock = "hypervclock",
        Armvtimer = "armvtimer",
    }
}

keyword! {
    /// What is done about missed ticks.
    pub enum TickPolicy {
        Delay = "delay",
        Catchup = "catchup",
        Merge = "merge",
        Discard = "discard",
    }
}

keyword! {
    /// What a timer follows.
    pub enum TimerTrack {
        Boot = "boot",
        Guest = "guest",
        Wall = "wall",
        Realtime = "realtime",
    }
}

keyword! {
    /// How the TSC is provided.
    pub enum TimerMode {
        Auto = "auto",
        Native = "native",
        Emulate = "emulate",
        Paravirt = "paravirt",
        Smpsafe = "smpsafe",
    }
}

element! {
    /// How missed ticks are made up for.
    pub struct Catchup {
        attr threshold: Option<u64> = "threshold",
        attr slew: Option<u64> = "slew",
        attr limit: Option<u64> = "limit",
    }
}

element! {
    /// A timer.
    pub struct Timer {
        req name: TimerName = "name",
        attr present: Option<YesNo> = "present",
        attr tickpolicy: Option<TickPolicy> = "tickpolicy",
        attr track: Option<TimerTrack> = "track",
        attr frequency: Option<u64> = "frequency",
        attr mode: Option<TimerMode> = "mode",
        child catchup: Option<Catchup> = "catchup",
    }
}

element! {
    /// The guest's clock. The adjustment is in seconds, or `reset`.
    pub struct Clock {
        always offset: ClockOffset = "offset",
        attr timezone: Option<String> = "timezone",
        attr adjustment: Option<String> = "adjustment",
        attr basis: Option<ClockBasis> = "basis",
        attr adjustment0: Option<i64> = "adjustment0",
        attr start: Option<i64> = "start",
        list timers: Vec<Timer> = "timer",
    }
}

keyword! {
    /// What happens when the guest powers off or reboots.
    pub enum LifecycleAction {
        Destroy = "destroy",
        Restart = "restart",
        RenameRestart = "rename-restart",
        Preserve = "preserve",
        CoredumpDestroy = "coredump-destroy",
        CoredumpRestart = "coredump-restart",
    }
}

keyword! {
    /// What happens when a lock is lost.
    pub enum LockFailureAction {
        Poweroff = "poweroff",
        Restart = "restart",
        Pause = "pause",
        Ignore = "ignore",
    }
}

element! {
    /// Whether the guest may sleep in one way.
    pub struct SleepState {
        attr enabled: Option<YesNo> = "enabled",
    }
}

element! {
    /// Which ways of sleeping the guest's firmware offers.
    pub struct PowerManagement {
        child suspend_to_mem: Option<SleepState> = "suspend-to-mem",
        child suspend_to_disk: Option<SleepState> = "suspend-to-disk",
    }
}
