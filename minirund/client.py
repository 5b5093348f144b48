"""A small HTTP/1.1 client for the Docker Engine API over a unix socket.

It exists because of two things that ``http.client`` can't give: a start in under a millisecond, and the bytes that
came in behind a ``101 UPGRADED`` head, which belong to the stream and are lost in a buffered reader::

    client                                   daemon
      | GET /v1.47/containers/json             |
      |--------------------------------------->|   one connection is kept and used again
      |<--------- 200, Content-Length ---------|   (never one that has been hijacked or broken off)
      |                                        |
      | POST .../attach, Upgrade: tcp          |
      |--------------------------------------->|
      |<-- 101 UPGRADED [+ first bytes] -------|   Response.take() -> (socket, those bytes)

A body may be bytes, or an iterable of bytes, which is sent chunked. An answer is read whole (``read``, ``json``) or
as it comes (``chunks``, ``lines``). Framing is RFC 9112: Content-Length, chunked, or up to the end of the connection.
"""

from __future__ import annotations

import errno
import os
from select import POLLIN, poll

from minirund.lean import dumps, loads, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

API_VERSION = "1.47"
DEFAULT_HOST = "unix:///run/minirund.sock"

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_RECV = 65536
_MAX_HEAD = 1 << 20


class ClientError(Exception):
    """Anything that kept a request from being answered with success."""


class ConnectError(ClientError):
    """No connection to the daemon: ``errno`` says why, ``path`` where."""

    def __init__(self, path: str, number: int) -> None:
        super().__init__(f"{path}: {os.strerror(number)}")
        self.path, self.errno = path, number


class BrokenConnectionError(ClientError):
    """The daemon went away before its answer was complete."""


class ApiError(ClientError):
    """The daemon's own refusal: its HTTP status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encode (RFC 3986) everything but unreserved characters and those of ``safe``."""
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _UNRESERVED or byte in safe else f"%{byte:02X}" for byte in raw)


def _query_text(value: object) -> str:
    value = int(value) if isinstance(value, bool) else value
    return dumps(value) if isinstance(value, (dict, list)) else str(value)


def query_string(query: Mapping[str, object] | None) -> str:
    """``{"all": True, "limit": None}`` -> ``?all=1``: what is None is left out, dicts and lists become JSON."""
    given = {key: value for key, value in (query or {}).items() if value is not None}
    return "?" + "&".join(f"{key}={quote(_query_text(value))}" for key, value in given.items()) if given else ""


class Connection:
    """One connection and the bytes read from it that nobody has taken yet."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.buffer = bytearray()
        try:
            self.sock.connect(os.fsencode(path))
        except OSError as error:
            self.sock.close()
            raise ConnectError(path, error.errno or errno.ECONNREFUSED) from None

    def send(self, data: bytes) -> None:
        """Send all of it; a peer that has gone is an error, never a SIGPIPE."""
        try:
            self.sock.sendall(data, socket.MSG_NOSIGNAL)
        except OSError as error:
            raise BrokenConnectionError(os.strerror(error.errno or errno.EPIPE)) from None

    def fill(self) -> bool:
        """Read some more into the buffer; False at the end of the connection."""
        try:
            data = self.sock.recv(_RECV)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def is_idle(self) -> bool:
        """Open and silent, so that a request may be sent: what is readable now can only be its end."""
        watch = poll()
        watch.register(self.sock.fileno(), POLLIN)
        return not self.buffer and not watch.poll(0)

    def line(self) -> bytes:
        """The next line without its CRLF; a connection that ends within it is an error."""
        while (end := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > _MAX_HEAD or not self.fill():
                raise BrokenConnectionError("the daemon closed the connection")
        line = bytes(self.buffer[:end]).rstrip(b"\r")
        del self.buffer[: end + 1]
        return line

    def some(self, limit: int) -> bytes:
        """At least one and at most ``limit`` bytes; b"" at the end of the connection."""
        if not self.buffer and not self.fill():
            return b""
        data = bytes(self.buffer[:limit])
        del self.buffer[:limit]
        return data

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        self.sock.close()


class Response:
    """A status, headers (names in lower case) and a body still on its way."""

    def __init__(self, connection: Connection, owner: Client | None, method: str = "GET") -> None:
        self._connection, self._owner, self._method = connection, owner, method
        self.headers: dict[str, str] = {}
        self.status = self._read_head()
        while 100 <= self.status < 200 and self.status != 101:
            self.status = self._read_head()

    def _read_head(self) -> int:
        words = self._connection.line().split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise BrokenConnectionError("what answers on this socket does not speak HTTP")
        self.headers = {}
        while line := self._connection.line():
            name, _, value = line.partition(b":")
            self.headers[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()
        return int(words[1])

    def fileno(self) -> int:
        """To be polled for the body's arrival."""
        return self._connection.sock.fileno()

    def has_buffered(self) -> bool:
        """Whether bytes of the body are here already, so that polling the descriptor would miss them."""
        return bool(self._connection.buffer)

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives; the connection goes back to its client at the end, and is closed if it breaks."""
        try:
            yield from self._body()
        except BrokenConnectionError:
            self.close()
            raise

    def _body(self) -> Iterator[bytes]:
        if self._method == "HEAD" or self.status in (204, 304):
            pass
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunked()
        elif "content-length" in self.headers:
            yield from self._counted(int(self.headers["content-length"]))
        else:
            yield from self._to_the_end()
            return
        self._release()

    def _chunked(self) -> Iterator[bytes]:
        while size := int(self._connection.line().split(b";")[0] or b"0", 16):
            yield from self._counted(size)
            self._connection.line()
        while self._connection.line():
            pass

    def _counted(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._connection.some(size)
            if not data:
                raise BrokenConnectionError("the daemon broke off in the middle of its answer")
            size -= len(data)
            yield data

    def _to_the_end(self) -> Iterator[bytes]:
        while data := self._connection.some(_RECV):
            yield data
        self.close()

    def lines(self) -> Iterator[bytes]:
        """The body line by line, as it arrives."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())

    def json(self) -> Any:
        """The body as JSON; an empty one is None."""
        body = self.read()
        return loads(body) if body.strip() else None

    def values(self) -> Iterator[Any]:
        """A body of JSON lines (pull, load, events), value by value."""
        return (loads(line) for line in self.lines() if line.strip())

    def take(self) -> tuple[socket.socket, bytes]:
        """Own the hijacked connection: its socket, and what arrived behind the head."""
        rest = bytes(self._connection.buffer)
        self._connection.buffer.clear()
        return self._connection.sock, rest

    def close(self) -> None:
        """Give the answer up, and its connection with it."""
        self._connection.close()

    def _release(self) -> None:
        closing = self.headers.get("connection", "").lower() == "close"
        if self._owner is None or closing:
            self.close()
        else:
            self._owner.keep(self._connection)


