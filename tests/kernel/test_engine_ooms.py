"""The event `oom`, with the kernel's notices of a file that every cgroup has in place of memory.events.

The count is then "populated", which rises when a process comes. With memory.events: tests/vm/test_vm_limits.py.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_records import a_container
from waiting import PATIENCE

from cgroups.cgroup import Cgroup
from minirund import wire
from minirund.engine import ooms as module
from minirund.engine.catalog import Catalog
from minirund.engine.events import Events
from minirund.engine.ooms import Ooms
from minirund.engine.store import Store

CONTAINER = a_container()


class Told(Events):
    """A journal that keeps the actions."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[str] = []
        self.came = asyncio.Event()

    def container(self, action: str, *args: object, **attributes: str) -> None:
        self.actions.append(action)
        self.came.set()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    store = Store(str(tmp_path / "db"))
    found = Catalog(store)
    found.put(CONTAINER)
    yield found
    store.close()


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cgroup]:
    monkeypatch.setattr(module, "FILE", "cgroup.events")
    monkeypatch.setattr(module, "COUNT", "populated")
    made = Cgroup.at(f"minirun-ooms-{os.getpid()}")
    made.create(())
    yield made
    made.remove()


def test_a_rise_is_told_when_it_happens_and_once(catalog: Catalog, group: Cgroup) -> None:
    async def scenario() -> None:
        told = Told()
        ooms = Ooms(catalog, told)
        ooms.watch(CONTAINER, group)
        assert told.actions == []
        with subprocess.Popen(["sleep", "1000"]) as process:
            group.join(process.pid)
            await asyncio.wait_for(told.came.wait(), PATIENCE)
            assert (told.actions, catalog.get(CONTAINER.id).ooms) == (["oom"], 1)
            after = Ooms(catalog, told)  # a new daemon tells nothing twice
            after.watch(catalog.get(CONTAINER.id), group)
            after.close()
            process.kill()
        ooms.ended(catalog.get(CONTAINER.id), wire.Exited(0, 1, True, 1))
        assert told.actions == ["oom"]
        ooms.close()
        await catalog.synced()

    asyncio.run(scenario())


def test_what_came_while_nobody_looked_is_told(catalog: Catalog, group: Cgroup) -> None:
    async def scenario() -> None:
        told = Told()
        ooms = Ooms(catalog, told)
        with subprocess.Popen(["sleep", "1000"]) as process:
            group.join(process.pid)
            ooms.watch(CONTAINER, group)
            assert told.actions == ["oom"]
            process.kill()
        ooms.close()
        await catalog.synced()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("exited", "before", "expected"),
    [
        (wire.Exited(0, 1), 0, []), (wire.Exited(137, 1, True, 1), 0, ["oom"]), (wire.Exited(137, 1, True, 1), 1, []),
        (wire.Exited(137, 1, True, 2), 1, ["oom"]),
        (wire.Exited(137, 1, True), 0, ["oom"]), (wire.Exited(137, 1, True), 2, []),  # from an older shim
    ],
)  # fmt: skip
def test_the_last_moments_come_with_the_end(
    catalog: Catalog, exited: wire.Exited, before: int, expected: list[str]
) -> None:
    async def scenario() -> list[str]:
        told = Told()
        ooms = Ooms(catalog, told)
        ooms.ended(catalog.put(CONTAINER.but(ooms=before)), exited)
        ooms.close()
        await catalog.synced()
        return told.actions

    assert asyncio.run(scenario()) == expected


GROUPED = CONTAINER.but(host_config={"CgroupConf": {"memory.oom.group": "1"}})


@pytest.mark.parametrize(
    ("readings", "exited", "expected"),
    [
        ([{"oom_kill": 1, "oom_group_kill": 0}, {"oom_kill": 1, "oom_group_kill": 1}], 3, ["oom"]),
        ([{"oom_kill": 1, "oom_group_kill": 1}, {"oom_kill": 3, "oom_group_kill": 1}], 3, ["oom"]),
        ([{"oom_kill": 1, "oom_group_kill": 0}], 3, ["oom"]),
        ([], 3, ["oom"]),
        ([{"oom_kill": 1}, {"oom_kill": 2}], 3, ["oom"]),  # an older kernel
        ([{"oom_kill": 0, "oom_group_kill": 0}], 0, []),
    ],
)
def test_a_container_that_is_killed_as_one_is_one_event(
    catalog: Catalog, readings: list[dict[str, int]], exited: int, expected: list[str]
) -> None:
    """Whatever the notices have seen of the count of its processes, and when."""

    async def scenario() -> list[str]:
        told = Told()
        ooms = Ooms(catalog, told)
        catalog.put(GROUPED)
        for flags in readings:
            ooms._tell(GROUPED.id, flags)
        ooms.ended(GROUPED, wire.Exited(137, 1, exited > 0, exited))
        ooms.close()
        await catalog.synced()
        return told.actions

    assert asyncio.run(scenario()) == expected


def test_kills_before_it_was_to_be_killed_as_one_are_events_of_their_own(catalog: Catalog) -> None:
    """An update gives it memory.oom.group."""

    async def scenario() -> list[str]:
        told = Told()
        ooms = Ooms(catalog, told)
        ooms._tell(CONTAINER.id, {"oom_kill": 2, "oom_group_kill": 0})
        catalog.change(CONTAINER.id, host_config=GROUPED.host_config)
        ooms._tell(CONTAINER.id, {"oom_kill": 3, "oom_group_kill": 1})
        ooms._tell(CONTAINER.id, {"oom_kill": 5, "oom_group_kill": 1})
        ooms.ended(CONTAINER, wire.Exited(137, 1, True, 5))
        ooms.close()
        await catalog.synced()
        return told.actions

    assert asyncio.run(scenario()) == ["oom", "oom"]


@pytest.mark.parametrize(
    ("text", "group"), [("1", True), (" 1", True), ("0x1", True), ("0", False), ("00", False), (None, False)]
)
def test_who_is_killed_as_one(text: str | None, group: bool) -> None:
    conf = {} if text is None else {"CgroupConf": {"memory.oom.group": text}}
    assert module.killed_as_one(CONTAINER.but(host_config=conf)) == group


def test_a_host_without_the_file_is_no_error(catalog: Catalog, tmp_path: Path) -> None:
    async def scenario() -> None:
        ooms = Ooms(catalog, Told())
        ooms.watch(CONTAINER, Cgroup(str(tmp_path)))
        ooms.close()
        await catalog.synced()

    asyncio.run(scenario())
