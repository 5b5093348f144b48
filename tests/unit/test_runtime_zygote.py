"""Where no shim can be forked, its start is taken by the zygote: it tells who asked, and what was made for it goes."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from minirund import wire
from minirund.runtime import zygote
from minirund.runtime.start import Start


def test_who_asked_is_told_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "shim.sock").touch()
    before = set(os.listdir("/proc/self/fd"))
    told = {"id": "c1", "namespaces": 0, "joins": [], "run": str(tmp_path), "cgroup": str(tmp_path / "group")}
    daemon, report = wire.Channel.pair()
    door, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with daemon, door, other:
        Start(told, {"daemon": os.dup(report.fileno()), "plan": os.open("/dev/zero", os.O_RDONLY)}).send(door)
        report.close()
        zygote.refuse(other, BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
        received = daemon.receive()
        assert received is not None
        message = received[0]
        assert isinstance(message, wire.Failed)
        assert (message.step, message.errno) == ("fork a shim", errno.EAGAIN)
        assert daemon.receive() is None
    assert set(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == []


def test_the_other_side_has_gone() -> None:
    door, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with other:
        assert zygote.spawner_lives(other)
        door.close()
        assert not zygote.spawner_lives(other)
        zygote.refuse(other, BlockingIOError())
