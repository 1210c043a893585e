"""console.py URI MACHINE COMMAND: types a command on the serial console of a booting guest, prints its output."""

import sys
import time

import libvirt
from common import connect_with_events

BOOT_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 20
PROMPT = b"# "


class Console:
    """The console as a terminal program has it: a non-blocking stream."""

    def __init__(self, connection, domain):
        self.stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, self.stream, 0)
        self.text = b""

    def read_until(self, wanted, seconds):
        end = time.monotonic() + seconds
        while wanted not in self.text:
            if time.monotonic() > end:
                raise SystemExit(f"no {wanted!r} within {seconds} s; the console said {self.text[-2000:]!r}")
            data = self.stream.recv(4096)
            if data == -2:
                time.sleep(0.02)
            elif not data:
                raise SystemExit(f"the console ended; it said {self.text[-2000:]!r}")
            else:
                self.text += data
        found, self.text = self.text.split(wanted, 1)
        return found

    def type(self, text):
        while text:
            text = text[max(self.stream.send(text), 0):]


def main():
    _, uri, machine, command = sys.argv
    connection = connect_with_events()
    console = Console(connection, connection.lookupByName(machine))
    # A shell that is there already shows its prompt again.
    console.type(b"\n")
    console.read_until(PROMPT, BOOT_TIMEOUT_S)
    # The marks are put together by the shell, so that the echo of the line is not taken for them.
    console.type(f"echo BEG''IN; {command}; echo E''ND\n".encode())
    console.read_until(b"BEGIN", ANSWER_TIMEOUT_S)
    print(console.read_until(b"END", ANSWER_TIMEOUT_S).decode().replace("\r", "").strip())
    console.stream.abort()


main()
