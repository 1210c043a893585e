//! Growing the root partition and its file system to the end of their disk:
//! what guestfish is asked about a guest, and what it is then told to do.
//!
//! What guestfish prints of a guest is the guest's own choice of words, so it
//! is read with bounds, and names go into a script only where they are plain.

use std::collections::BTreeMap;
use thiserror::Error;

/// Lines of guestfish's answer that are looked at.
pub const LAYOUT_LINES_MAX: usize = 20_000;
/// What is left free behind the last partition: GPT's second copy, and less
/// than a step of the usual alignment.
const TAIL_BYTES: u64 = 1024 * 1024;
const SECTOR_BYTES: u64 = 512;

/// Why a guest's root cannot be grown.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GrowError {
    /// There is no root file system that could be found.
    #[error("no root file system was found inside")]
    NoRoot,
    /// The root is on something that is not grown.
    #[error("the root file system is on '{0}': only partitions and logical volumes are grown")]
    Device(String),
    /// Another partition is in the way.
    #[error(
        "partition {behind} lies behind the root's partition {root} of disk {disk}: move it away first"
    )]
    Behind {
        /// The disk's number, from 1 on.
        disk: usize,
        /// The root's partition.
        root: u32,
        /// The one behind it.
        behind: u32,
    },
    /// The root is in an extended partition.
    #[error(
        "the root is in the logical partition {0}, which is not grown: use a GPT, or a primary partition"
    )]
    Logical(u32),
    /// The volume group has several disks or partitions.
    #[error(
        "the root's volume group has {0} physical volumes: which of them is to grow is not for this command to say"
    )]
    Volumes(usize),
    /// A file system that does not grow.
    #[error("the root file system is of type '{0}': ext2, ext3, ext4, xfs and btrfs are grown")]
    FileSystem(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Partition {
    number: u32,
    start: u64,
    end: u64,
}

/// What guestfish found in a guest's disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    root: Option<String>,
    types: BTreeMap<String, String>,
    /// By the disks' numbers, from 0 on: the kind of table, and what is in it.
    disks: BTreeMap<usize, (String, Vec<Partition>)>,
    physical_volumes: Vec<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// The number of the disk that grows, from 0 on.
    pub disk: usize,
    /// The root file system's device and type, for people.
    pub root: String,
    table: String,
    partition: Option<Partition>,
    /// The logical volume on it.
    volume: Option<String>,
    device: String,
    kind: FileSystem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileSystem {
    Ext,
    Xfs,
    Btrfs,
}

/// The name of a disk inside, by its number from 0 on.
fn disk_name(number: usize) -> String {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap_or(0));
    match number {
        0..26 => format!("/dev/sd{}", letter(number)),
        _ => format!("/dev/sd{}{}", letter(number / 26 - 1), letter(number)),
    }
}

/// What guestfish is asked about a guest of so many disks, with its file systems mounted (`-i`).
pub fn questions(disks: usize) -> String {
    let mut script = String::from(
        "echo == mounts\nmountpoints\necho == filesystems\nlist-filesystems\necho == volumes\n-pvs\n",
    );
    for number in 0..disks {
        let name = disk_name(number);
        script.push_str(&format!(
            "echo == disk {number}\n-part-get-parttype {name}\n-part-list {name}\n"
        ));
    }
    script
}

impl Layout {
    /// Reads guestfish's answers to [`questions`].
    pub fn read(answer: &str) -> Layout {
        let mut layout = Layout::default();
        let mut section = "";
        for line in answer.lines().take(LAYOUT_LINES_MAX) {
            if let Some(next) = line.strip_prefix("== ") {
                section = next;
                continue;
            }
            match section {
                "mounts" => layout.mount(line),
                "filesystems" => {
                    if let Some((device, kind)) = line.rsplit_once(": ") {
                        layout
                            .types
                            .insert(device.to_owned(), kind.trim().to_owned());
                    }
                }
                "volumes" => layout.physical_volumes.push(line.trim().to_owned()),
                other => {
                    let number = other.strip_prefix("disk ").and_then(|n| n.parse().ok());
                    if let Some(number) = number {
                        layout.partition(number, line);
                    }
                }
            }
        }
        layout
    }

    fn mount(&mut self, line: &str) {
        if let Some((device, "/")) = line.trim_end().rsplit_once(": ") {
            self.root = Some(device.to_owned());
        }
    }

