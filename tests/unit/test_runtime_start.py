"""A start comes through its datagram as it was, and its head says where things are."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from minirund import wire
from minirund.runtime import syscalls
from minirund.runtime.start import CHILDS, HEAD, WATCHED, Born, Start, receive

TOLD = {"id": "c1", "namespaces": 0x20020000, "joins": [], "stdin": [True, False]}
NAMES = ("join0", "init0", "stdout", "report", "daemon", "cgroup", "plan", "init", "listener")


@pytest.fixture
def door() -> Iterator[tuple[socket.socket, socket.socket]]:
    with Door() as ends:
        yield ends


class Door:
    def __enter__(self) -> tuple[socket.socket, socket.socket]:
        self.ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return self.ends

    def __exit__(self, *_: object) -> None:
        for each in self.ends:
            each.close()


def made(*names: str, **told: object) -> Start:
    return Start({**TOLD, **told}, {name: os.open("/dev/zero", os.O_RDONLY) for name in names})


def sent(start: Start, door: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[int]]:
    start.send(door[0])
    assert start.descriptors == {}
    return receive(door[1])


def test_it_comes_through(door: tuple[socket.socket, socket.socket]) -> None:
    data, descriptors = sent(made(*NAMES), door)
    assert data[HEAD.size :] == b"minirund-shim c1"
    start = Start.parse(descriptors)
    assert {key: start.told[key] for key in TOLD} == TOLD
    assert set(start.descriptors) == {*NAMES, "told", "token"}
    start.close(*start.descriptors)


def test_its_head_tells_the_places(door: tuple[socket.socket, socket.socket]) -> None:
    joins = [[syscalls.CLONE_NEWPID, "/proc/7/ns/pid"]]
    data, descriptors = sent(made(*NAMES, joins=joins), door)
    names = Start.parse(descriptors).told["names"]
    namespaces, report, cgroup, pids, asleep, watched, childs = HEAD.unpack_from(data)
    assert (namespaces, bool(asleep)) == (TOLD["namespaces"], True)
    assert [names[place] for place in (report, cgroup, pids)] == ["report", "cgroup", "join0"]
    assert names[:2] == ["told", "token"]
    assert set(names[2 : 2 + watched]) == set(WATCHED) & set(NAMES)
    assert names[2] == "daemon"
    assert all(name.startswith(CHILDS) for name in names[-childs:])
    assert not any(name.startswith(CHILDS) for name in names[:-childs])
    wire.close_all(descriptors)


def test_who_has_clients_does_not_sleep(door: tuple[socket.socket, socket.socket]) -> None:
    data, descriptors = sent(made(*NAMES, "clients"), door)
    assert not HEAD.unpack_from(data)[4]
    wire.close_all(descriptors)


def test_a_failure_closes_all_but_those_who_are_to_hear_of_it(door: tuple[socket.socket, socket.socket]) -> None:
    start = made(*NAMES, "clients", "token")
    start.fail(wire.Failed("mount", 2, "/x", "why", 127))
    assert set(start.descriptors) == {"daemon", "token", "clients"}
    data, descriptors = sent(start, door)
    assert HEAD.unpack_from(data)[1] == -1  # nothing to bear
    start = Start.parse(descriptors)
    assert start.failed() == wire.Failed("mount", 2, "/x", "why", 127)
    start.close(*start.descriptors)


def test_it_forgets_what_was_closed_on_the_way() -> None:
    born = Born()
    born.pid, born.started = 7, 8
    start = Start({}, dict.fromkeys((*NAMES, "token"), -1))
    start.forget(born)
    assert set(start.descriptors) == {"stdout", "daemon", "cgroup", "plan", "listener", "report"}


def test_the_end_of_the_door(door: tuple[socket.socket, socket.socket]) -> None:
    door[0].close()
    assert receive(door[1]) == (b"", [])


def test_nobody_there_keeps_nothing_open(door: tuple[socket.socket, socket.socket]) -> None:
    door[1].close()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BrokenPipeError):
        made(*NAMES).send(door[0])
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_template_of_started_is_the_message() -> None:
    assert wire.decode(wire.STARTED % (4711, 1_700_000_000_000_000_000)) == wire.Started(
        4711, 1_700_000_000_000_000_000
    )
