"""What the client programs of the tests share."""

import sys
import threading

import libvirt

# Errors reach the tests as exceptions; libvirt's own copy on standard error would only double them.
libvirt.registerErrorHandler(lambda _context, _error: None, None)


def connect_with_events():
    """A connection whose events are served by a thread."""
    libvirt.virEventRegisterDefaultImpl()

    def serve():
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=serve, daemon=True).start()
    return libvirt.open(sys.argv[1])
