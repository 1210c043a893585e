"""Figures of machines that start, run and stop."""

import os
import statistics
import subprocess
import threading
import time

import libvirt

import machines
from measure import at_most, by_turns, median_ms, timed, timed_ms

MANY = 50
RUNS = 11
RUNS_OF_MANY = 3
EVENT_RUNS = 31


def start_and_destroy(servers, work):
    """Start of a minimal machine against a bare QEMU with the same arguments; destroy."""
    singles = {server.name: Single(server, work) for server in servers}
    measures = {}
    for name, single in singles.items():
        measures |= {(name, "start"): single.start, (name, "destroy"): single.destroy, (name, "bare"): single.bare_start}
    found = by_turns(RUNS, measures)
    for single in singles.values():
        single.forget()
    value = lambda what: (found.get(("libvirtd", what)), found.get(("stead", what)))
    bare = found.get(("stead", "bare"), found.get(("libvirtd", "bare")))
    yield at_most(1.25, "start of a minimal machine, call to return", "ms", *value("start"), bare, "bare QEMU")
    yield at_most(0.1, "destroy", "ms", *value("destroy"))


class Single:
    """One minimal machine of a server, and a bare QEMU with its arguments. Times are milliseconds."""

    def __init__(self, server, work):
        self.connection = server.connect()
        self.domain = machines.define(self.connection, "minimal")
        self.domain.create()
        self.bare = machines.Bare(server, "minimal", work)
        self.domain.destroy()

    def start(self):
        return timed_ms(self.domain.create)

    def destroy(self):
        # Firmware that is still starting answers signals later: not what is measured here.
        time.sleep(0.2)
        return timed_ms(self.domain.destroy)

    def bare_start(self):
        return self.bare.start_and_end(0) * 1e3

    def forget(self):
        self.domain.undefine()
        self.connection.close()


def start_many(servers, work):
    """50 machines started with 8 threads, against as many bare QEMUs."""
    names = machines.running_names(MANY)
    measures = {}
    for server in servers:
        connection = server.connect()
        for name in names:
            machines.define(connection, name)
        connection.lookupByName(names[0]).create()
        bare = machines.Bare(server, names[0], work)
        connection.lookupByName(names[0]).destroy()
        # Nobody answers its keepalive while the threads below are timed.
        connection.close()
        measures |= {
            server.name: lambda server=server: start_all(server, names),
            f"bare {server.name}": lambda bare=bare: bare.start_many(MANY),
        }
    found = by_turns(RUNS_OF_MANY, measures)
    for server in servers:
        connection = server.connect()
        machines.forget_all(connection)
        connection.close()
    bare = found.get("bare stead", found.get("bare libvirtd"))
    yield at_most(
        1.5, "50 machines started with 8 threads", "s", found.get("libvirtd"), found.get("stead"), bare, "bare QEMU"
    )


def start_all(server, names):
    """Seconds to start them; they are ended again."""
    took = timed(machines.with_threads, server, names, "create")
    machines.with_threads(server, names, "destroy")
    return took


def many_running(servers, _work):
    """Memory, statistics and restart with 50 machines running."""
    names = machines.running_names(MANY)
    memory, stats, restart = {}, {}, {}
    for server in servers:
        connection = server.connect()
        for name in names:
            machines.define(connection, name)
        machines.with_threads(server, names, "create")
        stats[server.name] = median_ms(9, connection.getAllDomainStats)
        memory[server.name] = server.memory_mib()
        connection.close()
        restart[server.name] = statistics.median(restart_s(server) for _ in range(3)) * 1e3
        connection = server.connect()
        running = connection.numOfDomains()
        if running != MANY:
            raise RuntimeError(f"{server.name} knows {running} of {MANY} machines after a restart")
        machines.forget_all(connection)
        connection.close()
    yield at_most(0.5, "resident memory, 50 running", "MiB", memory.get("libvirtd"), memory.get("stead"))
    yield at_most(0.25, "statistics of 50 running machines", "ms", stats.get("libvirtd"), stats.get("stead"))
    yield at_most(0.5, "restart with 50 running, to first answer", "ms", restart.get("libvirtd"), restart.get("stead"))


def restart_s(server):
    """From the start of the daemon to the first `virsh list` that succeeds."""
    server.stop()
    begin = time.perf_counter()
    server.spawn()
    while subprocess.run(server.virsh("list"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        if server.process.poll() is not None:
            raise RuntimeError(f"{server.name} ended with {server.process.returncode}")
    return time.perf_counter() - begin


def suspend_to_event(servers, _work):
    """From the call of suspend to the event on another connection."""
    run_event_loop()
    watched = {server.name: Watched(server) for server in servers}
    found = by_turns(EVENT_RUNS, {name: machine.suspend_ms for name, machine in watched.items()})
    for machine in watched.values():
        machine.forget()
    yield at_most(1, "suspend to the event on another connection", "ms", found.get("libvirtd"), found.get("stead"))


class Watched:
    """A running machine of a server, with one connection that acts and one that waits for its events."""

    def __init__(self, server):
        self.name = server.name
        self.watching, acting = server.connect(), server.connect()
        self.arrived, self.moment = threading.Event(), None
        self.watching.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_event, None)
        self.domain = machines.define(acting, "watched")
        self.domain.create()

    def suspend_ms(self):
        """Milliseconds until the event of a suspend is there; the machine runs on afterwards."""
        took = self._event_after(self.domain.suspend)
        self._event_after(self.domain.resume)
        return took * 1e3

    def forget(self):
        self.domain.destroy()
        self.domain.undefine()

    def _on_event(self, _connection, _domain, _event, _detail, _opaque):
        self.moment = time.perf_counter()
        self.arrived.set()

    def _event_after(self, operation):
        """Seconds from the call of an operation to its event."""
        # Events of the start or of the step before must not count for this one.
        time.sleep(0.02)
        self.arrived.clear()
        begin = time.perf_counter()
        operation()
        if not self.arrived.wait(5):
            raise RuntimeError(f"{self.name}: no event within 5 s of {operation.__name__}")
        return self.moment - begin


def run_event_loop():
    def loop():
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=loop, daemon=True).start()
