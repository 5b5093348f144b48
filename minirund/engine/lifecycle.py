"""The life of a container, as a table.

                    start                  exit
        CREATED ──────────▶ RUNNING ──────────────▶ EXITED ──start──▶ RUNNING ...
           │                 ▲   │ pause                │
           │         unpause │   ▼                      │
           │                PAUSED ──exit──▶ EXITED     │
           └────remove──▶ REMOVING ◀──────remove────────┘      a removal that failed leaves DEAD

        RUNNING, PAUSED ──restart──▶ RESTARTING ──start──▶ RUNNING      a restart policy has it wait for its next start;
                                          └─────exit─────▶ EXITED       it is stopped meanwhile, or can't be started

One enum, one table; Docker's booleans (Running, Paused, Dead, ...) are derived from it at the API's edge.
"""

from __future__ import annotations

import enum

from minirund.errors import Conflict


class Status(enum.StrEnum):
    """Where a container is in its life. The values are the API's ``State.Status``."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


class Event(enum.StrEnum):
    """What happens to a container. The values complete the sentence "cannot ... container"."""

    START = "start"
    EXIT = "end"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    REMOVE = "remove"
    RETRY = "restart"
    FAIL = "give up"


NEXT: dict[tuple[Status, Event], Status] = {
    (Status.CREATED, Event.START): Status.RUNNING,
    (Status.EXITED, Event.START): Status.RUNNING,
    (Status.RESTARTING, Event.START): Status.RUNNING,
    (Status.RUNNING, Event.PAUSE): Status.PAUSED,
    (Status.PAUSED, Event.UNPAUSE): Status.RUNNING,
    (Status.RUNNING, Event.EXIT): Status.EXITED,
    (Status.PAUSED, Event.EXIT): Status.EXITED,
    (Status.RUNNING, Event.RETRY): Status.RESTARTING,
    (Status.PAUSED, Event.RETRY): Status.RESTARTING,
    (Status.EXITED, Event.RETRY): Status.RESTARTING,
    (Status.RESTARTING, Event.EXIT): Status.EXITED,
    (Status.CREATED, Event.REMOVE): Status.REMOVING,
    (Status.EXITED, Event.REMOVE): Status.REMOVING,
    (Status.DEAD, Event.REMOVE): Status.REMOVING,
    (Status.REMOVING, Event.FAIL): Status.DEAD,
}

ALIVE = frozenset({Status.RUNNING, Status.PAUSED})
"""The states in which there is an init, and a shim that watches it."""


def after(status: Status, event: Event, name: str) -> Status:
    """The state that follows. Raises Conflict, naming the container, when the table has no such step."""
    try:
        return NEXT[status, event]
    except KeyError:
        raise Conflict(f"cannot {event} container {name}: it is {status}") from None
