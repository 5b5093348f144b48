"""Links over real socket pairs, the engine's side of a shim, and clients that wait."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from minirund import wire
from minirund.bundle import Bundle
from minirund.engine import shims
from minirund.engine.shims import Link, Shim, Spawner, connect
from minirund.engine.waiters import Live, answer, hang_up, hung_up
from minirund.errors import EngineError


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.exits: list[wire.Exited | None] = []
        self.execs: list[tuple[str, int]] = []

    def shim_exited(self, shim: Shim, exited: wire.Exited | None) -> None:
        self.exits.append(exited)

    def exec_exited(self, shim: Shim, exec_id: str, code: int) -> None:
        self.execs.append((exec_id, code))


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    """A test on an event loop, after which no descriptor may be left."""

    async def whole() -> Any:
        return await work()

    before = os.listdir("/proc/self/fd")
    result = asyncio.run(whole())
    assert len(os.listdir("/proc/self/fd")) == len(before)
    return result


def pair() -> tuple[wire.Channel, wire.Channel]:
    ours, theirs = wire.Channel.pair()
    return ours, wire.Channel(theirs)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_a_link_brings_messages_in_order_and_then_the_end() -> None:
    async def work() -> None:
        ours, theirs = pair()
        heard: list[Any] = []
        Link(ours, lambda message, descriptors: heard.append((message, len(descriptors))), lambda: heard.append("end"))
        reading, writing = os.pipe()
        theirs.send(wire.Signal(1))
        theirs.send(wire.Signal(2), [reading])
        theirs.close()
        await until(lambda: "end" in heard)
        assert heard == [(wire.Signal(1), 0), (wire.Signal(2), 1), "end"]
        os.close(reading)
        os.close(writing)

    asyncio.run(work())


def test_what_does_not_fit_is_sent_when_there_is_room_and_descriptors_are_closed() -> None:
    async def work() -> None:
        ours, theirs = pair()
        link = Link(ours, lambda *_: None, lambda: None)
        reading, writing = os.pipe()
        os.close(writing)
        for number in range(2000):
            link.send(wire.Signal(number), [os.dup(reading)] if number % 100 == 0 else [])
        os.close(reading)
        theirs.setblocking(False)
        seen: list[int] = []

        def read() -> bool:
            try:
                while received := theirs.receive():
                    seen.append(received[0].number)  # type: ignore[union-attr]
                    wire.close_all(received[1])
            except BlockingIOError:
                pass
            return len(seen) == 2000

        await until(read)
        assert seen == list(range(2000))
        link.close()
        theirs.close()

    run(work)


def test_sending_to_who_has_gone_closes_the_descriptors() -> None:
    async def work() -> None:
        ours, theirs = pair()
        ended: list[bool] = []
        link = Link(ours, lambda *_: None, lambda: ended.append(True))
        theirs.close()
        reading, writing = os.pipe()
        os.close(writing)
        link.send(wire.Signal(1), [reading])
        await until(lambda: ended)
        link.send(wire.Signal(2), [os.open("/dev/null", os.O_RDONLY)])
        assert not link.open

    run(work)


def test_nonsense_ends_a_link() -> None:
    async def work() -> None:
        ours, theirs = wire.Channel.pair()
        ended: list[bool] = []
        Link(ours, lambda *_: None, lambda: ended.append(True))
        theirs.send(b"{nonsense")
        await until(lambda: ended)
        theirs.close()

    run(work)


def test_a_shim_s_life() -> None:
    async def work() -> None:
        ours, theirs = pair()
        heard = Heard()
        shim = Shim("c", ours, heard)
        theirs.send(wire.Started(5, 6))
        assert await shim.first_word() == wire.Started(5, 6) == shim.started
        answers: list[object] = []
        asking = asyncio.create_task(shim.exec(wire.Exec("e", {}), [], answers.append))
        await asyncio.sleep(0)
        assert theirs.receive() == (wire.Exec("e", {}, until=ANY), [])
        theirs.send(wire.ExecStarted("e", 7))
        shim.catch_up()  # somebody asks about it, before who waits comes to it
        assert (answers, asking.done()) == ([wire.ExecStarted("e", 7)], False)
        assert await asking == wire.ExecStarted("e", 7)
        theirs.send(wire.ExecExited("e", 3))
        theirs.send(wire.Exited(4, 8))
        shim.catch_up()
        assert (heard.execs, heard.exits) == ([("e", 3)], [wire.Exited(4, 8)])
        theirs.close()
        await until(lambda: not shim.open)
        assert heard.exits == [wire.Exited(4, 8)]

    run(work)


def impatient(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.05) -> None:
    monkeypatch.setattr(shims, "PATIENCE", seconds)
    monkeypatch.setattr(shims, "START_PATIENCE", seconds)


def test_a_shim_that_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)

    async def work() -> None:
        ours, theirs = pair()
        shim = Shim("c", ours, Heard())
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            await shim.exec(wire.Exec("e", {}), [])
        message, _ = theirs.receive() or (None, [])
        assert isinstance(message, wire.Exec) and before < message.until < time.monotonic()
        shim.close()
        theirs.close()

    run(work)


def test_a_shim_that_reads_may_take_its_time_until_it_reads_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch, 0.5)  # in which we have to read

    async def work() -> None:
        ours, theirs = pair()
        shim = Shim("c", ours, Heard())
        asking = [asyncio.create_task(shim.exec(wire.Exec(name, {}), [])) for name in ("slow", "lost")]
        await asyncio.sleep(0)
        assert theirs.receive() and theirs.receive()
        for _ in range(4):  # both are looked after twice
            await until(lambda: select.select([theirs], [], [], 0)[0])
            assert theirs.receive() == (wire.Signal(0), [])
        theirs.send(wire.ExecStarted("slow", 7))
        assert await asking[0] == wire.ExecStarted("slow", 7)
        with pytest.raises(TimeoutError):
            await asking[1]
        shim.close()
        theirs.close()

    run(work)


def test_a_shim_that_reads_slowly_reads() -> None:
    async def work() -> None:
        ours, theirs = pair()
        shim = Shim("c", ours, Heard())
        for _ in range(20):
            shim.send(wire.Signal(1))
        asking = asyncio.create_task(shim.reads())
        await asyncio.sleep(0)
        theirs.receive()
        assert await asking is True
        shim.close()
        theirs.close()

    run(work)


def test_a_shim_is_killed_and_nobody_who_has_its_number(tmp_path: Path) -> None:
    bundle = Bundle(str(tmp_path), str(tmp_path))
    with subprocess.Popen(["sleep", "1000"]) as process:
        bundle.write_shim_pid(process.pid)
        kept = Path(bundle.shim_pid).read_text()
        Path(bundle.shim_pid).write_text(f"{process.pid} 1\n")
        shims.kill(bundle)
        assert process.poll() is None
        process.send_signal(signal.SIGSTOP)
        Path(bundle.shim_pid).write_text(kept)
        shims.kill(bundle)
        assert process.wait() == -signal.SIGKILL
    shims.kill(bundle)  # it has gone: nothing to do


def test_a_shim_that_vanishes_is_told_and_fails_who_waits() -> None:
    async def work() -> None:
        ours, theirs = pair()
        heard = Heard()
        shim = Shim("c" * 64, ours, heard)
        asking = asyncio.create_task(shim.exec(wire.Exec("e", {}), []))
        await asyncio.sleep(0)
        theirs.close()
        assert await shim.first_word() is None
        with pytest.raises(EngineError, match=r"the shim of container c{12} has gone"):
            await asking
        assert heard.exits == [None]

    run(work)


def test_a_start_that_failed_is_no_end() -> None:
    async def work() -> None:
        ours, theirs = pair()
        heard = Heard()
        shim = Shim("c", ours, heard)
        theirs.send(wire.Failed("mount /proc", 1))
        theirs.close()
        assert await shim.first_word() == wire.Failed("mount /proc", 1)
        await until(lambda: not shim.open)
        assert heard.exits == []

    run(work)


def test_a_spawner_that_does_not_come_to_its_work_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where systemd, which is asked for a place first, does not answer."""
    monkeypatch.setattr(shims, "GOODBYE_SECONDS", 0.1)

    async def work() -> None:
        spawner = Spawner(lambda control, limits: ["sleep", "600"], -1)
        spawner.start()
        assert spawner.lives()
        spawner.stop()
        assert not spawner.lives()
        assert not Path(f"/proc/{spawner.pid}").exists()

    run(work)


