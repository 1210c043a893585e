//! The dialogue that finds out what a QEMU can do.
//!
//! One process per accelerator is enough: started with no machine, asked in two rounds of
//! commands which may all be sent at once, told to quit. The second round takes apart the
//! processor models.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::cpu::{AccelCaps, CpuModel, CpuVendor, Expansion, features_named, nearest};
use super::names::feature_from_qemu;
use super::table::CpuTable;
use super::{Accelerator, CAPS_FORMAT, MachineType, QEMU_VERSION_MIN, QemuCaps};
use crate::qmp::reply::{KvmInfo, Property, TypeInfo, VersionInfo};
use crate::qmp::{Command, commands};

/// How often [`Probe::commands`] returns something at most.
pub const PROBE_ROUNDS_MAX: usize = 2;

/// Devices whose properties are not the same in all supported versions and configurations.
const PROPERTIES_OF: [&str; 6] = [
    "intel-iommu",
    "scsi-hd",
    "virtio-balloon-pci",
    "virtio-blk-pci",
    "virtio-gpu-pci",
    "virtio-net-pci",
];

/// Why a QEMU cannot be used.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It refused a command that every supported version has.
    #[error("QEMU refused '{command}': {reason}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's own words.
        reason: String,
    },
    /// It gave a reply of another shape.
    #[error("QEMU's reply to '{command}' could not be understood: {cause}")]
    Reply {
        /// The command.
        command: String,
        /// What is wrong with the reply.
        #[source]
        cause: serde_json::Error,
    },
    /// It is too old.
    #[error("QEMU {found} is too old; 7.2.0 or newer is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// KVM was asked for and QEMU runs without it.
    #[error("QEMU does not run with KVM on this host")]
    NoKvm,
    /// Fewer or more replies came than commands were sent.
    #[error("{replies} replies came to {commands} commands")]
    Count {
        /// Commands sent.
        commands: usize,
        /// Replies received.
        replies: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    General,
    Models,
    Over,
}

/// So many models are asked about at a time: QEMU tells hundreds of properties of each, and there
/// are more than a hundred of them.
const MODELS_AT_ONCE: usize = 8;

/// The dialogue with one QEMU process.
#[derive(Debug)]
pub struct Probe {
    accelerator: Accelerator,
    round: Round,
    caps: QemuCaps,
    host: Option<Expansion>,
    /// The models still to take apart.
    models: Vec<String>,
    /// What those consist of that were.
    taken_apart: Vec<Expansion>,
    /// Those of the host's vendor under the names people use, among which the one nearest to it is
    /// looked for.
    candidates: BTreeSet<String>,
    features: BTreeSet<String>,
}

impl Probe {
    /// A dialogue with a QEMU that was started with [`Probe::arguments`].
    #[must_use]
    pub fn new(accelerator: Accelerator) -> Self {
        let caps = QemuCaps {
            format: CAPS_FORMAT,
            version: QEMU_VERSION_MIN,
            package: String::new(),
            arch: String::new(),
            machines: Vec::new(),
            types: Arc::default(),
            commands: BTreeSet::new(),
            options: BTreeMap::new(),
            properties: BTreeMap::new(),
            tpm_models: BTreeSet::new(),
            tpm_backends: BTreeSet::new(),
            cpu_table: Arc::default(),
            accelerators: BTreeMap::new(),
        };
        Self {
            accelerator,
            round: Round::General,
            caps,
            host: None,
            models: Vec::new(),
            taken_apart: Vec::new(),
            candidates: BTreeSet::new(),
            features: BTreeSet::new(),
        }
    }

    /// The arguments to start QEMU with. `monitor` is the number under which the process gets a
    /// connected socket for QMP.
    #[must_use]
    pub fn arguments(accelerator: Accelerator, monitor: i32) -> Vec<String> {
        let socket = format!("socket,id=monitor,fd={monitor}");
        let machine = format!("none,accel={}", accelerator.name());
        [
            "-S",
            "-no-user-config",
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            machine.as_str(),
            "-chardev",
            socket.as_str(),
            "-mon",
            "chardev=monitor,mode=control",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// The commands to send next, after capability negotiation; none when the dialogue is over.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        match self.round {
            Round::General => self.general_commands(),
            Round::Models => self.next_models().map(|name| expand(name)).collect(),
            Round::Over => Vec::new(),
        }
    }

