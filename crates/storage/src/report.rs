//! What qemu-img finds out about images, as data.
//!
//! Most of its commands can print JSON, which keeps its own names here. Snapshots are a part of what
//! `info` tells, and what `compare` found is read from its words.

use serde_json::{Value, json};

use crate::task::{ImageTask, SnapshotChange};

/// What makes qemu-img print JSON.
const AS_JSON: &str = "--output=json";
/// What `compare` says before the place of a difference.
const MISMATCH: &str = "Content mismatch at offset ";
/// What `compare` says of images of different lengths.
const SIZE_MISMATCH: &str = "Image size mismatch!";

/// The words after `qemu-img` that print data; none for a task that finds nothing out.
pub fn args(task: &ImageTask, image: &str, format: &str) -> Option<Vec<String>> {
    let prints_data = match task {
        ImageTask::Compare { .. } => return Some(task.args(image, format, "")),
        // The list of snapshots cannot be had as JSON alone.
        ImageTask::Snapshot(SnapshotChange::List) => ImageTask::Info { chain: false },
        ImageTask::Info { .. }
        | ImageTask::Check { .. }
        | ImageTask::Map
        | ImageTask::Measure { .. } => task.clone(),
        _ => return None,
    };
    let mut args = prints_data.args(image, format, "");
    args.insert(1, AS_JSON.to_owned());
    Some(args)
}

/// What qemu-img printed for [`args`], as data; none for a task that finds nothing out. `found` is
/// whether it ended telling of a difference or of damage.
///
/// Images compared give `identical`, and where they differ in content `mismatch-offset` in bytes;
/// `same-size` is whether they are of one length (a rest of zeros is no difference).
///
/// # Errors
/// What cannot be read, for a person.
pub fn read(task: &ImageTask, words: &str, found: bool) -> Option<Result<Value, String>> {
    match task {
        ImageTask::Compare { .. } => Some(Ok(comparison(words, found))),
        ImageTask::Snapshot(SnapshotChange::List) => {
            Some(
                document(words).map(|mut info| match info.get_mut("snapshots") {
                    Some(all) => all.take(),
                    None => json!([]),
                }),
            )
        }
        ImageTask::Info { .. }
        | ImageTask::Check { .. }
        | ImageTask::Map
        | ImageTask::Measure { .. } => Some(document(words)),
        _ => None,
    }
}

/// The JSON among words: warnings may stand before it and after it.
fn document(words: &str) -> Result<Value, String> {
    let starts = |line: &str| line.starts_with(['{', '[']);
    let skipped: usize = words
        .split_inclusive('\n')
        .take_while(|line| !starts(line))
        .map(str::len)
        .sum();
    let mut values = serde_json::Deserializer::from_str(&words[skipped..]).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(e)) => Err(format!("cannot read what qemu-img reported: {e}")),
        None => Err("qemu-img reported nothing".to_owned()),
    }
}

fn comparison(words: &str, found: bool) -> Value {
    let mut report = json!({
        "identical": !found,
        "same-size": !words.contains(SIZE_MISMATCH),
    });
    let offset = words
        .split_once(MISMATCH)
        .and_then(|(_, rest)| rest.split('!').next()?.parse::<u64>().ok());
    if let Some(offset) = offset {
        report["mismatch-offset"] = offset.into();
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compare() -> ImageTask {
        ImageTask::Compare {
            other: "/b".to_owned(),
            other_format: "raw".to_owned(),
        }
    }

    #[test]
    fn only_what_finds_something_out_has_data() {
        let words = |task: &ImageTask| args(task, "/a", "qcow2").map(|args| args.join(" "));
        assert_eq!(
            words(&ImageTask::Map).as_deref(),
            Some("map --output=json -f qcow2 -U /a")
        );
        let list = ImageTask::Snapshot(SnapshotChange::List);
        assert_eq!(
            words(&list).as_deref(),
            Some("info --output=json -f qcow2 -U /a")
        );
        assert_eq!(
            words(&compare()).as_deref(),
            Some("compare -f qcow2 -F raw -U /a /b")
        );
        for none in [
            ImageTask::Commit,
            ImageTask::Snapshot(SnapshotChange::Delete("x".to_owned())),
        ] {
            assert_eq!(words(&none), None);
            assert_eq!(read(&none, "{}", false), None);
        }
    }

    #[test]
    fn a_comparison_is_read_from_words() {
        let read = |words, found| read(&compare(), words, found).expect("data").expect("read");
        assert_eq!(
            read("Images are identical.\n", false),
            json!({"identical": true, "same-size": true})
        );
        assert_eq!(
            read("Content mismatch at offset 4608!\n", true),
            json!({"identical": false, "same-size": true, "mismatch-offset": 4608})
        );
        assert_eq!(
            read(
                "Warning: Image size mismatch!\nImages are identical.\n",
                false
            ),
            json!({"identical": true, "same-size": false})
        );
    }

    #[test]
    fn warnings_are_no_part_of_the_data() {
        let words = "warning: x\n[{ \"start\": 0}]\nmore\n";
        let map = read(&ImageTask::Map, words, false).expect("data");
        assert_eq!(map, Ok(json!([{"start": 0}])));
        let list = ImageTask::Snapshot(SnapshotChange::List);
        assert_eq!(read(&list, "{}", false), Some(Ok(json!([]))));
        for wrong in ["", "words", "{", "[1"] {
            assert!(read(&ImageTask::Map, wrong, false).expect("data").is_err());
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(words in any::<String>(), found: bool) {
            _ = read(&ImageTask::Map, &words, found);
            let list = ImageTask::Snapshot(SnapshotChange::List);
            _ = read(&list, &words, found);
            prop_assert!(read(&compare(), &words, found).expect("data").is_ok());
        }
    }
}
