//! From what a user wrote to the full definition libvirt would make of it:
//! defaults, implicit devices, stable addresses, and the refusal of what
//! cannot work.
//!
//! The steps run in libvirt's order, since later ones look at what earlier
//! ones filled in. Completing a complete definition changes nothing.

mod addresses;
mod basics;
mod chardev_defaults;
mod context;
mod cpu;
mod default_devices;
mod device_defaults;
mod firmware;
mod graphics;
mod implicit;
mod machine;
mod order;
mod pci;
mod usb;
mod validate;

pub use context::{DefineContext, FirmwareImage};
pub(super) use implicit::mirror_consoles;
pub use machine::MachineFamily;

use super::Domain;
use crate::xml::XmlError;

impl Domain {
    /// Fills in everything the definition leaves open and checks the result.
    ///
    /// # Errors
    /// The first thing that is missing, wrong or not supported, in libvirt's
    /// wording. The domain is then half completed and should be dropped.
    pub fn complete(&mut self, context: &DefineContext) -> Result<(), XmlError> {
        device_defaults::name_companions(&mut self.devices.controllers);
        order::sort_disks(&mut self.devices.disks);
        order::sort_controllers(&mut self.devices.controllers);
        order::sort_videos(&mut self.devices.videos);
        implicit::add_for_hostdevs(self);
        basics::identify(self, context)?;
        order::assign_controller_indexes(&mut self.devices.controllers);
        basics::complete_memory(self, context)?;
        firmware::complete(self, context)?;
        default_devices::add(self, context)?;
        cpu::complete(self, context)?;
        device_defaults::complete(self, context)?;
        graphics::complete(self)?;
        basics::complete_rest(self)?;
        implicit::add(self, context)?;
        validate::check_early(self)?;
        addresses::assign(self, context)?;
        implicit::mirror_consoles(self);
        validate::check(self, context)
    }
}
