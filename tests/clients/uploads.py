"""Uploads while other things go on: uploads.py URI POOL FOLDER. POOL has volumes 'v' and 'w'."""

import os
import sys
import threading

import common  # noqa: F401  (quietens libvirt)
import libvirt

PIECE = 262_120
PIECES = 120

connection = libvirt.open(sys.argv[1])
pool = connection.storagePoolLookupByName(sys.argv[2])
folder = sys.argv[3]
content = b"".join(bytes([n % 251]) * (PIECE - n) for n in range(PIECES))


def begin(name):
    stream = connection.newStream()
    pool.storageVolLookupByName(name).upload(stream, 0, 0)
    return stream


def send(stream, data):
    sent = 0
    while sent < len(data):
        sent += stream.send(data[sent : sent + PIECE])


def of(name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


# Other calls on the same connection are answered in between, and nothing is lost by that.
done, answers = threading.Event(), []


def ask():
    while not done.is_set():
        answers.append(pool.numOfVolumes())


asking = threading.Thread(target=ask)
asking.start()
stream = begin("v")
send(stream, content)
stream.finish()
done.set()
asking.join()
print("beside", set(answers), of("v") == content)

# Two uploads on one connection, a piece of each by turns, of sizes that are sent in different ways.
streams = {"v": begin("v"), "w": begin("w")}
for at in range(0, len(content), 100_000):
    for stream in streams.values():
        send(stream, content[at : at + 100_000])
    send(streams["w"], b"w" * 5)
for stream in streams.values():
    stream.finish()
expected = b"".join(content[at : at + 100_000] + b"w" * 5 for at in range(0, len(content), 100_000))
print("by turns", of("v") == content, of("w") == expected)

# One that is given up changes nothing.
stream = begin("v")
send(stream, b"x" * 10_000_000)
stream.abort()
print("given up", of("v") == content, pool.numOfVolumes())

# One that is longer than it said is told so.
stream = connection.newStream()
pool.storageVolLookupByName("v").upload(stream, 0, 1_000_000)
try:
    send(stream, content)
    stream.finish()
    print("too long")
except libvirt.libvirtError as error:
    print("refused", error)
print("as before", of("v") == content)

# A volume can be deleted while it is uploaded; then the upload comes to nothing.
volume, stream = pool.storageVolLookupByName("v"), begin("v")
send(stream, b"x" * 1_000_000)
volume.delete()
print("deleted", pool.listVolumes())
pool.createXML("<volume><name>v</name><capacity>1000</capacity></volume>")
try:
    stream.finish()
    print("finished")
except libvirt.libvirtError as error:
    print("refused", error)
print("new", len(of("v")), sorted(os.listdir(folder)))
