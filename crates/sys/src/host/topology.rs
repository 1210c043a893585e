//! Processors, how they hang together, and the NUMA nodes.

use std::collections::BTreeSet;

use super::{Host, NodeMemory, PagePool, parse_list};
use crate::error::SysResult;

/// What `nodeinfo` answers. Where the product of nodes, sockets, cores and
/// threads would not be the number of processors, as on some machines, it is
/// one node with one socket of that many cores: libvirt does the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Architecture (`x86_64`).
    pub model: String,
    /// Memory of all nodes together, in KiB. Some virtual machines have more
    /// that belongs to no node.
    pub memory_kib: u64,
    /// Processors online.
    pub cpus: u32,
    /// Clock of a processor, 0 when it is not told.
    pub mhz: u32,
    /// NUMA nodes.
    pub nodes: u32,
    /// Sockets per node.
    pub sockets: u32,
    /// Cores per socket.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
}

/// Which processors there are, and which are online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuMap {
    /// Present ones: one more than the highest number.
    pub present: u32,
    /// The numbers of those online, sorted.
    pub online: Vec<u32>,
}

impl CpuMap {
    /// The online ones as libvirt's bitmap: processor 0 is the lowest bit of
    /// the first byte.
    pub fn bitmap(&self) -> Vec<u8> {
        let mut bytes = vec![0; (self.present as usize).div_ceil(8)];
        for cpu in &self.online {
            if let Some(byte) = bytes.get_mut(*cpu as usize / 8) {
                *byte |= 1 << (cpu % 8);
            }
        }
        bytes
    }
}

/// A processor's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// Its number.
    pub id: u32,
    /// Socket.
    pub socket: u32,
    /// Die within the socket.
    pub die: u32,
    /// Cluster within the die; 65535 where the kernel knows none.
    pub cluster: u32,
    /// Core within the socket.
    pub core: u32,
    /// The threads of its core, itself included.
    pub siblings: Vec<u32>,
}

/// A NUMA node with what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Its number.
    pub id: u32,
    /// Its memory.
    pub memory: NodeMemory,
    /// Its pages, by size.
    pub pages: Vec<PagePool>,
    /// Distances to the nodes, itself included: (node, distance).
    pub distances: Vec<(u32, u32)>,
    /// Its processors that are online.
    pub processors: Vec<Processor>,
}

const CPUS: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";

impl Host {
    /// Which processors there are.
    pub fn cpu_map(&self) -> SysResult<CpuMap> {
        let present = self.list(format!("{CPUS}/present"));
        let all = match present {
            Some(list) => list,
            None => self.numbered(CPUS, "cpu")?,
        };
        let online = self
            .list(format!("{CPUS}/online"))
            .unwrap_or_else(|| all.clone());
        Ok(CpuMap {
            present: all.last().map_or(0, |last| last + 1),
            online,
        })
    }

    /// The numbers of the NUMA nodes; none on a kernel without them.
    pub fn numa_nodes(&self) -> SysResult<Vec<u32>> {
        self.numbered(NODES, "node")
    }

    /// Whether devices are kept apart in memory, so that a guest can be given
    /// one.
    pub fn has_iommu(&self) -> bool {
        let groups = std::fs::read_dir(self.path("sys/kernel/iommu_groups"));
        groups.is_ok_and(|mut groups| groups.next().is_some())
    }

    /// What `nodeinfo` answers.
    pub fn node_info(&self) -> SysResult<NodeInfo> {
        let map = self.cpu_map()?;
        let cells = self.cells()?;
        let mut info = NodeInfo {
            model: self.names().architecture,
            memory_kib: cells.iter().map(|cell| cell.memory.total_kib).sum(),
            cpus: map.online.len() as u32,
            mhz: self.cpu_info()?.mhz.unwrap_or(0),
            nodes: cells.len().max(1) as u32,
            sockets: 1,
            cores: 1,
            threads: 1,
        };
        for cell in &cells {
            let (sockets, cores, threads) = shape(&cell.processors);
            info.sockets = info.sockets.max(sockets);
            info.cores = info.cores.max(cores);
            info.threads = info.threads.max(threads);
        }
        let all = self
            .list(format!("{CPUS}/present"))
            .map_or(info.cpus, |list| list.len() as u32);
        if info.nodes * info.sockets * info.cores * info.threads != all {
            (info.nodes, info.sockets, info.cores, info.threads) = (1, 1, all, 1);
        }
        Ok(info)
    }

    /// The NUMA nodes; on a kernel without them one that has everything.
    pub fn cells(&self) -> SysResult<Vec<Cell>> {
        let online = self.cpu_map()?.online;
        let nodes = self.numa_nodes()?;
        if nodes.is_empty() {
            return Ok(vec![self.cell(0, Vec::new(), &online)?]);
        }
        let mut cells = Vec::new();
        for &node in &nodes {
            let own = self
                .list(format!("{NODES}/node{node}/cpulist"))
                .unwrap_or_default();
            let own: Vec<u32> = own.into_iter().filter(|cpu| online.contains(cpu)).collect();
            let distances = self.read_if_there(format!("{NODES}/node{node}/distance"));
            let distances = distances.unwrap_or_default();
            let numbers = distances
                .split_ascii_whitespace()
                .filter_map(|n| n.parse().ok());
            cells.push(self.cell(node, nodes.iter().copied().zip(numbers).collect(), &own)?);
        }
        Ok(cells)
    }

    fn cell(&self, id: u32, distances: Vec<(u32, u32)>, cpus: &[u32]) -> SysResult<Cell> {
        Ok(Cell {
            id,
            memory: self.node_memory(id)?,
            pages: self.pages(id)?,
            distances,
            processors: cpus.iter().map(|cpu| self.processor(*cpu)).collect(),
        })
    }