    /// Takes the replies to what [`Probe::commands`] returned, in the same order; an error
    /// stands for what QEMU said about it.
    ///
    /// # Errors
    /// If this QEMU cannot be used.
    pub fn take(&mut self, replies: Vec<Result<Value, String>>) -> Result<(), ProbeError> {
        let commands = self.commands();
        if commands.len() != replies.len() {
            return Err(ProbeError::Count {
                commands: commands.len(),
                replies: replies.len(),
            });
        }
        let mut answers: Vec<_> = commands.into_iter().zip(replies).rev().collect();
        match self.round {
            Round::General => self.take_general(&mut answers)?,
            Round::Models => self.take_models(&mut answers)?,
            Round::Over => {}
        }
        self.round = match self.models.is_empty() {
            true => Round::Over,
            false => Round::Models,
        };
        if self.models.is_empty() {
            self.compare_models();
        }
        Ok(())
    }

    fn next_models(&self) -> impl Iterator<Item = &String> {
        self.models.iter().rev().take(MODELS_AT_ONCE)
    }

    /// What was found out.
    #[must_use]
    pub fn finish(self) -> QemuCaps {
        self.caps
    }

    fn general_commands(&self) -> Vec<Command> {
        let host = match self.accelerator {
            Accelerator::Kvm => "host",
            Accelerator::Tcg => "max",
        };
        let mut list = vec![
            commands::query_version().untyped(),
            Command::new("query-target"),
            commands::query_kvm().untyped(),
            Command::new("query-machines"),
            commands::qom_list_types(None, false).untyped(),
            Command::new("query-commands"),
            Command::new("query-command-line-options"),
            Command::new("query-tpm-models"),
            Command::new("query-tpm-types"),
            Command::new("query-cpu-definitions"),
            expand(host),
        ];
        list.extend(PROPERTIES_OF.map(|device| commands::device_list_properties(device).untyped()));
        list
    }

    fn take_general(&mut self, answers: &mut Answers) -> Result<(), ProbeError> {
        let VersionInfo { qemu, package } = required(answers)?;
        if qemu < QEMU_VERSION_MIN {
            let found = format!("{}.{}.{}", qemu.major, qemu.minor, qemu.micro);
            return Err(ProbeError::TooOld { found });
        }
        self.caps.version = qemu;
        self.caps.package = package;
        self.caps.arch = required::<Target>(answers)?.arch;
        let kvm: KvmInfo = required(answers)?;
        if self.accelerator == Accelerator::Kvm && !kvm.enabled {
            return Err(ProbeError::NoKvm);
        }
        let machines: Vec<RawMachine> = required(answers)?;
        self.caps.machines = machines
            .into_iter()
            .map(Into::into)
            .filter(|m: &MachineType| m.name != "none")
            .collect();
        let types: Vec<TypeInfo> = required(answers)?;
        self.caps.types = Arc::new(device_types(types));
        let names: Vec<Named> = required(answers)?;
        self.caps.commands = names.into_iter().map(|named| named.name).collect();
        let options: Vec<RawOption> = required(answers)?;
        self.caps.options = options.into_iter().map(RawOption::split).collect();
        self.caps.tpm_models = optional(answers).unwrap_or_default();
        self.caps.tpm_backends = optional(answers).unwrap_or_default();
        let cpus: Vec<RawCpu> = required(answers)?;
        self.take_cpus(cpus, optional(answers));
        for device in PROPERTIES_OF {
            if let Some(list) = optional::<Vec<Property>>(answers) {
                let names = list.into_iter().map(|property| property.name).collect();
                self.caps.properties.insert(device.to_owned(), names);
            }
        }
        Ok(())
    }

    fn take_cpus(&mut self, cpus: Vec<RawCpu>, host: Option<RawExpansion>) {
        if let Some(reply) = &host {
            self.features = features_named(&reply.model.props);
            self.models = cpus.iter().map(|cpu| cpu.name.clone()).collect();
            self.models.retain(|name| is_named_model(name));
            // The last is asked about first.
            self.models.sort_by(|a, b| b.cmp(a));
        }
        let host = host.map(|reply| Expansion::new(&reply.model.name, &reply.model.props));
        let vendor = host
            .as_ref()
            .and_then(|host| CpuVendor::from_id(&host.vendor));
        // The unversioned names are what people and documents use.
        self.candidates = cpus
            .iter()
            .filter(|cpu| cpu.alias_of.is_some() && vendor.is_some())
            .filter(|cpu| CpuVendor::of_model(&cpu.name) == vendor)
            .map(|cpu| cpu.name.clone())
            .collect();
        self.host = host;
        let mut cpus: Vec<CpuModel> = cpus.into_iter().map(Into::into).collect();
        cpus.sort_by(|a, b| a.name.cmp(&b.name));
        let accel = AccelCaps {
            cpus,
            host_model: None,
        };
        self.caps.accelerators.insert(self.accelerator, accel);
    }

    fn take_models(&mut self, answers: &mut Answers) -> Result<(), ProbeError> {
        for _ in 0..MODELS_AT_ONCE {
            let Some(name) = self.models.pop() else { break };
            let reply: RawExpansion = required(answers)?;
            let expansion = Expansion::new(&name, &reply.model.props);
            self.taken_apart.push(expansion);
        }
        Ok(())
    }

