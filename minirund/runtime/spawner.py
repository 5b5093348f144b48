"""The spawner: prepares starts, and has shims waiting for them. Each ``Launch`` on its socket becomes a container.

    daemon ──Launch──▶ spawner ──Start──▶ shim, waiting ──clone3──▶ init
                          │                 ▲
                          └──fork, once──▶ zygote ──fork, ahead of each──

A fork copies page tables, so the daemon, big and with threads, does not fork. This process is started before it grows,
imports all that a shim or an init will ever need, and puts those objects out of the garbage collector's sight (which
would write to each, and so copy every page). Then it divides. The copy is the zygote (zygote.py), which does nothing
but fork shims: what it writes to memory, each shim pays for with pages of its own. We ourselves may work: prepare.py.

The spawner ends when its socket does, and the zygote and the shim that waits with it; the shims with a container stay.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from cgroups.cgroup import Cgroup, find_mount
from cgroups.errors import NoCgroup2
from minirund import wire
from minirund.runtime import syscalls, zygote
from minirund.runtime.context import Host
from minirund.runtime.prepare import Cache, Preparation, finish, prepare, stop


class Spawner:
    """The loop. Owns the control channel, and our end of the way to the shims."""

    def __init__(self, channel: wire.Channel, door: socket.socket, host: Host, cache: Cache) -> None:
        self._channel, self._door, self._host, self._cache = channel, door, host, cache
        self._begun: dict[str, Preparation] = {}
        """Starts whose config.json is being written, by the container's ID."""

    def run(self) -> None:
        """Until the daemon has gone, or the zygote."""
        while (received := self._channel.receive()) is not None:
            message, descriptors = received
            if isinstance(message, wire.Launch) and descriptors:
                self._launch(message, descriptors)
                continue
            wire.close_all(descriptors)
            begun = self._begun.pop(message.id, None) if isinstance(message, wire.Go | wire.Stop) else None
            if begun is not None:
                go_on = finish if isinstance(message, wire.Go) else stop
                go_on(begun)

    def _launch(self, message: wire.Launch, descriptors: list[int]) -> None:
        if message.id in self._begun:  # its shim was killed, and it is asked for again
            stop(self._begun.pop(message.id))
        made = prepare(self._host, self._cache, message, descriptors)
        made.start.send(self._door)
        if message.outline:
            self._begun[message.id] = made
        else:
            finish(made)


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
    host = look_at_host()
    door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.collect()
    gc.disable()
    gc.freeze()
    child = os.fork()
    if child == 0:
        os.close(control)
        door.close()
        zygote.run(theirs, host)
    theirs.close()
    with contextlib.suppress(OSError):  # EPIPE: the zygote was killed; the daemon starts another spawner
        Spawner(wire.Channel(socket.socket(fileno=control)), door, host, Cache(full_library)).run()
    door.close()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)  # so that who waits for us finds nobody left
    os._exit(0)
