"""Measures Stead and Debian's libvirtd side by side: main.py WORK [--stead BINARY] [--only WORD]… [--out FILE].

Runs inside the box that init.py makes. Exits with 1 if a bar is missed.
"""

import argparse
import datetime
import sys

import libvirt

import api
import clones
import faults
import life
import networks
import snapshots
import storage
from measure import Row, surroundings, table
from servers import Libvirtd, Stead

# In this order: memory of an idle daemon is only seen before anything else.
PARTS = [
    api.idle_memory,
    life.start_and_destroy,
    life.suspend_to_event,
    life.start_many,
    life.many_running,
    faults.stopped_qemu,
    faults.idle_connections,
    api.many_stopped,
    storage.pool_of_many_volumes,
    storage.volumes,
    storage.transfer,
    snapshots.of_a_stopped_machine,
    clones.linked_clones,
    networks.start_of_a_network,
    networks.card_on_a_network,
    networks.list_of_many_networks,
    networks.rules_of_running_machines,
    networks.rules_of_many_filters,
]


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", help="an empty folder on a real disk")
    parser.add_argument("--stead", metavar="BINARY", help="measure this binary too")
    parser.add_argument("--without-libvirtd", action="store_true", help="measure Stead alone")
    parser.add_argument("--only", metavar="WORD", action="append", help="only the parts whose name contains this")
    parser.add_argument("--out", metavar="FILE", help="write the table there as well")
    return parser.parse_args()


def measure(servers, work, only):
    rows = []
    for part in PARTS:
        name = part.__name__
        if only and not any(word in name for word in only):
            continue
        print(f"Measuring {name.replace('_', ' ')}", file=sys.stderr, flush=True)
        try:
            # Row by row: what a part found before it failed is kept.
            for row in part(servers, work):
                print(f"  {row.what}: {row.libvirtd} {row.stead} {row.ratio} {row.remark}", file=sys.stderr)
                rows.append(row)
        # Whatever it was: the other parts are measured all the same, and the row fails the run.
        except Exception as error:
            print(f"  failed: {error}", file=sys.stderr)
            rows.append(Row(name.replace("_", " "), "", None, None, "–", None, False, str(error)))
    return rows


def main():
    options = parse()
    # Once per process, before the first connection: events need it.
    libvirt.virEventRegisterDefaultImpl()
    servers = [] if options.without_libvirtd else [Libvirtd(options.work)]
    if options.stead:
        servers.append(Stead(options.work, options.stead))
    for server in servers:
        server.start()
    rows = measure(servers, options.work, options.only)
    for server in servers:
        server.stop()
    text = f"{datetime.date.today()}, {surroundings()}\n\n{table(rows)}\n"
    print(text)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(text)
    sys.exit(any(row.passed is False for row in rows))


if __name__ == "__main__":
    main()
