//! Memory: the host's, each node's, and huge pages.

use std::path::PathBuf;

use super::Host;
use crate::error::SysResult;

/// The host's memory, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All there is.
    pub total_kib: u64,
    /// Unused.
    pub free_kib: u64,
    /// Block device buffers.
    pub buffers_kib: u64,
    /// Page cache.
    pub cached_kib: u64,
    /// What programs can still have without swapping.
    pub available_kib: u64,
}

/// A NUMA node's memory, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// All there is.
    pub total_kib: u64,
    /// Unused.
    pub free_kib: u64,
}

/// The pages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagePool {
    /// Size of a page in KiB.
    pub size_kib: u64,
    /// How many there are.
    pub total: u64,
    /// How many are unused.
    pub free: u64,
}

impl Host {
    /// The whole host's memory.
    pub fn memory(&self) -> SysResult<Memory> {
        let text = self.read("proc/meminfo")?;
        Ok(Memory {
            total_kib: kib(&text, "MemTotal"),
            free_kib: kib(&text, "MemFree"),
            buffers_kib: kib(&text, "Buffers"),
            cached_kib: kib(&text, "Cached"),
            available_kib: kib(&text, "MemAvailable"),
        })
    }

    /// A NUMA node's memory. A host without nodes has all of it on node 0.
    pub fn node_memory(&self, node: u32) -> SysResult<NodeMemory> {
        let path = format!("sys/devices/system/node/node{node}/meminfo");
        match self.read(path) {
            Ok(text) => Ok(NodeMemory {
                total_kib: kib(&text, &format!("Node {node} MemTotal")),
                free_kib: kib(&text, &format!("Node {node} MemFree")),
            }),
            Err(_) if node == 0 && self.numa_nodes()?.is_empty() => {
                let Memory {
                    total_kib,
                    free_kib,
                    ..
                } = self.memory()?;
                Ok(NodeMemory {
                    total_kib,
                    free_kib,
                })
            }
            Err(e) => Err(e),
        }
    }

    /// The pages of a node: the ordinary ones that are not in huge pages
    /// first, then each size of huge page.
    pub fn pages(&self, node: u32) -> SysResult<Vec<PagePool>> {
        let memory = self.node_memory(node)?;
        let mut directory = format!("sys/devices/system/node/node{node}/hugepages");
        if !self.path(&directory).exists() {
            directory = "sys/kernel/mm/hugepages".to_owned();
        }
        let mut huge = self.huge_pages_in(&directory)?;
        let in_huge: u64 = huge.iter().map(|pool| pool.total * pool.size_kib).sum();
        let size_kib = rustix::param::page_size() as u64 / 1024;
        let mut pools = vec![PagePool {
            size_kib,
            total: memory.total_kib.saturating_sub(in_huge) / size_kib,
            free: memory.free_kib / size_kib,
        }];
        pools.append(&mut huge);
        Ok(pools)
    }

    /// The whole host's huge pages, by size.
    pub fn huge_pages(&self) -> SysResult<Vec<PagePool>> {
        self.huge_pages_in("sys/kernel/mm/hugepages")
    }

    fn huge_pages_in(&self, directory: &str) -> SysResult<Vec<PagePool>> {
        let path = self.path(directory);
        let Ok(entries) = std::fs::read_dir(path) else {
            return Ok(Vec::new());
        };
        let mut pools = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let size = name
                .to_str()
                .and_then(|n| n.strip_prefix("hugepages-")?.strip_suffix("kB"));
            let Some(size_kib) = size.and_then(|size| size.parse().ok()) else {
                continue;
            };
            let count = |file: &str| {
                let path = format!("{directory}/{}/{file}", name.to_string_lossy());
                self.number_in(path)
                    .and_then(|n| u64::try_from(n).ok())
                    .unwrap_or(0)
            };
            let (total, free) = (count("nr_hugepages"), count("free_hugepages"));
            pools.push(PagePool {
                size_kib,
                total,
                free,
            });
        }
        pools.sort_unstable_by_key(|pool| pool.size_kib);
        Ok(pools)
    }
}

/// Where huge pages are mounted, with the size of a page in KiB; a mount of
/// the host's default size comes first.
pub fn huge_page_mounts() -> Vec<(u64, PathBuf)> {
    let host = Host::new();
    let text = host.read_if_there("proc/self/mounts").unwrap_or_default();
    let default = host
        .read_if_there("proc/meminfo")
        .map_or(0, |m| kib(&m, "Hugepagesize"));
    parse_huge_page_mounts(&text, default)
}

fn parse_huge_page_mounts(mounts: &str, default_kib: u64) -> Vec<(u64, PathBuf)> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(path), Some("hugetlbfs"), Some(options)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let given = options
            .split(',')
            .find_map(|option| size_kib(option.strip_prefix("pagesize=")?));
        // The kernel writes a space in a path as its octal number.
        found.push((
            given.unwrap_or(default_kib),
            PathBuf::from(path.replace("\\040", " ")),
        ));
    }
    found.sort_by_key(|(size, _)| (*size != default_kib, *size));
    found
}

/// `2M`, `1G`, `64K`.
fn size_kib(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "K" => 1,
        "M" => 1 << 10,
        "G" => 1 << 20,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The number in a line `Name:   123 kB`; 0 without one.
fn kib(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole() {
        let text = "MemTotal:  100 kB\nSwapCached: 3 kB\nCached:    40 kB\n";
        assert_eq!(kib(text, "Cached"), 40);
        assert_eq!(kib(text, "Buffers"), 0);
        assert_eq!(kib("Node 0 MemFree:  7 kB\n", "Node 0 MemFree"), 7);
    }

    #[test]
    fn mounts_of_huge_pages_come_with_their_size() {
        let mounts = "hugetlbfs /dev/huge1G hugetlbfs rw,pagesize=1024M 0 0\n\
            none /dev/huge\\040pages hugetlbfs rw,relatime,pagesize=2M 0 0\n\
            none /old hugetlbfs rw 0 0\n/dev/sda / ext4 rw 0 0\n";
        let found = parse_huge_page_mounts(mounts, 2048);
        let wanted = [
            (2048, "/dev/huge pages"),
            (2048, "/old"),
            (1 << 20, "/dev/huge1G"),
        ];
        assert_eq!(
            found,
            wanted.map(|(size, path)| (size, PathBuf::from(path)))
        );
        assert_eq!(size_kib("é"), None);
    }

    #[test]
    fn this_host_has_memory() {
        let host = Host::new();
        let memory = host.memory().unwrap();
        assert!(memory.total_kib > memory.free_kib && memory.free_kib > 0);
        let node = host.node_memory(0).unwrap();
        assert!(node.total_kib > 0 && node.total_kib <= memory.total_kib + 1024);
        let pages = host.pages(0).unwrap();
        assert_eq!(pages[0].size_kib, rustix::param::page_size() as u64 / 1024);
        assert!(
            pages
                .windows(2)
                .all(|pair| pair[0].size_kib < pair[1].size_kib)
        );
        assert!(host.node_memory(9999).is_err());
    }
}
