"""Figures of calls against many stopped machines."""

import multiprocessing
import statistics
import subprocess
import time

import libvirt

import machines
from life import restart_s
from measure import at_least, at_most, median_ms, rate, timed

STOPPED = 5000
SAMPLE = 1000
BATCH = 200
CLIENTS = 16
CLIENT_SECONDS = 2


def idle_memory(servers, _work):
    """Memory of a fresh daemon that has answered once."""
    found = {server.name: server.memory_mib() for server in servers}
    yield at_most(0.5, "resident memory, idle", "MiB", found.get("libvirtd"), found.get("stead"))


def many_stopped(servers, _work):
    """Everything that is measured with 5,000 stopped machines."""
    found = {server.name: figures(server) for server in servers}
    libvirtd, stead = found.get("libvirtd", {}), found.get("stead", {})
    both = lambda key: (libvirtd.get(key), stead.get(key))
    yield at_most(0.1, "daemon start to first answer, 5,000 domains", "ms", *both("start"))
    yield at_most(0.7, "virsh list --all, 5,000 domains", "ms", *both("virsh list"))
    yield at_most(0.1, "stead list --all (virsh for libvirtd)", "ms", libvirtd.get("virsh list"), stead.get("stead list"))
    yield at_least(3, "define per second at 5,000", "/s", *both("define"))
    for call in ("XMLDesc", "lookupByName", "getInfo"):
        yield at_least(1, f"{call} per second, one connection", "/s", *both(call))
        yield at_least(1, f"{call} per second, 16 connections", "/s", *both(f"{call} 16"))
    yield at_most(0.5, "resident memory, 5,000 domains", "MiB", *both("memory"))


def figures(server):
    connection = server.connect()
    for number in range(STOPPED):
        connection.defineXML(machines.typical(number))
    found = {"define": define_rate(connection)}
    connection.close()
    found["start"] = statistics.median(restart_s(server) for _ in range(5)) * 1e3
    connection = server.connect()
    domains = connection.listAllDomains()[:SAMPLE]
    found["memory"] = server.memory_mib()
    found["virsh list"] = median_ms(7, run, server.virsh("list", "--all"))
    if hasattr(server, "stead"):
        found["stead list"] = median_ms(7, run, server.stead("list", "--all"))
    names = [machines.stopped_name(number) for number in range(0, STOPPED, STOPPED // SAMPLE)]
    found["XMLDesc"] = rate(5, len(domains), lambda: [domain.XMLDesc() for domain in domains])
    found["lookupByName"] = rate(5, len(names), lambda: [connection.lookupByName(name) for name in names])
    found["getInfo"] = rate(5, len(domains), lambda: [domain.info() for domain in domains])
    for call in ("XMLDesc", "lookupByName", "getInfo"):
        found[f"{call} 16"] = statistics.median(rate_of_clients(server.uri, call) for _ in range(3))
    machines.forget_all(connection)
    connection.close()
    return found


def define_rate(connection):
    """Definitions per second on top of those that are there; each batch is removed again."""
    rates = []
    for _ in range(5):
        definitions = [machines.typical(STOPPED + number) for number in range(BATCH)]
        rates.append(BATCH / timed(lambda texts=definitions: [connection.defineXML(text) for text in texts]))
        for number in range(BATCH):
            connection.lookupByName(machines.stopped_name(STOPPED + number)).undefine()
    return statistics.median(rates)


def run(command):
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def rate_of_clients(uri, call):
    """Calls per second of 16 processes together."""
    context = multiprocessing.get_context("fork")
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
