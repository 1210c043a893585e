"""Figures of calls against many stopped machines."""

import multiprocessing
import subprocess
import time

import libvirt

import machines
from life import restart_s
from measure import at_least, at_most, by_turns, timed, timed_ms

STOPPED = 5000
SAMPLE = 1000
BATCH = 200
CLIENTS = 16
CLIENT_SECONDS = 2


def idle_memory(servers, _work):
    """Memory of a fresh daemon that has answered once and has come to rest."""
    for server in servers:
        server.wait_until_at_rest()
    found = {server.name: server.memory_mib() for server in servers}
    yield at_most(0.5, "resident memory, idle", "MiB", found.get("libvirtd"), found.get("stead"))


def many_stopped(servers, _work):
    """Everything that is measured with 5,000 stopped machines."""
    for server in servers:
        connection = server.connect()
        for number in range(STOPPED):
            connection.defineXML(machines.typical(number))
        connection.close()
    defined = by_turns(5, {server.name: lambda server=server: define_rate(server) for server in servers})
    yield at_least(3, "define per second at 5,000", "/s", defined.get("libvirtd"), defined.get("stead"))
    started = by_turns(5, {server.name: lambda server=server: restart_s(server) * 1e3 for server in servers})
    yield at_most(
        0.1, "daemon start to first answer, 5,000 domains", "ms", started.get("libvirtd"), started.get("stead")
    )
    memory = {}
    for server in servers:
        connection = server.connect()
        connection.listAllDomains()
        memory[server.name] = server.memory_mib()
        connection.close()
    yield at_most(0.5, "resident memory, 5,000 domains", "MiB", memory.get("libvirtd"), memory.get("stead"))
    yield from lists(servers)
    yield from calls_per_second(servers)
    for server in servers:
        connection = server.connect()
        machines.forget_all(connection)
        connection.close()


def lists(servers):
    """The tables of the two clients."""
    commands = {server.name: server.virsh("list", "--all") for server in servers}
    commands |= {"stead list": server.stead("list", "--all") for server in servers if hasattr(server, "stead")}
    took = by_turns(9, {name: lambda words=words: timed_ms(run, words) for name, words in commands.items()})
    libvirtd, ours = took.get("libvirtd"), took.get("stead list")
    yield at_most(0.7, "virsh list --all, 5,000 domains", "ms", libvirtd, took.get("stead"))
    yield at_most(0.1, "stead list --all (virsh for libvirtd)", "ms", libvirtd, ours)


def calls_per_second(servers):
    """Single calls, on one connection and on 16."""
    connections = {server.name: server.connect() for server in servers}
    domains = {name: connection.listAllDomains()[:SAMPLE] for name, connection in connections.items()}
    names = [machines.stopped_name(number) for number in range(0, STOPPED, STOPPED // SAMPLE)]
    once = {
        "XMLDesc": lambda server: [domain.XMLDesc() for domain in domains[server]],
        "lookupByName": lambda server: [connections[server].lookupByName(name) for name in names],
        "getInfo": lambda server: [domain.info() for domain in domains[server]],
    }
    for call, action in once.items():
        rates = by_turns(5, {name: lambda name=name: SAMPLE / timed(action, name) for name in connections})
        yield at_least(1, f"{call} per second, one connection", "/s", rates.get("libvirtd"), rates.get("stead"))
    for connection in connections.values():
        connection.close()
    for call in once:
        rates = by_turns(3, {server.name: lambda server=server: rate_of_clients(server.uri, call) for server in servers})
        yield at_least(1, f"{call} per second, 16 connections", "/s", rates.get("libvirtd"), rates.get("stead"))


def define_rate(server):
    """Definitions per second on top of those that are there; the batch is removed again."""
    connection = server.connect()
    definitions = [machines.typical(STOPPED + number) for number in range(BATCH)]
    rate = BATCH / timed(lambda: [connection.defineXML(text) for text in definitions])
    for number in range(BATCH):
        connection.lookupByName(machines.stopped_name(STOPPED + number)).undefine()
    connection.close()
    return rate


def run(command):
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def rate_of_clients(uri, call):
    """Calls per second of 16 processes together."""
    # Not forked: another thread of this process may hold libvirt's locks just then.
    context = multiprocessing.get_context("spawn")
    ready, go, counts = context.Barrier(CLIENTS + 1), context.Event(), context.Queue()
    arguments = lambda number: (uri, call, machines.stopped_name(number), ready, go, counts)
    clients = [context.Process(target=client, args=arguments(number)) for number in range(CLIENTS)]
    for process in clients:
        process.start()
    ready.wait()
    go.set()
    total = sum(counts.get() for _ in clients)
    for process in clients:
        process.join()
    return total / CLIENT_SECONDS


def client(uri, call, name, ready, go, counts):
    connection = libvirt.open(uri)
    domain = connection.lookupByName(name)
    action = {
        "XMLDesc": domain.XMLDesc,
        "getInfo": domain.info,
        "lookupByName": lambda: connection.lookupByName(name),
    }[call]
    ready.wait()
    go.wait()
    count, end = 0, time.perf_counter() + CLIENT_SECONDS
    while time.perf_counter() < end:
        action()
        count += 1
    counts.put(count)
