"""HTTP, until a handler takes the connection over; from then on the socket belongs to whoever gets its descriptor.

Attach, exec and wait answer with a head, and what follows is a stream between the client and the container's shim. The
daemon is not in that stream: it hands the client's own socket on and closes its copy. So the HTTP server must know, to
the byte, where the request ends, and must not read further::

    client ── head ─▶ ── body ─▶ ── stdin, possibly in the same segment ─▶
              parsed    parsed      kept: ``Connection.take`` returns it

``Protocol`` is uvicorn's protocol on httptools with four changes:

- The head of an answer and its body leave together (``Together``).
- It feeds the parser up to the end of one request and no further. A head, and a chunked body, end at a blank line, and
  cutting a segment at every blank line harms nobody; a body of a known length ends by count. While a request is being
  answered, whatever arrives is kept, and parsed as the next request when no handler has taken it. To httptools, a
  request with ``Upgrade`` ends with its head; a body behind such a head is read by a second parser.
- A client may end its own side and still read the answer (``docker run -i < /dev/null`` does). uvicorn would close.
- ``Connection.take`` writes the head, waits until it has left, duplicates the descriptor and closes the transport.
  Closing is not shutting down: the copy keeps the connection open, and nothing of asyncio or uvicorn remains.

Handlers find their ``Connection`` with ``connection(request.scope)``.
"""

from __future__ import annotations

import asyncio
import enum
import os
import re
from collections.abc import MutableMapping
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from minirund.api.encoding import dump
from minirund.engine.waiters import hung_up

EXTENSION = "minirund.connection"
MAX_HEAD = 1 << 20
MAX_URL = 65535  # httptools can't take a longer one apart
MAX_BEHIND = 64 * 1024
LINGER = 2.0
"""Seconds for who was refused in the midst of a request to end it. A client whose writing fails reads no answer."""

_BLANK_LINE = re.compile(rb"\r\n\r\n")


class ClientGone(Exception):
    """The client has closed its connection."""


class Reading(enum.Enum):
    """What the next byte from the client is part of."""

    HEAD = enum.auto()
    BODY = enum.auto()
    BEHIND = enum.auto()
    """The request is complete and its answer is not: the byte belongs to what comes after."""
    REFUSED = enum.auto()
    """What could not be parsed was answered: the byte is thrown away."""


class Connection:
    """A request's connection, for the handlers. Outlives the protocol, to which it is then no way back."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol: Protocol | None = protocol
        self.ending = asyncio.Event()
        """The client has ended its side, or the server is stopping: streams without an end of their own end now."""

    async def take(self, head: bytes) -> tuple[int, bytes]:
        """Send ``head``, a complete HTTP head, and take the connection over: its descriptor, and what was read of it.

        The request's body, as far as nobody has read it, is read and dropped. The descriptor is the caller's, who
        closes it; it is in non-blocking mode, as the event loop left it. The handler must not answer any more (see
        ``responses.Taken``). Raises ClientGone.
        """
        if self._protocol is None:
            raise ClientGone
        return await self._protocol.hand_over(head)

    def lost(self) -> None:
        """The protocol's word that the connection is closed."""
        self._protocol = None
        self.ending.set()


def connection(scope: MutableMapping[str, Any]) -> Connection:
    """The connection of a request. Raises KeyError under a server other than ours."""
    found: Connection = scope["extensions"][EXTENSION]
    return found


class _Body:
    """What the second parser reports to: a body is all that it will find."""

    def __init__(self, protocol: Protocol) -> None:
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.body_complete


class Together:
    """The transport of one answer: its head leaves with the first of its body, or alone when none follows at once.

    uvicorn writes them one by one. The head alone would wake the client, who can do nothing with it, and who then
    competes for the processor with the rest.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send; the first that is sent waits for the second, until the event loop's next turn."""
        if self._head is None:
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._flush(data)

    def _flush(self, data: bytes = b"") -> None:
        data = (self._head or b"") + data
        self._head = b""
        if data and not self.is_closing():  # or the client has gone, and asyncio would complain of each piece
            self._transport.write(data)

    def close(self) -> None:
        """Send what waits, and close."""
        self._flush()
        self._transport.close()


