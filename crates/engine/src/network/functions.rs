//! Cards that are virtual functions of a device (SR-IOV): what they send as is
//! set through their device before they are given to the driver that hands
//! devices to machines, and set back when the machine is done with them. What
//! it was is in a file of its own, so that also another daemon gives it back.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::nodedev::bind;
use model::domain::Domain;
use model::domain::interface::{Interface, InterfaceType};
use model::domain::vlan::PortVlans;
use model::xml::YesNo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use sys::functions::FunctionSettings;
use uuid::Uuid;

const SYSFS: &str = "/sys";
/// The driver that hands devices to machines.
const DRIVER: &str = "vfio-pci";

/// Which machine has which function, by the function's address.
#[derive(Debug, Default)]
pub(crate) struct Owners(Mutex<BTreeMap<String, Uuid>>);

impl Owners {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a function to a machine, or tells which machine has it.
    fn give(&self, address: &str, machine: Uuid) -> std::result::Result<(), Uuid> {
        let mut held = self.held();
        match held.get(address) {
            Some(owner) => Err(*owner),
            None => {
                held.insert(address.to_owned(), machine);
                Ok(())
            }
        }
    }

    /// Whether a machine may give a function back: not one that another has.
    fn may_free(&self, address: &str, machine: Uuid) -> bool {
        self.held()
            .get(address)
            .is_none_or(|owner| *owner == machine)
    }

    fn forget(&self, address: &str) {
        self.held().remove(address);
    }

    fn is_given(&self, address: &str) -> bool {
        self.held().contains_key(address)
    }
}

/// What a function was before a machine got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// The device it is a function of.
    device: String,
    number: u32,
    mac: [u8; 6],
    vlan: u16,
    /// Whether its driver was taken from it.
    managed: bool,
}

impl Held {
    fn settings(&self) -> FunctionSettings {
        FunctionSettings {
            mac: self.mac,
            vlan: self.vlan,
        }
    }
}

/// What sets functions: the kernel, or a test.
trait Functions {
    fn settings(&self, device: &str, number: u32) -> Result<FunctionSettings>;
    fn set(&self, device: &str, number: u32, settings: &FunctionSettings) -> Result<()>;
}

struct Kernel;

impl Functions for Kernel {
    fn settings(&self, device: &str, number: u32) -> Result<FunctionSettings> {
        sys::functions::settings(device, number)
            .map_err(|e| EngineError::system("cannot read what a virtual function is", e))
    }

    fn set(&self, device: &str, number: u32, settings: &FunctionSettings) -> Result<()> {
        sys::functions::set(device, number, settings)
            .map_err(|e| EngineError::system("cannot set up a virtual function", e))
    }
}

/// What a card wants its function to be; none where it is no function of a host's device.
struct Wanted {
    address: String,
    settings: FunctionSettings,
    managed: bool,
}

impl Wanted {
    fn of(card: &Interface) -> Result<Option<Wanted>> {
        let source = card.source.as_ref();
        let hostdev = source.and_then(|source| source.hostdev.as_ref());
        let (Some(hostdev), InterfaceType::Hostdev) = (hostdev, card.actual_kind()) else {
            return Ok(None);
        };
        let vlans = card.vlan.as_ref().map(|vlan| vlan.port()).transpose();
        let vlans = vlans.map_err(|why| EngineError::new(ErrorKind::ConfigUnsupported, why))?;
        let vlan = match vlans.flatten() {
            None => 0,
            Some(PortVlans::Access(tag)) => tag,
            Some(PortVlans::Trunk { .. }) => {
                return Err(EngineError::new(
                    ErrorKind::ConfigUnsupported,
                    "vlan trunking is not supported by SR-IOV network devices",
                ));
            }
        };
        let mac = card.mac().map(|mac| mac.0).unwrap_or_default();
        Ok(Some(Wanted {
            address: hostdev.pci.to_string(),
            settings: FunctionSettings { mac, vlan },
            managed: card.managed.is_some_and(YesNo::is_yes),
        }))
    }
}

