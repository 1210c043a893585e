//! Which images a domain still needs once snapshots have been deleted or the
//! domain has gone back to one, and the steps that put away the others.
//!
//! An image is *held* where a snapshot needs its content as it is, *active*
//! where the domain writes to it, and *tagged* where it keeps snapshots inside.
//! An image that is neither held nor active is merged with the one image that
//! is based on it, or removed where nothing is; unless it is somebody else's
//! or was there before any snapshot (then it is never removed), and unless
//! merging would take away what tags are based on.

use crate::chain::Step;
use std::collections::{BTreeMap, BTreeSet};

/// The images of a domain's disks, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// The image each one is based on.
    pub below: BTreeMap<String, String>,
    /// Formats, by libvirt's word.
    pub formats: BTreeMap<String, String>,
    /// Those that snapshots have made: they may be removed.
    pub made: BTreeSet<String>,
    /// Those that somebody else uses too: they are never touched.
    pub foreign: BTreeSet<String>,
    /// Those the domain writes to.
    pub active: BTreeSet<String>,
    /// The snapshots that hold each image's content.
    pub held: BTreeMap<String, BTreeSet<String>>,
    /// The snapshots kept inside each image.
    pub tags: BTreeMap<String, BTreeSet<String>>,
}

/// How far putting away goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Remove images nothing is based on; merge none.
    Remove,
    /// Merge too.
    Merge,
}

/// What is to be done, and what is where afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Images whose content is in another one afterwards: from, to.
    pub moved: BTreeMap<String, String>,
}

impl Images {
    /// Puts away what is not needed; `self` becomes what is there afterwards.
    pub fn put_away(&mut self, candidates: &BTreeSet<String>, extent: Extent) -> Plan {
        let mut plan = Plan::default();
        let mut left = candidates.clone();
        loop {
            let next = left.iter().find_map(|image| self.fate(image, extent));
            match next {
                None => return plan,
                Some(Fate::Remove(image)) => {
                    self.forget(&image);
                    left.remove(&image);
                    plan.steps.push(Step::Remove { image });
                }
                Some(Fate::Merge { top, base }) => {
                    self.merge(&top, &base, &mut plan);
                    left.remove(&top);
                }
            }
        }
    }

    fn fate(&self, image: &str, extent: Extent) -> Option<Fate> {
        let is_free = !self.active.contains(image) && !is_any(&self.held, image);
        if !is_free || self.foreign.contains(image) {
            return None;
        }
        let mut based = self.based_on(image);
        let Some(top) = based.next() else {
            let removable = self.made.contains(image) && !is_any(&self.tags, image);
            return removable.then(|| Fate::Remove(image.to_owned()));
        };
        let alone = based.next().is_none();
        let mergeable = alone
            && extent == Extent::Merge
            && self.made.contains(top)
            && !self.foreign.contains(top)
            && !is_any(&self.tags, top);
        mergeable.then(|| Fate::Merge {
            top: top.to_owned(),
            base: image.to_owned(),
        })
    }

    fn based_on<'a>(&'a self, image: &'a str) -> impl Iterator<Item = &'a str> {
        self.below
            .iter()
            .filter(move |(_, below)| *below == image)
            .map(|(top, _)| top.as_str())
    }

    fn format(&self, image: &str) -> String {
        let format = self.formats.get(image).map_or("qcow2", String::as_str);
        format.to_owned()
    }

    fn merge(&mut self, top: &str, base: &str, plan: &mut Plan) {
        plan.steps.push(Step::Commit {
            top: top.to_owned(),
            format: self.format(top),
            base: base.to_owned(),
        });
        let above: Vec<String> = self.based_on(top).map(str::to_owned).collect();
        for image in above {
            plan.steps.push(Step::Rebase {
                format: self.format(&image),
                image: image.clone(),
                backing: base.to_owned(),
                backing_format: self.format(base),
            });
            self.below.insert(image, base.to_owned());
        }
        plan.steps.push(Step::Remove {
            image: top.to_owned(),
        });
        if let Some(holders) = self.held.remove(top) {
            self.held.insert(base.to_owned(), holders);
        }
        if self.active.remove(top) {
            self.active.insert(base.to_owned());
        }
        self.forget(top);
        for to in plan.moved.values_mut().filter(|to| *to == top) {
            *to = base.to_owned();
        }
        plan.moved.insert(top.to_owned(), base.to_owned());
    }

