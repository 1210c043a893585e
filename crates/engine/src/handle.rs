//! A domain as its callers hold it: what can be read of it at once, and what
//! can be asked of its owner.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::live::LiveMachine;
use crate::options::{
    Affect, AskWays, DeviceChange, DumpOptions, GuestAsk, MetadataItem, SaveOptions, StartOptions,
    UndefineOptions, XmlOptions,
};
use crate::owner::{self, Request};
use crate::table::Entry;
use crate::tuning::Tuning;
use crate::view::DomainView;
use model::network::policy::NAMESPACE as RULES;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// One domain.
#[derive(Debug, Clone)]
pub struct DomainHandle {
    pub(crate) engine: Engine,
    pub(crate) entry: Arc<Entry>,
}

impl DomainHandle {
    /// The domain as it was at its last change. Never waits.
    pub fn view(&self) -> Arc<DomainView> {
        self.entry.view()
    }

    /// Its uuid.
    pub fn uuid(&self) -> Uuid {
        self.entry.uuid
    }

    /// The running machine.
    pub fn live(&self) -> Result<Arc<LiveMachine>> {
        self.view()
            .live
            .clone()
            .ok_or_else(|| EngineError::invalid("domain is not running"))
    }

    /// Its definition as XML: what runs, or what is stored.
    pub fn xml(&self, options: XmlOptions) -> Result<String> {
        let view = self.view();
        let flags = model::XmlFlags {
            inactive: options.inactive || view.live.is_none(),
            secure: options.secure,
            migratable: options.migratable,
        };
        match (&view.live, &view.stored) {
            (Some(live), None) => Ok(live.definition().to_xml(flags)),
            (Some(live), Some(_)) if !options.inactive => Ok(live.definition().to_xml(flags)),
            (_, Some(stored)) => {
                let text = self.engine.stored_xml(self.uuid())?;
                // The stored text is complete and secure: for most readers it is the answer.
                if options.migratable || (stored.has_secrets && !options.secure) {
                    return Ok(self.engine.parse_stored(&text)?.to_xml(flags));
                }
                Ok(text)
            }
            (None, None) => Err(self.engine.no_domain(&view)),
        }
    }

    /// The stored definition, or the running one of a transient machine.
    pub fn definition(&self) -> Result<Arc<model::domain::Domain>> {
        let view = self.view();
        if let Some(live) = &view.live {
            return Ok(live.definition());
        }
        let text = self.engine.stored_xml(self.uuid())?;
        Ok(Arc::new(self.engine.parse_stored(&text)?))
    }

