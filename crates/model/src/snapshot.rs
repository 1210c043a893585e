//! Snapshots of a domain: libvirt's `<domainsnapshot>`.
//!
//! The same element is read in two ways: as a wish for a new snapshot, where
//! what only a finished one has is passed over, and as the record of one that
//! is there (`--redefine`, or our own store), where all of it counts.

use crate::domain::Domain;
use crate::domain::cpu::Cpu;
use crate::domain::disk::SnapshotMode;
use crate::domain::storage::{Encryption, ImageFormat, MetadataCache, StorageSource, StorageType};
use crate::xml::{
    Element, Node, QEMU_NAMESPACE, XmlError, XmlErrorKind, XmlFlags, XmlWriter, YesNo, element,
    expect_root, keyword, parse_document,
};
use uuid::Uuid;

keyword! {
    /// The state of the domain when the snapshot was taken.
    pub enum SnapshotState {
        NoState = "nostate",
        Running = "running",
        Blocked = "blocked",
        Paused = "paused",
        Shutdown = "shutdown",
        Shutoff = "shutoff",
        Crashed = "crashed",
        PmSuspended = "pmsuspended",
        DiskSnapshot = "disk-snapshot",
    }
}

impl SnapshotState {
    /// Whether the snapshot holds no memory of a machine that ran.
    pub fn is_offline(self) -> bool {
        matches!(self, Self::Shutoff | Self::DiskSnapshot)
    }

    /// Whether a machine that is brought back to it has a QEMU.
    pub fn is_active(self) -> bool {
        matches!(
            self,
            Self::Running | Self::Paused | Self::Blocked | Self::PmSuspended
        )
    }
}

element! {
    /// The snapshot it was taken after.
    pub struct SnapshotParent {
        leaf name: Option<String> = "name",
    }
}

element! {
    /// Where the machine's memory is.
    pub struct SnapshotMemory {
        attr mode: Option<SnapshotMode> = "snapshot",
        attr file: Option<String> = "file",
    }
}

element! {
    /// The format of a new image.
    pub struct SnapshotDriver {
        attr kind: Option<ImageFormat> = "type",
        child metadata_cache: Option<MetadataCache> = "metadata_cache",
    }
}

element! {
    /// What the snapshot does with one disk.
    pub struct SnapshotDisk {
        attr name: Option<String> = "name",
        attr mode: Option<SnapshotMode> = "snapshot",
        attr delete_in_progress: Option<YesNo> = "snapshotDeleteInProgress",
        attr kind: Option<StorageType> = "type",
        child driver: Option<SnapshotDriver> = "driver",
        child source: Option<StorageSource> = "source",
    }
}

element! {
    /// The disks of a snapshot.
    pub struct SnapshotDisks {
        list disks: Vec<SnapshotDisk> = "disk",
    }
}

element! {
    /// What QEMU had chosen for the machine when it was saved.
    pub struct SaveCookie {
        child cpu: Option<Cpu> = "cpu",
        flag slirp_helper: bool = "slirpHelper",
    }
}

/// The domain as it was: whole, or only its uuid as old snapshots have it.
#[derive(Debug, Clone, PartialEq)]
pub enum SnapshotDomain {
    /// The definition.
    Whole(Box<Domain>),
    /// The uuid.
    Uuid(Option<Uuid>),
}

impl Default for SnapshotDomain {
    fn default() -> Self {
        Self::Uuid(None)
    }
}

impl Element for SnapshotDomain {
    fn parse(node: Node) -> Result<Self, XmlError> {
        if node.attribute("type").is_some() {
            return Ok(Self::Whole(Box::new(Element::parse(node)?)));
        }
        let uuid = node.child("uuid").map(|uuid| uuid.scalar_text());
        Ok(Self::Uuid(uuid.transpose()?))
    }

    fn write(&self, name: &str, w: &mut XmlWriter) {
        w.begin(name);
        match self {
            Self::Whole(domain) => {
                domain.write_attributes(w);
                if !domain.qemu.is_empty() {
                    w.attr_str("xmlns:qemu", QEMU_NAMESPACE);
                }
                domain.write_children(w);
            }
            Self::Uuid(Some(uuid)) => w.leaf("uuid", uuid),
            Self::Uuid(None) => {}
        }
        w.end(name);
    }
}

