//! Which control groups this host has, and where the daemon's own are.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Branch, Cgroup, Controller, Manager, SLICE, Version, read, write};
use crate::error::SysResult;

/// What control groups there are for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Makes groups; none when there are none to be had.
    pub manager: Option<Manager>,
    /// What is missing, in words, for the log.
    pub notes: Vec<String>,
}

/// A mounted tree, from one line of `mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tree {
    version: Version,
    mount_point: PathBuf,
    /// The group that the mount point shows.
    root: String,
    /// Version 1's options: `cpu`, `cpuacct`, `name=systemd`, ….
    options: Vec<String>,
}

/// Looks at this host. Makes the slice's directories where it may, since only
/// trying tells.
///
/// `kept` is a group that a service manager keeps for machines
/// (`/machine.slice/stead-machines.service`): where a tree has it, machines'
/// groups lie below it instead of below the daemon's own, so that nothing done
/// to the daemon's unit is done to the machines.
pub fn detect(kept: Option<&str>) -> Availability {
    let none = |note: String| Availability {
        manager: None,
        notes: vec![note],
    };
    let (mounts, own) = match (read(Path::new("/proc/self/mountinfo")), own_groups("self")) {
        (Ok(mounts), Ok(own)) => (mounts, own),
        (Err(e), _) | (_, Err(e)) => return none(format!("no control groups: {e}")),
    };
    let trees = parse_mounts(&mounts);
    if let Some(found) = version_2(&trees, &own, kept) {
        return found;
    }
    let mut notes = Vec::new();
    let mut branches = Vec::new();
    for tree in &trees {
        // A tree without controllers tells the service manager whose unit a process is of.
        let controllers = version_1_controllers(tree);
        let own = || own_directory(tree, &own).filter(|_| !controllers.is_empty());
        let Some(directory) = kept_directory(tree, kept).or_else(own) else {
            continue;
        };
        let directory = directory.join(SLICE);
        match fs::create_dir_all(&directory) {
            Ok(()) => branches.push(Branch {
                controllers,
                directory,
            }),
            Err(e) => notes.push(format!(
                "no {controllers:?} control: {}: {e}",
                directory.display()
            )),
        }
    }
    if branches.is_empty() {
        notes.push("no control groups: machines are neither bounded nor accounted".to_owned());
        return Availability {
            manager: None,
            notes,
        };
    }
    Availability {
        manager: Some(Manager {
            version: Version::V1,
            branches,
        }),
        notes,
    }
}

/// The group called `name` of a process.
pub(super) fn of_process(pid: i32, name: &str) -> SysResult<Option<Cgroup>> {
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let groups = own_groups(&pid.to_string())?;
    let named = |directory: &&Path| directory.file_name().and_then(|n| n.to_str()) == Some(name);
    let found: Vec<(Tree, PathBuf)> = parse_mounts(&mounts)
        .into_iter()
        .filter_map(|tree| {
            let own = own_directory(&tree, &groups)?;
            // Its first thread may be in a group of threads within the group.
            let directory = own.ancestors().take(2).find(named)?.to_path_buf();
            Some((tree, directory))
        })
        .collect();
    if found.is_empty() {
        return Ok(None);
    }
    let version = if found
        .iter()
        .any(|(tree, _)| !version_1_controllers(tree).is_empty())
    {
        Version::V1
    } else {
        Version::V2
    };
    let branch = |(tree, directory): (Tree, PathBuf)| Branch {
        controllers: match (tree.version, version) {
            (Version::V1, _) => version_1_controllers(&tree),
            (Version::V2, Version::V2) => version_2_controllers(&directory),
            // Version 1 does the work; here it is only told whose processes these are.
            (Version::V2, Version::V1) => Vec::new(),
        },
        directory,
    };
    Ok(Some(Cgroup {
        name: name.to_owned(),
        version,
        branches: found.into_iter().map(branch).collect(),
    }))
}

