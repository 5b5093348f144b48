"""The journal of events: what is in it, who hears of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from engine_records import a_container

from minirund.engine import events as module
from minirund.engine.events import Events, matches
from minirund.errors import InvalidArgument

CONTAINER = a_container(config={"Labels": {"a": "1"}})
EVENT: dict[str, Any] = {
    "Type": "container", "Action": "exec_start: ls",
    "Actor": {"ID": "abc", "Attributes": {"name": "web", "image": "busybox", "a": "1"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({}, True), ({"type": ["container"]}, True), ({"type": ["image"]}, False),
        ({"type": ["image", "container"]}, True),
        ({"event": ["exec_start"]}, True), ({"event": ["exec"]}, False), ({"event": ["exec_start: ls"]}, True),
        ({"container": ["web"]}, True), ({"container": ["ab"]}, True), ({"container": ["we"]}, False),
        ({"image": ["busybox"]}, True), ({"image": ["alpine"]}, False), ({"network": ["bridge"]}, False),
        ({"label": ["a"]}, True), ({"label": ["a=1"]}, True), ({"label": ["a=2"]}, False), ({"scope": ["local"]}, True),
        ({"type": ["container"], "container": ["other"]}, False), ({"type": []}, True),
        ({"volume": ["web"]}, False), ({"daemon": ["abc"]}, False), ({"label!": ["a"]}, False),
    ],
)  # fmt: skip
def test_filters(filters: dict[str, list[str]], passes: bool) -> None:
    assert matches(EVENT, filters) is passes


def test_an_event_without_a_name_is_no_stumbling_block() -> None:
    prune = {"Type": "container", "Action": "prune", "Actor": {"ID": "", "Attributes": {"reclaimed": "0"}}}
    assert not matches(prune, {"container": ["web"]})


def past(events: Events, since: float | None = 0.0, until: float | None = None, **filters: list[str]) -> list[Any]:
    async def collect() -> list[Any]:
        return [event async for event in events.stream(since, until or time.time(), filters)]

    return asyncio.run(collect())


def test_a_filter_that_is_none_is_refused_before_the_stream_begins() -> None:
    events = Events()
    with pytest.raises(InvalidArgument, match=r"^invalid filter 'colour'$"):
        events.stream(0, time.time(), {"type": ["image"], "colour": ["red"]})
    assert events.listeners == 0


def test_docker_s_shapes() -> None:
    events = Events()
    events.container("die", CONTAINER, exitCode="3")
    events.image("tag", "sha256:1", "a:1")
    events.prune("image", 5)
    events.network("connect", "n", "bridge", CONTAINER.id)
    died, tagged, pruned, connected = past(events)
    assert (died["status"], died["id"], died["from"]) == ("die", CONTAINER.id, "busybox")
    assert died["Actor"]["Attributes"] == {"a": "1", "image": "busybox", "name": "name1", "exitCode": "3"}
    assert died["time"] == died["timeNano"] // 10**9
    assert (tagged["Actor"], tagged["status"]) == ({"ID": "sha256:1", "Attributes": {"name": "a:1"}}, "tag")
    assert pruned["Actor"] == {"ID": "", "Attributes": {"reclaimed": "5"}}
    assert "status" not in connected and connected["Type"] == "network"


def test_the_last_thousand_are_kept_and_without_since_none_are_told() -> None:
    events = Events()
    for number in range(module.KEPT + 5):
        events.image("tag", str(number), "x")
    assert [event["id"] for event in past(events)] == [str(number) for number in range(5, module.KEPT + 5)]
    assert past(events, since=None) == []
    assert past(events, until=1.0) == []


def test_new_events_come_as_they_happen_until_the_daemon_ends() -> None:
    events = Events()

    async def listen() -> list[str]:
        found = []
        async for event in events.stream(None, None, {"type": ["image"]}):
            found.append(event["id"])
            events.container("start", CONTAINER)
            if len(found) == 1:
                events.image("tag", "second", "x")
            else:
                events.close()
        return found

    async def whole() -> list[str]:
        task = asyncio.create_task(listen())
        while not events.listeners:
            await asyncio.sleep(0)
        events.image("tag", "first", "x")
        return await task

    assert asyncio.run(whole()) == ["first", "second"]
    assert events.listeners == 0


def test_a_listener_that_does_not_listen_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEHIND", 10)
    events = Events()

    async def slow() -> int:
        stream = events.stream(None, None, {})
        first = asyncio.ensure_future(anext(stream))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        for number in range(20):
            events.image("tag", str(number), "x")
        await first
        return 1 + len([event async for event in stream])

    assert asyncio.run(slow()) == 10
    assert events.listeners == 0