element! {
    /// A snapshot.
    pub struct Snapshot {
        leaf name: Option<String> = "name",
        leaf description: Option<String> = "description",
        leaf state: Option<SnapshotState> = "state",
        child parent: Option<SnapshotParent> = "parent",
        leaf creation_time: Option<i64> = "creationTime",
        child memory: Option<SnapshotMemory> = "memory",
        child disks: Option<SnapshotDisks> = "disks",
        child revert_disks: Option<SnapshotDisks> = "revertDisks",
        child domain: Option<SnapshotDomain> = "domain",
        child inactive_domain: Option<SnapshotDomain> = "inactiveDomain",
        child cookie: Option<SaveCookie> = "cookie",
        leaf active: Option<u32> = "active",
    }
}

/// Elements that only a finished snapshot has.
const FINISHED: [&str; 8] = [
    "state",
    "parent",
    "creationTime",
    "revertDisks",
    "domain",
    "inactiveDomain",
    "cookie",
    "active",
];

impl Snapshot {
    /// Reads the wish for a new snapshot; `now` (seconds since the epoch) is
    /// its time and, where it has no name, its name.
    pub fn parse_request(xml: &str, now: i64) -> Result<Self, XmlError> {
        let document = parse_document(xml)?;
        let root = expect_root(&document, "domainsnapshot")?;
        let mut snapshot = Self::default();
        for child in root.children() {
            let passed_over = FINISHED.iter().any(|name| child.is(name));
            if !passed_over && (child.is_foreign() || !snapshot.take_child(child)?) {
                return Err(child.unknown_element());
            }
        }
        snapshot.name.get_or_insert_with(|| now.to_string());
        snapshot.creation_time = (now != 0).then_some(now);
        snapshot.settle(root)?;
        Ok(snapshot)
    }

    /// Reads a finished snapshot.
    pub fn parse_finished(xml: &str) -> Result<Self, XmlError> {
        let document = parse_document(xml)?;
        let root = expect_root(&document, "domainsnapshot")?;
        let missing = |what: &str| root.error(XmlErrorKind::Missing, what);
        if root.child("name").is_none() {
            return Err(missing("XML error: a redefined snapshot must have a name"));
        }
        if root.child("creationTime").is_none() {
            return Err(missing(
                "XML error: missing creationTime from existing snapshot",
            ));
        }
        let Some(state) = root.child("state") else {
            return Err(missing("XML error: missing state from existing snapshot"));
        };
        if <SnapshotState as crate::xml::Scalar>::parse(&state.text()).is_none() {
            let message = format!(
                "XML error: Invalid state '{}' in domain snapshot XML",
                state.text()
            );
            return Err(state.error(XmlErrorKind::Invalid, message));
        }
        let mut snapshot: Self = Element::parse(root)?;
        snapshot.settle(root)?;
        if snapshot.memory.is_none() {
            let mode = if snapshot.is_offline() {
                SnapshotMode::No
            } else {
                SnapshotMode::Internal
            };
            snapshot.memory = Some(SnapshotMemory {
                mode: Some(mode),
                file: None,
            });
        }
        Ok(snapshot)
    }

    fn is_offline(&self) -> bool {
        self.state.is_some_and(SnapshotState::is_offline)
    }

    /// The name; every snapshot that was read has one.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The name of its parent.
    pub fn parent_name(&self) -> Option<&str> {
        self.parent.as_ref()?.name.as_deref()
    }

    /// The disks it names.
    pub fn disks(&self) -> &[SnapshotDisk] {
        self.disks.as_ref().map_or(&[], |disks| &disks.disks)
    }

    /// The disks made when the domain was brought back to it.
    pub fn revert_disks(&self) -> &[SnapshotDisk] {
        self.revert_disks.as_ref().map_or(&[], |disks| &disks.disks)
    }

    /// Where the memory is, if that was said.
    pub fn memory_mode(&self) -> Option<SnapshotMode> {
        self.memory.as_ref()?.mode
    }

    /// Whether any part of it is in a file of its own.
    pub fn is_external(&self) -> bool {
        self.memory_mode() == Some(SnapshotMode::External)
            || self
                .disks()
                .iter()
                .any(|disk| disk.mode == Some(SnapshotMode::External))
    }

    /// The definition as it was, where the snapshot has it whole.
    pub fn whole_domain(&self) -> Option<&Domain> {
        match &self.domain {
            Some(SnapshotDomain::Whole(domain)) => Some(domain),
            _ => None,
        }
    }

    /// The stored definition a running domain had besides.
    pub fn whole_inactive_domain(&self) -> Option<&Domain> {
        match &self.inactive_domain {
            Some(SnapshotDomain::Whole(domain)) => Some(domain),
            _ => None,
        }
    }

