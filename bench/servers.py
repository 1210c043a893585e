"""The two daemons that are measured, behind one interface."""

import os
import signal
import subprocess
import time

import libvirt

libvirt.registerErrorHandler(lambda _context, _error: None, None)

START_TIMEOUT_S = 120
POLL_S = 0.001
# How long a daemon uses no processor time before it counts as at rest.
REST_S = 1


class Server:
    """A daemon in this box. `uri` is what an unmodified client is given to reach it."""

    name = ""
    uri = ""
    read_only_socket = ""

    def __init__(self, work):
        self.work = work
        self.log = open(os.path.join(work, f"{self.name}.log"), "ab")
        self.process = None

    def command(self):
        """The daemon as it is run in the foreground."""
        raise NotImplementedError

    def qemu_pid(self, machine):
        """The process of a running machine."""
        raise NotImplementedError

    def spawn(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def start(self):
        """Starts the daemon and returns once it answers."""
        self.spawn()
        self.wait_until_it_answers()

    def wait_until_it_answers(self):
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                connection = self.connect()
                connection.numOfDomains()
                connection.close()
                return
            except libvirt.libvirtError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.name} ended with {self.process.returncode}; see {self.log.name}") from None
                if time.monotonic() > end:
                    raise
                time.sleep(POLL_S)

    def wait_until_at_rest(self):
        """Returns once the daemon has used no processor time for a while: its start is over."""
        end = time.monotonic() + START_TIMEOUT_S
        before, now = -1, self.processor_ticks()
        while before != now and time.monotonic() < end:
            time.sleep(REST_S)
            before, now = now, self.processor_ticks()

    def processor_ticks(self):
        """Processor time of the daemon so far, in the kernel's ticks."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def stop(self):
        """Stops the daemon; its machines go on."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        self.process = None

    def connect(self):
        return libvirt.open(self.uri)

    def virsh(self, *words):
        return ["virsh", "-q", "-c", self.uri, *words]

    def memory_mib(self):
        """Resident memory of the daemon itself."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


class Libvirtd(Server):
    name = "libvirtd"
    uri = "qemu:///system"
    read_only_socket = "/run/libvirt/libvirt-sock-ro"

    def command(self):
        return ["libvirtd"]

    def spawn(self):
        if not os.path.exists("/run/virtlogd.pid"):
            subprocess.run(["virtlogd", "-d"], check=True)
        super().spawn()

    def qemu_pid(self, machine):
        with open(f"/run/libvirt/qemu/{machine}.pid", encoding="ascii") as file:
            return int(file.read())


class Stead(Server):
    name = "stead"

    def __init__(self, work, binary):
        self.binary = binary
        self.root = os.path.join(work, "s")
        super().__init__(work)
        self.uri = f"qemu+unix:///system?socket={self.root}/run/libvirt-sock"
        self.read_only_socket = f"{self.root}/run/libvirt-sock-ro"
        # What is forgotten at boot is in memory, as it is on a host: below /run.
        os.makedirs(f"{self.root}/run")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{self.root}/run"], check=True)

    def command(self):
        return [self.binary, "daemon", "--root", self.root, "--listen", "none"]

    def stead(self, *words):
        return [self.binary, "-c", self.uri, *words]

    def qemu_pid(self, machine):
        wanted = f"guest={machine},"
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if "qemu" in words[0] and any(word.startswith(wanted) or word == machine for word in words):
                return int(pid)
        raise LookupError(f"no QEMU runs {machine}")
