"""virt-manager used as a person uses it, on a display nobody sees.

virt_manager.py URI machine MACHINE OTHER [PICTURE]
virt_manager.py URI storage FOLDER [PICTURE]

The program runs unmodified, in this process; its windows' own lists, buttons, menus and dialogs are
operated, each once it is there and can be. MACHINE is opened, started, looked at (console, details),
paused, resumed and forced off; OTHER only has to be listed. In a pool that is made at FOLDER a volume
is made and deleted, then the pool. What was done is printed, a line each.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

STEP_TIMEOUT_S = 60
POLL_MS = 50
PROGRAM = "/usr/share/virt-manager"
QUESTIONS = ("force poweroff", "permanently delete")


def begin_display():
    """A display of its own: the server chooses a free number and says it when it is ready."""
    out, into = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(into), "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
        pass_fds=[into], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(into)
    with os.fdopen(out) as ready:
        number = ready.readline().strip()
    if not number:
        raise SystemExit("Xvfb did not start")
    os.environ["DISPLAY"] = ":" + number
    return server


def own_home():
    """Settings of nobody, and no session bus that another virt-manager might be on."""
    home = tempfile.mkdtemp(prefix="virt-manager-")
    os.environ.update(HOME=home, XDG_RUNTIME_DIR=home, GSETTINGS_BACKEND="memory", NO_AT_BRIDGE="1",
                      GDK_BACKEND="x11", DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent")
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "WAYLAND_DISPLAY"):
        os.environ.pop(name, None)
    return home


def windows():
    return [window for window in Gtk.Window.list_toplevels() if window.get_visible()]


def inside(widget):
    yield widget
    if isinstance(widget, Gtk.MenuItem) and widget.get_submenu():
        yield from inside(widget.get_submenu())
    if isinstance(widget, Gtk.MenuToolButton) and widget.get_menu():
        yield from inside(widget.get_menu())
    if isinstance(widget, Gtk.Container):
        for child in widget.get_children():
            yield from inside(child)


def named(window, name):
    """The widget of this name in virt-manager's own description of the window."""
    if window is None:
        return None
    return next((w for w in inside(window) if Gtk.Buildable.get_name(w) == name), None)


def manager():
    return next((w for w in windows() if named(w, "vm-list")), None)


def any_widget(name):
    """The widget of this name in whatever window shows it, once it can be used."""
    found = (named(window, name) for window in windows())
    return next((w for w in found if w is not None and w.get_mapped() and w.is_sensitive()), None)


def machine_window():
    return next((w for w in windows() if named(w, "control-run")), None)


def dialog():
    return next((w for w in windows() if isinstance(w, Gtk.MessageDialog)), None)


def rows(tree):
    """Every row of a list of machines: its path and the machine (none for a connection's row)."""
    found = []

    def visit(model, path, place):
        found.append((path.copy(), model[place][0]))

    tree.get_model().foreach(visit)
    return found


def listed(name):
    """The row of a machine, and the machine as virt-manager knows it."""
    tree = named(manager(), "vm-list")
    for path, item in rows(tree) if tree else []:
        if hasattr(item, "is_paused") and item.get_name() == name:
            return path, item
    return None


def is_paused(name):
    found = listed(name)
    return found is not None and found[1].is_paused()


def can(name):
    """The machine window's widget of this name, once it can be used."""
    widget = named(machine_window(), name)
    return widget if widget is not None and widget.get_sensitive() else None


def display():
    """The console's display, once it shows the guest's screen."""
    window = machine_window()
    found = [w for w in inside(window) if type(w).__name__ in ("Display", "VncDisplay")] if window else []
    return next((w for w in found if hasattr(w, "is_open") and w.is_open() and w.get_width() > 0), None)


def menu_item(label):
    window = machine_window()
    items = (w for w in inside(window) if isinstance(w, Gtk.MenuItem)) if window else ()
    return next((w for w in items if w.get_label() and w.get_label().replace("_", "") == label
                 and w.get_sensitive()), None)


def press(button):
    """A tool button is pressed by the button inside it, as the mouse does."""
    inner = button.get_child()
    (inner if isinstance(inner, Gtk.Button) else next(
        w for w in inside(button) if isinstance(w, Gtk.Button))).clicked()


def choose(item):
    """Beside the driver, which goes on while virt-manager waits for the answer to a question."""
    GLib.idle_add(lambda: item.activate() and False)


def ask(button):
    """The same for a button that asks whether it is meant."""
    GLib.idle_add(lambda: press(button) and False)


def open_machine(name):
    tree, (path, _) = named(manager(), "vm-list"), listed(name)
    tree.expand_to_path(path)
    tree.set_cursor(path, None, False)
    tree.row_activated(path, tree.get_column(0))


def connection():
    """The row of the connection, once it is open."""
    tree = named(manager(), "vm-list")
    found = rows(tree) if tree else []
    return next((path for path, item in found if hasattr(item, "is_active") and item.is_active()
                 and not hasattr(item, "is_paused")), None)


def show_storage(window):
    tabs, page = named(window, "details-tabs"), named(window, "storage-align")
    tabs.set_current_page(tabs.page_num(page))


def row_of(name, label):
    """The row of a pool or volume in the list of this name."""
    tree = any_widget(name)
    model = tree.get_model() if tree else ()
    return next((row.path for row in model if row[0].get_name() == label), None)


def active_pool(label):
    """The row of a pool that virt-manager shows as active.

    A start whose news comes while virt-manager still reads the new pool is lost on it, whatever the
    daemon: the pool looks inactive for good. A refresh by anybody tells it again, as a person's would.
    """
    tree = any_widget("pool-list")
    row = next((row for row in (tree.get_model() if tree else ()) if row[0].get_name() == label), None)
    if row is None:
        return None
    if row[0].is_active():
        return row.path
    backend = row[0].get_backend()
    if backend.isActive():
        backend.refresh(0)
    return None


