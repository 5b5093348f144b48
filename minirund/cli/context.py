"""What a command gets: its name, the daemon, and somewhere to write.

stdout and stderr are written through ``say`` and ``warn``; bytes that come from containers go straight to the
descriptors, unread by Python's text layer.
"""

from __future__ import annotations

import os
import sys

from minirund.cli.failure import Failure
from minirund.client import API_VERSION, DEFAULT_HOST, Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "minirun"


class Context:
    """One invocation. ``name`` is the command as typed, such as ``container ls``."""

    def __init__(self, host: str = "", name: str = "") -> None:
        self.host = host or os.environ.get("MINIRUN_HOST") or DEFAULT_HOST
        self.name = name
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The daemon, connected to at the first request. MINIRUN_API_VERSION chooses an older API."""
        if self._client is None:
            try:
                self._client = Client(self.host, os.environ.get("MINIRUN_API_VERSION") or API_VERSION)
            except ValueError as error:
                raise Failure(str(error)) from None
        return self._client

    def for_each(
        self, names: Sequence[str], action: object, *, echo: bool = True, missing_is_fine: bool = False
    ) -> int:
        """Do ``action(name)`` for every name and print the name; errors are reported and the rest still done."""
        from minirund.client import ApiError

        code = 0
        for name in names:
            try:
                action(name)  # type: ignore[operator]
                if echo:
                    say(name)
            except ApiError as error:
                warn(f"Error response from daemon: {error.message}")
                code = code if error.status == 404 and missing_is_fine else 1
        return code


def say(text: str) -> None:
    """One line on stdout."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """One line on stderr, after what stdout holds back."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, also to a descriptor that someone has made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            from select import POLLOUT, poll

            watch = poll()
            watch.register(descriptor, POLLOUT)
            watch.poll()