def test_no_shim_is_there_to_connect_to(tmp_path: Any) -> None:
    assert connect(f"{tmp_path}/none", "c", Heard()) is None
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(f"{tmp_path}/shim.sock")
    stale.close()
    assert connect(str(tmp_path), "c", Heard()) is None


def test_waiters_get_an_http_chunk_and_the_end() -> None:
    ours, theirs = socket.socketpair()
    answer(theirs.detach(), 137)
    with ours:
        assert ours.recv(1000) == b'13\r\n{"StatusCode":137}\n\r\n0\r\n\r\n'
        assert ours.recv(1) == b""


def test_clients_are_held_until_they_are_taken_or_hang_up() -> None:
    live = Live()
    ours, theirs = zip(*(socket.socketpair() for _ in range(3)), strict=True)
    kinds: list[wire.Attach | wire.Wait] = [wire.Attach(), wire.Wait(), wire.Wait(removed=True)]
    for kind, sock in zip(kinds, theirs, strict=True):
        live.hold(kind, sock.detach())
    ours[0].shutdown(socket.SHUT_WR)  # its sending half alone: `run </dev/null`
    assert not hung_up(live.held[0][1])
    ours[2].close()
    taken = live.take_held()
    assert [client for client, _ in taken] == kinds[:2] and not live.held
    wire.close_all([descriptor for _, descriptor in taken])
    ours[0].close()
    ours[1].close()


@pytest.mark.parametrize("framed", [True, False])
def test_an_attached_client_reads_a_last_line_and_the_end_though_another_holds_its_connection(framed: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        hang_up(theirs.fileno(), wire.Attach(framed=framed), "gone")
        assert ours.recv(1000) == (b"\1\0\0\0\0\0\0\6" if framed else b"") + b"gone\r\n"
        assert ours.recv(1) == b""


def test_those_held_are_answered_when_the_container_goes() -> None:
    live = Live()
    waiting, attached = socket.socketpair(), socket.socketpair()
    live.hold(wire.Wait(), waiting[1].detach())
    live.hold(wire.Attach(), attached[1].detach())
    live.answer_held(3)
    assert b'"StatusCode":3' in waiting[0].recv(1000) and attached[0].recv(1) == b"" and not live.held
    waiting[0].close()
    attached[0].close()
