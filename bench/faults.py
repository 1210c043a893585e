"""Figures while something is wrong: a QEMU that hangs, a user that holds 2,000 connections."""

import os
import pwd
import resource
import signal
import socket
import statistics
import subprocess
import time

import libvirt

import machines
from measure import Row, median_ms, timed_ms

RUNNING = 10
IDLE_CONNECTIONS = 2000
# "Unchanged", as far as a noisy host can tell.
UNCHANGED = 1.3
UNCHANGED_SLACK_MS = 2
DESTROY_MAX_MS = 1000
# Longer than this, a call on a hanging machine has no clear end.
CALL_MAX_S = 60


def unchanged(what, before, during):
    """A row of Stead alone: the value during the fault against the value before it."""
    passed = during <= before * UNCHANGED or during - before <= UNCHANGED_SLACK_MS
    return Row(what, "ms", None, during, f"≤ {UNCHANGED}× before", during / before, passed, f"before {before:.3g} ms")


def with_and_without(calls, rounds, begin, end):
    """Medians in milliseconds of each call, without the fault and with it, taken by turns."""
    values = {name: ([], []) for name in calls}
    for _ in range(rounds):
        for faulty in (0, 1):
            if faulty:
                begin()
            for name, call in calls.items():
                values[name][faulty].append(timed_ms(call))
        end()
    medians = lambda faulty: {name: statistics.median(pair[faulty]) for name, pair in values.items()}
    return medians(0), medians(1)


def stopped_qemu(servers, _work):
    """One of ten QEMUs is held by SIGSTOP."""
    server = next((server for server in servers if server.name == "stead"), None)
    if server is None:
        return
    connection = server.connect()
    names = machines.running_names(RUNNING)
    for name in names:
        machines.define(connection, name)
    machines.with_threads(server, names, "create")
    held, others = names[0], [connection.lookupByName(name) for name in names[1:]]

    def domstats():
        # Each machine by itself: a call for all would include the one that hangs.
        connection.domainListGetStats(others)

    calls = {
        "list": lambda: subprocess.run(server.virsh("list"), stdout=subprocess.DEVNULL, check=True),
        "dominfo": lambda: subprocess.run(server.virsh("dominfo", names[1]), stdout=subprocess.DEVNULL, check=True),
        "domstats": domstats,
        "domstats of all": connection.getAllDomainStats,
    }
    pid = server.qemu_pid(held)
    try:
        before, during = with_and_without(
            calls, 11, lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)
        )
        for name in calls:
            yield unchanged(f"{name} of the others while one QEMU is stopped", before[name], during[name])
        os.kill(pid, signal.SIGSTOP)
        yield own_call(connection, held)
    finally:
        destroyed = median_ms(1, connection.lookupByName(held).destroy)
    yield Row(
        "destroy of the stopped one", "ms", None, destroyed, f"≤ {DESTROY_MAX_MS} ms", None, destroyed <= DESTROY_MAX_MS
    )
    machines.forget_all(connection)
    connection.close()


def own_call(connection, held):
    """A call that needs the stopped QEMU ends with an error that says what happened."""
    begin = time.perf_counter()
    try:
        connection.lookupByName(held).suspend()
        message, passed = "no error", False
    except libvirt.libvirtError as error:
        message, passed = str(error), error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT
    took = time.perf_counter() - begin
    return Row(
        "a call on the stopped one ends", "s", None, took, f"time-out error ≤ {CALL_MAX_S} s", None,
        passed and took <= CALL_MAX_S, message,
    )


def idle_connections(servers, _work):
    """An unprivileged user holds 2,000 connections on the read-only socket."""
    server = next((server for server in servers if server.name == "stead"), None)
    if server is None:
        return
    connection = server.connect()
    domain = connection.defineXML(machines.minimal("watched"))
    calls = {
        "root connects": lambda: server.connect().close(),
        "root's getInfo": domain.info,
        "root's virsh list": lambda: subprocess.run(server.virsh("list"), stdout=subprocess.DEVNULL, check=True),
    }
    crowds = []
    before, during = with_and_without(
        calls, 15, lambda: crowds.append(Crowd(server.read_only_socket)), lambda: crowds[-1].leave()
    )
    size = min(crowd.size for crowd in crowds)
    for name in calls:
        yield unchanged(f"{name} with {size} idle connections", before[name], during[name])
    full = size == IDLE_CONNECTIONS
    yield Row("idle connections that were let in", "", None, size, f"= {IDLE_CONNECTIONS}", None, full)
    domain.undefine()
    connection.close()


class Crowd:
    """A process of the user nobody that holds as many connections as it gets."""

    def __init__(self, path):
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(told)
            self._hold(path, tell)
        os.close(tell)
        with os.fdopen(told) as answer:
            self.size = int(answer.readline())

    def leave(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @staticmethod
    def _hold(path, tell):
        limit = IDLE_CONNECTIONS + 100
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        held = []
        for _ in range(IDLE_CONNECTIONS):
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(path)
            except OSError:
                break
            held.append(connection)
        os.write(tell, f"{len(held)}\n".encode())
        signal.pause()
