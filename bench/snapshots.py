"""Figures of snapshots."""

import os
import subprocess

import machines
from measure import at_most, by_turns, timed_ms

RUNS = 11

SNAPSHOT = "<domainsnapshot><name>measured</name></domainsnapshot>"


def of_a_stopped_machine(servers, work):
    """An internal snapshot of a stopped machine: taken, reverted to, deleted."""
    subjects = {server.name: Stopped(server, work) for server in servers}
    found = {}
    for what in ("create", "revert", "delete"):
        # Each round takes, reverts and deletes; one of the three is what is told.
        measures = {name: (lambda s=subject, w=what: s.round()[w]) for name, subject in subjects.items()}
        found[what] = by_turns(RUNS, measures)
    for subject in subjects.values():
        subject.forget()
    for what in ("create", "revert", "delete"):
        sides = found[what].get("libvirtd"), found[what].get("stead")
        yield at_most(1.0, f"internal snapshot of a stopped machine: {what}", "ms", *sides)


class Stopped:
    """A stopped machine with a qcow2 disk of 1 GiB. Times are milliseconds."""

    def __init__(self, server, work):
        self.connection = server.connect()
        self.image = os.path.join(work, f"snapshot-{server.name}.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", self.image, "1G"], check=True)
        disk = (
            "<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source file='{self.image}'/><target dev='vda' bus='virtio'/></disk>"
        )
        xml = machines.minimal("snapshots").replace("<devices>", disk)
        self.domain = self.connection.defineXML(xml)

    def round(self):
        times = {"create": timed_ms(self.domain.snapshotCreateXML, SNAPSHOT)}
        snapshot = self.domain.snapshotLookupByName("measured")
        times["revert"] = timed_ms(self.domain.revertToSnapshot, snapshot)
        times["delete"] = timed_ms(snapshot.delete)
        return times

    def forget(self):
        self.domain.undefine()
        self.connection.close()
        os.unlink(self.image)
