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
from typing import Any, NoReturn

from cgroups import devices as device_programs
from cgroups.cgroup import find_mount
from cgroups.errors import NoCgroup2
from minirund import wire
from minirund.runtime import init, seccomp, shim, syscalls
from minirund.runtime.context import Host

CACHED = 64


class Cache:
    """Compiled programs by the text they were made from; the oldest goes first."""

    def __init__(self) -> None:
        self._filters: dict[str, bytes] = {}
        self._devices: dict[str, int] = {}

    def filter(self, profile: dict[str, Any] | None) -> bytes:
        """The seccomp program for a profile. Raises StepFailed, OSError."""
        if not profile:
            return b""
        key = json.dumps(profile)
        if key not in self._filters:
            self._filters[key] = seccomp.compile_profile(profile)
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


class Spawner:
    """The loop. Owns the control channel."""

    def __init__(self, channel: wire.Channel, host: Host) -> None:
        self._channel, self._host, self._cache = channel, host, Cache()

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
            shim.main(launch, prepared, descriptors)

    def _prepare(self, launch: wire.Launch) -> shim.Prepared:
        with open(f"{launch.bundle}/config.json", "rb") as file:
            config = json.load(file)
        linux = config.get("linux") or {}
        program = self._cache.device_program((linux.get("resources") or {}).get("devices"))
        return shim.Prepared(self._host, config, self._cache.filter(linux.get("seccomp")), program)

    def _refuse(self, report: int, error: Exception) -> None:
        with contextlib.suppress(OSError), wire.Channel(socket.socket(fileno=os.dup(report))) as channel:
            channel.send(init.failure(error, "prepare the start"))


def main(control: int) -> NoReturn:
    """The process's life; ``control`` is the inherited socket."""
    syscalls.set_dumpable(False)
    syscalls.set_title("minirund-spawner")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the shims that end before us
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ctrl-c at the daemon's terminal is the daemon's affair
    os.umask(0o022)
    os.chdir("/")
    os.set_inheritable(control, False)
    try:
        mount = find_mount()
    except NoCgroup2:
        mount = ""
    gc.collect()
    gc.disable()
    gc.freeze()
    channel = wire.Channel(socket.socket(fileno=control))
    Spawner(channel, Host.look(mount)).run()
    os._exit(0)