    fn compare_models(&mut self) {
        let mut models = std::mem::take(&mut self.taken_apart);
        self.caps.cpu_table = Arc::new(CpuTable::new(&self.features, &models));
        models.retain(|model| self.candidates.contains(&model.name));
        let by_signature = self.accelerator == Accelerator::Kvm;
        if let (Some(host), Some(accel)) = (
            &self.host,
            self.caps.accelerators.get_mut(&self.accelerator),
        ) {
            accel.host_model = nearest(host, &models, by_signature);
        }
    }
}

/// Whether it is a processor of its own, and not what the host happens to have.
fn is_named_model(name: &str) -> bool {
    !["base", "host", "max"].contains(&name)
}

type Answers = Vec<(Command, Result<Value, String>)>;

fn required<T: DeserializeOwned>(answers: &mut Answers) -> Result<T, ProbeError> {
    let Some((command, reply)) = answers.pop() else {
        return Err(ProbeError::Count {
            commands: 1,
            replies: 0,
        });
    };
    let command = command.name().to_owned();
    match reply {
        Err(reason) => Err(ProbeError::Refused { command, reason }),
        Ok(value) => {
            serde_json::from_value(value).map_err(|cause| ProbeError::Reply { command, cause })
        }
    }
}

/// The next reply, or nothing where this QEMU has no such thing.
fn optional<T: DeserializeOwned>(answers: &mut Answers) -> Option<T> {
    required(answers).ok()
}

fn expand(model: &str) -> Command {
    Command::new("query-cpu-model-expansion")
        .arg("type", "static")
        .arg("model", json!({"name": model}))
}

/// Short names that QEMU takes for devices, and does not list.
const SHORT_NAMES: [(&str, &str); 2] = [("ahci", "ich9-ahci"), ("lsi", "lsi53c895a")];

fn device_types(types: Vec<TypeInfo>) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = types
        .into_iter()
        .map(|info| info.name)
        .filter(|name| is_of_interest(name))
        .collect();
    for (short, full) in SHORT_NAMES {
        if names.contains(full) {
            names.insert(short.to_owned());
        }
    }
    names
}

/// Machine types and processor models are listed elsewhere, with more detail.
fn is_of_interest(name: &str) -> bool {
    !name.ends_with("-machine") && !name.ends_with("-cpu")
}

#[derive(Deserialize)]
struct Target {
    arch: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMachine {
    name: String,
    #[serde(default)]
    alias: Option<String>,
    #[serde(default)]
    is_default: bool,
    cpu_max: u32,
    #[serde(default)]
    deprecated: bool,
    #[serde(default)]
    hotpluggable_cpus: bool,
    #[serde(default)]
    default_cpu_type: Option<String>,
    #[serde(default)]
    default_ram_id: Option<String>,
}

impl From<RawMachine> for MachineType {
    fn from(raw: RawMachine) -> Self {
        // QEMU names the class (`qemu64-x86_64-cpu`); the model is what comes before.
        let default_cpu = raw
            .default_cpu_type
            .map(|class| match class.rsplit_once('-') {
                Some((rest, "cpu")) => rest
                    .rsplit_once('-')
                    .map_or(rest, |(model, _)| model)
                    .to_owned(),
                _ => class,
            });
        Self {
            name: raw.name,
            alias: raw.alias,
            default: raw.is_default,
            cpus_max: raw.cpu_max,
            deprecated: raw.deprecated,
            hotpluggable_cpus: raw.hotpluggable_cpus,
            default_cpu,
            default_ram_id: raw.default_ram_id,
        }
    }
}

#[derive(Deserialize)]
struct RawOption {
    option: String,
    #[serde(default)]
    parameters: Vec<Named>,
}

impl RawOption {
    fn split(self) -> (String, BTreeSet<String>) {
        (
            self.option,
            self.parameters
                .into_iter()
                .map(|named| named.name)
                .collect(),
        )
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawCpu {
    name: String,
    #[serde(default)]
    alias_of: Option<String>,
    #[serde(default)]
    unavailable_features: Vec<String>,
    #[serde(default)]
    deprecated: bool,
}

impl From<RawCpu> for CpuModel {
    fn from(raw: RawCpu) -> Self {
        Self {
            name: raw.name,
            canonical: raw.alias_of,
            blockers: raw
                .unavailable_features
                .iter()
                .map(|feature| feature_from_qemu(feature).to_owned())
                .collect(),
            deprecated: raw.deprecated,
        }
    }
}

#[derive(Deserialize)]
struct RawExpansion {
    model: RawModel,
}

#[derive(Deserialize)]
struct RawModel {
    name: String,
    #[serde(default)]
    props: Map<String, Value>,
}
