//! QEMU's events: what they mean for the machine, and who hears of them.

use super::Owner;
use crate::events::{GraphicsAddress, Happening};
use crate::inspect::device_of_node;
use crate::live::Unplugged;
use crate::monitor::{News, RawEvent};
use qemu::machine::{Input, PowerOff};
use qemu::qmp::Event;
use qemu::qmp::event::{BlockIoError, DisplayPeers, DisplayPhase, ShutdownCause};

impl Owner {
    pub(super) async fn take_news(&mut self, news: News) {
        match news {
            News::Event { event, raw } => {
                self.tell_raw(&raw);
                self.take_event(*event).await;
                self.look_at_jobs_in_doubt();
            }
            News::Closed(why) => {
                tracing::debug!(domain = %self.entry.view().name, why, "the monitor closed");
                self.news = None;
            }
        }
    }

    /// Takes in the news that have already arrived.
    pub(super) async fn take_waiting_news(&mut self) {
        while let Some(Ok(news)) = self
            .news
            .as_mut()
            .map(tokio::sync::mpsc::Receiver::try_recv)
        {
            self.take_news(news).await;
        }
    }

    fn tell_raw(&self, raw: &RawEvent) {
        if !self.engine.events_hub().has_listeners() {
            return;
        }
        let details = raw
            .data
            .as_object()
            .filter(|o| !o.is_empty())
            .map(|_| raw.data.to_string());
        self.emit(Happening::Monitor {
            event: raw.name.clone(),
            seconds: raw.seconds,
            micros: raw.micros,
            details,
        });
    }

    async fn take_event(&mut self, event: Event) {
        match event {
            Event::Stop => self.happen(Input::Stopped).await,
            Event::Resume => self.happen(Input::Resumed).await,
            Event::Shutdown { guest, reason } => self.happen(powered_off(guest, reason)).await,
            Event::GuestPanicked { info, .. } => self.panicked(info).await,
            Event::Suspend => self.happen(Input::Slept { to_disk: false }).await,
            Event::SuspendDisk => self.happen(Input::Slept { to_disk: true }).await,
            Event::Wakeup => self.happen(Input::Woke).await,
            Event::Reset { .. } => self.emit(Happening::Reboot),
            Event::RtcChange { offset } => self.emit(Happening::RtcChange { offset_s: offset }),
            Event::Watchdog { action } => self.watchdog(&action).await,
            Event::BlockIoError(error) => self.disk_failed(error).await,
            Event::BalloonChange { actual } => self.balloon_changed(actual / 1024),
            Event::MemoryDeviceSizeChange { id, size } => {
                self.module_resized(id.unwrap_or_default(), size);
            }
            Event::VserportChange { id, open } => self.channel_changed(&id, open),
            Event::BlockWriteThreshold {
                node,
                exceeded,
                threshold,
            } => self.threshold_passed(&node, threshold, exceeded),
            Event::DeviceTrayMoved { id, open, device } => {
                let alias = self.alias_of(id.as_deref().unwrap_or(&device));
                self.emit(Happening::TrayChange { alias, open });
            }
            Event::DeviceDeleted {
                device: Some(alias),
                ..
            } => self.device_gone(alias).await,
            Event::DeviceUnplugGuestError {
                device: Some(alias),
                ..
            } => {
                if let Some(live) = &self.live {
                    live.unplugged(&alias, Unplugged::Refused);
                }
                self.emit(Happening::DeviceRemovalFailed { alias });
            }
            Event::JobStatusChange { id, status } => self.block_job_news(&id, status),
            Event::Vnc(phase, peers) => self.viewer(phase, &peers),
            Event::Spice(phase, peers) => self.viewer(phase, &peers),
            _ => {}
        }
    }

    async fn panicked(&mut self, info: Option<serde_json::Value>) {
        let detail = info.map_or_else(String::new, |info| format!(": {info}"));
        self.engine
            .note_crash(self.entry.uuid, format!("the guest panicked{detail}"));
        self.happen(Input::Panicked).await;
    }

    async fn watchdog(&mut self, action: &str) {
        // Numbers of virDomainEventWatchdogAction.
        let number = match action {
            "pause" => 1,
            "reset" => 2,
            "poweroff" => 3,
            "shutdown" => 4,
            "debug" => 5,
            "inject-nmi" => 6,
            _ => 0,
        };
        self.emit(Happening::Watchdog { action: number });
        if action == "pause" {
            self.happen(Input::WatchdogPaused).await;
        }
    }

