//! The life of a machine: its stories one by one, then rules that hold for
//! every sequence of inputs.

use super::*;
use proptest::prelude::*;

fn running() -> Life {
    let mut life = Life::off(OffReason::Unknown);
    life.handle(Input::Start {
        origin: Origin::Boot,
    });
    life.handle(Input::Started { paused: false });
    life
}

fn with_policy(policy: EndPolicy) -> Life {
    let mut life = running();
    life.set_policy(policy);
    life
}

fn events(effects: &[Effect]) -> Vec<LifecycleEvent> {
    effects
        .iter()
        .filter_map(|e| match e {
            Effect::Emit(event) => Some(*event),
            _ => None,
        })
        .collect()
}

#[test]
fn a_boot_is_told_once_and_runs() {
    let mut life = Life::off(OffReason::Unknown);
    assert_eq!(
        life.handle(Input::Start {
            origin: Origin::Boot
        }),
        vec![]
    );
    assert_eq!(life.status(), Status::Paused(PausedReason::StartingUp));
    let effects = life.handle(Input::Started { paused: false });
    assert_eq!(
        events(&effects),
        vec![LifecycleEvent::Started(StartedDetail::Booted)]
    );
    assert_eq!(life.status(), Status::Running(RunningReason::Booted));
}

#[test]
fn a_paused_start_tells_both() {
    let mut life = Life::off(OffReason::Unknown);
    life.handle(Input::Start {
        origin: Origin::Restore,
    });
    let effects = life.handle(Input::Started { paused: true });
    assert_eq!(
        events(&effects),
        vec![
            LifecycleEvent::Started(StartedDetail::Restored),
            LifecycleEvent::Suspended(SuspendedDetail::Restored)
        ]
    );
}

#[test]
fn a_power_off_ends_qemu_and_is_a_shutdown() {
    let mut life = running();
    let effects = life.handle(Input::PoweredOff(PowerOff::Guest));
    assert_eq!(
        effects,
        vec![
            Effect::Emit(LifecycleEvent::Shutdown(ShutdownDetail::Guest)),
            Effect::Quit
        ]
    );
    let effects = life.handle(Input::Exited);
    assert_eq!(
        events(&effects),
        vec![LifecycleEvent::Stopped(StoppedDetail::Shutdown)]
    );
    assert_eq!(life.status(), Status::Off(OffReason::Shutdown));
}

#[test]
fn a_reboot_that_looks_like_a_power_off_restarts() {
    let mut life = running();
    life.handle(Input::RebootWanted);
    let effects = life.handle(Input::PoweredOff(PowerOff::Guest));
    assert!(effects.contains(&Effect::ResetAndRun));
    life.handle(Input::Resumed);
    assert_eq!(life.status(), Status::Running(RunningReason::Booted));
    // The wish was for one reboot: the next power-off is one.
    let effects = life.handle(Input::PoweredOff(PowerOff::Guest));
    assert!(effects.contains(&Effect::Quit));
}

#[test]
fn on_poweroff_restart_and_preserve_are_honoured() {
    let mut life = with_policy(EndPolicy {
        on_poweroff: EndAction::Restart,
        ..EndPolicy::default()
    });
    assert!(
        life.handle(Input::PoweredOff(PowerOff::Guest))
            .contains(&Effect::ResetAndRun)
    );

    let mut life = with_policy(EndPolicy {
        on_poweroff: EndAction::Preserve,
        ..EndPolicy::default()
    });
    let effects = life.handle(Input::PoweredOff(PowerOff::Guest));
    assert_eq!(events(&effects).len(), effects.len());
    assert_eq!(life.status(), Status::ShuttingDown);
}

#[test]
fn on_reboot_destroy_ends_at_the_guests_reset() {
    let mut life = with_policy(EndPolicy {
        on_reboot: EndAction::Destroy,
        ..EndPolicy::default()
    });
    assert!(
        life.handle(Input::PoweredOff(PowerOff::GuestReset))
            .contains(&Effect::Quit)
    );
}

#[test]
fn a_panic_follows_on_crash() {
    for (action, quits, resets, dumps) in [
        (EndAction::Destroy, true, false, false),
        (EndAction::Restart, false, true, false),
        (EndAction::Preserve, false, false, false),
        (EndAction::DumpAndDestroy, true, false, true),
        (EndAction::DumpAndRestart, false, true, true),
    ] {
        let mut life = with_policy(EndPolicy {
            on_crash: action,
            ..EndPolicy::default()
        });
        let effects = life.handle(Input::Panicked);
        assert_eq!(effects.contains(&Effect::Quit), quits, "{action:?}");
        assert_eq!(effects.contains(&Effect::ResetAndRun), resets, "{action:?}");
        assert_eq!(effects.contains(&Effect::DumpMemory), dumps, "{action:?}");
        assert_eq!(life.status(), Status::Panicked, "{action:?}");
    }
}

#[test]
fn a_full_disk_pauses_with_its_reason() {
    let mut life = running();
    life.handle(Input::DiskFailed);
    let effects = life.handle(Input::Stopped);
    assert_eq!(
        events(&effects),
        vec![LifecycleEvent::Suspended(SuspendedDetail::IoError)]
    );
    assert_eq!(life.status(), Status::Paused(PausedReason::IoError));
}

