//! Plans for pools, volumes, snapshots and chains; image headers; seed images.
//!
//! - [`image`]: what an image file is, read from its own header within named limits.
//! - [`overlay`]: the few bytes of an image that builds upon another.
//! - [`seed`], [`iso`]: what a machine is told at its first boot, on a CD.
//! - [`cpio`], [`answers`]: what installers are told.
//! - [`tool`]: the command lines of qemu-img.
//! - [`task`]: what is done to images that are no volumes.
//! - [`guestfs`]: what libguestfs's programs are told.
//! - [`ovf`], [`tar`]: machines as packages that other virtualizers read and write.
//! - [`checksums`]: what publishers say beside their images.
//! - [`volume`]: how a volume is made, as a plan without choices left.
//! - [`keys`]: what encrypted images are opened with.
//! - [`chain`], [`merge`], [`snapshot`], [`tags`]: snapshots, and the images they are made of.
//!
//! Nothing here touches the host: bytes come in through [`image::Source`], plans go out.

pub mod answers;
pub mod chain;
pub mod checksums;
pub mod cpio;
pub mod guestfs;
pub mod image;
pub mod iso;
pub mod keys;
pub mod limits;
pub mod merge;
pub mod overlay;
pub mod ovf;
pub mod report;
pub mod seed;
pub mod snapshot;
pub mod tags;
pub mod tar;
pub mod task;
pub mod tool;
pub mod volume;
