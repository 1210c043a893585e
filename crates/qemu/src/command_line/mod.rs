//! A definition as the command line of QEMU.
//!
//! [`command_line`] takes a completed definition (every device has its address and alias, every
//! display its port), what this QEMU can do, and what the host offers for this start. It returns
//! all a start needs as plain data: arguments, environment, descriptors, files, and the few QMP
//! commands that cannot be arguments. The syntax is the modern one: block nodes and devices as
//! JSON. One module per subject; each is a list of functions of the [`builder`].

mod block;
mod boot;
mod builder;
mod cells;
mod chardevs;
mod clock;
mod controllers;
mod cpu;
mod disks;
mod display;
mod hostdevs;
mod launch;
mod machine;
mod memory;
mod net;
mod place;
mod plug;
mod ports;
mod props;
mod small;
mod sound;
mod throttle;

pub use block::{DiskNodes, NodeSecret, disk_nodes, secret_id};
pub use launch::{
    DESCRIPTOR_FIRST, Descriptor, DescriptorPurpose, FileAccess, FileMode, FileRole, Launch,
    LaunchContext, Unsupported, VariableStore,
};
pub use plug::{Step, plug};
pub use props::Props;
pub use throttle::{throttle_command, throttle_group_id, throttle_group_limits, throttle_target};

use std::path::PathBuf;

use builder::{Builder, Result};
use model::domain::Domain;
use props::List;

use crate::caps::QemuCaps;
use crate::qmp::commands;

/// Where QEMU looks for programs; it is not allowed to start any.
const ENVIRONMENT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command line of a machine, and everything else its start needs.
///
/// # Errors
/// If the definition asks for something that this QEMU, this host or Stead cannot do; the error
/// names it.
pub fn command_line(
    domain: &Domain,
    caps: &QemuCaps,
    context: &LaunchContext,
) -> std::result::Result<Launch, Unsupported> {
    let mut builder = Builder::new(domain, caps, context);
    builder.identity();
    builder.whole_machine()?;
    builder.monitor();
    builder.behaviour()?;
    builder.devices()?;
    builder.confinement();
    builder.passthrough();
    builder.after_connecting();
    Ok(builder.finish())
}

