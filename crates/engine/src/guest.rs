//! What the guest agent is asked for, and raw commands to it and to QEMU.

use crate::error::{EngineError, ErrorKind, Result};
use crate::handle::DomainHandle;
use crate::limits::{AGENT_FREEZE_TIMEOUT_MS, AGENT_REPLY_TIMEOUT_MS, QMP_REPLY_TIMEOUT_MS};
use qemu::agent::commands;
use qemu::qmp::{Command, commands as qmp_commands};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::os::fd::OwnedFd;
use std::time::Duration;

pub use qemu::agent::commands::SuspendTarget;
pub use qemu::agent::reply::{
    FileSystem, GuestDisk, GuestPci, HostName, IpAddress, NetworkInterface, OsInfo, TimeZone, User,
    Vcpu,
};

/// How long to wait for the guest agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentPatience {
    /// The usual time.
    Usual,
    /// At most so many seconds.
    Seconds(u32),
    /// As long as it takes.
    Forever,
    /// Send the command and wait for nothing.
    NoWait,
}

impl AgentPatience {
    fn duration(self) -> Duration {
        match self {
            Self::Usual => Duration::from_millis(AGENT_REPLY_TIMEOUT_MS),
            Self::Seconds(seconds) => Duration::from_secs(u64::from(seconds)),
            Self::Forever => Duration::from_secs(u64::from(u32::MAX)),
            Self::NoWait => Duration::from_millis(1),
        }
    }
}

impl DomainHandle {
    async fn agent<R: DeserializeOwned>(&self, command: &Command<R>) -> Result<R> {
        let live = self.live()?;
        let agent = live.agent()?;
        agent.run(command, agent.patience()).await
    }

    /// How long the agent's answers are waited for from now on, until the
    /// machine ends or the daemon is restarted.
    pub fn set_agent_patience(&self, patience: AgentPatience) -> Result<()> {
        let live = self.live()?;
        // A machine without the agent's channel has nobody to wait for.
        if let Some(agent) = &live.agent {
            agent.set_patience(patience.duration());
        }
        Ok(())
    }

    /// Has the guest suspend itself.
    pub async fn suspend_guest(&self, target: SuspendTarget) -> Result<()> {
        let live = self.live()?;
        if target != SuspendTarget::Disk {
            let machine = live
                .monitor()?
                .execute(&qmp_commands::query_current_machine())
                .await?;
            if !machine.wakeup_suspend_support {
                return Err(EngineError::new(
                    ErrorKind::Unsupported,
                    "Domain does not have suspend support",
                ));
            }
        }
        let agent = live.agent()?;
        let command = commands::suspend(target);
        agent.run_raw(&command, agent.patience()).await.map(drop)
    }

    /// The processors as the guest sees them.
    pub async fn guest_vcpus(&self) -> Result<Vec<Vcpu>> {
        self.agent(&commands::vcpus()).await
    }

    /// Takes processors in or out of use inside the guest.
    pub async fn set_guest_vcpus(&self, vcpus: &[(u64, bool)]) -> Result<()> {
        let mut left = vcpus;
        // The agent may do them in pieces and says how many it has done.
        while !left.is_empty() {
            let done = self.agent(&commands::set_vcpus(left)).await?;
            let done = usize::try_from(done).unwrap_or(0);
            if done == 0 || done > left.len() {
                return Err(EngineError::new(
                    ErrorKind::AgentCommandFailed,
                    "the guest agent changed no processor",
                ));
            }
            left = &left[done..];
        }
        Ok(())
    }

    /// The keys that may log in as a user of the guest over SSH.
    pub async fn guest_ssh_keys(&self, user: &str) -> Result<Vec<String>> {
        let answer = self.agent(&commands::ssh_keys(user)).await?;
        let keys = answer["keys"].as_array().into_iter().flatten();
        Ok(keys
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect())
    }

    /// Adds keys, or puts them in place of all others.
    pub async fn add_guest_ssh_keys(
        &self,
        user: &str,
        keys: Vec<String>,
        reset: bool,
    ) -> Result<()> {
        self.agent(&commands::add_ssh_keys(user, keys, reset))
            .await
            .map(drop)
    }

    /// Takes keys away.
    pub async fn remove_guest_ssh_keys(&self, user: &str, keys: Vec<String>) -> Result<()> {
        self.agent(&commands::remove_ssh_keys(user, keys))
            .await
            .map(drop)
    }

    async fn agent_within<R: DeserializeOwned>(&self, command: &Command<R>, ms: u64) -> Result<R> {
        self.live()?
            .agent()?
            .run(command, Duration::from_millis(ms))
            .await
    }

    /// Runs any command of the agent, written as JSON; answers with the
    /// agent's whole reply, as JSON.
    pub async fn agent_command(&self, text: &str, patience: AgentPatience) -> Result<String> {
        let command = raw_command(text)?;
        let live = self.live()?;
        let value = live.agent()?.run_raw(&command, patience.duration()).await?;
        Ok(Value::Object(Map::from_iter([("return".to_owned(), value)])).to_string())
    }

