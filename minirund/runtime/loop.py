"""One thread, many descriptors: epoll says which is ready, and its handler is called.

Level-triggered, so a handler may take a part of what is there. A handler must bear being called for nothing: a
descriptor that was closed and given out again during one round gets the old one's event.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

Handler = Callable[[int], None]
READ, WRITE, GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR


class Loop:
    """Handlers by descriptor. Owns the epoll descriptor and nothing else."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._deadlines: dict[Callable[[], None], float] = {}

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call ``handler(events)`` from now on; another call changes events and handler. Hang-up is always told."""
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """Watch it no more; call this before closing it."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back once the monotonic clock shows ``when``."""
        self._deadlines[callback] = when

    def cancel(self, callback: Callable[[], None]) -> None:
        """Don't call back."""
        self._deadlines.pop(callback, None)

    def turn(self) -> None:
        """Wait until something happens, and handle all that has."""
        for descriptor, events in self._epoll.poll(self._patience()):
            handler = self._handlers.get(descriptor)
            if handler is not None:
                handler(events)
        self._ring()

    def _patience(self) -> float:
        """Seconds until the next deadline; -1 for ever."""
        return max(0.0, min(self._deadlines.values()) - time.monotonic()) if self._deadlines else -1

    def _ring(self) -> None:
        now = time.monotonic()
        for callback in [each for each, when in self._deadlines.items() if when <= now]:
            del self._deadlines[callback]
            callback()

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()
