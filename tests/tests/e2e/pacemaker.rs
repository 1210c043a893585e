//! Pacemaker's unmodified VirtualDomain agent, called as its cluster manager calls it.

use stead_tests::{Host, clients, guest};

const AGENT: &str = "/usr/lib/ocf/resource.d/heartbeat/VirtualDomain";

// What an agent's exit code means, by the OCF resource agent API.
const SUCCESS: i32 = 0;
const NOT_RUNNING: i32 = 7;

#[test]
fn the_agent_starts_watches_and_stops_a_machine() {
    let host = Host::start();
    let config = host.file("web1.xml", &guest::bare_machine("web1"));
    let uri = host.uri();
    let scratch = host.folder().display().to_string();
    let act = |action: &str| {
        let environment = [
            ("OCF_ROOT", "/usr/lib/ocf"),
            ("OCF_RESOURCE_INSTANCE", "web1"),
            ("OCF_RESKEY_config", config.as_str()),
            ("OCF_RESKEY_hypervisor", uri.as_str()),
            // A machine without an operating system does not listen to its power button.
            ("OCF_RESKEY_force_stop", "1"),
            // These ask Pacemaker itself, which is not here.
            ("OCF_RESKEY_autoset_utilization_cpu", "false"),
            ("OCF_RESKEY_autoset_utilization_host_memory", "false"),
            ("OCF_RESKEY_autoset_utilization_hv_memory", "false"),
            ("HA_RSCTMP", scratch.as_str()),
        ];
        clients::run(AGENT, &[action], &environment)
    };
    let expect = |action: &str, status: i32| {
        let ran = act(action);
        assert_eq!(ran.status, status, "{ran:?}");
    };

    expect("validate-all", SUCCESS);
    expect("monitor", NOT_RUNNING);
    expect("start", SUCCESS);
    expect("monitor", SUCCESS);
    assert_eq!(host.state("web1"), "running");
    expect("start", SUCCESS);
    expect("stop", SUCCESS);
    expect("monitor", NOT_RUNNING);
    expect("stop", SUCCESS);

    // A machine that dies is seen as gone, and started again.
    expect("start", SUCCESS);
    let _ = host.virsh(&["destroy", "web1"]).succeeds();
    expect("monitor", NOT_RUNNING);
    expect("start", SUCCESS);
    expect("monitor", SUCCESS);
}
