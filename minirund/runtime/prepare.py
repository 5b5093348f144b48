"""The first half of a start, done by the spawner: everything that needs no process yet.

``BIRTH`` is what has to be there before init can be cloned; it goes to the shim that waits, as a ``Start``. ``LIFE`` is
the rest, done while shim and init come to be. The spawner has done the same for other containers before, so its code is
warm and its memory its own: what takes 0.3 ms here took a freshly forked shim 1.3 ms and 300 copied pages. A step that
fails undoes what was made before it; from BIRTH on it is init who reports the failure, and the shim who clears up.

The engine need not have written config.json before BIRTH: ``Launch`` may come with an outline of it, ``Go`` follows.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from cgroups import devices as device_programs
from cgroups.cgroup import ACCOUNTED, Cgroup
from cgroups.errors import CgroupError
from cgroups.limits import from_oci, settings
from minirund import wire
from minirund.bundle import Bundle
from minirund.errors import StepFailed
from minirund.runtime import plan, projects, seccomp, syscalls
from minirund.runtime.context import READY, Host, kind_of, new_namespaces
from minirund.runtime.init import failure
from minirund.runtime.start import Start, memfd, pack, read_memfd, write_memfd

CACHED = 64


class Cache:
    """Programs for the kernel by what they were made from, as descriptors; the oldest goes first."""

    def __init__(self, full_library: Callable[[], None]) -> None:
        self._full_library = full_library
        self._kept: list[tuple[Any, int]] = []

    def filter(self, profile: dict[str, Any], keep_projects: bool) -> int:
        """A memfd with the seccomp program for a profile, {} for none; it stays ours. Raises StepFailed, OSError."""
        return self._have([profile, keep_projects], lambda: memfd("seccomp", self._compile(profile, keep_projects)))

    def _compile(self, profile: dict[str, Any], keep_projects: bool) -> bytes:
        program = seccomp.compile_aside(profile, self._full_library) if profile else b""
        return projects.guarded(program) if keep_projects else program

    def device_program(self, rules: list[dict[str, Any]]) -> int:
        """A loaded device program; it stays ours. Raises CgroupError."""
        return self._have(rules, lambda: device_programs.load_or_explain(device_programs.program(rules)))

    def _have(self, source: Any, make: Callable[[], int]) -> int:
        for kept, descriptor in reversed(self._kept):
            if kept == source:
                return descriptor
        self._kept.append((source, make()))
        if len(self._kept) > CACHED:
            os.close(self._kept.pop(0)[1])
        return self._kept[-1][1]


class Preparation:
    """One start being prepared. ``undo`` takes back what the steps have made, until a shim has them."""

    def __init__(self, host: Host, cache: Cache, launch: wire.Launch, descriptors: list[int]) -> None:
        self.host, self.cache, self.bundle = host, cache, Bundle(launch.bundle, launch.run)
        self.config, self.outlined = launch.outline, bool(launch.outline)
        self.limited: Cgroup | None = None
        self.plan, self.filter, self.said = -1, -1, -1
        """What init waits for: two memfds to be filled, and where to say that they are."""
        self.undo = contextlib.ExitStack()
        told = {"id": launch.id, "bundle": launch.bundle, "run": launch.run, "joins": [], "namespaces": 0}
        self.start = Start(told, {"daemon": descriptors.pop(0)})
        self.netns = descriptors.pop(0) if launch.has_netns else -1
        if launch.has_token:
            self.start.descriptors["token"] = descriptors.pop()
        if launch.clients:
            self.start.descriptors["clients"] = pack_clients(launch, descriptors)

    @property
    def linux(self) -> dict[str, Any]:
        """config.json's."""
        return self.config.get("linux") or {}


def pack_clients(launch: wire.Launch, descriptors: list[int]) -> int:
    """The message and the clients' descriptors, in a socket: as one descriptor, however many they are."""
    ours, theirs = wire.Channel.pair()
    with ours:
        ours.send(launch, descriptors)
    return theirs.detach()


def read_outline(made: Preparation) -> None:
    """What is known of config.json: all of it, unless it is being written. The last end is forgotten."""
    if not made.outlined:
        made.config = made.bundle.read_config()
    made.bundle.clear_exit()


def read_config(made: Preparation) -> None:
    """config.json, if that was an outline."""
    if made.outlined:
        made.config = made.bundle.read_config()


def refuse_what_is_not_done(made: Preparation) -> None:
    """Parts of the specification that this runtime does not carry out: not passed over. Raises StepFailed."""
    if any((made.config.get("hooks") or {}).values()):
        raise StepFailed("config.json: hooks are not offered")
    if (made.config.get("process") or {}).get("apparmorProfile"):
        raise StepFailed("config.json: process.apparmorProfile is not offered: there are no AppArmor profiles here")


def open_log(made: Preparation) -> None:
    """container.log, and what the shim has to know about stdin."""
    extension = made.config.get("minirund") or {}
    made.start.told["stdin"] = [bool(extension.get("stdin")), bool(extension.get("stdin_once"))]
    log = extension.get("log")
    if log:
        path = os.path.join(made.bundle.directory, log)
        made.start.descriptors["log"] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        made.start.told["log"] = path


def make_cgroup(made: Preparation) -> None:
    """The container's cgroup: init is born in it."""
    path = made.linux.get("cgroupsPath")
    if not path:
        return
    if not made.host.cgroup_mount:
        raise StepFailed("make the cgroup: no cgroup v2 hierarchy is mounted")
    cgroup = Cgroup(os.path.join(made.host.cgroup_mount, path.strip("/")))
    made.undo.callback(cgroup.remove_parents)
    made.undo.callback(cgroup.remove)
    cgroup.create(made.host.controllers.intersection(ACCOUNTED))
    made.start.told["cgroup"] = cgroup.path
    made.start.descriptors["cgroup"] = cgroup.open()
    made.limited = cgroup


