"""The life of a container is the table, the whole table, and nothing but the table."""

from __future__ import annotations

import itertools

import pytest

from minirund.engine.lifecycle import ALIVE, NEXT, Event, Status, after
from minirund.errors import Conflict

LIVES = [
    ([Event.START, Event.EXIT, Event.START, Event.EXIT, Event.REMOVE], Status.REMOVING),
    ([Event.START, Event.PAUSE, Event.UNPAUSE, Event.EXIT], Status.EXITED),
    ([Event.START, Event.PAUSE, Event.EXIT], Status.EXITED),
    ([Event.START, Event.RETRY, Event.START, Event.PAUSE, Event.RETRY, Event.EXIT, Event.RETRY], Status.RESTARTING),
    ([Event.REMOVE, Event.FAIL, Event.REMOVE], Status.REMOVING),
]


@pytest.mark.parametrize(("events", "end"), LIVES)
def test_lives(events: list[Event], end: Status) -> None:
    status = Status.CREATED
    for event in events:
        status = after(status, event, "x")
    assert status is end


@pytest.mark.parametrize(("status", "event"), sorted(set(itertools.product(Status, Event)) - set(NEXT)))
def test_every_other_step_is_a_conflict(status: Status, event: Event) -> None:
    with pytest.raises(Conflict, match=f"cannot {event} container x: it is {status}"):
        after(status, event, "x")


def test_what_runs_must_end_before_it_goes() -> None:
    assert {status for status, event in NEXT if event is Event.EXIT} == ALIVE | {Status.RESTARTING}
    assert not {status for status, event in NEXT if event is Event.REMOVE} & ALIVE
