"""Attach, exec and logs: heads and frames of Docker's streams.

A stream of a container without a terminal is multiplexed: before each piece stand 8 bytes, the stream's number (1
stdout, 2 stderr), three zeros, and the piece's length, big-endian. A terminal's is raw.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.requests import Request

from minirund.api.hijack import connection
from minirund.api.protocol import api_version, head
from minirund.wire import frame

if TYPE_CHECKING:
    from minirund.engine.logs import LogRecord

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


def media_type(request: Request, framed: bool) -> str:
    """The stream's content type; before 1.42 there was one for both kinds."""
    return MULTIPLEXED if framed and api_version(request) >= (1, 42) else RAW


async def take_stream(request: Request, framed: bool) -> tuple[int, str]:
    """Answer with the head of a stream and take the connection: its descriptor, and what the client has sent already.

    A client that asked for ``Upgrade: tcp`` gets a 101; an older one a 200 whose body never ends. Raises ClientGone.
    """
    if "upgrade" in request.headers:
        answer = head("101 UPGRADED", media_type(request, framed), connection="Upgrade", upgrade="tcp")
    else:
        answer = head("200 OK", RAW)
    descriptor, unread = await connection(request.scope).take(answer)
    return descriptor, unread.decode("latin-1")


async def take_wait(request: Request) -> int:
    """Answer with the head of a chunked JSON body, which somebody else will write and close: the descriptor."""
    answer = head("200 OK", "application/json", connection="close", transfer_encoding="chunked")
    descriptor, _ = await connection(request.scope).take(answer)
    return descriptor


async def send_all(descriptor: int, pieces: AsyncIterator[bytes]) -> None:
    """Write a stream to a connection that was taken, and close it. A client that leaves ends it."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=descriptor) as client, contextlib.suppress(OSError):
        client.setblocking(False)
        async for piece in pieces:
            await loop.sock_sendall(client, piece)


async def log_lines(read: AsyncIterator[list[LogRecord]], framed: bool, timestamps: bool) -> AsyncIterator[bytes]:
    """Log records as the bytes of a stream: what was read at once is sent at once."""
    async for records in read:
        yield b"".join([_line(record, framed, timestamps) for record in records])


def _line(record: LogRecord, framed: bool, timestamps: bool) -> bytes:
    content = f"{record.time} ".encode() + record.content if timestamps else record.content
    return frame(record.stream, content) if framed else content
