"""The clocks: what is started when, and what becomes of a start that fails. Without a runtime: a start is a word."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_records import a_container

from minirund import wire
from minirund.engine.catalog import Catalog
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.engine.restarts import Restarts
from minirund.engine.store import Store
from minirund.engine.waiters import Live
from minirund.errors import Conflict, InvalidArgument, MinirundError, Unavailable

ALWAYS = {"RestartPolicy": {"Name": "always"}}


class Starts:
    """In the runner's place: who was started, and why not."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.started: list[str] = []
        self.failures: list[MinirundError] = []
        self.lives: dict[str, Live] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def live(self, ident: str) -> Live:
        return self.lives.setdefault(ident, Live())

    def forget(self, ident: str) -> None:
        self.lives.pop(ident, None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def start(self, container: Container) -> None:
        self.started.append(container.id)
        if self.failures:
            raise self.failures.pop(0)
        self.catalog.change(container.id, status=Status.RUNNING)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    store = Store(f"{tmp_path}/db")
    yield Catalog(store)
    store.close()


def waiting(catalog: Catalog, number: int = 1, **special: Any) -> Container:
    usual: dict[str, Any] = {
        "status": Status.RESTARTING, "started": 1, "finished": time.time_ns(), "pause": 10, "exit_code": 5,
        "host_config": ALWAYS,
    }  # fmt: skip
    return catalog.put(a_container(number, **(usual | special)))


async def settled(starts: Starts, restarts: Restarts) -> None:
    while restarts.waiting or starts.tasks:
        await asyncio.sleep(0.005)


def taken_up(catalog: Catalog, *failures: MinirundError) -> Starts:
    """A new daemon with these records, once nothing waits any more."""
    starts = Starts(catalog)
    starts.failures.extend(failures)

    async def work() -> None:
        restarts = Restarts(catalog, starts)  # type: ignore[arg-type]
        restarts.take_up()
        await settled(starts, restarts)

    asyncio.run(work())
    return starts


def test_a_new_daemon_starts_who_waits_and_who_comes_back(catalog: Catalog) -> None:
    ids = [
        waiting(catalog, 1).id,
        waiting(catalog, 2, finished=1, pause=60_000).id,  # its pause has passed long ago
        waiting(catalog, 3, status=Status.EXITED, stopped=True, restart_count=4).id,
    ]
    waiting(catalog, 4, status=Status.EXITED, host_config={})
    waiting(catalog, 5, status=Status.CREATED)
    assert sorted(taken_up(catalog).started) == ids
    assert {catalog.get(ident).status for ident in ids} == {Status.RUNNING}
    assert catalog.get(ids[2]).restart_count == 0
    assert not catalog.get(ids[2]).stopped


def test_a_pause_is_kept(catalog: Catalog) -> None:
    container = waiting(catalog, pause=200)
    starts = taken_up(catalog)
    assert starts.started == [container.id]
    assert time.time_ns() - container.finished >= 200_000_000


def test_a_failure_that_passes_is_tried_again(catalog: Catalog) -> None:
    container = waiting(catalog)
    starts = taken_up(catalog, Conflict("not now"), Conflict("nor now"))
    assert starts.started == [container.id] * 3
    assert catalog.get(container.id).status is Status.RUNNING
    assert catalog.get(container.id).pause == 200


def test_a_failure_that_lasts_ends_it(catalog: Catalog) -> None:
    container = waiting(catalog)
    assert taken_up(catalog, InvalidArgument("no such file")).started == [container.id]
    found = catalog.get(container.id)
    assert (found.status, found.exit_code, found.error) == (Status.EXITED, 5, "no such file")


def test_a_daemon_that_ends_leaves_it_to_the_next(catalog: Catalog) -> None:
    container = waiting(catalog)
    taken_up(catalog, Unavailable("stopping"))
    assert catalog.get(container.id) == container


def test_nothing_is_started_before_the_daemon_is_ready_or_after_its_end(catalog: Catalog) -> None:
    container, starts = waiting(catalog, pause=1), Starts(catalog)

    async def work() -> None:
        restarts = Restarts(catalog, starts)  # type: ignore[arg-type]
        restarts.schedule(container)
        assert not restarts.waiting
        restarts.take_up()
        restarts.close()
        assert not restarts.waiting

    asyncio.run(work())
    assert starts.started == []
    assert catalog.get(container.id) == container


def test_a_cancelled_one_answers_who_waits_for_its_end(catalog: Catalog) -> None:
    container, starts = waiting(catalog, pause=60_000), Starts(catalog)
    pairs = [socket.socketpair() for _ in range(2)]

    async def work() -> None:
        restarts = Restarts(catalog, starts)  # type: ignore[arg-type]
        restarts.take_up()
        for (_, theirs), removed in zip(pairs, (False, True), strict=True):
            starts.live(container.id).hold(wire.Wait(removed=removed), os.dup(theirs.fileno()))
        assert restarts.cancel(container.id)
        assert not restarts.cancel(container.id)
        assert not restarts.waiting

    asyncio.run(work())
    found = catalog.get(container.id)
    assert (found.status, found.exit_code, found.stopped) == (Status.EXITED, 5, True)
    assert b'{"StatusCode":5}' in pairs[0][0].recv(100)
    assert len(starts.live(container.id).held) == 1
    for pair in pairs:
        for end in pair:
            end.close()
    os.close(starts.live(container.id).held.pop()[1])


def test_one_that_was_removed_or_stopped_meanwhile(catalog: Catalog) -> None:
    """Its clock had run down, and the lock was not free."""
    first, second = waiting(catalog, 1), waiting(catalog, 2)
    starts = Starts(catalog)

    async def work() -> None:
        restarts = Restarts(catalog, starts)  # type: ignore[arg-type]
        async with starts.live(first.id).lock, starts.live(second.id).lock:
            restarts.take_up()
            while len(starts.tasks) < 2:
                await asyncio.sleep(0.005)
            catalog.delete(first)
            restarts.cancel(second.id)
        await settled(starts, restarts)

    asyncio.run(work())
    assert starts.started == []
    assert first.id not in starts.lives
