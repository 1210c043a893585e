//! What this host is and which machines it can run, for clients to compose
//! definitions from.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use model::capabilities::{HostCell, HostThread, HostTopology};
use model::sysinfo::HostSysinfo;
use qemu::caps::{Accelerator, QemuCaps};
use qemu::domcaps::{HostLoader, HostSupport, NoCapabilities, Question, domain_capabilities};
use qemu::hostcaps::{HostFacts, capabilities};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use sys::host::{Cell, Host, format_list};

/// Which machine's possibilities are asked for; what is left out is as a
/// definition without it would have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineQuestion {
    /// The QEMU program.
    pub emulator: Option<PathBuf>,
    /// The guest's architecture.
    pub arch: Option<String>,
    /// The machine type.
    pub machine: Option<String>,
    /// `kvm` or `qemu`.
    pub domain_type: Option<String>,
}

impl Engine {
    /// The host's capabilities, as libvirt's document.
    pub async fn capabilities(&self) -> Result<String> {
        let emulator = self.binaries().default_emulator()?;
        let caps = self.binaries().caps(&emulator).await?;
        let facts = self.host_facts()?;
        Ok(capabilities(&caps, &emulator.to_string_lossy(), &facts).to_xml())
    }

    /// What a machine can have on this host, as libvirt's document.
    pub async fn domain_capabilities(&self, question: &MachineQuestion) -> Result<String> {
        let (emulator, caps, accelerator) = self.emulator_asked_for(question).await?;
        let asked = Question {
            emulator: &emulator.to_string_lossy(),
            machine: question.machine.as_deref(),
            arch: question.arch.as_deref(),
            accelerator,
        };
        let answer = domain_capabilities(&caps, &asked, &self.host_support());
        Ok(answer.map_err(refused)?.to_xml())
    }

    /// The QEMU a question is about, what it can do, and what is to run guests' code.
    pub(crate) async fn emulator_asked_for(
        &self,
        question: &MachineQuestion,
    ) -> Result<(PathBuf, Arc<QemuCaps>, Accelerator)> {
        let emulator = match &question.emulator {
            Some(path) => path.clone(),
            None => self.binaries().default_emulator()?,
        };
        let caps = self.binaries().caps(&emulator).await?;
        let accelerator = match question.domain_type.as_deref() {
            Some("kvm") => Accelerator::Kvm,
            Some("qemu") => Accelerator::Tcg,
            Some(other) => {
                let message = format!("unknown virttype: {other}");
                return Err(EngineError::new(ErrorKind::InvalidArgument, message));
            }
            None if self.binaries().kvm_works() && caps.accelerator(Accelerator::Kvm).is_some() => {
                Accelerator::Kvm
            }
            None => Accelerator::Tcg,
        };
        Ok((emulator, caps, accelerator))
    }

    /// The version of QEMU: 1,000,000 times the major, 1,000 times the minor,
    /// and the micro version.
    pub async fn qemu_version(&self) -> Result<u64> {
        let emulator = self.binaries().default_emulator()?;
        Ok(self.binaries().caps(&emulator).await?.version_number())
    }

    /// What the host's firmware says of the machine, as libvirt's document.
    pub fn sysinfo(&self) -> Result<String> {
        let tables = Host::new()
            .smbios()
            .map_err(|e| EngineError::system("cannot read the host's SMBIOS tables", e))?;
        let tables = tables.ok_or_else(|| {
            let message = "Host SMBIOS information is not available";
            EngineError::new(ErrorKind::ConfigUnsupported, message)
        })?;
        let mut blocks = vec![("bios", tables.bios), ("system", tables.system)];
        blocks.extend(
            tables
                .base_boards
                .into_iter()
                .map(|board| ("baseBoard", board)),
        );
        blocks.push(("chassis", tables.chassis));
        blocks.extend(tables.processors.into_iter().map(|one| ("processor", one)));
        blocks.extend(
            tables
                .memory_devices
                .into_iter()
                .map(|one| ("memory_device", one)),
        );
        let oem_strings = tables.oem_strings;
        Ok(HostSysinfo {
            blocks,
            oem_strings,
        }
        .to_xml())
    }