    fn partition(&mut self, disk: usize, line: &str) {
        let (table, partitions) = self.disks.entry(disk).or_default();
        let Some((name, value)) = line.trim().split_once(": ") else {
            let word = line.trim();
            if table.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()) {
                word.clone_into(table);
            }
            return;
        };
        let Ok(value) = value.trim().parse::<u64>() else {
            return;
        };
        match (name, partitions.last_mut()) {
            ("part_num", _) => partitions.push(Partition {
                number: u32::try_from(value).unwrap_or(u32::MAX),
                start: 0,
                end: 0,
            }),
            ("part_start", Some(last)) => last.start = value,
            ("part_end", Some(last)) => last.end = value,
            _ => {}
        }
    }

    /// What must be done so that the root takes the rest of its disk.
    pub fn growth(&self) -> Result<Growth, GrowError> {
        let mounted = self.root.as_deref().ok_or(GrowError::NoRoot)?;
        // A subvolume of btrfs: `btrfsvol:/dev/sda2/@`.
        let subvolume = mounted.strip_prefix("btrfsvol:");
        let device = match subvolume {
            Some(path) => path.split('/').take(3).collect::<Vec<_>>().join("/"),
            None => mounted.to_owned(),
        };
        if !is_plain(&device) {
            return Err(GrowError::Device(device));
        }
        let kind = self.types.get(mounted).or_else(|| self.types.get(&device));
        let kind = kind.map_or("unknown", String::as_str);
        let file_system = match (kind, subvolume) {
            (_, Some(_)) | ("btrfs", None) => FileSystem::Btrfs,
            ("ext2" | "ext3" | "ext4", None) => FileSystem::Ext,
            ("xfs", None) => FileSystem::Xfs,
            (other, None) => return Err(GrowError::FileSystem(other.to_owned())),
        };
        let (volume, carrier) = match place(&device) {
            Some(_) => (None, device.clone()),
            None => (Some(device.clone()), self.physical_volume(&device)?),
        };
        let (disk, number) = place(&carrier).ok_or_else(|| GrowError::Device(carrier.clone()))?;
        let (table, partitions) = self.disks.get(&disk).cloned().unwrap_or_default();
        let partition = match number {
            None => None,
            Some(number) => Some(last_partition(disk, number, &table, &partitions)?),
        };
        Ok(Growth {
            disk,
            root: format!("{device} ({kind})"),
            table,
            partition,
            volume,
            device,
            kind: file_system,
        })
    }

    fn physical_volume(&self, device: &str) -> Result<String, GrowError> {
        // A logical volume is `/dev/GROUP/NAME`.
        let is_volume = device
            .strip_prefix("/dev/")
            .is_some_and(|rest| rest.split('/').count() == 2 && !rest.starts_with("mapper/"));
        match self.physical_volumes.as_slice() {
            _ if !is_volume => Err(GrowError::Device(device.to_owned())),
            [one] => Ok(one.clone()),
            several => Err(GrowError::Volumes(several.len())),
        }
    }
}

/// The root's partition, which must be the last one on its disk.
fn last_partition(
    disk: usize,
    number: u32,
    table: &str,
    partitions: &[Partition],
) -> Result<Partition, GrowError> {
    const FIRST_LOGICAL: u32 = 5;
    if table == "msdos" && number >= FIRST_LOGICAL {
        return Err(GrowError::Logical(number));
    }
    let root = partitions.iter().find(|p| p.number == number);
    let root = *root.ok_or(GrowError::NoRoot)?;
    match partitions.iter().find(|p| p.start > root.start) {
        None => Ok(root),
        Some(behind) => Err(GrowError::Behind {
            disk: disk + 1,
            root: number,
            behind: behind.number,
        }),
    }
}

/// Whether a name can stand in a script as it is.
fn is_plain(name: &str) -> bool {
    name.starts_with("/dev/")
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/_-.+".contains(&b))
}

/// The number of the disk and of the partition that a device is.
fn place(device: &str) -> Option<(usize, Option<u32>)> {
    let name = device.strip_prefix("/dev/sd")?;
    let digits = name
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(name.len());
    let (letters, number) = name.split_at(digits);
    let of = |c: u8| c.is_ascii_lowercase().then(|| usize::from(c - b'a'));
    let disk = match letters.as_bytes() {
        [one] => of(*one)?,
        [first, second] => (of(*first)? + 1) * 26 + of(*second)?,
        _ => return None,
    };
    match number {
        "" => Some((disk, None)),
        number => Some((disk, Some(number.parse().ok()?))),
    }
}

