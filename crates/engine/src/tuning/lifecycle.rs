//! What follows from a guest's end.

use super::LifecycleEnd;
use crate::error::{EngineError, ErrorKind, Result};
use crate::live::LiveMachine;
use model::domain::Domain;
use model::domain::clock::LifecycleAction;
use qemu::qmp::commands;

pub(super) fn amend(domain: &mut Domain, end: LifecycleEnd, action: LifecycleAction) -> Result<()> {
    let refused = |what: String| Err(EngineError::new(ErrorKind::ConfigUnsupported, what));
    let is_crash = end == LifecycleEnd::Crash;
    match action {
        LifecycleAction::RenameRestart => {
            return refused(
                "qemu driver doesn't support the 'rename-restart' action for \
                 'on_reboot'/'on_poweroff'/'on_crash'"
                    .to_owned(),
            );
        }
        LifecycleAction::CoredumpDestroy | LifecycleAction::CoredumpRestart if !is_crash => {
            let event = match end {
                LifecycleEnd::Poweroff => "poweroff",
                _ => "reboot",
            };
            return refused(format!(
                "Lifecycle event '{event}' doesn't support '{}' action",
                action.as_str()
            ));
        }
        LifecycleAction::Preserve if !is_crash => {
            return refused(
                "qemu driver doesn't support the 'preserve' action for 'on_reboot'/'on_poweroff'"
                    .to_owned(),
            );
        }
        _ => {}
    }
    let field = match end {
        LifecycleEnd::Poweroff => &mut domain.on_poweroff,
        LifecycleEnd::Reboot => &mut domain.on_reboot,
        LifecycleEnd::Crash => &mut domain.on_crash,
    };
    *field = Some(action);
    Ok(())
}

/// QEMU itself decides what a reboot is; the other ends come to us.
pub(super) async fn enact(
    live: &LiveMachine,
    end: LifecycleEnd,
    action: LifecycleAction,
) -> Result<()> {
    if end != LifecycleEnd::Reboot {
        return Ok(());
    }
    let reboot = match action {
        LifecycleAction::Destroy => "shutdown",
        _ => "reset",
    };
    let command = commands::set_action(Some(reboot), None, None, None);
    live.monitor()?.execute(&command).await.map(drop)
}
