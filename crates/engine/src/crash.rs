//! Fault injection: the daemon can be told to die at a named step, as if it
//! had been killed with SIGKILL there. Tests walk every step and look at what
//! the next daemon makes of what is left.
//!
//! `STEAD_CRASH_AT=start/spawned` dies the first time that step is reached,
//! `STEAD_CRASH_AT=start/spawned:3` the third time. The variable is read once,
//! by [`arm`]; without it a step costs one relaxed load.
//!
//! A step is a line of the table below and a [`crash_point`] in the code. The
//! end-to-end tests walk the table, so a line that no code reaches fails them.

use std::sync::atomic::{AtomicU32, Ordering};

/// Ordinal of the armed step plus one; 0 while none is.
static ARMED: AtomicU32 = AtomicU32::new(0);

/// How many times the armed step is still to be passed, the deadly one included.
static PASSES_LEFT: AtomicU32 = AtomicU32::new(0);

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal,)+) => {
        /// A step at which the daemon can be made to die. Each name is the
        /// operation, then what has just been done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step { $($(#[$doc])* $step,)+ }

        impl Step {
            /// Every step there is, in the order in which an operation passes them.
            pub const ALL: &'static [Self] = &[$(Self::$step,)+];

            /// Its name, as `STEAD_CRASH_AT` wants it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$step => $name,)+ }
            }
        }
    };
}

steps! {
    /// A definition has been checked and is about to be stored.
    DefineChecked = "define/checked",
    /// The store has the definition; nobody has been told.
    DefineStored = "define/stored",

    /// An undefine was admitted.
    UndefineAdmitted = "undefine/admitted",
    /// The definition is gone from the store; its files are noted there to be removed.
    UndefineStored = "undefine/stored",
    /// The saved state is removed.
    UndefineSaveRemoved = "undefine/save-removed",
    /// The UEFI variables are removed.
    UndefineVariablesRemoved = "undefine/variables-removed",
    /// The note about the files is gone; nobody has been told.
    UndefineDone = "undefine/done",

    /// The run's directory is made.
    StartDirectory = "start/directory",
    /// The first record is in it.
    StartRecord = "start/record",
    /// Ports of displays are taken.
    StartPorts = "start/ports",
    /// The UEFI variables are there.
    StartVariables = "start/variables",
    /// The files to be lent to QEMU's user are recorded.
    StartLending = "start/lending",
    /// The files have their new owner.
    StartLent = "start/lent",
    /// Taps are made.
    StartTaps = "start/taps",
    /// The control group is made.
    StartGroup = "start/group",
    /// Sockets and output files are made.
    StartSockets = "start/sockets",
    /// The last record before QEMU is written.
    StartPrepared = "start/prepared",
    /// The TPM's emulator runs, where the machine has one.
    StartEmulator = "start/emulator",
    /// QEMU's process exists.
    StartSpawned = "start/spawned",
    /// QEMU's monitor is reached.
    StartReached = "start/reached",
    /// QEMU does what it was told, and the guest runs.
    StartUp = "start/up",
    /// QEMU is in its control group.
    StartJoined = "start/joined",
    /// The record says that it runs; nobody has been told.
    StartRecorded = "start/recorded",

    /// A saved state is loaded; the guest has not gone on.
    RestoreLoaded = "restore/loaded",
    /// The record says that the state is used up.
    RestoreRecorded = "restore/recorded",
    /// The guest goes on.
    RestoreRunning = "restore/running",
    /// The used state is removed.
    RestoreRemoved = "restore/removed",

    /// The intent to save is recorded.
    SaveIntended = "save/intended",
    /// The file is begun.
    SaveBegun = "save/begun",
    /// The guest stands still.
    SaveStopped = "save/stopped",
    /// QEMU writes.
    SaveWriting = "save/writing",
    /// QEMU has written everything.
    SaveWritten = "save/written",
    /// The file is complete and has its name.
    SaveComplete = "save/complete",

    /// The intent to destroy is recorded.
    DestroyIntended = "destroy/intended",
    /// QEMU was told to end.
    DestroySignalled = "destroy/signalled",
    /// QEMU's process is gone.
    DestroyGone = "destroy/gone",
    /// Its control group is removed.
    DestroyGroupRemoved = "destroy/group-removed",
    /// Its files have their former owners.
    DestroyGivenBack = "destroy/given-back",
    /// Its directory is removed; nobody has been told.
    DestroyReleased = "destroy/released",

    /// A journal says what is about to be done to a domain's snapshots.
    SnapshotIntentWritten = "snapshot/intent-written",
    /// A step of the work on a snapshot's images is done and not yet noted.
    SnapshotStepDone = "snapshot/step-done",
    /// The store has the snapshots as they are now; nobody has been told.
    SnapshotSettled = "snapshot/settled",

    /// A secret's value is in its file; nobody has been told.
    SecretValueStored = "secret/value-stored",
    /// A secret is gone from the store; the file with its value is not.
    SecretForgotten = "secret/forgotten",

    /// A pool's definition has been checked and is about to be stored.
    PoolDefineChecked = "pool-define/checked",
    /// The store has a pool's definition; nobody has been told.
    PoolDefineStored = "pool-define/stored",
    /// The file of a new volume is there under a name nobody sees.
    VolumeMakeBegun = "vol-make/begun",
    /// The new volume is complete, still under that name.
    VolumeMakeFilled = "vol-make/filled",
    /// The new volume has its name; nobody has been told.
    VolumeMakeNamed = "vol-make/named",
    /// The file that takes an upload is there.
    UploadBegun = "vol-upload/begun",
    /// The upload is complete, beside the volume it replaces.
    UploadFilled = "vol-upload/filled",
    /// The upload has taken the volume's place; nobody has been told.
    UploadNamed = "vol-upload/named",
    /// The disks of a linked clone are there, its other files are not.
    CloneLinked = "clone/linked",
    /// All files of a clone are there, its definition is not.
    CloneFilesMade = "clone/files-made",
    /// A clone is defined; its job goes on to the next.
    CloneDefined = "clone/defined",

    /// What is to be made of a package is written down; nothing is made.
    PackagePlanned = "package-import/planned",
    /// A packed disk is unpacked beside the image it is for.
    PackageUnpacked = "package-import/unpacked",
    /// A disk of a package is an image; there is no definition.
    PackageDiskMade = "package-import/disk-made",
    /// The machine of a package is defined; nobody has been told.
    PackageDefined = "package-import/defined",
    /// There is an empty file for an image that is to be made or converted.
    ImageTaskBegun = "image-task/begun",
    /// It has its content, under another name.
    ImageTaskFilled = "image-task/filled",
    /// It has its name; nobody has been told.
    ImageTaskNamed = "image-task/named",

    /// A disk is converted for an export.
    ExportConverted = "export/converted",
    /// What is exported is whole, under another name.
    ExportFilled = "export/filled",
    /// What is exported has its name; nobody has been told.
    ExportNamed = "export/named",
}