/// Version 2, if its tree has the controllers that matter. `None` to look
/// for version 1.
fn version_2(trees: &[Tree], own: &[OwnGroup], kept: Option<&str>) -> Option<Availability> {
    let tree = trees.iter().find(|tree| tree.version == Version::V2)?;
    let offered = fs::read_to_string(tree.mount_point.join("cgroup.controllers")).ok()?;
    let has = |name: &str| offered.split_ascii_whitespace().any(|word| word == name);
    let only_tree = trees.iter().all(|tree| tree.version == Version::V2);
    if !(has("cpu") && has("memory") || only_tree) {
        return None;
    }
    let kept = kept_directory(tree, kept);
    let is_kept = kept.is_some();
    let base = kept.or_else(|| own_directory(tree, own))?;
    let mut notes = Vec::new();
    let slice = base.join(SLICE);
    if let Err(e) = fs::create_dir_all(&slice) {
        let note = format!("no control groups: {}: {e}", slice.display());
        return Some(Availability {
            manager: None,
            notes: vec![note],
        });
    }
    if base != tree.mount_point {
        let moved = if is_kept {
            let holders = read_pids(&base);
            move_to_leaf(&base.join("holder"), &holders)
        } else {
            move_to_leaf(&base.join("daemon"), &[std::process::id().to_string()])
        };
        notes.extend(moved.err());
    }
    enable(&base, &mut notes);
    enable(&slice, &mut notes);
    // What the slice's children get is what machines can be bounded by.
    let enabled = fs::read_to_string(slice.join("cgroup.subtree_control")).unwrap_or_default();
    let mut controllers = controllers_named(&enabled);
    controllers.extend([Controller::CpuAccounting, Controller::Freezer]);
    let branches = vec![Branch {
        controllers,
        directory: slice,
    }];
    Some(Availability {
        manager: Some(Manager {
            version: Version::V2,
            branches,
        }),
        notes,
    })
}

/// A group that hands its controllers down to groups below it may not hold
/// processes itself, so those that are in it move into a leaf first; where
/// others are in the daemon's own group too, enabling fails.
fn move_to_leaf(leaf: &Path, pids: &[String]) -> Result<(), String> {
    let failed =
        |e: &dyn std::fmt::Display| format!("cannot make the group {}: {e}", leaf.display());
    fs::create_dir_all(leaf).map_err(|e| failed(&e))?;
    for pid in pids {
        write(&leaf.join("cgroup.procs"), pid).map_err(|e| failed(&e))?;
    }
    Ok(())
}

fn read_pids(group: &Path) -> Vec<String> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The directory of the group that is kept for machines, if this tree has it.
fn kept_directory(tree: &Tree, kept: Option<&str>) -> Option<PathBuf> {
    let kept = kept.filter(|_| tree.root == "/")?;
    let directory = tree.mount_point.join(kept.trim_start_matches('/'));
    directory.is_dir().then_some(directory)
}

/// Enables, for the groups below, every controller that is useful and there.
fn enable(directory: &Path, notes: &mut Vec<String>) {
    let offered = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    for name in ["cpu", "cpuset", "io", "memory", "pids"] {
        if !offered.split_ascii_whitespace().any(|word| word == name) {
            continue;
        }
        if let Err(e) = write(
            &directory.join("cgroup.subtree_control"),
            &format!("+{name}"),
        ) {
            notes.push(format!("no {name} control for machines: {e}"));
        }
    }
}

fn version_2_controllers(directory: &Path) -> Vec<Controller> {
    let text = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    let mut controllers = controllers_named(&text);
    controllers.extend([Controller::CpuAccounting, Controller::Freezer]);
    controllers
}

fn controllers_named(text: &str) -> Vec<Controller> {
    let named = |word: &str| match word {
        "cpu" => Some(Controller::Cpu),
        "cpuset" => Some(Controller::CpuSet),
        "io" => Some(Controller::BlockIo),
        "memory" => Some(Controller::Memory),
        "pids" => Some(Controller::Pids),
        _ => None,
    };
    text.split_ascii_whitespace().filter_map(named).collect()
}

/// The controllers of a version 1 tree; none of any other tree.
fn version_1_controllers(tree: &Tree) -> Vec<Controller> {
    let options = tree.options.iter().filter(|_| tree.version == Version::V1);
    options
        .filter_map(|option| version_1_controller(option))
        .collect()
}