/// The device that a function is one of, and its number there.
fn place(sysfs: &Path, address: &str) -> Result<(String, u32)> {
    let parent = sysfs.join("bus/pci/devices").join(address).join("physfn");
    let first = |folder: &Path| {
        let entry = std::fs::read_dir(folder).ok()?.flatten().next()?;
        entry.file_name().into_string().ok()
    };
    let number = |number: &u32| {
        let link = std::fs::read_link(parent.join(format!("virtfn{number}"))).ok();
        link.is_some_and(|link| link.file_name().is_some_and(|name| name == address))
    };
    let found = first(&parent.join("net")).zip((0..super::pool::FUNCTIONS_MAX).find(number));
    found.ok_or_else(|| {
        EngineError::new(
            ErrorKind::ConfigUnsupported,
            format!(
                "the PCI device {address} is no virtual function of a network device: interface \
                 type hostdev is currently supported on SR-IOV Virtual Functions only"
            ),
        )
    })
}

/// Sets a function up for a machine; `record` is where it is noted what it was.
fn take(wanted: &Wanted, record: &Path, sysfs: &Path, functions: &impl Functions) -> Result<()> {
    let (device, number) = place(sysfs, &wanted.address)?;
    // What a run that broke off has left is not what it was.
    give_back(&wanted.address, record, sysfs, functions);
    let before = functions.settings(&device, number)?;
    let held = Held {
        device,
        number,
        mac: before.mac,
        vlan: before.vlan,
        managed: wanted.managed,
    };
    let failed = |e| EngineError::system(&format!("cannot write {}", record.display()), e);
    let text = serde_json::to_vec(&held).map_err(|e| failed(e.into()))?;
    std::fs::create_dir_all(record.parent().unwrap_or(record)).map_err(failed)?;
    std::fs::write(record, text).map_err(failed)?;
    let mut done = functions.set(&held.device, number, &wanted.settings);
    if done.is_ok() && wanted.managed {
        done = bind::detach(sysfs, &wanted.address, DRIVER);
    }
    if done.is_err() {
        give_back(&wanted.address, record, sysfs, functions);
    }
    done
}

/// Makes a function what it was. What cannot be done is told.
fn give_back(address: &str, record: &Path, sysfs: &Path, functions: &impl Functions) {
    let text = std::fs::read(record).ok();
    let Some(held) = text.and_then(|text| serde_json::from_slice::<Held>(&text).ok()) else {
        return;
    };
    let driver = match held.managed {
        true => bind::reattach(sysfs, address),
        false => Ok(()),
    };
    let settings = functions.set(&held.device, held.number, &held.settings());
    for error in [driver.err(), settings.err()].into_iter().flatten() {
        tracing::error!(address, %error, "a virtual function is not as it was");
    }
    let _ = std::fs::remove_file(record);
}

impl Engine {
    fn function_record(&self, address: &str) -> PathBuf {
        let folder = self.places().run.join("functions");
        folder.join(format!("{address}.json"))
    }

    fn function_owners(&self) -> &Owners {
        &self.networks_table().functions
    }

    /// Sets up the functions that wanted cards of a machine have. On an error none of them is.
    pub(crate) fn take_functions(
        &self,
        domain: &Domain,
        wanted: impl Fn(&Interface) -> bool,
    ) -> Result<()> {
        let machine = crate::facts::uuid(domain);
        let cards = domain.devices.interfaces.iter();
        let mut taken = Vec::new();
        for card in cards.filter(|card| wanted(card)) {
            let done = Wanted::of(card).and_then(|wanted| match wanted {
                None => Ok(()),
                Some(wanted) => self.take_function(&wanted, machine),
            });
            if done.is_err() {
                let taken = taken.into_iter();
                taken.for_each(|card| self.free_function(machine, card));
                return done;
            }
            taken.push(card);
        }
        Ok(())
    }