    pub(crate) fn host_facts(&self) -> Result<HostFacts> {
        let fail = |e| EngineError::system("cannot look at the host", e);
        let host = Host::new();
        let cpu = host.cpu_info().map_err(fail)?;
        let node = host.node_info().map_err(fail)?;
        let cells = host.cells().map_err(fail)?;
        let pages = cells
            .first()
            .map(|cell| cell.pages.clone())
            .unwrap_or_default();
        Ok(HostFacts {
            uuid: host.firmware_uuid().or_else(|| host.machine_id()),
            arch: node.model,
            vendor_id: cpu.vendor,
            signature: (cpu.family, cpu.model, cpu.stepping),
            microcode: cpu.microcode,
            flags: cpu.flags,
            address_bits: cpu.physical_address_bits,
            cells: cells.iter().map(host_cell).collect(),
            topology: HostTopology {
                sockets: node.sockets,
                dies: 1,
                clusters: 1,
                cores: node.cores,
                threads: node.threads,
            },
            page_sizes_kib: pages.iter().map(|pool| pool.size_kib).collect(),
            // Only what can be asked of us: suspending the host cannot.
            power_management: Vec::new(),
            iommu: host.has_iommu(),
            qemu_identity: self
                .qemu_identity()
                .map(|identity| (identity.uid, identity.gid)),
        })
    }

    fn host_support(&self) -> HostSupport {
        let host = Host::new();
        let loader = |image: &model::domain::complete::FirmwareImage| HostLoader {
            path: image.code.clone(),
            machines: image.machines.clone(),
            secure: image.features.contains("secure-boot"),
        };
        HostSupport {
            loaders: self.firmware().iter().map(loader).collect(),
            tpm_emulator: crate::tpm::program().is_some(),
            vfio: host.has_iommu() && Path::new("/dev/vfio/vfio").exists(),
            address_bits: host
                .cpu_info()
                .ok()
                .and_then(|cpu| cpu.physical_address_bits),
        }
    }
}

fn refused(error: NoCapabilities) -> EngineError {
    EngineError::new(ErrorKind::InvalidArgument, error.to_string())
}

fn host_cell(cell: &Cell) -> HostCell {
    let thread = |cpu: &sys::host::Processor| HostThread {
        id: cpu.id,
        place: Some((cpu.socket, cpu.die, cpu.cluster, cpu.core)),
        siblings: format_list(&cpu.siblings),
    };
    HostCell {
        id: cell.id,
        memory_kib: cell.memory.total_kib,
        pages: cell
            .pages
            .iter()
            .map(|pool| (pool.size_kib, pool.total))
            .collect(),
        distances: cell.distances.clone(),
        cpus: cell.processors.iter().map(thread).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::host::{NodeMemory, PagePool, Processor};

    #[test]
    fn a_cell_is_told_as_libvirt_tells_it() {
        let cell = Cell {
            id: 1,
            memory: NodeMemory {
                total_kib: 100,
                free_kib: 7,
            },
            pages: vec![PagePool {
                size_kib: 4,
                total: 25,
                free: 1,
            }],
            distances: vec![(0, 21), (1, 10)],
            processors: vec![Processor {
                id: 3,
                socket: 1,
                die: 0,
                cluster: 65_535,
                core: 2,
                siblings: vec![2, 3, 7],
            }],
        };
        let told = host_cell(&cell);
        assert_eq!((told.memory_kib, told.pages), (100, vec![(4, 25)]));
        assert_eq!(told.cpus[0].place, Some((1, 0, 65_535, 2)));
        assert_eq!(told.cpus[0].siblings, "2-3,7");
    }
}