def select(name, path):
    any_widget(name).set_cursor(path, None, False)


def work_on_storage(folder, picture):
    """As `work_on_machine`."""
    path = yield "connected", connection
    tree = named(manager(), "vm-list")
    tree.set_cursor(path, None, False)
    tree.row_activated(path, tree.get_column(0))
    show_storage((yield "connection opened", lambda: next(
        (w for w in windows() if named(w, "details-tabs")), None)))
    press((yield "storage shown", lambda: any_widget("pool-add")))
    target = yield "pool asked for", lambda: any_widget("pool-target-path")
    any_widget("pool-name").set_text("made")
    target.set_text(folder)
    press((yield "pool can be made", lambda: any_widget("pool-finish")))
    yield "pool listed", lambda: row_of("pool-list", "made")
    select("pool-list", (yield "pool active", lambda: active_pool("made")))
    press((yield "volume can be added", lambda: any_widget("vol-add")))
    name = yield "volume asked for", lambda: any_widget("vol-name")
    name.set_text("disk")
    any_widget("vol-capacity").set_value(0.5)
    press((yield "volume can be made", lambda: any_widget("vol-create")))
    select("vol-list", (yield "volume listed", lambda: row_of("vol-list", "disk.qcow2")))
    shot(picture)
    if not os.path.exists(os.path.join(folder, "disk.qcow2")):
        finish("the volume is listed and not there")
    ask((yield "volume can be deleted", lambda: any_widget("vol-delete")))
    yield "volume gone", lambda: any_widget("vol-list") and not row_of("vol-list", "disk.qcow2")
    press((yield "pool can be stopped", lambda: any_widget("pool-stop")))
    ask((yield "pool can be deleted", lambda: any_widget("pool-delete")))
    yield "pool gone", lambda: any_widget("pool-list") and not row_of("pool-list", "made")


def hardware():
    tree = named(machine_window(), "hw-list")
    return [row[0] for row in tree.get_model()] if tree else []


def shot(path):
    if path:
        subprocess.run(["import", "-window", "root", path], check=False)


def work_on_machine(machine, other, picture):
    """What is waited for, and what is done then: yields the one, is resumed with what it gave."""
    yield "listed", lambda: listed(machine) and listed(other)
    open_machine(machine)
    press((yield "opened", lambda: can("control-run")))
    yield "started", lambda: can("control-pause") and not can("control-run")
    yield "shows the screen", display
    shot(picture)
    press((yield "details can be chosen", lambda: can("control-vm-details")))
    yield "shows the hardware", lambda: len(hardware()) > 5
    shot(picture and picture.replace(".png", "-details.png"))
    press((yield "pause can be pressed", lambda: can("control-pause")))
    yield "paused", lambda: is_paused(machine)
    press((yield "resume can be pressed", lambda: can("control-pause")))
    yield "resumed", lambda: not is_paused(machine)
    choose((yield "can be forced off", lambda: menu_item("Force Off")))
    yield "stopped", lambda: can("control-run") and not can("control-pause")
    yield "still listed", lambda: listed(machine)


class Driver:
    """Does the work beside virt-manager's own loop, a look every now and then."""

    def __init__(self, steps):
        self.steps = steps
        self.failure = "virt-manager ended by itself"
        self.advance(None)
        GLib.timeout_add(POLL_MS, self.guarded_look)

    def advance(self, found):
        try:
            self.what, self.condition = self.steps.send(found)
            self.end = time.monotonic() + STEP_TIMEOUT_S
        except StopIteration:
            self.failure = None
            finish(None)

    def guarded_look(self):
        """A fault here must not leave virt-manager waiting for nobody."""
        try:
            return self.look()
        except Exception as error:  # pylint: disable=broad-except
            finish(f"{self.what}: {type(error).__name__}: {error}")
            return False

    def look(self):
        # Whether it is meant is one of virt-manager's own questions.
        asked = dialog()
        if asked is not None:
            text = asked.get_property("text") or ""
            if any(question in text.lower() for question in QUESTIONS):
                asked.response(Gtk.ResponseType.YES)
            else:
                finish(f"virt-manager says: {text} {asked.get_property('secondary-text') or ''}")
            return True
        found = self.condition()
        if found:
            print(self.what, flush=True)
            self.advance(found)
        elif time.monotonic() > self.end:
            finish(f"not in {STEP_TIMEOUT_S} s: {self.what}")
        return True


def finish(failure):
    """Ends at once: what is left of virt-manager has nothing to save."""
    server.terminate()
    server.wait()
    shutil.rmtree(home, ignore_errors=True)
    if failure:
        print(failure, file=sys.stderr, flush=True)
    os._exit(1 if failure else 0)


WORKS = {"machine": (work_on_machine, 2), "storage": (work_on_storage, 1)}

uri, kind = sys.argv[1:3]
work, count = WORKS[kind]
about = sys.argv[3:3 + count]
picture = sys.argv[3 + count] if len(sys.argv) > 3 + count else None
home = own_home()
server = begin_display()
sys.path.insert(0, PROGRAM)
sys.argv = ["virt-manager", "--no-fork", "--connect", uri]

import gi  # noqa: E402

gi.require_version("Gtk", "3.0")
from gi.repository import GLib, Gtk  # noqa: E402


Driver(work(*about, picture))

from virtManager import virtmanager  # noqa: E402

virtmanager.runcli()
finish("virt-manager ended by itself")