    /// Runs any command of QEMU's monitor, written as JSON, or as a line for
    /// people with `human`. Answers as `virsh qemu-monitor-command` shows it.
    pub async fn monitor_command(&self, text: &str, human: bool) -> Result<String> {
        let live = self.live()?;
        let monitor = live.monitor()?;
        let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
        if human {
            return monitor
                .ask(&qmp_commands::human_monitor_command(text), timeout)
                .await;
        }
        self.monitor_command_with(text, None).await
    }

    /// As [`Self::monitor_command`], with a descriptor that QEMU gets along with the command.
    pub async fn monitor_command_with(
        &self,
        text: &str,
        descriptor: Option<OwnedFd>,
    ) -> Result<String> {
        let live = self.live()?;
        let monitor = live.monitor()?;
        let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
        let command = raw_command(text)?;
        let reply = match monitor.ask_raw(&command, descriptor, timeout).await? {
            Ok(value) => serde_json::json!({ "return": value }),
            Err(failure) => {
                serde_json::json!({ "error": { "class": failure.class, "desc": failure.desc } })
            }
        };
        Ok(reply.to_string())
    }

    /// The guest's network interfaces and addresses, as it tells them.
    pub async fn guest_interfaces(&self) -> Result<Vec<NetworkInterface>> {
        self.agent(&commands::network_interfaces()).await
    }

    /// The guest's host name.
    pub async fn guest_hostname(&self) -> Result<String> {
        Ok(self.agent(&commands::host_name()).await?.host_name)
    }

    /// The guest's operating system.
    pub async fn guest_os(&self) -> Result<OsInfo> {
        self.agent(&commands::os_info()).await
    }

    /// Who is logged in.
    pub async fn guest_users(&self) -> Result<Vec<User>> {
        self.agent(&commands::users()).await
    }

    /// The guest's time zone.
    pub async fn guest_timezone(&self) -> Result<TimeZone> {
        self.agent(&commands::time_zone()).await
    }

    /// The guest's file systems.
    pub async fn guest_file_systems(&self) -> Result<Vec<FileSystem>> {
        self.agent(&commands::file_systems()).await
    }

    /// The guest's clock, in nanoseconds since the epoch.
    pub async fn guest_time_ns(&self) -> Result<i64> {
        self.agent(&commands::time()).await
    }

    /// Sets the guest's clock; without a time, from its hardware clock.
    pub async fn set_guest_time_ns(&self, ns: Option<i64>) -> Result<()> {
        self.agent(&commands::set_time(ns)).await.map(drop)
    }

    /// Brings the guest's file systems to rest; how many.
    pub async fn freeze(&self, mount_points: Option<Vec<String>>) -> Result<u32> {
        let count = self
            .agent_within(&commands::freeze(mount_points), AGENT_FREEZE_TIMEOUT_MS)
            .await?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// Lets them go on; how many.
    pub async fn thaw(&self) -> Result<u32> {
        let count = self
            .agent_within(&commands::thaw(), AGENT_FREEZE_TIMEOUT_MS)
            .await?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// Lets the guest say which blocks it does not use.
    pub async fn trim(&self, minimum_bytes: Option<u64>) -> Result<()> {
        self.agent_within(&commands::trim(minimum_bytes), AGENT_FREEZE_TIMEOUT_MS)
            .await
            .map(drop)
    }

    /// Sets a password in the guest; it travels as base64.
    pub async fn set_guest_password(&self, user: &str, base64: &str, crypted: bool) -> Result<()> {
        self.agent(&commands::set_user_password(user, base64, crypted))
            .await
            .map(drop)
    }
}

/// A command as a person wrote it: `{"execute":…,"arguments":{…}}`.
fn raw_command(text: &str) -> Result<Command> {
    let wrong = |why: &str| {
        EngineError::new(
            ErrorKind::InvalidArgument,
            format!(
                "the command is not of the form {{\"execute\":\"NAME\",\"arguments\":{{…}}}}: {why}"
            ),
        )
    };
    let value: Value = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
    let name = value["execute"]
        .as_str()
        .ok_or_else(|| wrong("there is no \"execute\""))?
        .to_owned();
    let arguments = match value.get("arguments") {
        None => Map::new(),
        Some(Value::Object(arguments)) => arguments.clone(),
        Some(_) => return Err(wrong("\"arguments\" is not an object")),
    };
    Ok(Command::new(name).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_commands_are_read_or_explained() {
        let command = raw_command(r#"{"execute":"x","arguments":{"a":1}}"#).expect("a command");
        assert_eq!((command.name(), command.arguments().len()), ("x", 1));
        for (text, why) in [
            ("{", "EOF"),
            ("{}", "no \"execute\""),
            (r#"{"execute":"x","arguments":3}"#, "not an object"),
        ] {
            let error = raw_command(text).expect_err("not a command");
            assert!(error.message.contains(why), "{error}");
        }
    }
}
