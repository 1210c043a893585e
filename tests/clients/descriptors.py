"""descriptors.py URI MACHINE CHANNEL: takes a machine's display and channel over as descriptors and streams."""

import socket
import sys

import libvirt

TIMEOUT_S = 20

_, uri, machine, channel = sys.argv
libvirt.registerErrorHandler(lambda *_: None, None)
connection = libvirt.open(uri)
domain = connection.lookupByName(machine)


def shake_hands(display):
    """RFB as far as the server's word that nobody has to say who they are."""
    display.settimeout(TIMEOUT_S)
    banner = display.recv(12)
    assert banner == b"RFB 003.008\n", banner
    display.send(banner)
    kinds = display.recv(1)[0]
    assert b"\x01" in display.recv(kinds)
    display.send(b"\x01")
    assert display.recv(4) == bytes(4)


skip = libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH
given = socket.socket(fileno=domain.openGraphicsFD(0, skip))
shake_hands(given)
given.close()
ours, theirs = socket.socketpair()
domain.openGraphics(0, theirs.fileno(), skip)
theirs.close()
shake_hands(ours)

stream = connection.newStream(0)
domain.openChannel(channel, stream, 0)
stream.send(b"words for the guest\n")
answer = b""
while b"\n" not in answer:
    answer += stream.recv(100)
stream.abort()
print("the guest answered:", answer.decode().strip())
try:
    domain.openChannel("nowhere", connection.newStream(0), 0)
    raise SystemExit("there is no such channel")
except libvirt.libvirtError as error:
    assert "nowhere" in str(error), error