#[test]
fn a_save_ends_as_saved_and_a_failed_one_runs_on() {
    let mut life = running();
    life.handle(Input::Saving(true));
    life.handle(Input::Stopped);
    assert_eq!(life.status(), Status::Paused(PausedReason::Save));
    life.handle(Input::Resumed);
    assert_eq!(life.status(), Status::Running(RunningReason::SaveCanceled));

    life.handle(Input::Saving(true));
    life.handle(Input::Stopped);
    assert_eq!(life.handle(Input::Saved), vec![Effect::Quit]);
    life.handle(Input::Exited);
    assert_eq!(life.status(), Status::Off(OffReason::Saved));
}

#[test]
fn a_dump_that_is_to_end_the_machine_ends_it_whatever_on_crash_says() {
    let mut life = with_policy(EndPolicy {
        on_crash: EndAction::Restart,
        ..EndPolicy::default()
    });
    assert_eq!(life.handle(Input::DumpedToEnd), vec![Effect::Quit]);
    let effects = life.handle(Input::Exited);
    assert_eq!(
        events(&effects),
        vec![LifecycleEvent::Stopped(StoppedDetail::Crashed)]
    );
    assert_eq!(life.status(), Status::Off(OffReason::Crashed));
}

#[test]
fn an_exit_nobody_asked_for_is_a_crash() {
    let mut life = running();
    let effects = life.handle(Input::Exited);
    assert_eq!(
        events(&effects),
        vec![LifecycleEvent::Stopped(StoppedDetail::Failed)]
    );
    assert_eq!(life.status(), Status::Off(OffReason::Crashed));
}

#[test]
fn a_destroy_during_the_start_is_a_destroy() {
    let mut life = Life::off(OffReason::Unknown);
    life.handle(Input::Start {
        origin: Origin::Boot,
    });
    life.handle(Input::Destroy);
    assert!(life.is_ending());
    life.handle(Input::Exited);
    assert_eq!(life.status(), Status::Off(OffReason::Destroyed));
}

#[test]
fn a_gentle_destroy_that_fails_leaves_it_running() {
    let mut life = running();
    life.handle(Input::Destroy);
    life.handle(Input::DestroyFailed);
    assert_eq!(life.status(), Status::Running(RunningReason::Booted));
}

#[test]
fn a_power_off_while_the_daemon_was_away_is_finished_at_its_return() {
    let mut life = Life::off(OffReason::Unknown);
    let effects = life.handle(Input::Adopted {
        status: Status::ShuttingDown,
    });
    assert!(effects.contains(&Effect::Quit));
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Start {
            origin: Origin::Boot
        }),
        Just(Input::Start {
            origin: Origin::Restore
        }),
        any::<bool>().prop_map(|paused| Input::Started { paused }),
        Just(Input::StartFailed),
        Just(Input::Destroy),
        Just(Input::Saved),
        any::<bool>().prop_map(Input::Saving),
        any::<bool>().prop_map(Input::Dumping),
        Just(Input::DumpedToEnd),
        Just(Input::RebootWanted),
        Just(Input::Stopped),
        Just(Input::Resumed),
        Just(Input::PoweredOff(PowerOff::Guest)),
        Just(Input::PoweredOff(PowerOff::GuestReset)),
        Just(Input::PoweredOff(PowerOff::Host)),
        Just(Input::Panicked),
        Just(Input::DiskFailed),
        Just(Input::WatchdogPaused),
        any::<bool>().prop_map(|to_disk| Input::Slept { to_disk }),
        Just(Input::Woke),
        Just(Input::Exited),
    ]
}

proptest! {
    /// Started and Stopped alternate, whatever happens in whatever order: a
    /// watcher that counts machines by their events is never wrong.
    #[test]
    fn started_and_stopped_alternate(inputs in prop::collection::vec(any_input(), 0..80)) {
        let mut life = Life::off(OffReason::Unknown);
        let mut alive = false;
        for input in inputs {
            for event in events(&life.handle(input)) {
                match event {
                    LifecycleEvent::Started(StartedDetail::Wakeup) => prop_assert!(alive),
                    LifecycleEvent::Started(_) => { prop_assert!(!alive); alive = true; }
                    // A start that is destroyed half-way ends without having been told.
                    LifecycleEvent::Stopped(detail) => {
                        prop_assert!(alive || detail == StoppedDetail::Destroyed);
                        alive = false;
                    }
                    _ => prop_assert!(alive),
                }
            }
        }
    }

    /// After an exit there is nothing active, and what is off answers no event
    /// with an effect.
    #[test]
    fn an_exit_leaves_nothing(inputs in prop::collection::vec(any_input(), 0..80)) {
        let mut life = running();
        for input in inputs { life.handle(input); }
        if life.status() != Status::Paused(PausedReason::StartingUp) {
            life.handle(Input::Exited);
            prop_assert!(!life.status().is_active());
        }
    }

    /// Everything can be destroyed, at any time, and only what is off can start.
    #[test]
    fn destroy_is_always_open(inputs in prop::collection::vec(any_input(), 0..80)) {
        let mut life = running();
        for input in inputs { life.handle(input); }
        let status = life.status();
        prop_assert_eq!(admit(Operation::Destroy, status).is_ok(), status.is_active());
        prop_assert_eq!(admit(Operation::Start, status).is_ok(), !status.is_active());
    }
}
