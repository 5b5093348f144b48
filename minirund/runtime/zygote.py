"""The zygote: forks shims ahead of time. One waits at the spawner's door; when it has got its start, the next is made.

A shim's memory is ours, but for the pages that it or we write to after the fork. So this process does as little as can
be: it makes a pipe, forks, and reads from the pipe: a byte when the shim takes a start, the end when that start is
over (or the shim killed). The next fork comes a moment later, out of the way of the start and of the program, or at
once if another start waits. A fork of us costs some 50 pages; where the spawner itself forked, every shim paid another
120 for the spawner's work on the next start.

Nothing has to be told: the door's end, which comes with the spawner's, is the end of the shim that waits, and ours.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
from typing import NoReturn

from minirund.runtime import birth, shim, syscalls
from minirund.runtime.context import Host
from minirund.runtime.init import failure
from minirund.runtime.start import Born, Start, memfd, receive

REST = 0.01
"""Seconds from a start's end to the next fork, unless somebody waits for it: the new program comes first."""
REHEARSALS = 10  # Python 3.11 rewrites code after 8 calls


def run(door: socket.socket, host: Host) -> NoReturn:
    """The process's life."""
    rehearsal = birth.nothing()
    rehearse(host, rehearsal)
    syscalls.set_title(birth.TITLE.decode())
    while spawner_lives(door):
        progress, told = os.pipe2(os.O_CLOEXEC)
        try:
            if os.fork() == 0:
                os.close(progress)
                birth.main(door, rehearsal, told, host)
        except OSError as error:  # no process to be had
            refuse_or_wait(door, host, error)
        os.close(told)
        if os.read(progress, 1):
            select.select([door, progress], [], [])
            select.select([door], [], [], REST)
        os.close(progress)
    os._exit(0)


def rehearse(host: Host, rehearsal: socket.socket) -> None:
    """Do what every shim will do, some times: start a container that can't be, hear of it, and clear up.

    Python rewrites code that has run some times into a shape that looks fewer things up, and remembers where it found
    attributes. Done in a shim, that writes to 100 pages of its memory; done here, they are shared by all.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(REHEARSALS):
        birth.rehearse(rehearsal)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        progress, told = os.pipe2(os.O_CLOEXEC)
        nobodys_start(ours).send(ours)
        birth.live(*receive(theirs), told, host)
        os.close(progress)
        ours.close()
        theirs.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.disable()
    gc.collect()
    close_all_but(before)
    gc.freeze()


def close_all_but(names: set[str]) -> None:
    """Close what the end of a shim would have closed."""
    for name in set(os.listdir("/proc/self/fd")) - names:
        with contextlib.suppress(OSError):  # the directory's own, which is closed by now
            os.close(int(name))


def nobodys_start(daemon: socket.socket) -> Start:
    """A start that fails with its first step, since its run directory is none."""
    told = {"id": "", "bundle": "/", "run": "/dev/null", "joins": [], "stdin": [False, False]}
    plan = memfd("config", b"{}")
    start = Start({**told, "namespaces": syscalls.CLONE_NEWNS}, {"daemon": os.dup(daemon.fileno()), "plan": plan})
    report, init = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    start.descriptors |= {"report": report.detach(), "init": init.detach()}
    for name in ("init0", "init1", "init2"):
        start.descriptors[name] = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    return start


def spawner_lives(door: socket.socket) -> bool:
    """Whether the door has another side. A start that lies there is left for a shim."""
    try:
        return bool(door.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True


def refuse_or_wait(door: socket.socket, host: Host, error: OSError) -> None:
    """No shim could be forked. A start that lies at the door is refused; else wait for one, there may be room then."""
    if select.select([door], [], [], 0)[0]:
        refuse(door, host, error)
    else:
        select.select([door], [], [])


def refuse(door: socket.socket, host: Host, error: OSError) -> None:
    """Where there can be no shim: take its start, and be for it what a shim is to one that failed."""
    data, descriptors = receive(door)
    if not data:
        return
    made = shim.Shim(host, Start.parse(descriptors), Born())
    made.take_over(Born())
    made.fail(made.start.failed() or failure(error, "fork a shim"))
    made.session.close_clients()  # a shim would stay for those who are slow to read
    made.start.close(*made.start.descriptors)
    made.loop.close()
    gc.collect()