class Protocol(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connection = Connection(self)
        self._reading = Reading.HEAD
        self._left: int | None = None
        """What is left of a body of known length, bytes."""
        self._chunked = False
        self._upgrading = False
        self._tail = b""
        """The last bytes fed, in which a blank line may have begun."""
        self._head_size = 0
        self._behind = bytearray()
        self._ended = False

    def data_received(self, data: bytes) -> None:
        """Feed the parser, or keep what is behind the request that is being answered."""
        self._unset_keepalive_if_required()
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        while data and self._reading is not Reading.REFUSED and not self.transport.is_closing():
            if self._reading is Reading.BEHIND:
                self._keep(data)
                return
            size = self._piece(data)
            if self._head_size > MAX_HEAD:
                self.send_400_response("the request's head is too long")
                return
            try:
                self.parser.feed_data(data[:size])
            except httptools.HttpParserUpgrade as upgrade:
                size = upgrade.args[0]
                if self._reading is Reading.BODY:
                    self._read_body_behind_upgrade()
            except httptools.HttpParserError:
                too_long = len(self.url or b"") > MAX_URL
                self.send_400_response("the request's URL is too long" if too_long else "malformed HTTP request")
                return
            data = data[size:]

    def _read_body_behind_upgrade(self) -> None:
        framing = b"Transfer-Encoding: chunked" if self._chunked else b"Content-Length: %d" % (self._left or 0)
        self.parser = httptools.HttpRequestParser(_Body(self))
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")

    def send_400_response(self, msg: str) -> None:
        """Refuse what can't be parsed, in the shape of every error; close when the client has ended, or LINGER is over.

        Source: RFC 9112, 9.6.
        """
        body = dump({"message": msg})
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        if self.cycle and not self.cycle.response_complete:  # a handler may still write
            self.transport.close()
            return
        self._reading = Reading.REFUSED
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER, self.transport.close)

    def _keep(self, data: bytes) -> None:
        self._behind += data
        if len(self._behind) > MAX_BEHIND:
            self.flow.pause_reading()

    def _piece(self, data: bytes) -> int:
        """How many bytes of ``data`` may be fed without passing the request's end."""
        if self._reading is Reading.BODY and self._left is not None:
            size = min(self._left, len(data))
            self._left -= size
            return size
        size = self._to_blank_line(data)
        if self._reading is Reading.HEAD:
            self._head_size += size
        return size

    def _to_blank_line(self, data: bytes) -> int:
        overlap = len(self._tail)
        found = _BLANK_LINE.search(self._tail + data)
        size = found.end() - overlap if found else len(data)
        self._tail = (self._tail + data[:size])[-3:]
        return size

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._left, self._chunked, self._upgrading = None, False, False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note how the body will end."""
        super().on_header(name, value)
        if len(name) == 14 and name.lower() == b"content-length":
            self._left = int(value) if value.isdigit() else None
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            self._chunked = True

    def on_headers_complete(self) -> None:
        """Start the request's task, with its connection in the scope."""
        self._head_size = 0
        self._reading = Reading.BODY
        extensions: dict[str, Any] = {EXTENSION: self._connection}
        self.scope["extensions"] = extensions
        super().on_headers_complete()
        self.cycle.transport = Together(self.transport)  # type: ignore[assignment]
        self._upgrading = self.parser.should_upgrade()
        if self._upgrading:
            self.cycle.keep_alive = False  # what follows is no HTTP, whether it's taken over or refused

    def on_message_complete(self) -> None:
        """The request is complete; one that upgrades may still have a body."""
        if not (self._upgrading and (self._chunked or self._left)):
            self.body_complete()

    def body_complete(self) -> None:
        """The request is complete, its body too."""
        super().on_message_complete()
        self._tail = b""
        self._reading = Reading.HEAD if self.cycle.response_complete else Reading.BEHIND

    def on_response_complete(self) -> None:
        """Go on with what the client has sent meanwhile."""
        super().on_response_complete()
        if self._reading is not Reading.BEHIND or self.transport.is_closing():
            return
        self._reading = Reading.HEAD
        behind, self._behind = bytes(self._behind), bytearray()
        if behind:
            self._unset_keepalive_if_required()
            self._feed(behind)
        if self._ended and self._reading is not Reading.BEHIND:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection while an answer to it is under way, and somebody may still read that."""
        self._ended = True
        self._connection.ending.set()
        return self._reading is Reading.BEHIND and not hung_up(self.transport.get_extra_info("socket").fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        super().connection_lost(exc)
        self._connection.lost()

    def shutdown(self) -> None:
        """The server stops: end what would not end by itself, let the rest finish."""
        super().shutdown()
        self._connection.ending.set()

    async def hand_over(self, head: bytes) -> tuple[int, bytes]:
        """See ``Connection.take``."""
        await self._rest_of_body()
        try:
            await self._send_all(head)
            descriptor = os.dup(self.transport.get_extra_info("socket").fileno())
        except BaseException:
            self.cycle.disconnected = True  # nobody waits for an answer
            self.transport.abort()
            raise
        self.cycle.response_started = self.cycle.response_complete = True
        unread, self._behind = bytes(self._behind), bytearray()
        self.transport.close()
        return descriptor, unread

    async def _rest_of_body(self) -> None:
        while self.cycle.more_body:
            if (await self.cycle.receive())["type"] == "http.disconnect":
                raise ClientGone

    async def _send_all(self, head: bytes) -> None:
        self.transport.pause_reading()
        self.transport.set_write_buffer_limits(high=0)
        self.transport.write(head)
        await self.flow.drain()
        if self.cycle.disconnected or self.transport.is_closing():
            raise ClientGone
