//! Machines that start with the host.

use crate::engine::Engine;
use crate::options::StartOptions;
use std::path::PathBuf;

impl Engine {
    /// Starts the machines marked for it, once per boot of the host: a daemon
    /// that is only restarted does not start what somebody has stopped.
    pub async fn autostart(&self) {
        if !self.is_first_start_of_boot() {
            return;
        }
        self.autostart_networks().await;
        for domain in self.domains() {
            let view = domain.view();
            if view.is_active() || !(view.autostart || view.autostart_once) {
                continue;
            }
            if let Err(error) = domain.start(StartOptions::default()).await {
                tracing::error!(domain = %view.name, %error, "autostart failed");
            }
            if view.autostart_once
                && let Err(error) = domain.set_autostart_once(false).await
            {
                tracing::error!(domain = %view.name, %error, "cannot note that it was started once");
            }
        }
    }

    fn is_first_start_of_boot(&self) -> bool {
        let marker: PathBuf = self.places().run.join("autostarted");
        if std::fs::read_to_string(&marker).is_ok_and(|boot| boot == self.boot_id()) {
            return false;
        }
        if let Err(error) = std::fs::write(&marker, self.boot_id()) {
            tracing::error!(%error, "cannot note that machines were started");
        }
        true
    }
}
