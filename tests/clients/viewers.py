"""viewers.py LINE LINE LINE: three viewers of one serial console, each a program on a terminal of its own.

The lines are commands for a shell that attach to the console. The first two see the same; the third takes the
console away from them and then has it alone.
"""

import os
import pty
import select
import sys
import time

TIMEOUT_S = 60
ESCAPE = b"\x1d"


class Viewer:
    def __init__(self, line):
        self.line = line
        self.shown = b""
        self.ended = False
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execv("/bin/sh", ["/bin/sh", "-c", f"exec {line}"])

    def read(self, seconds):
        if self.ended or not select.select([self.terminal], [], [], seconds)[0]:
            return
        try:
            piece = os.read(self.terminal, 4096)
        except OSError:
            piece = b""
        self.ended = not piece
        self.shown += piece

    def wait(self, wanted, what):
        end = time.monotonic() + TIMEOUT_S
        while not wanted():
            if time.monotonic() > end or (self.ended and not wanted()):
                raise SystemExit(f"{self.line}: {what}; it showed {self.shown[-2000:]!r}")
            self.read(0.2)

    def sees(self, words):
        self.wait(lambda: words in self.shown, f"no {words!r}")

    def finds_the_shell(self):
        """A terminal drops what is typed before its program is ready: so it is typed again."""
        self.sees(b"Escape character is")
        end = time.monotonic() + TIMEOUT_S
        while b"# " not in self.shown and time.monotonic() < end:
            self.type(b"\n")
            self.read(1)
        self.sees(b"# ")

    def ends(self):
        self.wait(lambda: self.ended, "it does not end")
        os.waitpid(self.pid, 0)

    def type(self, text):
        os.write(self.terminal, text)


first, second, third = (Viewer(line) if number < 2 else line for number, line in enumerate(sys.argv[1:4]))
for viewer in (first, second):
    viewer.finds_the_shell()
first.type(b"echo BO''TH\n")
for viewer in (first, second):
    viewer.sees(b"BOTH")
second.type(b"echo SEC''OND\n")
first.sees(b"SECOND")
third = Viewer(third)
first.ends()
second.ends()
third.finds_the_shell()
third.type(b"echo ALO''NE\n")
third.sees(b"ALONE")
third.type(ESCAPE)
third.ends()
print("both saw it, then one alone")
