"""Figures of machines that start, run and stop."""

import os
import statistics
import subprocess
import threading
import time

import libvirt

import machines
from measure import at_most, median_ms, timed

MANY = 50
RUNS = 11
RUNS_OF_MANY = 3
EVENT_RUNS = 31


def start_and_destroy(servers, work):
    """Start of a minimal machine against a bare QEMU with the same arguments; destroy."""
    found = {server.name: one_machine(server, work) for server in servers}
    libvirtd, stead = found.get("libvirtd", {}), found.get("stead", {})
    compared = stead or libvirtd
    yield at_most(
        1.25, "start of a minimal machine, call to return", "ms", libvirtd.get("start"), stead.get("start"),
        compared["bare"], "bare QEMU",
    )
    yield at_most(0.1, "destroy", "ms", libvirtd.get("destroy"), stead.get("destroy"))


def one_machine(server, work):
    connection = server.connect()
    domain = machines.define(connection, "minimal")
    domain.create()
    bare = machines.Bare(server, "minimal", work)
    domain.destroy()
    starts, ends, bares = [], [], []
    for _ in range(RUNS):
        starts.append(timed(domain.create))
        # Firmware that is still starting answers signals later: not what is measured here.
        time.sleep(0.2)
        ends.append(timed(domain.destroy))
        bares.append(bare.start_and_end(0))
    domain.undefine()
    connection.close()
    median = lambda values: statistics.median(values) * 1e3
    return {"start": median(starts), "destroy": median(ends), "bare": median(bares)}


def start_many(servers, work):
    """50 machines started with 8 threads, against as many bare QEMUs."""
    names = machines.running_names(MANY)
    found = {}
    for server in servers:
        connection = server.connect()
        for name in names:
            machines.define(connection, name)
        connection.lookupByName(names[0]).create()
        bare = machines.Bare(server, names[0], work)
        connection.lookupByName(names[0]).destroy()
        # Nobody answers its keepalive while the threads below are timed.
        connection.close()
        starts, bares = [], []
        for _ in range(RUNS_OF_MANY):
            starts.append(timed(machines.with_threads, server, names, "create"))
            machines.with_threads(server, names, "destroy")
            bares.append(bare.start_many(MANY))
        found[server.name] = statistics.median(starts), statistics.median(bares)
        connection = server.connect()
        machines.forget_all(connection)
        connection.close()
    libvirtd, stead = found.get("libvirtd"), found.get("stead")
    yield at_most(
        1.5, "50 machines started with 8 threads", "s", libvirtd and libvirtd[0], stead and stead[0],
        (stead or libvirtd)[1], "bare QEMU",
    )


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
    found = {}
    for server in servers:
        watching, acting = server.connect(), server.connect()
        arrived, moment = threading.Event(), []

        def on_event(_connection, _domain, _event, _detail, _opaque, arrived=arrived, moment=moment):
            moment.append(time.perf_counter())
            arrived.set()

        watching.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event, None)
        domain = machines.define(acting, "watched")
        domain.create()
        times = []
        for _ in range(EVENT_RUNS):
            for operation in (domain.suspend, domain.resume):
                # Events of the start or of the step before must not count for this one.
                time.sleep(0.02)
                arrived.clear()
                moment.clear()
                begin = time.perf_counter()
                operation()
                if not arrived.wait(5):
                    raise RuntimeError(f"{server.name}: no event within 5 s of {operation.__name__}")
                if operation.__name__ == "suspend":
                    times.append(moment[0] - begin)
        found[server.name] = statistics.median(times) * 1e3
        domain.destroy()
        domain.undefine()
    yield at_most(1, "suspend to the event on another connection", "ms", found.get("libvirtd"), found.get("stead"))


def run_event_loop():
    def loop():
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=loop, daemon=True).start()