    /// The stored definition, also while the machine runs.
    pub fn stored_definition(&self) -> Result<Arc<model::domain::Domain>> {
        if self.view().stored.is_none() {
            return Err(crate::options::transient());
        }
        let text = self.engine.stored_xml(self.uuid())?;
        Ok(Arc::new(self.engine.parse_stored(&text)?))
    }

    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        owner::send(&self.engine, &self.entry, request(reply))?;
        answer.await.map_err(|_| EngineError::stopping())?
    }

    /// Starts it: from its saved state if there is one, else by a boot.
    pub async fn start(&self, options: StartOptions) -> Result<()> {
        self.ask(|reply| Request::Start { options, reply }).await
    }

    /// Asks the guest to power off or to reboot; answers when it was asked.
    pub async fn ask_guest(&self, ask: GuestAsk, ways: AskWays) -> Result<()> {
        self.ask(|reply| Request::AskGuest { ask, ways, reply })
            .await
    }

    /// Presses the reset button.
    pub async fn reset(&self) -> Result<()> {
        self.ask(|reply| Request::Reset { reply }).await
    }

    /// Ends its QEMU; a graceful end gives up where SIGTERM does not suffice.
    pub async fn destroy(&self, graceful: bool) -> Result<()> {
        self.ask(|reply| Request::Destroy { graceful, reply }).await
    }

    /// Stops its processors.
    pub async fn suspend(&self) -> Result<()> {
        self.ask(|reply| Request::Suspend { reply }).await
    }

    /// Lets its processors run.
    pub async fn resume(&self) -> Result<()> {
        self.ask(|reply| Request::Resume { reply }).await
    }

    /// Saves its state to a file and ends it.
    pub async fn save(&self, options: SaveOptions) -> Result<()> {
        self.ask(|reply| Request::Save { options, reply }).await
    }

    /// Removes its saved state.
    pub async fn remove_managed_save(&self) -> Result<()> {
        self.ask(|reply| Request::RemoveManagedSave { reply }).await
    }

    /// Writes its memory to a file.
    pub async fn dump(&self, options: DumpOptions) -> Result<()> {
        self.ask(|reply| Request::Dump { options, reply }).await
    }

    /// Cancels the long operation under way.
    pub async fn abort_job(&self) -> Result<()> {
        let live = self.live()?;
        live.abort_job().await
    }

    /// Removes its definition; a running machine goes on and becomes transient.
    pub async fn undefine(&self, options: UndefineOptions) -> Result<()> {
        self.ask(|reply| Request::Undefine { options, reply }).await
    }

    /// Whether it is started with the host.
    pub async fn set_autostart(&self, on: bool) -> Result<()> {
        self.ask(|reply| Request::SetAutostart {
            on,
            once: false,
            reply,
        })
        .await
    }

    /// Whether it is started once, with the host's next start.
    pub async fn set_autostart_once(&self, on: bool) -> Result<()> {
        self.ask(|reply| Request::SetAutostart {
            on,
            once: true,
            reply,
        })
        .await
    }

    /// Gives an inactive domain another name.
    pub async fn rename(&self, name: &str) -> Result<()> {
        let name: Arc<str> = name.into();
        self.ask(|reply| Request::Rename { name, reply }).await
    }

    /// Sets, or with `None` removes, a piece of metadata. `key` is the prefix
    /// for the element's namespace.
    pub async fn set_metadata(
        &self,
        item: MetadataItem,
        value: Option<String>,
        key: Option<String>,
        affect: Affect,
    ) -> Result<()> {
        let are_rules = matches!(&item, MetadataItem::Element { uri } if uri == RULES);
        self.ask(|reply| Request::SetMetadata {
            item,
            value,
            key,
            affect,
            reply,
        })
        .await?;
        match are_rules {
            // Whoever changes a machine's rules is told once they hold.
            true => self.engine.apply_firewall().await.map_err(|error| {
                let what = format!("the rules are kept but not in force: {}", error.message);
                EngineError::new(error.kind, what)
            }),
            false => Ok(()),
        }
    }

    /// A piece of metadata; `NoMetadata` where it is not set.
    pub fn metadata(&self, item: &MetadataItem, affect: Affect) -> Result<String> {
        let view = self.view();
        let live = view.live.as_ref().filter(|_| !affect.config);
        if affect.live && live.is_none() {
            return Err(EngineError::invalid("domain is not running"));
        }
        let definition = match live {
            Some(live) => live.definition(),
            None if view.stored.is_none() => {
                return Err(EngineError::invalid(
                    "transient domains do not have any persistent config",
                ));
            }
            None => Arc::new(
                self.engine
                    .parse_stored(&self.engine.stored_xml(self.uuid())?)?,
            ),
        };
        crate::metadata::get(&definition, item)
            .ok_or_else(|| EngineError::new(ErrorKind::NoMetadata, crate::metadata::absent(item)))
    }

    /// Puts a device in, takes one out or changes one. A running guest lets
    /// go of a device when it can; `DeviceRemoved` tells when it has.
    pub async fn change_device(
        &self,
        change: DeviceChange,
        xml: &str,
        affect: Affect,
    ) -> Result<()> {
        let xml = xml.to_owned();
        self.ask(|reply| Request::ChangeDevice {
            change,
            xml,
            affect,
            reply,
        })
        .await
    }

    /// Sets the memory it has (`maximum`: may have), in KiB.
    pub async fn set_memory(&self, kib: u64, maximum: bool, affect: Affect) -> Result<()> {
        self.ask(|reply| Request::SetMemory {
            kib,
            maximum,
            affect,
            reply,
        })
        .await
    }

    /// Changes what it may use of its host.
    pub async fn tune(&self, tuning: Tuning, affect: Affect) -> Result<()> {
        let tuning = Box::new(tuning);
        self.ask(|reply| Request::Tune {
            tuning,
            affect,
            reply,
        })
        .await
    }

    /// Sets how many processors it has (`maximum`: may have).
    pub async fn set_vcpus(&self, count: u32, maximum: bool, affect: Affect) -> Result<()> {
        self.ask(|reply| Request::SetVcpus {
            count,
            maximum,
            affect,
            reply,
        })
        .await
    }
}
