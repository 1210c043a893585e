"""lifecycle.py URI MACHINE: says "ready", then prints what becomes of a machine until it has stopped."""

import queue
import sys

import libvirt
from common import connect_with_events

EVENT_TIMEOUT_S = 90
NAMES = ["defined", "undefined", "started", "suspended", "resumed", "stopped", "shutdown", "pmsuspended", "crashed"]


def main():
    watching = connect_with_events()
    seen = queue.Queue()

    def on_event(_connection, domain, event, _detail, _opaque):
        if domain.name() == sys.argv[2]:
            seen.put(NAMES[event])

    def on_graphics(_connection, _domain, phase, *_rest):
        seen.put(f"display {phase}")

    watching.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event, None)
    watching.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS, on_graphics, None)
    print("ready", flush=True)
    last = None
    while last != "stopped":
        last = seen.get(timeout=EVENT_TIMEOUT_S)
        print(last, flush=True)


main()