    /// Writes libvirt's XML; passwords in the domain only if `secure`.
    pub fn to_xml(&self, secure: bool) -> String {
        let mut w = XmlWriter::new(XmlFlags {
            inactive: true,
            secure,
            migratable: false,
        });
        self.write("domainsnapshot", &mut w);
        w.finish()
    }

    /// Settles what follows from what was given, and refuses what contradicts itself.
    fn settle(&mut self, root: Node) -> Result<(), XmlError> {
        let invalid = |message: String| root.error(XmlErrorKind::Invalid, message);
        self.check_name().map_err(invalid)?;
        self.settle_memory().map_err(invalid)?;
        for list in [&mut self.disks, &mut self.revert_disks]
            .into_iter()
            .flatten()
        {
            for disk in &mut list.disks {
                disk.settle().map_err(invalid)?;
            }
        }
        if self
            .disks
            .as_ref()
            .is_some_and(|disks| disks.disks.is_empty())
        {
            self.disks = None;
        }
        Ok(())
    }

    fn check_name(&self) -> Result<(), String> {
        let name = self.name();
        let problem = if name.contains('/') {
            "name can't contain '/'"
        } else if name.starts_with('.') {
            "name can't start with '.'"
        } else if name.is_empty() {
            "name can't be empty"
        } else if name.chars().any(char::is_control) {
            "name can't contain control characters"
        } else {
            return Ok(());
        };
        Err(format!(
            "XML error: invalid snapshot name '{name}': {problem}"
        ))
    }

    fn settle_memory(&mut self) -> Result<(), String> {
        let offline = self.is_offline();
        let Some(memory) = &mut self.memory else {
            return Ok(());
        };
        if memory.file.is_some() {
            memory.mode.get_or_insert(SnapshotMode::External);
        }
        match (&memory.file, memory.mode) {
            (None, Some(SnapshotMode::External)) => {
                Err("XML error: external memory snapshots require a filename".to_owned())
            }
            (Some(file), mode) if mode != Some(SnapshotMode::External) => Err(format!(
                "XML error: memory filename '{file}' requires external snapshot"
            )),
            (Some(file), _) if !file.starts_with('/') => Err(format!(
                "XML error: memory snapshot file path ({file}) must be absolute"
            )),
            (_, Some(SnapshotMode::Manual)) => {
                Err("XML error: unknown memory snapshot setting 'manual'".to_owned())
            }
            (_, Some(SnapshotMode::Internal | SnapshotMode::External)) if offline => Err(
                "XML error: memory state cannot be saved with offline or disk-only snapshot"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

impl SnapshotDisk {
    /// The local path of the image it names.
    pub fn path(&self) -> Option<&str> {
        let source = self.source.as_ref()?;
        source.file.as_deref().or(source.dev.as_deref())
    }

    /// The name it was given: the disk's target or its source.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The format of its image, if that was said.
    pub fn format(&self) -> Option<ImageFormat> {
        self.driver.as_ref()?.kind
    }

    fn settle(&mut self) -> Result<(), String> {
        if self.name.is_none() {
            return Err("XML error: missing name from disk snapshot element".to_owned());
        }
        if self
            .source
            .as_ref()
            .is_some_and(|s| *s == StorageSource::default())
        {
            self.source = None;
        }
        if let Some(file) = self.source.as_ref().and_then(|s| s.file.as_deref())
            && !file.starts_with('/')
        {
            return Err(format!(
                "XML error: disk snapshot image path '{file}' must be absolute"
            ));
        }
        if self.source.is_none() && self.format().is_none() {
            self.kind = None;
            self.driver = None;
            return Ok(());
        }
        self.kind.get_or_insert(StorageType::File);
        self.mode.get_or_insert(SnapshotMode::External);
        Ok(())
    }
}

/// Where a disk is copied to: the `<disk>` of a block copy.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyTarget {
    /// The file or device.
    pub path: String,
    /// Its format, if that was said.
    pub format: Option<ImageFormat>,
    /// How it is encrypted, if that was said.
    pub encryption: Option<Encryption>,
}

impl CopyTarget {
    /// Reads libvirt's XML.
    pub fn parse(xml: &str) -> Result<Self, XmlError> {
        let document = parse_document(xml)?;
        let root = expect_root(&document, "disk")?;
        let disk: crate::domain::disk::Disk = Element::parse(root)?;
        let path = disk.source_path().filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| {
            root.error(
                XmlErrorKind::Unsupported,
                "unsupported configuration: a copy goes to a file or device with an absolute path",
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            format: disk.driver.as_ref().and_then(|driver| driver.format),
            encryption: disk.links().swap_remove(0).source.encryption,
        })
    }
}