impl Growth {
    /// What guestfish is told, once the disk has `bytes`.
    pub fn script(&self, bytes: u64) -> String {
        let disk = disk_name(self.disk);
        let mut script = String::from("run\n");
        if self.table == "gpt" {
            script.push_str(&format!("part-expand-gpt {disk}\n"));
        }
        if let Some(partition) = self.partition
            && bytes.saturating_sub(partition.end) > 2 * TAIL_BYTES
        {
            let last = (bytes - TAIL_BYTES) / SECTOR_BYTES - 1;
            script.push_str(&format!("part-resize {disk} {} {last}\n", partition.number));
        }
        if let Some(volume) = &self.volume {
            let carrier = match self.partition {
                Some(partition) => format!("{disk}{}", partition.number),
                None => disk,
            };
            script.push_str(&format!(
                "pvresize {carrier}\n-lvresize-free {volume} 100\n"
            ));
        }
        let device = &self.device;
        script.push_str(&match self.kind {
            FileSystem::Ext => format!("e2fsck {device} correct:true\nresize2fs {device}\n"),
            FileSystem::Xfs => format!("mount {device} /\nxfs-growfs /\n"),
            FileSystem::Btrfs => format!("mount {device} /\nbtrfs-filesystem-resize /\n"),
        });
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEBIAN: &str = "== mounts\n/dev/sda1: /\n/dev/sda15: /boot/efi\n== filesystems\n\
        /dev/sda1: ext4\n/dev/sda14: unknown\n/dev/sda15: vfat\n== volumes\n== disk 0\ngpt\n\
        [0] = {\n  part_num: 1\n  part_start: 134217728\n  part_end: 2146435071\n}\n\
        [1] = {\n  part_num: 14\n  part_start: 1048576\n  part_end: 4194303\n}\n\
        [2] = {\n  part_num: 15\n  part_start: 4194304\n  part_end: 134217727\n}\n";

    #[test]
    fn the_last_partition_takes_the_rest() {
        let growth = Layout::read(DEBIAN).growth().expect("it can grow");
        assert_eq!((growth.disk, growth.root.as_str()), (0, "/dev/sda1 (ext4)"));
        let wanted = "run\npart-expand-gpt /dev/sda\npart-resize /dev/sda 1 8386559\n\
                      e2fsck /dev/sda1 correct:true\nresize2fs /dev/sda1\n";
        assert_eq!(growth.script(4 << 30), wanted);
        // There is no room: the file system may still be smaller than its partition.
        assert!(!growth.script(2147483648).contains("part-resize"));
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let behind = DEBIAN.replace("/dev/sda1: /\n", "/dev/sda15: /\n");
        let behind = behind.replace("/dev/sda15: vfat", "/dev/sda15: ext4");
        assert_eq!(
            Layout::read(&behind).growth(),
            Err(GrowError::Behind {
                disk: 1,
                root: 15,
                behind: 1
            })
        );
        let windows = DEBIAN.replace("sda1: ext4", "sda1: ntfs");
        assert_eq!(
            Layout::read(&windows).growth(),
            Err(GrowError::FileSystem("ntfs".into()))
        );
        assert_eq!(Layout::read("").growth(), Err(GrowError::NoRoot));
        let logical = DEBIAN
            .replace("gpt", "msdos")
            .replace("sda1: /\n", "sda14: /\n")
            .replace("sda14: unknown", "sda14: ext4");
        assert_eq!(Layout::read(&logical).growth(), Err(GrowError::Logical(14)));
    }

    #[test]
    fn volumes_and_subvolumes() {
        let lvm = "== mounts\n/dev/vg0/root: /\n== filesystems\n/dev/vg0/root: xfs\n== volumes\n\
                   /dev/sdb2\n== disk 1\nmsdos\n[0] = {\n part_num: 2\n part_start: 5\n part_end: 9\n}\n";
        let growth = Layout::read(lvm).growth().expect("it can grow");
        assert_eq!(growth.disk, 1);
        let script = growth.script(1 << 30);
        assert!(script.contains(
            "part-resize /dev/sdb 2 2095103\npvresize /dev/sdb2\n-lvresize-free /dev/vg0/root 100\n"
        ));
        assert!(
            script.ends_with("mount /dev/vg0/root /\nxfs-growfs /\n"),
            "{script}"
        );
        let two = lvm.replace("/dev/sdb2\n", "/dev/sdb2\n/dev/sdc\n");
        assert_eq!(Layout::read(&two).growth(), Err(GrowError::Volumes(2)));

        let btrfs = "== mounts\nbtrfsvol:/dev/sda/root: /\n== filesystems\n== disk 0\n";
        let growth = Layout::read(btrfs).growth().expect("it can grow");
        assert_eq!(
            growth.script(1 << 30),
            "run\nmount /dev/sda /\nbtrfs-filesystem-resize /\n"
        );
    }

    #[test]
    fn names_of_devices_go_around() {
        for number in [0, 1, 25, 26, 51, 52, 700] {
            assert_eq!(place(&disk_name(number)), Some((number, None)));
        }
        assert_eq!(place("/dev/sda12"), Some((0, Some(12))));
        assert_eq!(place("/dev/vg/root"), None);
    }

    proptest! {
        #[test]
        fn nothing_a_guest_says_gets_into_a_script(
            lines in prop::collection::vec("(== [a-z]+ ?[0-9]?|/dev/[a-z0-9/;\"' ]{1,9}: [/a-z0-9]{1,5}|gpt| *part_[a-z]{3,5}: [0-9]{1,20})", 0..40)
        ) {
            if let Ok(growth) = Layout::read(&lines.join("\n")).growth() {
                let script = growth.script(1 << 40);
                let is_fine = script.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-.+: \n".contains(&b));
                prop_assert!(is_fine, "{script}");
            }
        }
    }
}