/// Dies here if this is the step the daemon was told to die at.
#[inline]
pub(crate) fn crash_point(step: Step) {
    if ARMED.load(Ordering::Relaxed) == step as u32 + 1 {
        pass_armed(step);
    }
}

#[cold]
fn pass_armed(step: Step) {
    if PASSES_LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        tracing::error!(step = step.name(), "dying, as STEAD_CRASH_AT asks");
        sys::process::kill_oneself();
    }
}

/// Arms a step from the text of `STEAD_CRASH_AT`. The error names the steps there are.
pub fn arm(text: &str) -> Result<(), String> {
    let (step, pass) = parse(text)?;
    tracing::warn!(
        step = step.name(),
        pass,
        "armed to die at this step: a test of faults"
    );
    PASSES_LEFT.store(pass, Ordering::Relaxed);
    ARMED.store(step as u32 + 1, Ordering::Relaxed);
    Ok(())
}

fn parse(text: &str) -> Result<(Step, u32), String> {
    let (name, pass) = match text.split_once(':') {
        None => (text, Some(1)),
        Some((name, pass)) => (name, pass.parse().ok().filter(|pass| *pass > 0)),
    };
    let step = Step::ALL.iter().find(|step| step.name() == name);
    match (step, pass) {
        (Some(step), Some(pass)) => Ok((*step, pass)),
        (Some(_), None) => Err(format!(
            "STEAD_CRASH_AT={text}: after the colon comes which pass of the step is meant, from 1"
        )),
        (None, _) => {
            let names: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
            Err(format!(
                "STEAD_CRASH_AT={text}: there is no such step; the steps are {}",
                names.join(" ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_step_has_a_name_of_its_own_and_is_found_by_it() {
        let names: BTreeSet<_> = Step::ALL.iter().map(|step| step.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
        for step in Step::ALL {
            assert_eq!(parse(step.name()), Ok((*step, 1)));
            assert_eq!(parse(&format!("{}:3", step.name())), Ok((*step, 3)));
        }
    }

    #[test]
    fn a_mistake_is_told() {
        let error = parse("define/chekced").expect_err("no such step");
        assert!(error.contains("define/checked"), "{error}");
        for text in ["define/checked:0", "define/checked:x", "define/checked:"] {
            assert!(parse(text).expect_err("no such pass").contains("from 1"));
        }
    }
}
