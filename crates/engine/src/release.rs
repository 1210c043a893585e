//! Gives back to the host what a run of a machine had taken of it.

use crate::crash::{Step, crash_point};
use crate::engine::Engine;
use crate::files;
use crate::limits::{GROUP_BUSY_MAX_MS, GROUP_BUSY_POLL_MS};
use crate::live::LiveMachine;
use crate::status::RunRecord;
use model::domain::Domain;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

impl Engine {
    /// Gives back what a run had taken.
    pub(crate) async fn release_run(&self, live: &LiveMachine) {
        if let Some(cgroup) = &live.cgroup {
            let name = live.definition().name.clone();
            remove_emptied(&name, || cgroup.remove()).await;
        }
        crash_point(Step::DestroyGroupRemoved);
        self.release_run_dir(&live.run_dir).await;
    }

    /// Removes the cgroup of a run that came to nothing, or whose daemon has
    /// gone; that of a machine known to run was removed with it.
    async fn remove_cgroup(&self, id: i32, name: &str) {
        if let Some(manager) = self.cgroups() {
            let group = self.cgroup_name(id, name);
            remove_emptied(name, || manager.remove(&group)).await;
        }
    }

    /// Gives back what the record in a run's directory names, and removes it.
    pub(crate) async fn release_run_dir(&self, directory: &Path) {
        if let Some(record) = RunRecord::read(directory) {
            self.ports().release(&record.holdings.ports);
            files::give_back(&record.holdings.files);
            crate::tpm::end(directory).await;
            self.free_devices(record.uuid);
            if let Ok(domain) = Domain::parse(&record.xml) {
                crate::taps::remove_lasting(&domain);
                self.leave_switches(&domain).await;
                self.free_functions(&domain);
                self.withdraw_ports(&domain, |_| true).await;
            }
            self.remove_cgroup(record.id, &record.name).await;
        }
        crash_point(Step::DestroyGivenBack);
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %directory.display(), %error, "a run's directory could not be removed");
            }
            _ => {}
        }
        crash_point(Step::DestroyReleased);
    }
}

/// Removes the cgroup of a machine that has ended. A process counts in its
/// group for a moment after it has been seen to end.
async fn remove_emptied(domain: &str, remove: impl Fn() -> sys::SysResult<()>) {
    let until = Instant::now() + Duration::from_millis(GROUP_BUSY_MAX_MS);
    loop {
        match remove() {
            Err(error)
                if error.kind() == std::io::ErrorKind::ResourceBusy && Instant::now() < until =>
            {
                tokio::time::sleep(Duration::from_millis(GROUP_BUSY_POLL_MS)).await;
            }
            Err(error) => {
                tracing::warn!(domain, %error, "a machine's cgroup could not be removed");
                return;
            }
            Ok(()) => return,
        }
    }
}
