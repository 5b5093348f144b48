"""What happened: the last thousand events, and those who listen for the next.

An event is Docker's object: Type, Action, Actor {ID, Attributes}, scope, time (s), timeNano; and, for old
clients, status, id and from.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from minirund.engine.filters import Filters, check_keys, labels_pass
from minirund.engine.records import Container, Json

KEYS = frozenset(
    "config container daemon event image label label! network node plugin scope secret service type volume".split()
)
"""What a filter may be called."""
LABELS = ("label", "label!")
KEPT = 1000
BEHIND = 10_000  # a listener that is this many events behind is let go


class Events:
    """The journal. Appending never waits for a listener."""

    def __init__(self) -> None:
        self._past: deque[Json] = deque(maxlen=KEPT)
        self.total = 0  # since the daemon started
        self._listeners: set[asyncio.Queue[Json | None]] = set()

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def container(self, action: str, container: Container, **attributes: str) -> None:
        """Something happened to a container."""
        labels = container.config.get("Labels") or {}
        about = {**labels, "image": container.image, "name": container.name, **attributes}
        self._append("container", action, container.id, about, {"from": container.image})

    def image(self, action: str, ident: str, name: str) -> None:
        """Something happened to an image: its ID (of a pull: the name that was asked for), and what it is called."""
        self._append("image", action, ident, {"name": name}, {})

    def prune(self, kind: str, freed: int) -> None:
        """Containers or images were pruned; ``freed`` in bytes."""
        self._append(kind, "prune", "", {"reclaimed": str(freed)}, {})

    def network(self, action: str, network_id: str, name: str, container_id: str) -> None:
        """A container came to a network, or left it."""
        self._append("network", action, network_id, {"container": container_id, "name": name, "type": name}, None)

    def _append(self, kind: str, action: str, ident: str, attributes: dict[str, str], old: Json | None) -> None:
        now = time.time_ns()
        event: Json = {
            "Type": kind, "Action": action, "Actor": {"ID": ident, "Attributes": attributes},
            "scope": "local", "time": now // 1_000_000_000, "timeNano": now,
        }  # fmt: skip
        if old is not None:
            event = {"status": action, "id": ident, **old, **event}
        self._past.append(event)
        self.total += 1
        for queue in tuple(self._listeners):
            self._offer(queue, event)

    def _offer(self, queue: asyncio.Queue[Json | None], event: Json) -> None:
        if queue.qsize() < BEHIND:
            queue.put_nowait(event)
        else:
            self._listeners.discard(queue)
            queue.put_nowait(None)

    def close(self) -> None:
        """The daemon ends: every listener's stream ends."""
        for queue in tuple(self._listeners):
            queue.put_nowait(None)
        self._listeners.clear()

    def stream(self, since: float | None, until: float | None, filters: Filters) -> AsyncIterator[Json]:
        """Past events from ``since`` on (none without it), then new ones, up to ``until`` (seconds since 1970).

        Raises InvalidArgument, at once, for a filter that is none.
        """
        check_keys(filters, KEYS)
        return self._stream(since, until, filters)

    async def _stream(self, since: float | None, until: float | None, filters: Filters) -> AsyncIterator[Json]:
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            past = [event for event in self._past if since is not None and event["timeNano"] >= since * 1e9]
            for event in past:
                if matches(event, filters) and (until is None or event["timeNano"] <= until * 1e9):
                    yield event
            async for event in _new(queue, until):
                if matches(event, filters):
                    yield event
        finally:
            self._listeners.discard(queue)


async def _new(queue: asyncio.Queue[Json | None], until: float | None) -> AsyncIterator[Json]:
    while True:
        left = None if until is None else until - time.time()
        if left is not None and left <= 0:
            return
        try:
            async with asyncio.timeout(left):
                event = await queue.get()
        except TimeoutError:
            return
        if event is None:
            return
        yield event


def matches(event: Json, filters: Filters) -> bool:
    """Whether an event passes; see filters.py. A kind of thing that there are no events of passes none."""
    attributes = event["Actor"]["Attributes"]
    kind, ident = event["Type"], event["Actor"]["ID"]
    tests: dict[str, Callable[[str], bool]] = {
        "type": lambda value: value == kind,
        "event": lambda value: event["Action"] == value or event["Action"].startswith(f"{value}:"),
        "container": lambda value: kind == "container" and (ident.startswith(value) or attributes.get("name") == value),
        "image": lambda value: value in (attributes.get("image"), ident if kind == "image" else None),
        "network": lambda value: kind == "network" and value in (ident, attributes.get("name")),
        "scope": lambda value: value == "local",
    }
    return labels_pass(filters, attributes) and all(
        not values or (key in tests and any(tests[key](value) for value in values))
        for key, values in filters.items()
        if key not in LABELS
    )
