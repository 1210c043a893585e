"""Networks: starting one, a machine's card on one, listing many."""

import json
import statistics
import subprocess

import libvirt

import machines
from measure import at_most, by_turns, timed_ms

RUNS = 9
DEFINED = 500
ACTIVE = 50
RULED = 500


def definition(name, number):
    """A NAT network on a subnet of its own."""
    net = f"10.{200 + number // 250}.{number % 250}"
    return f"""<network><name>{name}</name><forward mode='nat'/><bridge name='bn{number}'/>
<ip address='{net}.1' netmask='255.255.255.0'><dhcp><range start='{net}.2' end='{net}.254'/></dhcp></ip></network>"""


def machine(name, card):
    """A machine with firmware only."""
    return f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices>{card}<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


def by_name(values):
    return [values.get(name) for name in ("libvirtd", "stead")]


def start_of_a_network(servers, _work):
    """Starting a NAT network, to the moment it serves addresses."""
    networks = {}
    for number, server in enumerate(servers):
        connection = server.connect()
        networks[server.name] = connection.networkDefineXML(definition("bench", 240 + number))

    def start(network):
        took = timed_ms(network.create)
        network.destroy()
        return took

    taken = by_turns(RUNS, {name: lambda n=network: start(n) for name, network in networks.items()})
    for network in networks.values():
        network.undefine()
    return [at_most(0.5, "start a NAT network", "ms", *by_name(taken))]


def card_on_a_network(servers, _work):
    """What one card on a network adds to a machine's start."""
    rows = []
    added = {}
    for number, server in enumerate(servers):
        connection = server.connect()
        network = connection.networkDefineXML(definition("bench", 245 + number))
        network.create()
        card = "<interface type='network'><source network='bench'/><model type='virtio'/></interface>"

        def start(xml, connection=connection):
            domain = connection.defineXML(xml)
            took = timed_ms(domain.create)
            domain.destroy()
            domain.undefine()
            return took

        user = "<interface type='user'><model type='virtio'/></interface>"
        both = by_turns(RUNS, {"with": lambda: start(machine("bm", card)), "without": lambda: start(machine("bm", user))})
        added[server.name] = both["with"] - both["without"]
        network.destroy()
        network.undefine()
    libvirtd, stead = by_name(added)
    rows.append(at_most(1, "what one tap adds to a start", "ms", libvirtd, stead, base=15, base_name="the bar of"))
    return rows


def list_of_many_networks(servers, _work):
    """`net-list --all` with 500 networks, 50 of them active."""
    networks = []
    for offset, server in enumerate(servers):
        connection = server.connect()
        for number in range(DEFINED):
            network = connection.networkDefineXML(definition(f"n{number}", number).replace("bn", f"b{offset}n"))
            networks.append(network)
            if number < ACTIVE and offset == 0:
                network.create()
            elif number < ACTIVE:
                # The other daemon has taken these subnets on this host.
                network.undefine()
                xml = definition(f"n{number}", number + DEFINED).replace("bn", f"b{offset}n").replace("10.20", "10.21")
                networks[-1] = connection.networkDefineXML(xml)
                networks[-1].create()

    def listed(server):
        return timed_ms(subprocess.check_output, server.virsh("net-list", "--all"))

    taken = by_turns(RUNS, {server.name: lambda s=server: listed(s) for server in servers})
    for network in networks:
        if network.isActive():
            network.destroy()
        network.undefine()
    return [at_most(0.5, "virsh net-list of 500 networks", "ms", *by_name(taken))]


GUARDED = "<metadata><s:firewall xmlns:s='urn:stead:firewall:1' inbound='drop'/></metadata>"


