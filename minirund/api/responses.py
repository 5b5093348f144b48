"""Answers: JSON that is written once, streams that end when their reader goes, and no answer at all.

The schemas describe the answers at /docs; they don't check them. What the engine returns is plain data already,
and a second pass through pydantic would cost more than the engine's own work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from minirund.api.encoding import dump
from minirund.api.hijack import EXTENSION

NO_CONTENT, NOT_MODIFIED = 204, 304


def answer(data: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(dump(data), status, media_type="application/json")


def error(status: int, message: str) -> Response:
    """An error, in the shape of every error of the API."""
    return answer({"message": one_line(message)}, status)


def one_line(message: str) -> str:
    """The message with line breaks and other control characters spelt out: whose words it repeats can't be trusted."""
    if message.isprintable():
        return message
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in message)


def empty(changed: bool = True) -> Response:
    """204, or 304 where there was nothing to do."""
    return Response(status_code=NO_CONTENT if changed else NOT_MODIFIED)


class Taken(Response):
    """What a handler returns when it has given the connection away: nothing is sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


class Stream(Response):
    """A body that comes piece by piece, and ends when the client goes.

    ``endless``: a body that may never end by itself (``logs -f``, ``events``). It ends as well when the client has
    ended its own side, and when the server stops. However it ends, the iterator is closed: its ``finally`` has run.
    """

    def __init__(
        self,
        body: AsyncIterator[bytes],
        media_type: str,
        endless: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.body_iterator = body
        self.endless = endless
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the body, watching for the reader's end."""
        tasks = [asyncio.create_task(self._send(send)), asyncio.create_task(_gone(receive))]
        ending = scope.get("extensions", {}).get(EXTENSION)
        if self.endless and ending is not None:
            tasks.append(asyncio.create_task(ending.ending.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks[1:]:
                task.cancel()
            if cut := not tasks[0].done():
                tasks[0].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not cut:
            tasks[0].result()
        await send({"type": "http.response.body", "body": b""})

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with _closing(self.body_iterator) as body:
            async for piece in body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})


@contextlib.asynccontextmanager
async def _closing(body: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    try:
        yield body
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
