"""Figures of pools and volumes."""

import os
import shutil
import subprocess

from measure import at_most, by_turns, timed, timed_ms

VOLUMES = 5000
TRANSFER_BYTES = 4 << 30
TRANSFER_RUNS = 3
COPY_SHARE = 0.8
PIECE = 1 << 20
EMPTY = f"<volume><name>v</name><capacity>{TRANSFER_BYTES}</capacity><allocation>0</allocation></volume>"

POOL = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"


def run(words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def remove(path):
    if os.path.exists(path):
        os.remove(path)


def timed_at_rest(source, *words):
    """Seconds a command takes once the disk has nothing left to write, and memory holds the source and nothing else.

    Whoever comes second would otherwise wait for what the first has left in the page cache.
    """
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as caches:
        caches.write("1")
    with open(source, "rb") as file:
        while file.read(PIECE):
            pass
    return timed(run, words)


def pool_of_many_volumes(servers, work):
    """A pool of 5,000 volumes: read anew, and listed."""
    folder = os.path.join(work, "many")
    os.makedirs(folder, exist_ok=True)
    pattern = os.path.join(folder, "0.qcow2")
    run(["qemu-img", "create", "-q", "-f", "qcow2", pattern, "1G"])
    for number in range(1, VOLUMES):
        shutil.copyfile(pattern, os.path.join(folder, f"{number}.qcow2"))
    connections = {server.name: server.connect() for server in servers}
    xml = POOL.format(name="many", path=folder)
    pools = {name: connection.storagePoolCreateXML(xml) for name, connection in connections.items()}
    refreshed = by_turns(5, {name: lambda pool=pool: timed_ms(pool.refresh) for name, pool in pools.items()})
    yield at_most(1, "refresh a pool of 5,000 volumes", "ms", refreshed.get("libvirtd"), refreshed.get("stead"))
    listed = by_turns(15, {name: lambda pool=pool: timed_ms(pool.listAllVolumes) for name, pool in pools.items()})
    yield at_most(1 / 3, "listAllVolumes of 5,000", "ms", listed.get("libvirtd"), listed.get("stead"))
    commands = {server.name: server.virsh("vol-list", "many", "--details") for server in servers}
    commands |= {
        "stead vol-list": server.stead("vol-list", "many", "--details") for server in servers if hasattr(server, "stead")
    }
    took = by_turns(3, {name: lambda words=words: timed_ms(run, words) for name, words in commands.items()})
    libvirtd = took.get("libvirtd")
    yield at_most(1, "virsh vol-list --details, 5,000 volumes", "ms", libvirtd, took.get("stead"))
    yield at_most(
        1 / 3, "stead vol-list --details (virsh for libvirtd)", "ms", libvirtd, took.get("stead vol-list")
    )
    for name, connection in connections.items():
        pools[name].destroy()
        connection.close()
    shutil.rmtree(folder)


def transfer(servers, work):
    """4 GiB into a volume and out of it, beside what cp takes for the same on the same disk."""
    folder = os.path.join(work, "transfer")
    os.makedirs(folder, exist_ok=True)
    source, copy = os.path.join(work, "source"), os.path.join(work, "copy")
    with open("/dev/urandom", "rb") as random, open(source, "wb") as file:
        piece = random.read(PIECE)
        for _ in range(TRANSFER_BYTES // PIECE):
            file.write(piece)
    for server in servers:
        place = os.path.join(folder, server.name)
        os.makedirs(place, exist_ok=True)
        xml = POOL.format(name="transfer", path=place)
        server.connect().storagePoolCreateXML(xml).createXML(EMPTY)
    programs = {server.name: (server, server.virsh) for server in servers}
    programs |= {"stead's own": (server, server.stead) for server in servers if hasattr(server, "stead")}

    def cp():
        remove(copy)
        return timed_at_rest(source, "cp", "--reflink=never", source, copy)

    def upload(server, program):
        # Daemons hang up on a client that was idle for half a minute and answers no ping.
        pool = server.connect().storagePoolLookupByName("transfer")
        pool.storageVolLookupByName("v").delete()
        pool.createXML(EMPTY)
        return timed_at_rest(source, *program("vol-upload", "v", source, "transfer"))

    def download(server, program):
        remove(copy)
        return timed_at_rest(os.path.join(folder, server.name, "v"), *program("vol-download", "v", copy, "transfer"))

    for what, act in {"vol-upload of 4 GiB": upload, "vol-download of 4 GiB": download}.items():
        sides = {name: lambda side=side: act(*side) for name, side in programs.items()}
        took = by_turns(TRANSFER_RUNS, {"cp": cp} | sides)
        limit = 1 / COPY_SHARE
        for name in ("stead", "stead's own"):
            if name in took:
                title = f"{what}, {'virsh' if name == 'stead' else 'stead'}"
                yield at_most(limit, title, "s", took.get("libvirtd"), took[name], took["cp"], "cp")
    for server in servers:
        server.connect().storagePoolLookupByName("transfer").destroy()
    for path in (source, copy):
        os.remove(path)
    shutil.rmtree(folder)


def volumes(servers, work):
    """One volume made and deleted."""
    connections = {server.name: server.connect() for server in servers}
    pools = {}
    for name, connection in connections.items():
        place = os.path.join(work, "volumes", name)
        os.makedirs(place, exist_ok=True)
        pools[name] = connection.storagePoolCreateXML(POOL.format(name="volumes", path=place))
    xml = (
        "<volume><name>v</name><capacity unit='GiB'>1</capacity><allocation>0</allocation>"
        "<target><format type='{}'/></target></volume>"
    )

    def make(pool, kind):
        pool.createXML(xml.format(kind)).delete()

    for kind in ("qcow2", "raw"):
        took = by_turns(9, {name: lambda pool=pool: timed_ms(make, pool, kind) for name, pool in pools.items()})
        yield at_most(1, f"create and delete a {kind} volume", "ms", took.get("libvirtd"), took.get("stead"))
    for name, connection in connections.items():
        pools[name].destroy()
        connection.close()
    shutil.rmtree(os.path.join(work, "volumes"))
