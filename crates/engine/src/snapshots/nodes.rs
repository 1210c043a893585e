//! The block nodes of a running machine, as the owner knows them: made, made
//! writable and removed through the monitor. QEMU cannot open files it was
//! not started with, nor write to those it may only read: descriptors are
//! passed to it.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::limits::{ENCRYPTED_OPEN_TIMEOUT_MS, QMP_REPLY_TIMEOUT_MS};
use crate::monitor::Monitor;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use model::domain::disk::Disk;
use model::domain::images::Link;
use qemu::command_line::{disk_nodes, secret_id};
use qemu::qmp::{Done, commands};
use serde_json::{Map, Value};
use std::time::Duration;
use storage::keys::KeyRef;

/// The node of an image that devices and jobs use.
pub(crate) fn node(link: &Link) -> Result<String> {
    let index = link.index.ok_or_else(|| {
        EngineError::new(
            ErrorKind::Internal,
            "an image of a running machine has no number",
        )
    })?;
    Ok(match link.is_plain() {
        true => format!("libvirt-{index}-storage"),
        false => format!("libvirt-{index}-format"),
    })
}

/// The node of an image's file.
fn storage_node(link: &Link) -> String {
    format!("libvirt-{}-storage", link.index.unwrap_or_default())
}

/// Opens an image for QEMU and makes its nodes, upon the images `below` that
/// are open already. An image that is put upon another one later has none.
/// Where that fails, nothing is left of them.
pub(crate) async fn add(
    engine: &Engine,
    monitor: &Monitor,
    disk: &Disk,
    link: &Link,
    below: &[Link],
) -> Result<()> {
    let adding = async {
        add_secret(engine, monitor, link).await?;
        add_nodes(monitor, disk, link, below).await
    };
    let added = adding.await;
    if added.is_err() {
        // Some of it may never have been there.
        let _ = remove(monitor, link).await;
    }
    added
}

/// Makes the nodes of an image whose passphrase QEMU has.
async fn add_nodes(monitor: &Monitor, disk: &Disk, link: &Link, below: &[Link]) -> Result<()> {
    let mut alone = disk.clone();
    let links: Vec<Link> = std::iter::once(link).chain(below).cloned().collect();
    alone.set_links(&links);
    let own = format!("libvirt-{}-", link.index.unwrap_or_default());
    let is_own = |options: &Map<String, Value>| {
        let name = options.get("node-name").and_then(Value::as_str);
        name.is_some_and(|name| name.starts_with(&own))
    };
    for mut options in properties(&alone)?.into_iter().filter(is_own) {
        if options.contains_key("filename") {
            let set = give_file(monitor, link).await?;
            to_descriptor(&mut options, set);
        }
        let timeout = Duration::from_millis(open_timeout_ms(&options));
        let command = commands::blockdev_add(options);
        monitor.ask(&command, timeout).await?;
    }
    Ok(())
}

/// How long QEMU may take to make a node with these options.
pub(crate) fn open_timeout_ms(options: &Map<String, Value>) -> u64 {
    let is_encrypted = ["key-secret", "encrypt"]
        .iter()
        .any(|key| options.contains_key(*key));
    match is_encrypted {
        true => ENCRYPTED_OPEN_TIMEOUT_MS,
        false => QMP_REPLY_TIMEOUT_MS,
    }
}

/// Gives QEMU the passphrase of an encrypted image.
/// What files are called that are open already.
const DESCRIPTORS: &str = "/dev/fdset/";

async fn add_secret(engine: &Engine, monitor: &Monitor, link: &Link) -> Result<()> {
    let Some(encryption) = &link.source.encryption else {
        return Ok(());
    };
    let key = KeyRef::of(encryption).ok_or_else(|| {
        EngineError::new(
            ErrorKind::ConfigUnsupported,
            "an encrypted image needs one <secret>",
        )
    })?;
    let value = engine.key_value(&key)?;
    let properties = [
        ("format".to_owned(), "base64".into()),
        (
            "data".to_owned(),
            BASE64_STANDARD.encode(value.expose()).into(),
        ),
    ];
    let id = secret_id(&node(link)?);
    let command = commands::object_add("secret", &id, properties.into_iter().collect());
    monitor.execute(&command).await.map(drop)
}

/// Removes the nodes of an image that is not in use any more.
pub(crate) async fn remove(monitor: &Monitor, link: &Link) -> Result<()> {
    let name = node(link)?;
    let content = match link.is_plain() {
        true => Ok(Done {}),
        false => monitor.execute(&commands::blockdev_del(&name)).await,
    };
    let file = monitor
        .execute(&commands::blockdev_del(&storage_node(link)))
        .await;
    let secret = match link.source.encryption.is_some() {
        true => {
            monitor
                .execute(&commands::object_del(&secret_id(&name)))
                .await
        }
        false => Ok(Done {}),
    };
    content.and(file).and(secret).map(drop)
}

/// Lets QEMU write to the file of the image at `at` of a disk's chain, which it
/// has open for reading only. The image's own node stays as it is.
pub(crate) async fn make_writable(monitor: &Monitor, disk: &Disk, at: usize) -> Result<()> {
    let links = disk.links();
    let link = &links[at];
    let file = storage_node(link);
    // The node above refers to the file by its node's name: a second node
    // stands in while the first is replaced, so that names stay what they are.
    let stand_in = format!("{file}-w");
    // An earlier attempt may have done some of it.
    let there = monitor
        .execute(&commands::query_named_block_nodes(true))
        .await?;
    let is_writable = node_of(&there, &file).map(is_own_descriptor);
    let stands_in = node_of(&there, &stand_in).is_some();
    if is_writable == Some(true) && !stands_in {
        return Ok(());
    }
    if !stands_in {
        add_storage(monitor, disk, link, &stand_in).await?;
    }
    if is_writable != Some(true) {
        refer(monitor, disk, at, &stand_in, false).await?;
        if is_writable.is_some() {
            monitor.execute(&commands::blockdev_del(&file)).await?;
        }
        add_storage(monitor, disk, link, &file).await?;
    }
    refer(monitor, disk, at, &file, false).await?;
    monitor
        .execute(&commands::blockdev_del(&stand_in))
        .await
        .map(drop)
}

