"""First process of the benchmark's box: init.py WORK -- PROGRAM ARGUMENT…

The box has its own mounts, network, processes and host name, so that a libvirtd can run in it without
touching the host's. Orphans are reaped at once, as systemd would: a machine whose process is not reaped
does not count as ended, and waiting for that would be measured.
"""

import grp
import os
import shutil
import socket
import stat
import subprocess
import sys

# libvirt's own places, each replaced by a copy of what the packages installed (images left out).
PLACES = ["/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"]


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def give_kvm_to_its_group(work):
    """Lets group kvm use /dev/kvm in here, as udev's rules do on a host that has them.

    Where libvirt's QEMU user may not open it, libvirtd asks QEMU for its abilities anew at every call:
    half a second that no host of an administrator would show.
    """
    kvm = "/dev/kvm"
    if not os.path.exists(kvm):
        return
    own = work + "/kvm"
    os.mknod(own, stat.S_IFCHR, os.stat(kvm).st_rdev)
    os.chmod(own, 0o660)
    os.chown(own, 0, grp.getgrnam("kvm").gr_gid)
    mount("--bind", own, kvm)


def furnish(work):
    socket.sethostname("bench")
    for place in PLACES:
        own = work + place
        if os.path.isdir(place):
            shutil.copytree(place, own, symlinks=True, ignore=shutil.ignore_patterns("images", "save", "dump"))
            shutil.copystat(place, own)
        os.makedirs(own, exist_ok=True)
        os.makedirs(place, exist_ok=True)
        for folder, folders, files in os.walk(place):
            for name in [*folders, *files]:
                copy = own + os.path.join(folder, name)[len(place):]
                if os.path.lexists(copy):
                    owner = os.lstat(os.path.join(folder, name))
                    os.lchown(copy, owner.st_uid, owner.st_gid)
        mount("--bind", own, place)
    os.makedirs("/var/lib/libvirt/images", exist_ok=True)
    give_kvm_to_its_group(work)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in ("/run/libvirt", "/run/lock", "/run/user"):
        os.makedirs(folder)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main():
    work, separator, *command = sys.argv[1:]
    if separator != "--" or not command:
        raise SystemExit("usage: init.py WORK -- PROGRAM ARGUMENT…")
    furnish(work)
    program = subprocess.Popen(command)
    while True:
        pid, status = os.wait()
        if pid == program.pid:
            # The end of a box's first process is the end of everything in it.
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


main()
