"""The machines that are measured, and a bare QEMU for comparison."""

import concurrent.futures
import json
import os
import re
import socket
import subprocess
import time
import uuid

import libvirt

THREADS = 8

MINIMAL = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <console type='pty'/>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>"""

TYPICAL = """<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>1024</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/images/{name}.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'><mac address='{mac}'/><source network='default'/><model type='virtio'/></interface>
    <console type='pty'/>
    <graphics type='vnc' port='-1' autoport='yes'/>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>"""


def minimal(name):
    return MINIMAL.format(name=name)


def typical(number):
    """One of many stopped machines, each with a name, uuid and address of its own."""
    mac = f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return TYPICAL.format(name=stopped_name(number), uuid=uuid.uuid5(uuid.NAMESPACE_OID, str(number)), mac=mac)


def stopped_name(number):
    return f"stopped{number:05d}"


def running_names(count):
    return [f"run{number:02d}" for number in range(count)]


def define(connection, name):
    """The minimal machine of that name, defined and not running."""
    domain = connection.defineXML(minimal(name))
    if domain.isActive():
        domain.destroy()
    return domain


def with_threads(server, names, operation, *arguments):
    """Calls `operation` on every machine from 8 threads, each on a connection of its own."""
    connections = [server.connect() for _ in range(THREADS)]

    def work(index):
        for name in names[index::THREADS]:
            getattr(connections[index].lookupByName(name), operation)(*arguments)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    for connection in connections:
        connection.close()


def forget_all(connection):
    """Stops and undefines everything a server has."""
    for domain in connection.listAllDomains():
        try:
            if domain.isActive():
                domain.destroy()
            domain.undefine()
        except libvirt.libvirtError:
            if domain.isActive():
                raise


class Bare:
    """QEMU started by hand with the arguments a server gave to one of its own."""

    def __init__(self, server, machine, work):
        with open(f"/proc/{server.qemu_pid(machine)}/cmdline", encoding="utf-8") as file:
            self.arguments = file.read().rstrip("\0").split("\0")
        self.work = work

    def start(self, number):
        """Starts one; returns it with its monitor once that has answered query-status."""
        path = os.path.join(self.work, f"bare{number}")
        process = subprocess.Popen(
            self._own_arguments(path), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        monitor = socket.socket(socket.AF_UNIX)
        while True:
            try:
                monitor.connect(path)
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"bare QEMU ended: {process.stderr.read().decode()}") from None
                time.sleep(0.0005)
        lines = monitor.makefile("rw")
        lines.readline()
        for command in ("qmp_capabilities", "query-status"):
            answer(lines, command)
        return process, lines

    def start_and_end(self, number):
        """Seconds from exec to the answer of query-status."""
        begin = time.perf_counter()
        process, lines = self.start(number)
        took = time.perf_counter() - begin
        end(process, lines)
        return took

    def run(self, number):
        """Starts one and lets its guest run, which takes its share of the processors from the next ones."""
        process, lines = self.start(number)
        answer(lines, "cont")
        return process, lines

    def start_many(self, count):
        """Seconds to start `count` with 8 threads."""
        begin = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            started = list(pool.map(self.run, range(count)))
        took = time.perf_counter() - begin
        for process, lines in started:
            end(process, lines)
        return took

    def _own_arguments(self, path):
        """The same arguments, with a monitor socket and secrets that are not the server's."""
        own = []
        for word in self.arguments:
            if word.startswith("socket,id=") and "mon" in word:
                word = re.sub(r"(fd|path)=[^,]*", f"path={path}", word)
                word = word if "server=on" in word else f"{word},server=on"
                word = word if "wait=off" in word else f"{word},wait=off"
            if '"qom-type":"secret"' in word:
                secret = os.path.join(self.work, "secret")
                with open(secret, "wb") as file:
                    file.write(bytes(32))
                word = re.sub(r'"file":"[^"]*"', f'"file":"{secret}"', word)
            own.append(word)
        return own


def answer(lines, command):
    """Sends a command; returns its answer, events left aside."""
    lines.write(json.dumps({"execute": command}) + "\n")
    lines.flush()
    while True:
        reply = json.loads(lines.readline())
        if "return" in reply or "error" in reply:
            return reply


def end(process, lines):
    lines.write('{"execute": "quit"}\n')
    lines.flush()
    process.wait()
