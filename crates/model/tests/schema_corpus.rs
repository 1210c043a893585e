//! libvirt's own documents (found by `STEAD_CORPUS`) pass the check of their form: its schemas
//! take each of them, but for those that are there to be refused.

// The test reads files and reports; the crate under test does neither.
#![allow(clippy::disallowed_methods, clippy::print_stderr)]

use std::path::PathBuf;

use stead_model::schema::Schema;

/// The documents that fail, of one family.
fn refused(folder: &str, schema: Schema) -> Vec<String> {
    let Some(root) = std::env::var_os("STEAD_CORPUS") else {
        eprintln!("SKIPPED: STEAD_CORPUS is not set");
        return Vec::new();
    };
    let entries = std::fs::read_dir(PathBuf::from(root).join(folder)).expect("the corpus");
    let mut refused = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.extension().is_none_or(|end| end != "xml") || name.contains("invalid") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        if let Err(error) = schema.check(&text) {
            refused.push(format!("{folder}/{name}: {error}"));
        }
    }
    refused
}

#[test]
fn documents_that_libvirt_takes_pass() {
    let families = [
        ("qemuxmlconfdata", Schema::Domain),
        ("qemudomainsnapshotxml2xmlin", Schema::Snapshot),
        ("qemudomainsnapshotxml2xmlout", Schema::Snapshot),
        ("networkxml2xmlin", Schema::Network),
        ("networkxml2xmlout", Schema::Network),
        ("nwfilterxml2xmlin", Schema::Filter),
        ("nwfilterxml2xmlout", Schema::Filter),
        ("storagepoolxml2xmlin", Schema::Pool),
        ("storagepoolxml2xmlout", Schema::Pool),
        ("storagevolxml2xmlin", Schema::Volume),
        ("storagevolxml2xmlout", Schema::Volume),
        ("nodedevschemadata", Schema::NodeDevice),
    ];
    let wrong: Vec<String> = families
        .into_iter()
        .flat_map(|(folder, schema)| refused(folder, schema))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