class Pending:
    """A request that is sent and not answered yet; ``answer`` waits for the head."""

    def __init__(self, connection: Connection, owner: Client | None, method: str) -> None:
        self._connection, self._owner, self._method = connection, owner, method

    def fileno(self) -> int:
        """The connection's descriptor, to be polled for the answer."""
        return self._connection.sock.fileno()

    def answer(self) -> Response:
        """Read the head; ``ApiError`` for a status of 400 and above."""
        try:
            response = Response(self._connection, self._owner, self._method)
        except BaseException:
            self.close()
            raise
        if response.status >= 400:
            raise ApiError(response.status, _message(response))
        return response

    def close(self) -> None:
        """Give the request up."""
        self._connection.close()


def _message(response: Response) -> str:
    body = response.read().decode("utf-8", "replace").strip()
    try:
        value = loads(body)
    except ValueError:
        return body or f"status {response.status}"
    return str(value["message"]) if isinstance(value, dict) and "message" in value else body


def socket_path(host: str) -> str:
    """``unix:///run/minirund.sock`` -> ``/run/minirund.sock``; ``ValueError`` for any other kind of address."""
    scheme, mark, path = host.partition("://")
    if scheme != "unix" or not mark or not path:
        raise ValueError(f"unable to parse host {host!r}: only unix:///PATH is understood")
    return path


class Client:
    """The daemon at ``host``. Connects at the first request; keeps one connection for the next."""

    def __init__(self, host: str = DEFAULT_HOST, version: str = API_VERSION) -> None:
        self.path = socket_path(host)
        self.version = version
        self._kept: Connection | None = None

    def keep(self, connection: Connection) -> None:
        """Take back a connection whose answer has been read to its end."""
        self.close()
        self._kept = connection

    def close(self) -> None:
        """Close the kept connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _connect(self) -> Connection:
        kept, self._kept = self._kept, None
        if kept is None or kept.is_idle():
            return kept or Connection(self.path)
        kept.close()
        return Connection(self.path)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send and read the head. ``body``: bytes or an iterable of bytes as they are, anything else as JSON."""
        connection = self._connect()
        return self._send(connection, self, method, path, query=query, body=body, headers=headers).answer()

    def begin(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: object = None,
        *,
        upgrade: bool = False,
    ) -> Pending:
        """Send on a connection of its own, which outlives this client's others, and don't wait for the head."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"} if upgrade else None
        return self._send(Connection(self.path), None, method, path, query=query, body=body, headers=headers)

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """GET, and the answer's JSON."""
        return self.request("GET", path, query).json()

    def post(self, path: str, query: Mapping[str, object] | None = None, body: object = None) -> Any:
        """POST, and the answer's JSON (None when it has no body)."""
        return self.request("POST", path, query, body).json()

    def delete(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """DELETE, and the answer's JSON."""
        return self.request("DELETE", path, query).json()

    def _send(
        self,
        connection: Connection,
        owner: Client | None,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None,
        body: object,
        headers: Mapping[str, str] | None,
    ) -> Pending:
        head = f"{method} /v{self.version}{path}{query_string(query)} HTTP/1.1\r\n"
        head += "Host: minirund\r\nUser-Agent: minirun\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in (headers or {}).items()
        )
        pending = Pending(connection, owner, method)
        try:
            for piece in _framed(head, method, body):
                connection.send(piece)
        except BrokenConnectionError:
            pass  # refused before the body was read: the answer, if one came, says why
        except BaseException:
            connection.close()
            raise
        return pending


def _framed(head: str, method: str, body: object) -> Iterator[bytes]:
    if body is None:
        length = "" if method in ("GET", "HEAD", "DELETE") else "Content-Length: 0\r\n"
        yield f"{head}{length}\r\n".encode("latin-1")
    elif isinstance(body, (bytes, dict, list)):
        data = body if isinstance(body, bytes) else dumps(body).encode()
        kind = "" if isinstance(body, bytes) else "Content-Type: application/json\r\n"
        yield f"{head}{kind}Content-Length: {len(data)}\r\n\r\n".encode("latin-1") + data
    else:
        yield f"{head}Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n".encode("latin-1")
        yield from _as_chunks(body)  # type: ignore[arg-type]


def _as_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if piece:
            yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"
