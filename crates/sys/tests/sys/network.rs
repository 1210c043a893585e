//! Taps and bridges, in a network namespace of their own.

use std::process::Command;

use sys::net;
use sys::tap::{TapPlan, create};

/// Set for the copy of this program that runs in the namespace.
const INSIDE: &str = "STEAD_SYS_TEST_NETWORK";

/// Runs a test of this file in new user and network namespaces.
fn in_namespace(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("network::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{errors}"
    );
}

fn plan(name: &str) -> TapPlan {
    TapPlan {
        name: name.to_owned(),
        queues: 1,
        vnet_header: true,
        guest_mac: Some([0x52, 0x54, 0, 1, 2, 3]),
        mtu: None,
        bridge: None,
        up: true,
    }
}

#[test]
fn a_tap_joins_its_bridge_and_goes_with_its_descriptors() {
    in_namespace(
        "a_tap_joins_its_bridge_and_goes_with_its_descriptors",
        || {
            net::create_bridge("br0").unwrap();
            assert!(net::is_bridge("br0").unwrap());
            net::set_up("br0", true).unwrap();
            let first = create(&TapPlan {
                bridge: Some("br0".into()),
                ..plan("vnet%d")
            })
            .unwrap();
            let second = create(&TapPlan {
                mtu: Some(1400),
                ..plan("vnet%d")
            })
            .unwrap();
            assert_eq!(
                (first.name.as_str(), second.name.as_str()),
                ("vnet0", "vnet1")
            );
            assert_eq!(net::mac("vnet0").unwrap(), [0xfe, 0x54, 0, 1, 2, 3]);
            assert!(net::is_up("vnet0").unwrap() && !net::is_bridge("vnet0").unwrap());
            assert_eq!(net::mtu("vnet1").unwrap(), 1400);
            assert!(net::stats("vnet0").unwrap().is_some());
            // Attached already: the kernel says so.
            assert!(net::attach("br0", "vnet0").is_err());
            net::detach("br0", "vnet0").unwrap();
            net::attach("br0", "vnet1").unwrap();
            assert!(
                net::attach("br0", "nothing")
                    .unwrap_err()
                    .to_string()
                    .contains("nothing")
            );

            drop(first);
            assert_eq!(net::index("vnet0").unwrap(), None);
            drop(second);
            net::set_up("br0", false).unwrap();
            net::delete_bridge("br0").unwrap();
            assert_eq!(net::index("br0").unwrap(), None);
        },
    );
}

#[test]
fn a_tap_may_have_several_queues_and_a_taken_name_is_refused() {
    in_namespace(
        "a_tap_may_have_several_queues_and_a_taken_name_is_refused",
        || {
            let tap = create(&TapPlan {
                queues: 4,
                ..plan("mine")
            })
            .unwrap();
            assert_eq!(tap.queues.len(), 4);
            let error = create(&plan("mine")).unwrap_err();
            assert!(error.to_string().contains("make tap mine"), "{error}");
            assert!(
                create(&TapPlan {
                    queues: 0,
                    ..plan("none")
                })
                .is_err()
            );
            assert!(create(&plan("much-too-long-a-name")).is_err());
            assert!(create(&plan("bad/name%d")).is_err());
            let lost = TapPlan {
                bridge: Some("no-bridge".into()),
                ..plan("lost")
            };
            assert!(create(&lost).is_err());
            assert_eq!(
                net::index("lost").unwrap(),
                None,
                "nothing is left of a failed one"
            );
        },
    );
}
