"""Runs a command line in a guest through its agent: ADDRESS MACHINE LINE.

Prints what it printed and ends with its exit status.
"""

import base64
import json
import sys
import time

import libvirt
import libvirt_qemu

address, machine, line = sys.argv[1:]
domain = libvirt.open(address).lookupByName(machine)


def ask(command, **arguments):
    text = json.dumps({"execute": command, "arguments": arguments})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, 20, 0))["return"]


started = ask("guest-exec", path="/bin/sh", arg=["-c", line], **{"capture-output": True})
while True:
    status = ask("guest-exec-status", pid=started["pid"])
    if status["exited"]:
        break
    time.sleep(0.1)
for name, stream in (("out-data", sys.stdout), ("err-data", sys.stderr)):
    stream.write(base64.b64decode(status.get(name, "")).decode(errors="replace"))
sys.exit(status.get("exitcode", 1))
