//! Text as a domain definition: read, written, read again.
//!
//! What is written is read as the same; an error has a place inside the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::XmlFlags;
use model::domain::Domain;

/// Everything there is: what is hidden could not come back.
const ALL: XmlFlags = XmlFlags { inactive: false, secure: true, migratable: false };

fuzz_target!(|text: &str| {
    match Domain::parse(text) {
        Ok(domain) => {
            let written = domain.to_xml(ALL);
            let again = Domain::parse(&written).unwrap_or_else(|error| panic!("{error} in\n{written}"));
            assert_eq!(again.to_xml(ALL), written);
        }
        Err(error) => assert!(error.line as usize <= text.split('\n').count(), "{error}"),
    }
});