/// Whether a node's file is a descriptor open for writing, as [`to_descriptor`] has it. One with a
/// name is not: QEMU would look for it under that name once it is to be written to.
fn is_own_descriptor(node: &Value) -> bool {
    let file = node["file"].as_str().unwrap_or_default();
    node["ro"] == Value::Bool(false) && file.starts_with(DESCRIPTORS)
}

/// One of the nodes that QEMU has listed.
pub(crate) fn node_of<'a>(listed: &'a Value, name: &str) -> Option<&'a Value> {
    let mut nodes = listed.as_array().into_iter().flatten();
    nodes.find(|entry| entry["node-name"] == name)
}

/// Makes the image's own node writable, whose file is, or no longer so. Its file
/// must have one descriptor only: the lock of another one is in the way.
pub(crate) async fn set_writable(
    monitor: &Monitor,
    disk: &Disk,
    at: usize,
    writable: bool,
) -> Result<()> {
    let file = storage_node(&disk.links()[at]);
    refer(monitor, disk, at, &file, writable).await
}

async fn add_storage(monitor: &Monitor, disk: &Disk, link: &Link, name: &str) -> Result<()> {
    let mut alone = disk.clone();
    alone.set_links(std::slice::from_ref(link));
    let storage = properties(&alone)?.into_iter().next();
    let mut options = storage.ok_or_else(|| EngineError::failed("the image has no file"))?;
    let set = give_file(monitor, link).await?;
    to_descriptor(&mut options, set);
    options.insert("node-name".to_owned(), name.into());
    monitor
        .execute(&commands::blockdev_add(options))
        .await
        .map(drop)
}

/// Points whatever uses an image's file to another node of that file.
async fn refer(monitor: &Monitor, disk: &Disk, at: usize, file: &str, content: bool) -> Result<()> {
    let links = disk.links();
    let is_raw = links[at].is_plain();
    // A raw image is its file: the image above refers to it as its backing.
    let (who, child) = match is_raw {
        true => (at - 1, "backing"),
        false => (at, "file"),
    };
    let wanted = node(&links[who])?;
    let mut options = properties(disk)?
        .into_iter()
        .find(|options| options.get("node-name").and_then(Value::as_str) == Some(&wanted))
        .ok_or_else(|| EngineError::failed("the image has no node"))?;
    options.insert(child.to_owned(), file.into());
    if !is_raw {
        options.insert("read-only".to_owned(), (!content).into());
    }
    monitor
        .execute(&commands::blockdev_reopen(vec![Value::Object(options)]))
        .await
        .map(drop)
}

/// The options of the nodes of a disk's images, lowest first.
fn properties(disk: &Disk) -> Result<Vec<Map<String, Value>>> {
    let index = disk.source.as_ref().and_then(|source| source.index);
    let nodes = disk_nodes(disk, index.unwrap_or_default())
        .map_err(|e| EngineError::new(ErrorKind::ConfigUnsupported, e.0))?
        .ok_or_else(|| EngineError::failed("the drive is empty"))?;
    let is_image = |options: &Map<String, Value>| {
        let name = options.get("node-name").and_then(Value::as_str);
        name.is_some_and(|name| !name.starts_with("libvirt-CoR"))
    };
    let all = nodes
        .nodes
        .into_iter()
        .map(qemu::command_line::Props::into_map);
    Ok(all.filter(is_image).collect())
}

/// The file is one descriptor, open for writing from the beginning: QEMU then
/// never looks for one of another mode.
fn to_descriptor(options: &mut Map<String, Value>, set: u32) {
    options.insert("filename".to_owned(), format!("{DESCRIPTORS}{set}").into());
    options.remove("auto-read-only");
    options.insert("read-only".to_owned(), false.into());
}

async fn give_file(monitor: &Monitor, link: &Link) -> Result<u32> {
    let path = link
        .path()
        .ok_or_else(|| EngineError::failed("the image is no local file"))?;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| EngineError::system(&format!("Cannot access storage file '{path}'"), e))?;
    monitor.give_file(file.into()).await
}

/// What becomes of one disk's image in a snapshot of disks alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A new image, open as the node `overlay`, is put upon it.
    Overlay { node: String, overlay: String },
    /// Its content is kept inside, under a name.
    Tag { node: String, tag: String },
}

/// Takes a snapshot of several disks, all at one moment.
pub(crate) async fn take(monitor: &Monitor, disks: &[Taken]) -> Result<()> {
    let actions = disks.iter().map(|taken| match taken {
        Taken::Overlay { node, overlay } => serde_json::json!({
            "type": "blockdev-snapshot",
            "data": {"node": node, "overlay": overlay},
        }),
        Taken::Tag { node, tag } => serde_json::json!({
            "type": "blockdev-snapshot-internal-sync",
            "data": {"device": node, "name": tag},
        }),
    });
    let timeout = Duration::from_millis(QMP_REPLY_TIMEOUT_MS);
    monitor
        .ask(&commands::transaction(actions.collect()), timeout)
        .await
        .map(drop)
}
