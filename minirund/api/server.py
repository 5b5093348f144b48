"""The HTTP server: uvicorn, with a protocol whose connections can be taken over, under the daemon's command.

The daemon owns the signals, the listening sockets and the log; this module takes all three out of uvicorn's hands. A
stop is graceful: no new connections, streams that have no end (``logs -f``, ``events``) are ended, other requests may
finish within ``GRACE`` seconds. Connections that were taken over are not the server's any more and go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from minirund.api.hijack import Protocol

KEEP_ALIVE = 3600
"""Seconds that an idle connection stays open. The clients are local and few."""
GRACE = 10
"""Seconds that a request has to finish in when the server stops."""


class Server(uvicorn.Server):
    """Serves one app on sockets that somebody else has opened.

    server = Server(app)
    await server.run_on(sockets)        until server.stop()
    """

    def __init__(self, app: ASGIApp, grace: int = GRACE) -> None:
        super().__init__(_config(app, grace))
        self._stop = asyncio.Event()

    async def run_on(self, sockets: Sequence[socket.socket], ready: Callable[[], None] | None = None) -> None:
        """Serve on listening sockets (AF_UNIX or AF_INET, stream) until ``stop``; they are closed then.

        ``ready`` is called once connections are accepted.
        """
        self._ready = ready or (lambda: None)
        await self.serve(list(sockets))

    def stop(self) -> None:
        """Begin a graceful stop; ``run_on`` returns when it is done. Call it from the event loop's thread."""
        self.should_exit = True
        self._stop.set()

    async def main_loop(self) -> None:
        """Wait for the stop, without uvicorn's ten looks a second."""
        await self.on_tick(0)
        self._ready()
        await self._stop.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the daemon."""
        yield


def _config(app: ASGIApp, grace: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=grace,
    )
