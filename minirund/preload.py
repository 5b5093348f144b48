"""What a daemon loads as soon as it has answered: the modules that its first requests will need, one at a time.

A start waits for none of them, and no request should: so they are imported on the event loop, soon, and others are
served between two of them. A request that is earlier imports what it needs itself. Not to leave it at that has a second
reason: a daemon that lives for months should hold all of the code that it began with, before its disk fails or a newer
version is unpacked over it.

aiohttp is left to the first pull, FastAPI to a process of its own (``minirund/api/docs.py``).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
from collections.abc import Sequence

MODULES = (
    "pydantic",
    "minirund.api.schemas.host",
    "minirund.api.schemas.containers",
    "minirund.api.schemas.execs",
    "overlayfs.diff",
    "minirund.engine.incoming",
)
"""In small steps: other requests are served between two of them."""
SOON, BETWEEN = 0.3, 0.02
"""Seconds until the first, and from one to the next."""

log = logging.getLogger(__name__)


class Preload:
    """The modules that are still to come. Belongs to the event loop."""

    def __init__(self, modules: Sequence[str] = MODULES) -> None:
        self._left = list(reversed(modules))
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin soon."""
        self._next = asyncio.get_running_loop().call_later(SOON, self._load)

    def _load(self) -> None:
        if not self._left:
            self._next = None
            settle()
            return
        name = self._left.pop()
        try:
            importlib.import_module(name)
        except (ImportError, OSError, MemoryError) as error:
            log.warning("%s can't be loaded, and will be tried again when it is needed: %s", name, error)
        self._next = asyncio.get_running_loop().call_later(BETWEEN, self._load)

    def stop(self) -> None:
        """Load no more."""
        if self._next is not None:
            self._next.cancel()


def settle() -> None:
    """Remove what the start has left, and put what is there now out of the garbage collector's sight."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