impl Builder<'_> {
    fn identity(&mut self) {
        let mut list = List::default();
        list.set("guest", &self.domain.name)
            .set("debug-threads", "on");
        self.option("-name", list.finish());
        if self.context.paused {
            self.flag("-S");
        }
        if self.context.incoming {
            self.option("-incoming", "defer");
        }
    }

    fn whole_machine(&mut self) -> Result<()> {
        if self.domain.launch_security.is_some() {
            return Err(Unsupported::new("launch security is not supported"));
        }
        let flash = self.firmware()?;
        // The order on the command line does not matter to QEMU: it makes memory back ends
        // before the machine that names them.
        let memory = self.memory()?;
        self.machine(&flash, memory.as_deref())?;
        self.cpu()?;
        self.overcommit();
        self.processors()?;
        self.iothreads();
        self.throttle_groups();
        self.cells()?;
        if let Some(uuid) = self.domain.uuid {
            self.option("-uuid", uuid.hyphenated().to_string());
        }
        self.no_display();
        self.flag("-no-user-config");
        self.flag("-nodefaults");
        self.system_information()
    }

    fn monitor(&mut self) {
        let number = self.descriptor(DescriptorPurpose::Monitor);
        let mut list = List::new("socket");
        list.set("id", "charmonitor")
            .set("fd", number)
            .set("server", "on")
            .set("wait", "off");
        self.option("-chardev", list.finish());
        self.option("-mon", "chardev=charmonitor,id=monitor,mode=control");
    }

    fn behaviour(&mut self) -> Result<()> {
        self.clock()?;
        self.life_cycle();
        self.boot();
        self.kernel()
    }

    fn iothreads(&mut self) {
        for id in self.domain.iothread_numbers() {
            let object = Props::object("iothread", &format!("iothread{id}"));
            self.object(&object);
        }
    }

    fn devices(&mut self) -> Result<()> {
        self.iommu()?;
        self.controllers()?;
        self.hubs()?;
        self.disks()?;
        self.filesystems()?;
        self.interfaces()?;
        self.ports()?;
        self.inputs()?;
        self.tpms()?;
        self.audio_backends()?;
        self.displays()?;
        self.videos()?;
        self.sounds()?;
        self.watchdogs()?;
        self.hostdevs()?;
        self.redirected_devices()?;
        self.balloon()?;
        self.random_numbers()?;
        self.panics()?;
        self.shared_memory()?;
        self.memory_modules()?;
        self.cryptos()?;
        self.vsock()?;
        self.descriptions()?;
        if self.domain.devices.pstore.is_some() {
            return Err(Unsupported::new("pstore is not supported"));
        }
        Ok(())
    }

    fn confinement(&mut self) {
        self.option(
            "-sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        );
        self.option("-msg", "timestamp=on");
    }

    /// What the definition adds by hand; it comes last, so that it can change anything.
    fn passthrough(&mut self) {
        let added = self
            .domain
            .qemu
            .command_line
            .iter()
            .flat_map(|line| &line.args);
        let added: Vec<String> = added.map(|arg| arg.value.clone()).collect();
        self.arguments.extend(added);
    }

    fn after_connecting(&mut self) {
        let most = self.domain.memory.size.0;
        let current = self.domain.current_memory.map(|size| size.0);
        if let Some(current) = current.filter(|current| *current < most)
            && self.has_balloon()
        {
            self.setup.push(commands::balloon(current * 1024).untyped());
        }
        self.balloon_period();
        self.disk_limits();
    }

    /// How often the guest says how it uses its memory.
    fn balloon_period(&mut self) {
        let balloon = self.domain.devices.memballoon.as_ref();
        let period = balloon
            .and_then(|balloon| balloon.stats.as_ref())
            .map(|stats| stats.period);
        let alias = balloon.and_then(|balloon| balloon.info.alias.as_deref());
        if let (Some(period @ 1..), Some(alias), true) = (period, alias, self.has_balloon()) {
            let path = format!("/machine/peripheral/{alias}");
            self.setup
                .push(commands::set_balloon_period(&path, period).untyped());
        }
    }

    fn has_balloon(&self) -> bool {
        use model::domain::misc_devices::BalloonModel;
        let balloon = self.domain.devices.memballoon.as_ref();
        balloon.is_some_and(|balloon| balloon.model != BalloonModel::None)
    }

    fn environment(&self) -> Vec<(String, String)> {
        let home = self.context.state_dir.to_string_lossy();
        let mut environment = vec![
            ("LC_ALL".to_owned(), "C".to_owned()),
            ("PATH".to_owned(), ENVIRONMENT_PATH.to_owned()),
            ("HOME".to_owned(), home.to_string()),
            ("XDG_DATA_HOME".to_owned(), format!("{home}/.local/share")),
            ("XDG_CACHE_HOME".to_owned(), format!("{home}/.cache")),
            ("XDG_CONFIG_HOME".to_owned(), format!("{home}/.config")),
        ];
        environment.extend(self.time_zone());
        let added = self
            .domain
            .qemu
            .command_line
            .iter()
            .flat_map(|line| &line.envs);
        environment
            .extend(added.map(|env| (env.name.clone(), env.value.clone().unwrap_or_default())));
        environment
    }

    /// A clock that follows a time zone's local time finds the zone in the environment.
    fn time_zone(&self) -> Option<(String, String)> {
        let zone = self.domain.clock.timezone.clone()?;
        Some(("TZ".to_owned(), zone))
    }

    fn finish(self) -> Launch {
        let environment = self.environment();
        let emulator = self.domain.devices.emulator.as_deref();
        let mut files = self.files;
        files.sort();
        files.dedup();
        Launch {
            program: PathBuf::from(emulator.unwrap_or("/usr/bin/qemu-system-x86_64")),
            arguments: self.arguments,
            environment,
            descriptors: self.descriptors,
            files,
            variables: self.variables,
            setup: self.setup,
        }
    }
}
