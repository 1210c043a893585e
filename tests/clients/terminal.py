"""Runs a command on a terminal of its own, types ^] once it has greeted, prints what it showed."""

import os
import pty
import sys

GREETING = b"Escape character is"
ESCAPE = b"\x1d"

pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
typed = False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
    if not typed and GREETING in shown and shown.endswith(b"\n"):
        os.write(terminal, ESCAPE)
        typed = True
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status))