def rules_of_running_machines(servers, _work):
    """One of 500 machines that run is allowed another port; and all rules are made again.

    The machines are paused before their first instruction; each drops what no rule allows.
    """
    (stead,) = (server for server in servers if server.name == "stead")
    connection = stead.connect()
    network = connection.networkDefineXML(definition("bench", 240))
    network.create()
    card = "<interface type='network'><source network='bench'/></interface>"
    names = [f"ruled{number}" for number in range(RULED)]
    for name in names:
        connection.defineXML(machine(name, card).replace("<devices>", f"{GUARDED}<devices>"))
    connection.close()
    machines.with_threads(stead, names, "createWithFlags", libvirt.VIR_DOMAIN_START_PAUSED)
    taken = []
    for turn in range(RUNS):
        allow = stead.stead("firewall", "allow", names[7], "--in", f"tcp/{8000 + turn}")
        taken.append(timed_ms(subprocess.check_output, allow))
        in_force = subprocess.check_output(["nft", "list", "ruleset"], text=True)
        if f"{8000 + turn}" not in in_force:
            raise AssertionError(f"port {8000 + turn} is not allowed in the kernel")
    replaced = [restored_ms(*tables()) for _ in range(RUNS)]
    connection = stead.connect()
    machines.forget_all(connection)
    # The first connection has been idle for long enough to be dropped.
    network = connection.networkLookupByName("bench")
    network.destroy()
    network.undefine()
    bar = {"base": 200, "base_name": "the bar of"}
    what = "one machine's rule changed with 500 running (with the command)"
    again = "all rules of 500 running machines put in force again after others deleted them"
    return [
        at_most(1, what, "ms", None, statistics.median(taken), **bar),
        at_most(1, again, "ms", None, statistics.median(replaced), **bar),
    ]


def tables():
    """The names of Stead's tables, and how many rules the one of machines has."""
    listed = json.loads(subprocess.check_output(["nft", "-j", "list", "tables"]))["nftables"]
    (name,) = {entry["table"]["name"] for entry in listed if entry.get("table", {}).get("name", "").startswith("stead")}
    return name, rules_in(name)


def rules_in(table):
    rules = subprocess.run(["nft", "-s", "list", "table", "bridge", table], capture_output=True, text=True)
    return rules.stdout.count("\n")


def restored_ms(table, rules):
    """Deletes the tables; milliseconds until they are back. They come in one transaction, so the last chain says all."""
    gone = f"delete table bridge {table}\ndelete table inet {table}\n"
    subprocess.run(["nft", "-f", "-"], input=gone, text=True, check=True)
    last = ["nft", "list", "chain", "bridge", table, "sending"]

    def wait():
        while subprocess.run(last, capture_output=True).returncode:
            pass

    taken = timed_ms(wait)
    if rules_in(table) != rules:
        raise AssertionError("not all rules are back")
    return taken


def binding(device, number):
    """A device of a machine that may send only as itself."""
    mac = f"52:54:00:bb:{number >> 8:02x}:{number & 255:02x}"
    return f"""<filterbinding><owner><name>m{number}</name><uuid>00000000-0000-4000-8000-{number:012d}</uuid></owner>
<portdev name='{device}'/><mac address='{mac}'/><filterref filter='bench'>
<parameter name='IP' value='10.60.{number >> 8}.{number & 255}'/></filterref></filterbinding>"""


def ruled(protocol):
    """A filter like the guard that machines have by default, their own addresses only, and one more rule."""
    rule = f"<rule action='drop' direction='out'><mac protocolid='{protocol:#x}'/></rule>"
    others = "".join(f"<filterref filter='no-{what}-spoofing'/>" for what in ("mac", "ip", "arp-mac", "arp-ip"))
    return f"<filter name='bench' chain='root'><uuid>00000000-0000-4000-8000-999999999999</uuid>{others}{rule}</filter>"


def rules_of_many_filters(servers, _work):
    """A filter that 500 devices have is defined anew, which changes a chain of each.

    They are devices bound by hand, without machines.
    """
    (stead,) = (server for server in servers if server.name == "stead")
    connection = stead.connect()
    connection.nwfilterDefineXML(ruled(0x8100))
    devices = [f"rt{number}" for number in range(RULED)]
    batch = "".join(f"tuntap add dev {device} mode tap\n" for device in devices)
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
    bindings = [connection.nwfilterBindingCreateXML(binding(d, n)) for n, d in enumerate(devices)]
    taken = [timed_ms(connection.nwfilterDefineXML, ruled(0x8847 + turn)) for turn in range(RUNS)]
    for bound in bindings:
        bound.delete()
    subprocess.run(["ip", "-batch", "-"], input="".join(f"link del {d}\n" for d in devices), text=True, check=True)
    connection.nwfilterLookupByName("bench").undefine()
    return [
        at_most(1, "a filter of 500 devices defined anew", "ms", None, statistics.median(taken), base=200, base_name="the bar of")
    ]
