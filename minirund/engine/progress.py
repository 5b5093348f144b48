"""Progress of a pull or load, in Docker's JSON messages.

    {"status": "Pulling from library/alpine", "id": "latest"}
    {"status": "Downloading", "progressDetail": {"current": 524288, "total": 3401613}, "progress": "[=>  ]", "id": ...}
    {"status": "Download complete", "progressDetail": {}, "id": "4abcf2066143"}

``id`` is a layer's short digest: clients draw one line for each. A ``Sink`` takes the messages one by one, in the event
loop's thread, and must not wait. A ``Meter`` lets through ten messages a second.
Source: moby's pkg/jsonmessage, and the Engine API's ``CreateImageInfo``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Sink = Callable[[Message], None]

INTERVAL = 0.1  # seconds between two messages of one kind about one layer
_BAR = 50  # characters
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def layer_message(status: str, short: str) -> Message:
    """What happened to a layer; ``short`` is its id."""
    return {"status": status, "progressDetail": {}, "id": short}


def amount_message(status: str, short: str, current: int, total: int) -> Message:
    """How far a layer has come, in bytes."""
    detail = {"current": current, "total": total}
    return {"status": status, "progressDetail": detail, "progress": bar(current, total), "id": short}


def short_id(digest: str) -> str:
    """The first 12 hex digits of a digest."""
    return digest.partition(":")[2][:12]


def bar(current: int, total: int) -> str:
    """``[=====>     ]  1.049MB/3.402MB``, as Docker draws it."""
    if total <= 0:
        return f"{human_size(current):>8}" if current > 0 else ""
    done = min(_BAR, current * _BAR // total)
    return f"[{'=' * done}>{' ' * (_BAR - done)}] {human_size(current):>8}/{human_size(total)}"


def human_size(count: int) -> str:
    """Bytes in four digits and a decimal unit: 3.402MB."""
    size, unit = float(count), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.4g}{_UNITS[unit]}"


class Meter:
    """Bytes of one layer in one phase, told at most every ``INTERVAL`` seconds."""

    def __init__(self, tell: Sink, status: str, short: str, total: int) -> None:
        self._tell, self._status, self._short, self._total = tell, status, short, total
        self._last = 0.0

    def due(self) -> bool:
        """Whether a message may go out now; asking uses it up."""
        now = time.monotonic()
        if now - self._last < INTERVAL:
            return False
        self._last = now
        return True

    def at(self, current: int) -> None:
        """Tell it, if it is time."""
        if self.due():
            self.show(current)

    def show(self, current: int) -> None:
        """Tell it now."""
        self._tell(amount_message(self._status, self._short, current, self._total))
