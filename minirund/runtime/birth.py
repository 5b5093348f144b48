"""A container's birth: a shim waits, gets a start, clones init, and sleeps until it is needed.

    wait ──▶ Start ──▶ clone3 ──▶ init takes its steps ──▶ execve: Started ──▶ sleep ──▶ wake (shim.py)

An idle container's memory is what its shim has written to. Every function called and every object used is a reference
count written, and with it a page of the zygote's becomes one of the shim's own. So up to the end of the sleep there are
few and plain calls, on plain descriptors; what is long to tell is not even parsed. Loop, session, control and the rest
of a shim are made when there is something to do: output, a message, a client, the end. An idle shim that had 2.1 MB of
its own has 0.6 so.

Each shim is there before its container is asked for, so that no fork of the zygote is on a start's way.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import termios
import time
from typing import NoReturn

from minirund import wire
from minirund.errors import StepFailed
from minirund.runtime import init, shim, syscalls
from minirund.runtime.context import MOUNTED, READY, Host
from minirund.runtime.start import HEAD, Born, Start, receive

TITLE = b"minirund-zygote"
"""Of a shim that waits: it is a copy of the zygote."""
NOTHING = bytes(4)
ALL_WELL = tuple(length.to_bytes(4, sys.byteorder) for length in (len(MOUNTED + READY), len(READY)))


def main(door: socket.socket, rehearsal: socket.socket, told: int, host: Host) -> NoReturn:
    """The shim's life, from the zygote's fork on. ``rehearsal``: see ``nothing``. ``told`` gets a byte when a start has
    come; its end says that it is over."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        rehearse(rehearsal)
        os.close(rehearsal.fileno())
        data, descriptors = receive(door)
        if data:
            try:  # noqa: SIM105 - contextlib.suppress would write to six pages more
                os.write(told, b"+")
            except OSError:
                pass  # the zygote was killed: who comes next will see
            os.close(door.fileno())
            live(data, descriptors, told, host)
        code = 0
    except BaseException as error:
        shim.warn(f"{type(error).__name__}: {error}")
        if os.environ.get("MINIRUND_DEBUG"):
            import traceback  # noqa: PLC0415

            traceback.print_exc()
    os._exit(code)


def nothing() -> socket.socket:
    """What shims rehearse with: a socket on which a start lies that is none. Made once, by who forks them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    socket.send_fds(ours, [HEAD.pack(0, -1, -1, -1, 0, 0, 0) + TITLE], [ours.fileno()])
    ours.close()
    return theirs


def rehearse(door: socket.socket) -> None:
    """Do what a start begins with: who is the first to write to a page copies it, and now nobody waits for us."""
    data, descriptors = receive(door, socket.MSG_PEEK)  # it stays there for the next shim
    HEAD.unpack_from(data)
    syscalls.set_title(data[HEAD.size :].decode())
    os.close(descriptors[0])


def live(data: bytes, descriptors: list[int], told: int, host: Host) -> None:
    """Bear, sleep, wake. What ``data`` says comes first: see ``start.HEAD``."""
    namespaces, report, cgroup, pids, asleep, watched, childs = HEAD.unpack_from(data)
    syscalls.set_title(data[HEAD.size :].decode())
    born = Born()
    if report >= 0:
        try:
            if pids >= 0:
                syscalls.setns(descriptors[pids], syscalls.CLONE_NEWPID)  # takes effect for children
            ours = os.getpid()
            born.pid, born.pidfd = syscalls.clone3(namespaces, -1 if cgroup < 0 else descriptors[cgroup])
            if born.pid == 0:
                init.main(host, descriptors, ours)
            for each in descriptors[-childs:]:
                os.close(each)
        except (StepFailed, OSError) as error:
            born.failed = init.failure(error, "prepare the container")
        if asleep and born.failed is None:
            sleep(born, descriptors[report], descriptors[1], descriptors[2 : 2 + watched], told)
    if not born.started:
        os.close(told)
    shim.wake(host, Start.parse(descriptors), born)


def sleep(born: Born, report: int, token: int, watched: list[int], told: int) -> None:
    """Until init has reached execve, if that is all that happens; then until anything happens.

    ``watched``: the daemon's messages, a new daemon, output. Of the report only the end is waited for: so we wake once.
    If no more lies in it then than the root file system and the word that execve comes, init has started. All else is
    left to a shim that is awake; so is to take out what lies there.
    """
    poll = select.poll()
    poll.register(report, 0)
    poll.register(born.pidfd, select.POLLIN)
    for each in watched:
        poll.register(each, select.POLLIN)
    ready = poll.poll()
    if len(ready) > 1 or ready[0][0] != report or fcntl.ioctl(report, termios.FIONREAD, NOTHING) not in ALL_WELL:
        return
    born.started = time.time_ns()
    try:  # noqa: SIM105 - as above
        os.write(watched[0], wire.STARTED % (born.pid, born.started))
    except OSError:
        pass  # the daemon has gone
    poll.unregister(report)
    for each in (token, told):
        os.close(each)
    poll.poll()