    fn take_function(&self, wanted: &Wanted, machine: Uuid) -> Result<()> {
        let (address, owners) = (&wanted.address, self.function_owners());
        owners.give(address, machine).map_err(|owner| {
            let named = self.domain_by_uuid(owner);
            let name = named.map_or_else(|_| owner.to_string(), |d| d.view().name.to_string());
            EngineError::new(
                ErrorKind::OperationInvalid,
                format!("PCI device {address} is in use by domain {name}"),
            )
        })?;
        let record = self.function_record(address);
        let taken = take(wanted, &record, Path::new(SYSFS), &Kernel);
        if taken.is_err() {
            owners.forget(address);
        }
        taken
    }

    /// Takes note of the functions that a machine has which another daemon started.
    pub(crate) fn keep_functions(&self, domain: &Domain) {
        let machine = crate::facts::uuid(domain);
        for card in &domain.devices.interfaces {
            if let Ok(Some(wanted)) = Wanted::of(card)
                && self
                    .function_owners()
                    .give(&wanted.address, machine)
                    .is_err()
            {
                tracing::warn!(address = wanted.address, "two machines have one function");
            }
        }
    }

    /// Makes those functions what they were that a daemon set up for a start it did not live to
    /// note, once it is known what machines there are.
    pub(crate) fn free_stray_functions(&self) {
        let folder = self.places().run.join("functions");
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let record = entry.path();
            let address = record.file_stem().unwrap_or_default().to_string_lossy();
            if !self.function_owners().is_given(&address) {
                give_back(&address, &record, Path::new(SYSFS), &Kernel);
            }
        }
    }

    /// Makes all functions of a machine what they were.
    pub(crate) fn free_functions(&self, domain: &Domain) {
        let machine = crate::facts::uuid(domain);
        let cards = domain.devices.interfaces.iter();
        cards.for_each(|card| self.free_function(machine, card));
    }

    /// The same for one card of a machine.
    pub(crate) fn free_function(&self, machine: Uuid, card: &Interface) {
        if let Ok(Some(Wanted { address, .. })) = Wanted::of(card)
            && self.function_owners().may_free(&address, machine)
        {
            let record = self.function_record(&address);
            give_back(&address, &record, Path::new(SYSFS), &Kernel);
            self.function_owners().forget(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::fs;
    use std::os::unix::fs::symlink;

    const ADDRESS: &str = "0000:04:10.2";

    /// Stands in for the kernel: notes what is set.
    #[derive(Default)]
    struct Notes(RefCell<Vec<String>>);

    impl Functions for Notes {
        fn settings(&self, _: &str, _: u32) -> Result<FunctionSettings> {
            Ok(FunctionSettings {
                mac: [2, 0, 0, 0, 0, 9],
                vlan: 5,
            })
        }

        fn set(&self, device: &str, number: u32, settings: &FunctionSettings) -> Result<()> {
            let FunctionSettings { mac, vlan } = settings;
            let line = format!("{device} {number} {mac:02x?} {vlan}");
            self.0.borrow_mut().push(line);
            Ok(())
        }
    }

    /// A device with three functions, as sysfs shows it.
    fn host() -> tempfile::TempDir {
        let sysfs = tempfile::tempdir().expect("a folder");
        let pci = sysfs.path().join("bus/pci");
        let devices = pci.join("devices");
        fs::create_dir_all(devices.join("0000:04:00.0/net/eth3")).expect("made");
        fs::create_dir_all(pci.join("drivers/vfio-pci")).expect("made");
        fs::write(pci.join("drivers_probe"), "").expect("made");
        for number in 0..3 {
            let address = format!("0000:04:10.{number}");
            let function = devices.join(&address);
            fs::create_dir_all(&function).expect("made");
            fs::write(function.join("driver_override"), "").expect("made");
            symlink("../0000:04:00.0", function.join("physfn")).expect("made");
            let link = devices.join(format!("0000:04:00.0/virtfn{number}"));
            symlink(format!("../{address}"), link).expect("made");
        }
        sysfs
    }

    fn card(extra: &str) -> Interface {
        let xml = format!(
            "<domain type='qemu'><name>m</name><memory>1</memory><os><type>hvm</type></os><devices>\
             <interface type='hostdev' managed='yes'><mac address='52:54:00:01:02:03'/><source>\
             <address type='pci' domain='0' bus='4' slot='16' function='2'/></source>{extra}</interface></devices></domain>"
        );
        let mut domain = Domain::parse(&xml).expect("a machine");
        domain.devices.interfaces.remove(0)
    }

    #[test]
    fn a_function_is_set_up_bound_and_given_back() {
        let sysfs = host();
        let record = sysfs.path().join("run/functions/one.json");
        let kernel = Notes::default();
        let wanted = Wanted::of(&card("<vlan><tag id='42'/></vlan>"));
        let wanted = wanted.expect("sound").expect("a function");
        take(&wanted, &record, sysfs.path(), &kernel).expect("taken");
        let overridden = sysfs
            .path()
            .join(format!("bus/pci/devices/{ADDRESS}/driver_override"));
        let driver = || {
            fs::read_to_string(&overridden)
                .expect("there")
                .replace('\n', "")
        };
        assert!(driver().starts_with(DRIVER), "{}", driver());
        give_back(ADDRESS, &record, sysfs.path(), &kernel);
        assert_eq!(
            kernel.0.take(),
            [
                "eth3 2 [52, 54, 00, 01, 02, 03] 42",
                "eth3 2 [02, 00, 00, 00, 00, 09] 5"
            ]
        );
        assert!(!record.exists());
        // There is nothing left to give back.
        give_back(ADDRESS, &record, sysfs.path(), &kernel);
        assert!(kernel.0.take().is_empty());
    }

    #[test]
    fn a_function_has_one_machine_and_only_that_gives_it_back() {
        let owners = Owners::default();
        let [one, two] = [1, 2].map(Uuid::from_u128);
        assert!(owners.may_free(ADDRESS, two), "of a run nobody knows");
        assert_eq!(owners.give(ADDRESS, one), Ok(()));
        assert_eq!(owners.give(ADDRESS, two), Err(one));
        assert_eq!(owners.give(ADDRESS, one), Err(one), "not for two cards");
        assert!(owners.may_free(ADDRESS, one) && !owners.may_free(ADDRESS, two));
        owners.forget(ADDRESS);
        assert!(!owners.is_given(ADDRESS));
        assert_eq!(owners.give(ADDRESS, two), Ok(()));
    }

    #[test]
    fn what_cannot_be_a_card_is_refused_and_left_alone() {
        let sysfs = host();
        let wanted = Wanted {
            address: "0000:04:00.0".into(),
            settings: FunctionSettings::default(),
            managed: true,
        };
        let record = sysfs.path().join("record");
        let kernel = Notes::default();
        let error = take(&wanted, &record, sysfs.path(), &kernel).expect_err("no function");
        assert!(
            error.message.contains("SR-IOV Virtual Functions only"),
            "{error}"
        );
        assert!(!record.exists() && kernel.0.take().is_empty());
        let trunk = "<vlan trunk='yes'><tag id='1'/><tag id='2'/></vlan>";
        let error = Wanted::of(&card(trunk)).err().expect("refused");
        assert!(error.message.contains("trunking"), "{error}");
    }

    #[test]
    fn a_function_without_the_driver_is_as_it_was() {
        let sysfs = host();
        fs::remove_dir(sysfs.path().join("bus/pci/drivers/vfio-pci")).expect("ours");
        let record = sysfs.path().join("record");
        let kernel = Notes::default();
        let wanted = Wanted::of(&card("")).expect("sound").expect("a function");
        let error = take(&wanted, &record, sysfs.path(), &kernel).expect_err("no driver");
        assert!(error.message.contains("vfio-pci"), "{error}");
        assert_eq!(kernel.0.take().len(), 2);
        assert!(!record.exists());
    }
}