    fn forget(&mut self, image: &str) {
        self.below.remove(image);
        self.made.remove(image);
        self.held.remove(image);
        self.tags.remove(image);
    }
}

enum Fate {
    Remove(String),
    Merge { top: String, base: String },
}

fn is_any(map: &BTreeMap<String, BTreeSet<String>>, image: &str) -> bool {
    map.get(image).is_some_and(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCKS: usize = 6;

    /// A host's images: blocks of their own over the image below, and the
    /// same once more for each snapshot inside.
    #[derive(Debug, Clone, Default)]
    struct Disks {
        blocks: BTreeMap<String, [Option<u8>; BLOCKS]>,
        below: BTreeMap<String, String>,
        tags: BTreeMap<(String, String), [Option<u8>; BLOCKS]>,
    }

    impl Disks {
        fn read(&self, image: &str) -> [u8; BLOCKS] {
            self.over(&self.blocks[image], image)
        }

        fn read_tag(&self, image: &str, tag: &str) -> [u8; BLOCKS] {
            self.over(&self.tags[&(image.to_owned(), tag.to_owned())], image)
        }

        fn over(&self, own: &[Option<u8>; BLOCKS], image: &str) -> [u8; BLOCKS] {
            let below = self.below.get(image).map(|below| self.read(below));
            std::array::from_fn(|i| own[i].unwrap_or_else(|| below.map_or(0, |below| below[i])))
        }

        fn run(&mut self, step: &Step) {
            match step {
                Step::Overlay { image, backing, .. } => {
                    assert!(self.blocks.contains_key(backing));
                    let fresh = self.blocks.insert(image.clone(), [None; BLOCKS]);
                    assert!(fresh.is_none(), "{image} was there already");
                    self.below.insert(image.clone(), backing.clone());
                }
                Step::Commit { top, base, .. } => {
                    let own = self.blocks[top];
                    assert_eq!(self.below.get(top), Some(base));
                    let base = self.blocks.get_mut(base).expect("the base");
                    for (block, own) in base.iter_mut().zip(own) {
                        *block = own.or(*block);
                    }
                }
                Step::Rebase { image, backing, .. } => {
                    self.below.insert(image.clone(), backing.clone());
                }
                Step::Remove { image } => {
                    assert!(
                        self.below.values().all(|below| below != image),
                        "{image} is a base"
                    );
                    self.blocks.remove(image);
                    self.below.remove(image);
                }
                other => panic!("no step of a merge: {other:?}"),
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Act {
        Write(usize, u8),
        External,
        Internal,
        Revert(usize),
        Delete(Vec<usize>),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (0..BLOCKS, 1..=255u8).prop_map(|(at, byte)| Act::Write(at, byte)),
            3 => Just(Act::External),
            1 => Just(Act::Internal),
            2 => (0..8usize).prop_map(Act::Revert),
            3 => prop::collection::vec(0..8usize, 1..4).prop_map(Act::Delete),
        ]
    }

    /// A domain with one disk, its snapshots (name to image, and whether it is
    /// inside) and what each must read as.
    #[derive(Debug)]
    struct World {
        disks: Disks,
        images: Images,
        snapshots: BTreeMap<String, (String, bool)>,
        contents: BTreeMap<String, [u8; BLOCKS]>,
        next: u32,
    }

    impl World {
        fn new() -> Self {
            let mut disks = Disks::default();
            disks.blocks.insert("template".into(), [Some(7); BLOCKS]);
            disks.blocks.insert("base".into(), [None; BLOCKS]);
            disks.below.insert("base".into(), "template".into());
            let images = Images {
                below: disks.below.clone(),
                active: ["base".to_owned()].into(),
                ..Images::default()
            };
            Self {
                disks,
                images,
                snapshots: BTreeMap::new(),
                contents: BTreeMap::new(),
                next: 0,
            }
        }

        fn active(&self) -> String {
            self.images.active.first().expect("an active image").clone()
        }

        fn overlay(&mut self, backing: &str) {
            self.next += 1;
            let image = format!("overlay{}", self.next);
            self.disks.run(&Step::Overlay {
                image: image.clone(),
                format: "qcow2".into(),
                backing: backing.to_owned(),
                backing_format: "qcow2".into(),
            });
            self.images.below.insert(image.clone(), backing.to_owned());
            self.images.made.insert(image.clone());
            self.images.active = [image].into();
        }

        fn pick(&self, at: usize) -> Option<String> {
            let count = self.snapshots.len();
            let mut names = self.snapshots.keys();
            (count > 0).then(|| names.nth(at % count).cloned())?
        }

        fn put_away(&mut self, extent: Extent) {
            let mut candidates = self.images.made.clone();
            candidates.insert("base".to_owned());
            let plan = self.images.put_away(&candidates, extent);
            for step in &plan.steps {
                self.disks.run(step);
            }
            for (image, _) in self.snapshots.values_mut() {
                if let Some(to) = plan.moved.get(image) {
                    *image = to.clone();
                }
            }
        }

        fn act(&mut self, act: &Act) {
            let active = self.active();
            match act {
                Act::Write(at, byte) => {
                    let blocks = self
                        .disks
                        .blocks
                        .get_mut(&active)
                        .expect("the active image");
                    blocks[*at] = Some(*byte);
                }
                Act::External => {
                    self.next += 1;
                    let name = format!("s{:03}", self.next);
                    self.contents.insert(name.clone(), self.disks.read(&active));
                    self.images
                        .held
                        .entry(active.clone())
                        .or_default()
                        .insert(name.clone());
                    self.snapshots.insert(name, (active.clone(), false));
                    self.overlay(&active);
                }
                Act::Internal => {
                    self.next += 1;
                    let name = format!("s{:03}", self.next);
                    self.contents.insert(name.clone(), self.disks.read(&active));
                    let own = self.disks.blocks[&active];
                    self.disks.tags.insert((active.clone(), name.clone()), own);
                    self.images
                        .tags
                        .entry(active.clone())
                        .or_default()
                        .insert(name.clone());
                    self.snapshots.insert(name, (active, true));
                }
                Act::Revert(at) => {
                    let Some(name) = self.pick(*at) else { return };
                    let (image, inside) = self.snapshots[&name].clone();
                    if !inside {
                        self.overlay(&image);
                        self.put_away(Extent::Remove);
                    } else if image == active {
                        let own = self.disks.tags[&(image.clone(), name)];
                        self.disks.blocks.insert(image, own);
                    }
                }
                Act::Delete(which) => {
                    for at in which {
                        let Some(name) = self.pick(*at) else { break };
                        let (image, inside) = self.snapshots.remove(&name).expect("picked");
                        self.contents.remove(&name);
                        let holders = if inside {
                            &mut self.images.tags
                        } else {
                            &mut self.images.held
                        };
                        holders.get_mut(&image).expect("held").remove(&name);
                        self.disks.tags.remove(&(image, name));
                    }
                    self.put_away(Extent::Merge);
                }
            }
        }

        fn check(&self) {
            for (name, (image, inside)) in &self.snapshots {
                let content = match inside {
                    true => self.disks.read_tag(image, name),
                    false => self.disks.read(image),
                };
                assert_eq!(content, self.contents[name], "{name} in {image}");
            }
            for base in ["template", "base"] {
                assert!(self.disks.blocks.contains_key(base), "{base} is gone");
            }
            assert_eq!(self.disks.read("template"), [7; BLOCKS]);
            assert_eq!(self.images.below, self.disks.below);
        }
    }

    proptest! {
        #[test]
        fn every_remaining_snapshot_keeps_its_content(acts in prop::collection::vec(act(), 1..40)) {
            let mut world = World::new();
            for act in &acts {
                let before = world.disks.read(&world.active());
                world.act(act);
                if matches!(act, Act::External | Act::Internal | Act::Delete(_)) {
                    prop_assert_eq!(world.disks.read(&world.active()), before);
                }
                world.check();
            }
        }

        #[test]
        fn without_snapshots_one_image_is_left(acts in prop::collection::vec(act(), 1..40)) {
            let mut world = World::new();
            for act in &acts {
                world.act(act);
            }
            world.act(&Act::Delete(vec![0; 40]));
            world.check();
            let left: Vec<&String> = world.disks.blocks.keys().collect();
            prop_assert_eq!(left, ["base", "template"]);
            prop_assert_eq!(world.active(), "base");
        }
    }

    #[test]
    fn what_others_use_is_not_touched() {
        let mut images = Images {
            below: [("top".to_owned(), "base".to_owned())].into(),
            made: ["top".to_owned()].into(),
            foreign: ["base".to_owned()].into(),
            active: ["top".to_owned()].into(),
            ..Images::default()
        };
        let all = ["base".to_owned(), "top".to_owned()].into();
        assert_eq!(images.put_away(&all, Extent::Merge), Plan::default());
    }
}
