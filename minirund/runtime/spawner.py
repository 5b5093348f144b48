"""The spawner: a small process that forks. Each ``Launch`` on its socket becomes a shim.

A fork copies page tables, so the daemon, big and with threads, does not fork. This process is started before it grows,
imports all that a shim or an init will ever need, puts those objects out of the garbage collector's sight (which would
write to each, and so copy every page), and waits. A shim is a fork of it: under a millisecond, and most of its memory
is shared with all the others.

What several containers have in common is done here once: the seccomp profile's program and the device program.
The spawner ends when its socket does; the shims stay.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from cgroups import devices as device_programs
from cgroups.cgroup import Cgroup, find_mount
from cgroups.errors import NoCgroup2
from minirund import wire
from minirund.bundle import Bundle
from minirund.runtime import init, seccomp, shim, syscalls
from minirund.runtime.context import Host

CACHED = 64


class Cache:
    """Compiled programs by the text they were made from; the oldest goes first."""

    def __init__(self, full_library: Callable[[], None]) -> None:
        self._full_library = full_library
        self._filters: dict[str, bytes] = {}
        self._devices: dict[str, int] = {}

    def filter(self, profile: dict[str, Any] | None) -> bytes:
        """The seccomp program for a profile. Raises StepFailed, OSError."""
        if not profile:
            return b""
        key = json.dumps(profile)
        if key not in self._filters:
            self._filters[key] = seccomp.compile_aside(profile, self._full_library)
            if len(self._filters) > CACHED:
                del self._filters[next(iter(self._filters))]
        return self._filters[key]

    def device_program(self, rules: list[dict[str, Any]] | None) -> int:
        """A loaded device program, as a descriptor that stays ours; -1 for no rules. Raises CgroupError."""
        if not rules:
            return -1
        key = json.dumps(rules)
        if key not in self._devices:
            self._devices[key] = device_programs.load_or_explain(device_programs.program(rules))
            if len(self._devices) > CACHED:
                os.close(self._devices.pop(next(iter(self._devices))))
        return self._devices[key]

    def keep_only(self, program: int) -> None:
        """In a shim: close the device programs that are not its own."""
        for each in self._devices.values():
            if each != program:
                os.close(each)


class Spawner:
    """The loop. Owns the control channel."""

    def __init__(self, channel: wire.Channel, host: Host, full_library: Callable[[], None]) -> None:
        self._channel, self._host, self._cache = channel, host, Cache(full_library)

    def run(self) -> None:
        """Until the daemon has gone."""
        while (received := self._channel.receive()) is not None:
            message, descriptors = received
            if isinstance(message, wire.Launch) and descriptors:
                self._launch(message, descriptors)
            wire.close_all(descriptors)

    def _launch(self, launch: wire.Launch, descriptors: list[int]) -> None:
        """Fork a shim; what fails before that is reported from here."""
        try:
            prepared = self._prepare(launch)
            pid = os.fork()
        except Exception as error:  # whatever is wrong with a bundle must not end the spawner
            self._refuse(descriptors[0], error)
            return
        if pid == 0:
            self._channel.close()
            self._cache.keep_only(prepared.device_program)
            shim.main(launch, prepared, descriptors)

    def _prepare(self, launch: wire.Launch) -> shim.Prepared:
        config = Bundle(launch.bundle, launch.run).read_config()
        linux = config.get("linux") or {}
        program = self._cache.device_program((linux.get("resources") or {}).get("devices"))
        return shim.Prepared(self._host, config, self._cache.filter(linux.get("seccomp")), program)

    def _refuse(self, report: int, error: Exception) -> None:
        with contextlib.suppress(OSError), wire.Channel(socket.socket(fileno=os.dup(report))) as channel:
            channel.send(init.failure(error, "prepare the start"))


def close_input_and_output() -> None:
    """stdin and stdout are the daemon's, and shims outlive it; what goes wrong is said on stderr."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.close(null)


def look_at_host() -> Host:
    """What does not change while we live."""
    try:
        mount = find_mount()
    except NoCgroup2:
        return Host.look("", frozenset())
    return Host.look(mount, Cgroup(mount).controllers())


def main(control: int, full_library: Callable[[], None]) -> NoReturn:
    """The process's life; ``control`` is the inherited socket, ``full_library`` takes the stand-ins away (lean.py)."""
    syscalls.set_dumpable(False)
    syscalls.set_title("minirund-spawner")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the shims that end before us
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ctrl-c at the daemon's terminal is the daemon's affair
    os.umask(0o022)
    os.chdir("/")
    os.set_inheritable(control, False)
    close_input_and_output()
    gc.collect()
    gc.disable()
    gc.freeze()
    channel = wire.Channel(socket.socket(fileno=control))
    Spawner(channel, look_at_host(), full_library).run()
    os._exit(0)
