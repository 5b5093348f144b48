"""A poll(2) loop of forty lines, and signals as something that can be polled.

``selectors`` and ``asyncio`` would do the same after 2 and 40 ms of imports.
"""

from __future__ import annotations

import os
from select import POLLIN, poll

from minirund.lean import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Loop:
    """Calls a handler whenever its descriptor is ready."""

    def __init__(self) -> None:
        self._poll = poll()
        self._handlers: dict[int, Callable[[int], None]] = {}

    def on(self, descriptor: int, handler: Callable[[int], None], events: int = POLLIN) -> None:
        """Watch a descriptor, or change what it is watched for; the handler gets poll's event bits."""
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, events)

    def off(self, descriptor: int) -> None:
        """Stop watching; a descriptor that is not watched is left alone."""
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def run_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Serve until ``done()``; False when nothing happened for ``timeout`` seconds."""
        while not done():
            ready = self._poll.poll(None if timeout is None else timeout * 1000)
            if not ready:
                return False
            for descriptor, events in ready:
                if handler := self._handlers.get(descriptor):
                    handler(events)
        return True


def _noted(number: int, frame: object) -> None:
    """A signal's handler: the wakeup descriptor has its number, the loop does the rest."""


class Signals:
    """Catch some signals for the length of a ``with``, and hand their numbers to ``handler`` in the loop."""

    def __init__(self, loop: Loop, numbers: Iterable[int], handler: Callable[[int], None]) -> None:
        self._loop = loop
        self._numbers = tuple(numbers)
        self._handler = handler
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._write)
        self._before = {number: signal.signal(number, _noted) for number in self._numbers}
        self._loop.on(self._read, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup)
        self._loop.off(self._read)
        os.close(self._read)
        os.close(self._write)

    def _arrived(self, _: int) -> None:
        for number in os.read(self._read, 64):
            self._handler(number)


def signal_name(number: int) -> str:
    """15 -> ``TERM``; a number that has no name is its own."""
    for name in dir(signal):
        if name.startswith("SIG") and not name.startswith("SIG_") and getattr(signal, name) == number:
            return name.removeprefix("SIG")
    return str(number)


def die_of(number: int) -> None:
    """End this process by the signal, so that its parent sees what happened."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
