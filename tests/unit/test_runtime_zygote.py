"""Where no shim can be forked, its start is taken by the zygote: it tells who asked, and what was made for it goes."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from minirund import wire
from minirund.runtime import zygote
from minirund.runtime.context import Host
from minirund.runtime.prepare import pack_clients
from minirund.runtime.start import Start

HOST = Host("", frozenset(), 0, 0)
LINE = b"2026-01-31T12:00:00.123456789Z stdout F x\n"


def all_of(client: socket.socket) -> bytes:
    """What is to be read up to the end."""
    with client, client.makefile("rb") as file:
        return file.read()


def test_who_asked_is_told_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "shim.sock").touch()
    before = set(os.listdir("/proc/self/fd"))
    told = {"id": "c1", "namespaces": 0, "joins": [], "bundle": str(tmp_path), "run": str(tmp_path)}
    told |= {
        "cgroup": str(tmp_path / "group"),
        "log": str(tmp_path / "log"),
        "door": (tmp_path / "shim.sock").stat().st_ino,
    }
    daemon, report = wire.Channel.pair()
    clients: list[wire.Attach | wire.Wait] = [
        wire.Attach(),
        wire.Wait(),
        wire.Wait(removed=True),
        wire.Attach(logs=True),
    ]
    (tmp_path / "log").write_bytes(LINE * 20000)  # more than a connection holds that nobody reads
    ours, theirs = zip(*(socket.socketpair() for _ in clients), strict=True)
    door, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with daemon, door, other:
        given = {"daemon": os.dup(report.fileno()), "plan": os.open("/dev/zero", os.O_RDONLY)}
        given |= {"log": os.open(tmp_path / "log", os.O_WRONLY), "listener": os.dup(report.fileno())}
        given["clients"] = pack_clients(wire.Launch("c1", "", "", clients=clients), [each.fileno() for each in theirs])
        for each in theirs:
            each.close()
        Start(told, given).send(door)
        report.close()
        zygote.refuse(other, HOST, BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
        received = daemon.receive()
        assert received is not None
        message = received[0]
        assert isinstance(message, wire.Failed)
        assert (message.step, message.errno) == ("fork a shim", errno.EAGAIN)
        assert daemon.receive() is None
    heard = [all_of(each) for each in ours]
    code = b'13\r\n{"StatusCode":125}\n\r\n0\r\n\r\n'
    assert heard[:3] == [b"", code, code] and heard[3].startswith(b"\1\0\0\0")
    assert set(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == ["log"]


def test_the_other_side_has_gone() -> None:
    door, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with other:
        assert zygote.spawner_lives(other)
        door.close()
        assert not zygote.spawner_lives(other)
        zygote.refuse(other, HOST, BlockingIOError())
