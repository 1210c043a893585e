//! Changes of memory and processors.

use super::{Owner, Reply, answer};
use crate::error::{EngineError, ErrorKind, Result};
use crate::facts;
use crate::live::LiveMachine;
use crate::options::Affect;
use crate::tuning::{Tuning, VcpuChange};
use model::domain::Domain;
use model::domain::memory_size::Kib;
use qemu::qmp::commands;
use std::sync::Arc;

impl Owner {
    pub(super) async fn set_memory(
        &mut self,
        kib: u64,
        maximum: bool,
        affect: Affect,
        reply: Reply<()>,
    ) {
        if maximum {
            return answer(reply, self.set_maximum_memory(kib, affect).await);
        }
        match self.set_present_memory(kib, affect).await {
            Err(error) => answer(reply, Err(error)),
            Ok(None) => answer(reply, Ok(())),
            // The guest gives memory back when it can; BALLOON_CHANGE tells how much.
            Ok(Some(live)) => self.hold_and_answer("setmem", reply, async move {
                live.monitor()?
                    .execute(&commands::balloon(kib * 1024))
                    .await
                    .map(drop)
            }),
        }
    }

    async fn set_maximum_memory(&mut self, kib: u64, affect: Affect) -> Result<()> {
        let affect = self.resolve(affect)?;
        if affect.live {
            return Err(EngineError::invalid(
                "cannot resize the maximum memory on an active domain",
            ));
        }
        self.change_definition(affect, |domain| {
            domain.memory.size = Kib(kib);
            if facts::current_memory_kib(domain) > kib {
                domain.current_memory = Some(Kib(kib));
            }
            Ok(())
        })
        .await
    }

    /// Changes the stored definition; gives back the machine whose balloon is
    /// to be changed too.
    async fn set_present_memory(
        &mut self,
        kib: u64,
        affect: Affect,
    ) -> Result<Option<Arc<LiveMachine>>> {
        let affect = self.resolve(affect)?;
        let check = |domain: &Domain| {
            if kib > domain.memory.size.0 {
                return Err(EngineError::new(
                    ErrorKind::InvalidArgument,
                    "cannot set memory higher than max memory",
                ));
            }
            Ok(())
        };
        let live = if affect.live {
            Some(self.live()?)
        } else {
            None
        };
        if let Some(live) = &live {
            check(&live.definition())?;
        }
        if affect.config {
            let only_config = Affect {
                live: false,
                config: true,
            };
            self.change_definition(only_config, |domain| {
                check(domain)?;
                domain.current_memory = Some(Kib(kib));
                Ok(())
            })
            .await?;
        }
        Ok(live)
    }

    pub(super) async fn set_vcpus(
        &mut self,
        count: u32,
        maximum: bool,
        affect: Affect,
        reply: Reply<()>,
    ) {
        match self.resolve(affect) {
            Err(error) => answer(reply, Err(error)),
            Ok(Affect { live: true, .. }) if maximum => answer(
                reply,
                Err(EngineError::invalid(
                    "maximum vcpu count can't be updated while the domain is active",
                )),
            ),
            Ok(affect @ Affect { live: true, .. }) => {
                self.tune(Tuning::Vcpus(VcpuChange::Count(count)), affect, reply)
                    .await;
            }
            Ok(affect) => answer(reply, self.change_vcpus(count, maximum, affect).await),
        }
    }

    async fn change_vcpus(&mut self, count: u32, maximum: bool, affect: Affect) -> Result<()> {
        if count == 0 {
            return Err(EngineError::new(
                ErrorKind::InvalidArgument,
                "a machine needs a processor",
            ));
        }
        self.change_definition(affect, |domain| {
            let most = domain.vcpu.count();
            if maximum {
                domain.vcpu.count_given = Some(count);
                domain.vcpu.current = domain.vcpu.current.filter(|current| *current < count);
                domain.vcpus = None;
            } else if count > most {
                return Err(EngineError::new(
                    ErrorKind::InvalidArgument,
                    format!("requested vcpus is greater than max allowable vcpus for the domain: {count} > {most}"),
                ));
            } else {
                domain.vcpu.current = (count < most).then_some(count);
                domain.vcpus = None;
            }
            Ok(())
        })
        .await
    }
}
