"""events.py URI MACHINE: drives a machine on one connection, prints the events another one sees."""

import queue
import sys

import libvirt
from common import connect_with_events

EVENT_TIMEOUT_S = 20
NAMES = ["defined", "undefined", "started", "suspended", "resumed", "stopped", "shutdown", "pmsuspended", "crashed"]


def main():
    machine = sys.argv[2]
    watching = connect_with_events()
    acting = libvirt.open(sys.argv[1])
    seen = queue.Queue()

    def on_event(_connection, domain, event, detail, _opaque):
        seen.put((domain.name(), NAMES[event], detail))

    watching.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event, None)
    domain = acting.lookupByName(machine)
    for step in (domain.create, domain.suspend, domain.resume, domain.destroy, domain.undefine):
        step()
    last = None
    while last != "undefined":
        name, last, detail = seen.get(timeout=EVENT_TIMEOUT_S)
        print(name, last, detail)


main()
