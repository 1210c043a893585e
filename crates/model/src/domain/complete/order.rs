//! The order in which libvirt keeps disks, controllers and graphics cards:
//! a new one goes beside those of its kind, sorted by its place among them.

use crate::domain::controller::{Controller, ControllerType};
use crate::domain::disk::Disk;
use crate::domain::disk_name::disk_index;
use crate::domain::video::Video;

/// Puts `disk` where libvirt keeps it: beside disks of its bus, by name.
pub(super) fn insert_disk(disks: &mut Vec<Disk>, disk: Disk) {
    let place = |d: &Disk| disk_index(d.target_dev()).map_or(-1, i64::from);
    let mut at = None;
    for (i, other) in disks.iter().enumerate().rev() {
        if other.bus() == disk.bus() {
            if place(other) > place(&disk) {
                at = Some(i);
            } else if at.is_none() {
                at = Some(i + 1);
            }
        }
    }
    disks.insert(at.unwrap_or(disks.len()), disk);
}

/// Puts `controller` where libvirt keeps it: beside those of its type, by index.
pub(super) fn insert_controller(controllers: &mut Vec<Controller>, controller: Controller) {
    let at = controller_place(controllers, &controller);
    controllers.insert(at, controller);
}

fn controller_place(controllers: &[Controller], new: &Controller) -> usize {
    let mut at = None;
    for (i, other) in controllers.iter().enumerate().rev() {
        if other.kind != new.kind {
            continue;
        }
        let Some(new_index) = new.index_or_any.0 else {
            return i + 1;
        };
        let other_index = other.index_or_any.0;
        let companion_of_new = new.info.master.is_none()
            && other.info.master.is_some()
            && other_index == Some(new_index);
        if other_index > Some(new_index) || companion_of_new {
            at = Some(i);
        } else if at.is_none() {
            at = Some(i + 1);
        }
    }
    at.unwrap_or(controllers.len())
}

/// Sorts disks as libvirt does while it reads them.
pub(super) fn sort_disks(disks: &mut Vec<Disk>) {
    for disk in std::mem::take(disks) {
        insert_disk(disks, disk);
    }
}

/// Sorts controllers as libvirt does while it reads them.
pub(super) fn sort_controllers(controllers: &mut Vec<Controller>) {
    for controller in std::mem::take(controllers) {
        insert_controller(controllers, controller);
    }
}

/// Puts the primary graphics card first.
pub(super) fn sort_videos(videos: &mut [Video]) {
    if let Some(i) = videos.iter().position(Video::is_primary) {
        videos[..=i].rotate_right(1);
    }
}

/// Gives every controller without index the lowest free one of its type. The
/// companions of a USB 2 controller share the index of the one before them.
pub(super) fn assign_controller_indexes(controllers: &mut Vec<Controller>) {
    let mut moved = false;
    for i in 0..controllers.len() {
        if controllers[i].index_or_any.0.is_some() {
            continue;
        }
        let mut index = None;
        if i > 0 && controllers[i].is_usb2() {
            moved = true;
            index = companion_index(controllers, i);
        }
        let kind = controllers[i].kind;
        let index = index.unwrap_or_else(|| free_index(controllers, kind));
        controllers[i].index_or_any.0 = Some(index);
    }
    if moved {
        sort_controllers(controllers);
    }
}

fn companion_index(controllers: &[Controller], at: usize) -> Option<u32> {
    let previous = controllers[..at]
        .iter()
        .rev()
        .find(|c| c.kind == ControllerType::Usb)?;
    if !previous.is_usb2() {
        return None;
    }
    let index = previous.index_or_any.0?;
    let model = controllers[at].model;
    let taken = controllers.iter().any(|c| {
        c.kind == ControllerType::Usb && c.index_or_any.0 == Some(index) && c.model == model
    });
    (!taken).then_some(index)
}

/// The lowest index no controller of `kind` has.
pub(super) fn free_index(controllers: &[Controller], kind: ControllerType) -> u32 {
    (0..)
        .find(|i| {
            !controllers
                .iter()
                .any(|c| c.kind == kind && c.index_or_any.0 == Some(*i))
        })
        .unwrap_or(0)
}
