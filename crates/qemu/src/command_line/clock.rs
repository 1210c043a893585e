//! The guest's clock, and what follows when it powers off, reboots, crashes or sleeps.

use model::domain::clock::{
    ClockBasis, ClockOffset, LifecycleAction, TickPolicy, TimerName, TimerTrack,
};
use model::xml::YesNo;

use super::builder::{Builder, Result};
use super::launch::Unsupported;
use super::props::List;

impl Builder<'_> {
    /// `-rtc` and the timers that are not part of the processor.
    pub(super) fn clock(&mut self) -> Result<()> {
        let clock = &self.domain.clock;
        let mut list = List::default();
        match clock.offset {
            ClockOffset::Utc => list.set("base", "utc"),
            ClockOffset::Localtime | ClockOffset::Timezone => list.set("base", "localtime"),
            ClockOffset::Variable => list.set("base", self.adjusted_base()),
            ClockOffset::Absolute => list.set("base", date_time(clock.start.unwrap_or(0))),
        };
        if let Some(rtc) = clock
            .timers
            .iter()
            .find(|timer| timer.name == TimerName::Rtc)
        {
            match rtc.track {
                Some(TimerTrack::Guest) => {
                    list.set("clock", "vm");
                }
                Some(TimerTrack::Realtime) => {
                    list.set("clock", "rt");
                }
                _ => {}
            }
            if rtc.tickpolicy == Some(TickPolicy::Catchup) {
                list.set("driftfix", "slew");
            }
        }
        self.option("-rtc", list.finish());
        self.programmable_timer()
    }

    /// The time a clock starts with that is ahead of the host's by some seconds.
    fn adjusted_base(&self) -> String {
        let clock = &self.domain.clock;
        let adjustment = clock
            .adjustment
            .as_deref()
            .and_then(|text| text.parse::<i64>().ok());
        let local = clock.basis == Some(ClockBasis::Localtime);
        match adjustment.unwrap_or(0) {
            0 if local => "localtime".to_owned(),
            0 => "utc".to_owned(),
            ahead => {
                let offset = if local {
                    self.context.local_offset_seconds
                } else {
                    0
                };
                date_time(
                    self.context
                        .now_seconds
                        .saturating_add(offset)
                        .saturating_add(ahead),
                )
            }
        }
    }

    fn programmable_timer(&mut self) -> Result<()> {
        let timers = &self.domain.clock.timers;
        let Some(pit) = timers.iter().find(|timer| timer.name == TimerName::Pit) else {
            return Ok(());
        };
        match pit.tickpolicy {
            // Only KVM's timer can be told what to do about lost ticks; emulation has none and
            // passes over it.
            Some(TickPolicy::Delay) => {
                self.option("-global", "kvm-pit.lost_tick_policy=delay");
            }
            Some(TickPolicy::Discard) => {
                self.option("-global", "kvm-pit.lost_tick_policy=discard");
            }
            Some(TickPolicy::Merge) => {
                return Err(Unsupported::new("unsupported pit tickpolicy 'merge'"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether there is a high precision timer, where the definition says so.
    pub(super) fn hpet(&self) -> Option<bool> {
        let timers = &self.domain.clock.timers;
        let hpet = timers.iter().find(|timer| timer.name == TimerName::Hpet)?;
        hpet.present.map(YesNo::is_yes)
    }

    /// What QEMU does when the guest ends. It always stays until it is told to go, so that it
    /// can say why the guest ended; and a guest that is to end when it reboots shuts down.
    pub(super) fn life_cycle(&mut self) {
        if self.domain.on_reboot == Some(LifecycleAction::Destroy) {
            self.option("-action", "reboot=shutdown");
        }
        self.flag("-no-shutdown");
        let Some(pm) = &self.domain.pm else { return };
        let chipset = if self.is_q35() {
            "ICH9-LPC"
        } else {
            "PIIX4_PM"
        };
        let states = [
            ("disable_s3", &pm.suspend_to_mem),
            ("disable_s4", &pm.suspend_to_disk),
        ];
        let settings: Vec<String> = states
            .into_iter()
            .filter_map(|(property, state)| {
                let enabled = state.as_ref()?.enabled?;
                Some(format!(
                    "{chipset}.{property}={}",
                    u8::from(!enabled.is_yes())
                ))
            })
            .collect();
        for setting in settings {
            self.option("-global", setting);
        }
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// A time in seconds since the epoch as QEMU reads it: `2009-02-13T23:31:30`.
fn date_time(seconds: i64) -> String {
    let days = seconds.div_euclid(SECONDS_PER_DAY);
    let rest = seconds.rem_euclid(SECONDS_PER_DAY);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a number of days since the epoch, in the Gregorian calendar. Years
/// are counted from March, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let shifted = days + 719_468;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days between the epoch and a date; nothing if there is no such month or day.
pub(super) fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    const YEARS: std::ops::RangeInclusive<i64> = 1..=9999;
    if !YEARS.contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let leap_days = shifted_year / 4 - shifted_year / 100 + shifted_year / 400;
    Some(shifted_year * 365 + leap_days + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_both_ways() {
        for days in [-719_162, -1, 0, 59, 60, 11_016, 20_778, 2_932_896] {
            let (year, month, day) = civil(days);
            assert_eq!(days_since_epoch(year, month, day), Some(days));
        }
        assert_eq!(days_since_epoch(2000, 0, 1), None);
    }

    #[test]
    fn times_are_written_in_full() {
        assert_eq!(date_time(0), "1970-01-01T00:00:00");
        assert_eq!(date_time(1_234_567_890), "2009-02-13T23:31:30");
        assert_eq!(date_time(951_782_400), "2000-02-29T00:00:00");
        assert_eq!(date_time(-1), "1969-12-31T23:59:59");
    }
}
