"""Which containers are started again, when, and what may be asked for. From records alone."""

from __future__ import annotations

import itertools
import signal
from typing import Any

import pytest
from engine_records import a_container

from minirund.engine import policy
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.errors import InvalidArgument

SECOND = 1_000_000_000


def running(name: str = "always", count: int = 0, **special: Any) -> Container:
    host = {"RestartPolicy": {"Name": name, "MaximumRetryCount": count}}
    return a_container(**{"status": Status.RUNNING, "started": SECOND, "host_config": host, **special})


@pytest.mark.parametrize(
    ("name", "count", "restarts", "code", "again"),
    [
        ("no", 0, 0, 1, False), ("", 0, 0, 1, False), ("always", 0, 99, 0, True), ("always", 0, 0, 1, True),
        ("unless-stopped", 0, 0, 0, True), ("on-failure", 0, 0, 0, False), ("on-failure", 0, 99, 1, True),
        ("on-failure", 3, 2, 1, True), ("on-failure", 3, 3, 1, False), ("on-failure", 3, 2, 0, False),
    ],
)  # fmt: skip
def test_at_an_end(name: str, count: int, restarts: int, code: int, again: bool) -> None:
    container = running(name, count, restart_count=restarts)
    found = policy.at_end(container, code, 2 * SECOND)
    assert found["status"] is (Status.RESTARTING if again else Status.EXITED)
    assert found.get("restart_count", restarts) == restarts + again
    assert bool(found["pause"]) is again


@pytest.mark.parametrize("name", policy.NAMES)
def test_stopped_by_hand(name: str) -> None:
    assert policy.at_end(running(name, stopped=True), 137, 2 * SECOND)["status"] is Status.EXITED


def test_without_a_policy() -> None:
    container = a_container(status=Status.PAUSED, host_config={"RestartPolicy": None})
    assert policy.at_end(container, 1, 1)["status"] is Status.EXITED


def test_pauses() -> None:
    pauses = list(itertools.accumulate(range(12), lambda last, _: policy.pause(last)))[1:]
    assert pauses == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000]
    assert policy.pause(60_000) == 60_000


@pytest.mark.parametrize(("ran", "pause"), [(9.99, 3200), (10, 100), (10_000, 100)])
def test_who_ran_well_waits_little(ran: float, pause: int) -> None:
    container = running(pause=1600)
    assert policy.at_end(container, 1, container.started + int(ran * SECOND))["pause"] == pause


@pytest.mark.parametrize(
    ("name", "special", "back"),
    [
        ("no", {"exit_code": 1}, False), ("always", {}, True), ("always", {"stopped": True}, True),
        ("always", {"started": 0}, False), ("unless-stopped", {}, True), ("unless-stopped", {"stopped": True}, False),
        ("on-failure", {"exit_code": 0}, False), ("on-failure", {"exit_code": 1}, True),
        ("on-failure", {"exit_code": 137, "stopped": True}, False),
    ],
)  # fmt: skip
def test_who_comes_back_with_a_new_daemon(name: str, special: dict[str, Any], back: bool) -> None:
    assert policy.comes_back(running(name, **{"status": Status.EXITED, **special})) is back


def test_a_start_by_hand_begins_anew() -> None:
    found = policy.afresh(running(stopped=True, restart_count=4, pause=800))
    assert found == running()


@pytest.mark.parametrize("name", ["", *policy.NAMES])
def test_offered(name: str) -> None:
    policy.check({"Name": name})
    policy.check_host({"RestartPolicy": {"Name": name}})
    policy.check({"Name": "on-failure", "MaximumRetryCount": 5})
    policy.check({"Name": "", "MaximumRetryCount": 5})  # of clients that fill in nothing
    policy.check(None)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"RestartPolicy": {"Name": "what"}}, "unknown policy 'what'; use one of"),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}, "cannot be negative"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}, "only be used with 'on-failure'$"),
        ({"RestartPolicy": {"Name": "no", "MaximumRetryCount": -1}}, "'on-failure' and cannot be negative"),
        ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, "can't create 'AutoRemove' container"),
    ],
)
def test_refused(host: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        policy.check_host(host)


def test_signals_that_end() -> None:
    container = running(config={"StopSignal": "SIGUSR2"})
    ending = {number for number in signal.Signals if policy.is_stop(number, container)}
    assert ending == {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGUSR2}
    assert not policy.is_stop(signal.SIGHUP, running())