fn version_1_controller(option: &str) -> Option<Controller> {
    match option {
        "cpu" => Some(Controller::Cpu),
        "cpuacct" => Some(Controller::CpuAccounting),
        "memory" => Some(Controller::Memory),
        "cpuset" => Some(Controller::CpuSet),
        "blkio" => Some(Controller::BlockIo),
        "devices" => Some(Controller::Devices),
        "freezer" => Some(Controller::Freezer),
        "pids" => Some(Controller::Pids),
        _ => None,
    }
}

/// A line of `/proc/PID/cgroup`: the tree's controllers, and the group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnGroup {
    controllers: Vec<String>,
    path: String,
}

fn own_groups(process: &str) -> SysResult<Vec<OwnGroup>> {
    Ok(parse_own(&read(
        &Path::new("/proc").join(process).join("cgroup"),
    )?))
}

fn parse_own(text: &str) -> Vec<OwnGroup> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let controllers = controllers
            .split(',')
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect();
        Some(OwnGroup {
            controllers,
            path: path.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// The directory of a process's group in a tree, if the mount shows it.
fn own_directory(tree: &Tree, groups: &[OwnGroup]) -> Option<PathBuf> {
    let group = groups.iter().find(|group| match tree.version {
        Version::V2 => group.controllers.is_empty(),
        Version::V1 => {
            !group.controllers.is_empty()
                && group
                    .controllers
                    .iter()
                    .all(|name| tree.options.contains(name))
        }
    })?;
    let below = if tree.root == "/" {
        group.path.as_str()
    } else {
        let rest = group.path.strip_prefix(&tree.root)?;
        if !(rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        rest
    };
    // A path out of the namespace begins with "/..": not ours to use.
    if below.split('/').any(|part| part == "..") {
        return None;
    }
    let below = below.trim_start_matches('/');
    Some(if below.is_empty() {
        tree.mount_point.clone()
    } else {
        tree.mount_point.join(below)
    })
}

fn parse_mounts(mountinfo: &str) -> Vec<Tree> {
    mountinfo.lines().filter_map(parse_mount).collect()
}

/// `36 25 0:31 / /sys/fs/cgroup/cpu rw,… shared:9 - cgroup cgroup rw,cpu`
fn parse_mount(line: &str) -> Option<Tree> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, mount_point) = (before.next()?, before.next()?);
    let mut after = after.split(' ');
    let version = match after.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options = after.nth(1)?.split(',').map(str::to_owned).collect();
    Some(Tree {
        version,
        mount_point: PathBuf::from(mount_point),
        root: root.to_owned(),
        options,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
36 25 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
37 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
38 25 0:33 /inner /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
39 25 0:34 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=systemd
40 25 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
41 25 8:1 / /home rw - ext4 /dev/sda1 rw
";
    const OWN: &str = "\
5:cpu,cpuacct:/system.slice/stead.service
4:memory:/
3:pids:/inner/x
2:name=systemd:/a:b
0::/system.slice/stead.service
";

    #[test]
    fn finds_the_own_group_in_each_tree() {
        let (trees, own) = (parse_mounts(HYBRID), parse_own(OWN));
        let directories: Vec<Option<PathBuf>> =
            trees.iter().map(|tree| own_directory(tree, &own)).collect();
        let wanted = [
            "/sys/fs/cgroup/cpu,cpuacct/system.slice/stead.service",
            "/sys/fs/cgroup/memory",
            "/sys/fs/cgroup/pids/x",
            "/sys/fs/cgroup/systemd/a:b",
            "/sys/fs/cgroup/unified/system.slice/stead.service",
        ];
        assert_eq!(directories, wanted.map(|path| Some(PathBuf::from(path))));
    }

    #[test]
    fn a_group_the_mount_does_not_show_is_left_alone() {
        let tree = &parse_mounts(HYBRID)[2];
        for path in ["/outer", "/innermost", "/inner/../x"] {
            assert_eq!(
                own_directory(tree, &parse_own(&format!("3:pids:{path}\n"))),
                None
            );
        }
    }

    #[test]
    fn nonsense_is_skipped() {
        assert!(parse_mounts("\n1 2\n- cgroup\n1 2 3 / /x - cgroup\n").is_empty());
        assert!(parse_own("\n1\n1:x\n").is_empty());
    }
}