    /// What the kernel does not tell about a processor is as on a machine of
    /// single cores.
    fn processor(&self, id: u32) -> Processor {
        let number = |name: &str| {
            let path = format!("{CPUS}/cpu{id}/topology/{name}");
            self.number_in(path).and_then(|n| u32::try_from(n).ok())
        };
        Processor {
            id,
            socket: number("physical_package_id").unwrap_or(0),
            die: number("die_id").unwrap_or(0),
            cluster: number("cluster_id").unwrap_or(0),
            core: number("core_id").unwrap_or(id),
            siblings: self
                .list(format!("{CPUS}/cpu{id}/topology/thread_siblings_list"))
                .unwrap_or_else(|| vec![id]),
        }
    }

    fn list(&self, path: String) -> Option<Vec<u32>> {
        parse_list(&self.read_if_there(path)?).filter(|list| !list.is_empty())
    }
}

/// Sockets, most cores of a socket, most threads of a core.
fn shape(processors: &[Processor]) -> (u32, u32, u32) {
    let sockets: BTreeSet<u32> = processors.iter().map(|cpu| cpu.socket).collect();
    let cores_of = |socket: u32| {
        let own = processors.iter().filter(|cpu| cpu.socket == socket);
        own.map(|cpu| (cpu.die, cpu.core))
            .collect::<BTreeSet<_>>()
            .len() as u32
    };
    let cores = sockets
        .iter()
        .map(|socket| cores_of(*socket))
        .max()
        .unwrap_or(1);
    let threads = processors
        .iter()
        .map(|cpu| cpu.siblings.len() as u32)
        .max()
        .unwrap_or(1);
    (sockets.len().max(1) as u32, cores, threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host of two nodes, each a socket of two cores of two threads.
    fn two_nodes(offline: &[u32]) -> (tempfile::TempDir, Host) {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: String, text: String| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let online: Vec<u32> = (0..8).filter(|cpu| !offline.contains(cpu)).collect();
        write("proc/cpuinfo".into(), "cpu MHz : 1999.9\n".into());
        write(
            "proc/meminfo".into(),
            "MemTotal: 2000 kB\nMemFree: 70 kB\n".into(),
        );
        write(format!("{CPUS}/present"), "0-7\n".into());
        write(format!("{CPUS}/online"), super::super::format_list(&online));
        for node in 0..2 {
            let at = format!("{NODES}/node{node}");
            write(
                format!("{at}/cpulist"),
                format!("{}-{}\n", node * 4, node * 4 + 3),
            );
            write(
                format!("{at}/distance"),
                if node == 0 { "10 21" } else { "21 10" }.into(),
            );
            let text = format!("Node {node} MemTotal: 1000 kB\nNode {node} MemFree: 7 kB\n");
            write(format!("{at}/meminfo"), text);
        }
        for cpu in online {
            let at = format!("{CPUS}/cpu{cpu}/topology");
            write(format!("{at}/physical_package_id"), (cpu / 4).to_string());
            write(format!("{at}/core_id"), (cpu / 2 % 2).to_string());
            write(format!("{at}/cluster_id"), "65535".into());
            let first = cpu / 2 * 2;
            write(
                format!("{at}/thread_siblings_list"),
                format!("{first}-{}", first + 1),
            );
        }
        let host = Host::below(directory.path());
        (directory, host)
    }

    #[test]
    fn counts_per_node_socket_and_core() {
        let (_directory, host) = two_nodes(&[]);
        let info = host.node_info().unwrap();
        assert_eq!(
            (info.nodes, info.sockets, info.cores, info.threads),
            (2, 1, 2, 2)
        );
        assert_eq!((info.cpus, info.mhz, info.memory_kib), (8, 1999, 2000));
        let cells = host.cells().unwrap();
        assert_eq!(cells[1].distances, [(0, 21), (1, 10)]);
        assert_eq!(
            cells[1].memory,
            NodeMemory {
                total_kib: 1000,
                free_kib: 7
            }
        );
        let last = cells[1].processors.last().unwrap();
        assert_eq!(
            (last.id, last.socket, last.core, last.cluster),
            (7, 1, 1, 65_535)
        );
        assert_eq!(last.siblings, [6, 7]);
    }

    #[test]
    fn offline_processors_count_as_there() {
        let (_directory, host) = two_nodes(&[7]);
        let info = host.node_info().unwrap();
        assert_eq!(
            (info.nodes, info.sockets, info.cores, info.threads),
            (2, 1, 2, 2)
        );
        assert_eq!(info.cpus, 7);
        let map = host.cpu_map().unwrap();
        assert_eq!((map.present, map.bitmap()), (8, vec![0x7f]));
    }

    #[test]
    fn a_topology_that_does_not_add_up_is_flattened() {
        let (_directory, host) = two_nodes(&[4, 5, 6, 7]);
        // A whole node is off: the product is still right.
        assert_eq!(host.node_info().unwrap().nodes, 2);
        let (directory, host) = two_nodes(&[]);
        std::fs::write(directory.path().join(format!("{CPUS}/present")), "0-8\n").unwrap();
        let info = host.node_info().unwrap();
        assert_eq!(
            (info.nodes, info.sockets, info.cores, info.threads),
            (1, 1, 9, 1)
        );
    }

    #[test]
    fn this_host_adds_up() {
        let host = Host::new();
        let info = host.node_info().unwrap();
        let product = info.nodes * info.sockets * info.cores * info.threads;
        assert!(product >= info.cpus && info.cpus > 0);
        assert!(host.cpu_map().unwrap().online.contains(&0));
    }
}
