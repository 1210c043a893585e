"""Looks at a running machine's disk and memory: look.py URI NAME."""

import sys

import common  # noqa: F401  (quietens libvirt)
import libvirt

domain = libvirt.open(sys.argv[1]).lookupByName(sys.argv[2])
print("disk", domain.blockPeek("vda", 0, 5).decode())
print("memory", len(domain.memoryPeek(0, 16, libvirt.VIR_MEMORY_PHYSICAL)))
print("labels", domain.securityLabelList())
try:
    domain.blockPeek("vdz", 0, 5)
except libvirt.libvirtError:
    print("no disk, no peek")
