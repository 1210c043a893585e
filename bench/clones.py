"""Figures of clones: one against a bare qemu-img, many against virt-clone."""

import os
import subprocess

import libvirt

from measure import at_most, by_turns, timed_ms

RUNS = 11
MANY = 200
VIRT_CLONES = 5

MACHINE = """<domain type='qemu'><name>template</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='file' device='disk'>
<driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
<interface type='user'><model type='virtio'/></interface></devices></domain>"""


def run(words):
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


def linked_clones(servers, work):
    """A linked clone against `qemu-img create -b`; 200 of them against virt-clone, for each."""
    sides = {server.name: Side(server, work) for server in servers}
    stead, libvirtd = sides.get("stead"), sides.get("libvirtd")
    if stead:
        found = by_turns(RUNS, {"clone": stead.clone, "bare": stead.bare})
        what = "linked clone of a template, command to return"
        yield at_most(1.5, what, "ms", None, found["clone"], found["bare"], "bare qemu-img create -b")
    each = stead and timed_ms(stead.clone_many) / MANY
    other = libvirtd and by_turns(VIRT_CLONES, {"clone": libvirtd.virt_clone})["clone"]
    yield at_most(1 / 5, f"a clone of {MANY} (virt-clone for libvirtd)", "ms", other, each)
    for side in sides.values():
        side.forget()


class Side:
    """A template of one server, and the ways to clone it."""

    def __init__(self, server, work):
        self.server = server
        self.connection = server.connect()
        self.folder = os.path.join(work, f"clones-{server.name}")
        os.makedirs(self.folder)
        self.disk = os.path.join(self.folder, "template.qcow2")
        run(["qemu-img", "create", "-q", "-f", "qcow2", self.disk, "10G"])
        self.connection.defineXML(MACHINE.format(disk=self.disk))
        if hasattr(server, "stead"):
            run(server.stead("template", "template"))
        self.made = 0

    def next(self):
        self.made += 1
        return f"clone{self.made}"

    def clone(self):
        return timed_ms(run, self.server.stead("clone", "template", self.next()))

    def clone_many(self):
        run(self.server.stead("clone", "template", f"many{{1..{MANY}}}"))

    def bare(self):
        path = os.path.join(self.folder, f"{self.next()}.qcow2")
        return timed_ms(run, ["qemu-img", "create", "-q", "-f", "qcow2", "-b", self.disk, "-F", "qcow2", path])

    def virt_clone(self):
        name = self.next()
        file = os.path.join(self.folder, f"{name}.qcow2")
        words = ["virt-clone", "--connect", self.server.uri, "-o", "template", "-n", name, "-f", file]
        return timed_ms(run, words)

    def forget(self):
        for domain in self.connection.listAllDomains():
            if domain.name().startswith(("clone", "many", "template")):
                try:
                    domain.undefine()
                except libvirt.libvirtError as error:
                    print(f"  {domain.name()} stays: {error}")
        self.connection.close()
