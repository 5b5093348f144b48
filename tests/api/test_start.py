"""The first requests of a daemon, which come before it has loaded all that it will need."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from daemon import DaemonHost
from waiting import until

from minirund.api.app import routes
from minirund.api.describe import described

SPEC = {"Image": "busybox", "Cmd": ["true"]}


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as host:
        host.start()
        host.load_busybox()
        yield host


@pytest.fixture
def fresh(host: DaemonHost) -> DaemonHost:
    """A daemon that has answered one ping."""
    host.remove_containers()
    host.restart()
    return host


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    gate = threading.Barrier(count)

    def one(number: int) -> Any:
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def test_first_creates_at_once(fresh: DaemonHost) -> None:
    answers = at_once(lambda number: fresh.api("POST", f"/containers/create?name=c{number}", SPEC), 4)
    assert [status for status, _ in answers] == [201] * 4
    assert len({answer["Id"] for _, answer in answers}) == 4


def test_a_first_body_that_is_wrong(fresh: DaemonHost) -> None:
    bad = {**SPEC, "HostConfig": {"Memory": "lots"}}
    message = "invalid value for HostConfig.Memory: lots: it should be a valid integer"
    assert fresh.api("POST", "/containers/create", bad) == (400, {"message": message})
    assert fresh.api("POST", "/containers/create", SPEC)[0] == 201


def test_the_description_is_whole_from_the_start(fresh: DaemonHost) -> None:
    wanted = json.loads(json.dumps(described(routes()).openapi()))
    answers = at_once(lambda _: fresh.api("GET", "/openapi.json"), 3)
    assert answers == [(200, wanted)] * 3
    assert fresh.api("GET", "/openapi.json") == (200, wanted)
    assert "minirund" in fresh.api("GET", "/docs")[1]
    children = Path(f"/proc/{fresh.pid}/task/{fresh.pid}/children")
    until(lambda: len(children.read_text().split()) == 1, "who wrote the description stays")  # beside the spawner


def test_a_daemon_is_ended_before_it_has_loaded_everything(fresh: DaemonHost) -> None:
    fresh.restart()
    assert fresh.stop() == 0
    assert "Traceback" not in fresh.log_tail()
    fresh.start()
    assert fresh.api("GET", "/containers/json?all=1") == (200, [])


@pytest.mark.parametrize("path", ["/containers/json?all=maybe", "/images/json", "/info", "/events?until=1", "/metrics"])
def test_the_first_of_each_kind_answers_like_the_second(fresh: DaemonHost, path: str) -> None:
    first, second = fresh.api("GET", path), fresh.api("GET", path)
    assert (first[0], type(first[1])) == (second[0], type(second[1]))
    assert first[0] in (200, 400)