def limit(made: Preparation) -> None:
    """The cgroup's limits and its device program, before init goes on to anything of the container's."""
    resources = made.linux.get("resources") or {}
    limits = from_oci(resources)
    if made.limited is None:
        return
    if settings(limits):
        made.limited.apply(limits)
    if resources.get("devices"):
        descriptor = made.limited.open()
        try:
            device_programs.attach_loaded(descriptor, made.cache.device_program(resources["devices"]))
        finally:
            os.close(descriptor)


def open_joined(made: Preparation) -> None:
    """Open the namespaces that others made, while the host's /proc is in sight; name those to be made."""
    told, joined = made.start.told, 0
    for each in made.linux.get("namespaces") or ():
        kind, path = kind_of(each["type"]), each.get("path")
        if path:
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        elif kind == syscalls.CLONE_NEWNET and made.netns >= 0:
            opened, path, made.netns = made.netns, "network", -1
        else:
            continue
        made.start.descriptors[f"join{len(told['joins'])}"] = opened
        told["joins"].append([kind, path])
        joined |= kind
    told["namespaces"] = new_namespaces(made.config, joined)


def leave_room(made: Preparation) -> None:
    """What init and the execs will go by, still to be written: the plan and the seccomp program."""
    for name in ("plan", "seccomp"):
        made.start.descriptors[name] = memfd(name, b"")
    made.plan, made.filter = (os.dup(made.start.descriptors[name]) for name in ("plan", "seccomp"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.said, made.start.descriptors["init_plan"] = ours.detach(), theirs.detach()


def write_filter(made: Preparation) -> None:
    """The seccomp program."""
    profile = made.linux.get("seccomp") or {}
    keep_projects = bool((made.config.get("minirund") or {}).get("keep_projects"))
    if profile or keep_projects:
        write_memfd(made.filter, read_memfd(made.cache.filter(profile, keep_projects)))


def write_plan(made: Preparation) -> None:
    """What init goes by."""
    write_memfd(made.plan, pack(plan.of(made.config)))


def make_pipes(made: Preparation) -> None:
    """init's stdio, unless that is to be a terminal; and the socket on which it reports."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.start.descriptors |= {"report": ours.detach(), "init": theirs.detach()}
    if not (made.config.get("process") or {}).get("terminal"):
        stdin, _once = made.start.told["stdin"]
        if stdin:
            made.start.descriptors["init0"], made.start.descriptors["stdin"] = os.pipe2(os.O_CLOEXEC)
        else:
            made.start.descriptors["init0"] = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for number, name in ((1, "stdout"), (2, "stderr")):
            made.start.descriptors[name], made.start.descriptors[f"init{number}"] = os.pipe2(os.O_CLOEXEC)


def make_door(made: Preparation) -> None:
    """shim.sock, for a daemon that comes later. Its path may be longer than a socket's name can be."""
    path = made.bundle.shim_socket
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as listener, wire.short_path(path) as name:
        listener.bind(name)
        made.undo.callback(os.unlink, path)
        os.chmod(path, 0o600)
        listener.listen(8)
        made.start.told["door"] = os.stat(path).st_ino
        made.start.descriptors["listener"] = listener.detach()


BIRTH: tuple[Callable[[Preparation], None], ...] = (
    read_outline,
    open_log,
    make_cgroup,
    open_joined,
    leave_room,
    make_pipes,
    make_door,
)
"""From ``Launch`` to what a shim needs for clone3."""

LIFE: tuple[Callable[[Preparation], None], ...] = (
    read_config,
    refuse_what_is_not_done,
    limit,
    write_filter,
    write_plan,
)
"""The rest, while shim and init come to be; init waits for it (``init.wait_for_plan``)."""


def prepare(host: Host, cache: Cache, launch: wire.Launch, descriptors: list[int]) -> Preparation:
    """Take the steps of BIRTH; ``start`` is ready to be sent.

    A failure goes to a shim too: it tells everybody who waits. The descriptors are taken over.
    """
    made = Preparation(host, cache, launch, descriptors)
    try:
        for step in BIRTH:
            step(made)
        made.undo.pop_all()
    except Exception as error:  # whatever is wrong with a bundle must not end the spawner
        with contextlib.suppress(CgroupError, OSError):
            made.undo.close()
        made.start.fail(failure(error, "prepare the container"))
    if made.netns >= 0:
        descriptors.append(made.netns)
    wire.close_all(descriptors)
    return made


def finish(made: Preparation) -> None:
    """Take the steps of LIFE, and tell init; or why not."""
    word = READY
    try:
        if made.said >= 0:
            for step in LIFE:
                step(made)
    except Exception as error:
        word = wire.encode(failure(error, "prepare the container"))
    say(made, word)


def stop(made: Preparation) -> None:
    """There will be no plan. Who asked for the start knows why."""
    say(made, wire.encode(wire.Failed("prepare the container", message="its bundle could not be written")))


def say(made: Preparation, word: bytes) -> None:
    """Tell init, if there is one, and let go of what is init's and the shim's by now."""
    if made.said >= 0:
        with contextlib.suppress(OSError):  # it has ended already: the shim was killed
            os.write(made.said, word)
    wire.close_all([each for each in (made.said, made.plan, made.filter) if each >= 0])
    made.said = made.plan = made.filter = -1
