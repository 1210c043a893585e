"""fd_groups.py URI MACHINE GROUP FILE: starts a machine whose disk is a file that only this program opens.

Says what became of it, and whether what the machine's QEMU has open is that file."""

import os
import sys

import libvirt

_, uri, machine, group, path = sys.argv
libvirt.registerErrorHandler(lambda *_: None, None)
connection = libvirt.open(uri)
domain = connection.lookupByName(machine)


def start():
    try:
        domain.create()
    except libvirt.libvirtError as error:
        print(f"refused: {error.get_error_code()} {error.get_error_message()}")
    else:
        print("started")


start()
with open(path, "r+b") as image:
    domain.FDAssociate(group, [image.fileno()], 0)
    inode = os.fstat(image.fileno()).st_ino
# The daemon has a copy of its own, also of a file that has no name any more.
os.unlink(path)
start()


def has_it_open(entry):
    """Whether a process is a QEMU of that name (others may have one too) and has the file open."""
    try:
        with open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as words:
            if f"guest={machine}," not in words.read():
                return False
        files = [os.stat(f"/proc/{entry}/fd/{number}") for number in os.listdir(f"/proc/{entry}/fd")]
        return any(file.st_ino == inode for file in files)
    except OSError:
        return False


print("open in QEMU:", any(map(has_it_open, filter(str.isdigit, os.listdir("/proc")))))
domain.destroy()
connection.close()
# What it gave is gone with it.
connection = libvirt.open(uri)
domain = connection.lookupByName(machine)
start()