    async fn disk_failed(&mut self, error: BlockIoError) {
        // Numbers of virDomainEventIOErrorAction.
        let action = match error.action.as_str() {
            "stop" => 1,
            "report" => 2,
            _ => 0,
        };
        let reason = if error.nospace {
            "enospc".to_owned()
        } else {
            String::new()
        };
        let device = error
            .qom_path
            .as_deref()
            .or(error.node_name.as_deref())
            .unwrap_or_default();
        let alias = self.alias_of(if device.is_empty() {
            &error.device
        } else {
            device
        });
        let path = self.disk_source(&alias);
        self.emit(Happening::IoError {
            path,
            alias,
            action,
            reason,
        });
        if action == 1 {
            self.happen(Input::DiskFailed).await;
        }
    }

    fn threshold_passed(&self, node: &str, threshold: u64, excess: u64) {
        let live = self.live.as_ref();
        let found = live.and_then(|live| device_of_node(&live.definition(), node));
        let (devices, path) = found.unwrap_or_default();
        for device in devices {
            self.emit(Happening::BlockThreshold {
                device,
                path: path.clone(),
                threshold,
                excess,
            });
        }
    }

    /// The alias of a device that QEMU names by id or path.
    fn alias_of(&self, id: &str) -> String {
        let last = id
            .trim_end_matches("/virtio-backend")
            .rsplit('/')
            .next()
            .unwrap_or(id);
        last.to_owned()
    }

    fn disk_source(&self, alias: &str) -> String {
        let Some(live) = &self.live else {
            return String::new();
        };
        crate::facts::disk_source(&live.definition(), alias).unwrap_or_default()
    }

    fn balloon_changed(&self, actual_kib: u64) {
        if let Some(live) = &self.live {
            let mut definition = model::domain::Domain::clone(&live.definition());
            definition.current_memory = Some(model::domain::memory_size::Kib(actual_kib));
            live.set_definition(definition);
        }
        self.emit(Happening::BalloonChange { actual_kib });
    }

    /// The guest has plugged in another part of a memory module.
    fn module_resized(&self, alias: String, bytes: u64) {
        if let Some(live) = &self.live {
            let mut definition = model::domain::Domain::clone(&live.definition());
            let mut modules = definition.devices.memories.iter_mut();
            let module = modules.find(|m| m.info.alias.as_deref() == Some(&alias));
            if let Some(target) = module.and_then(|module| module.target.as_mut()) {
                target.current = Some(model::domain::memory_size::Kib(bytes / 1024));
            }
            live.set_definition(definition);
            self.engine
                .write_status(live, &self.entry, self.life.status());
        }
        self.emit(Happening::MemoryDeviceSizeChange { alias, bytes });
    }

    fn channel_changed(&self, id: &str, open: bool) {
        let Some(live) = &self.live else { return };
        let mut definition = model::domain::Domain::clone(&live.definition());
        let is_agent = crate::facts::set_channel_state(&mut definition, id, open);
        live.set_definition(definition);
        if let (true, Some(agent)) = (is_agent, &live.agent)
            && agent.set_connected(open)
        {
            // virConnectDomainEventAgentLifecycleReason: channel.
            self.emit(Happening::AgentLifecycle {
                connected: open,
                reason: 2,
            });
        }
    }

    fn viewer(&self, phase: DisplayPhase, peers: &DisplayPeers) {
        // Numbers of virDomainEventGraphicsPhase.
        let phase = match phase {
            DisplayPhase::Connected => 0,
            DisplayPhase::Initialized => 1,
            DisplayPhase::Disconnected => 2,
        };
        let address = |end: &qemu::qmp::event::DisplayPeer| GraphicsAddress {
            family: match end.family.as_str() {
                "ipv4" => 0,
                "ipv6" => 1,
                _ => 2,
            },
            node: end.host.clone(),
            service: end.service.clone(),
        };
        self.emit(Happening::Graphics {
            phase,
            local: address(&peers.server),
            remote: address(&peers.client),
            auth: peers.server.auth.clone().unwrap_or_default(),
        });
    }
}

fn powered_off(guest: bool, reason: ShutdownCause) -> Input {
    Input::PoweredOff(match reason {
        ShutdownCause::GuestReset => PowerOff::GuestReset,
        _ if guest => PowerOff::Guest,
        _ => PowerOff::Host,
    })
}
