"""What every request goes through: the version in its path, the headers of its answer, access, and the last resort.

``/v1.47/containers/json`` and ``/containers/json`` are one path: the version is cut off here, so the routes exist once.
A client asks for the version that it was made for; one newer than ours, or older than ``MIN_VERSION``, is told so.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minirund.api.hijack import ClientGone
from minirund.api.responses import error

VERSION, MIN_VERSION = (1, 47), (1, 24)
VERSION_TEXT, MIN_VERSION_TEXT = "1.47", "1.24"

HEADERS: list[tuple[bytes, bytes]] = [
    (b"api-version", VERSION_TEXT.encode()),
    (b"docker-experimental", b"false"),
    (b"ostype", b"linux"),
    (b"server", b"minirund"),
]
"""In every answer. The stock client reads the first to find the version that both sides speak."""

_PREFIX = re.compile(r"/v(\d{1,4})\.(\d{1,4})(?=/|$)")
_LOG = logging.getLogger("minirund.api")


class Protocol:
    """The ASGI app around the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*HEADERS, *message.get("headers", ())]
            await send(message)

        refusal = admit(scope) or strip_version(scope)
        try:
            await (error(*refusal) if refusal else self.app)(scope, receive, send_with_headers)
        except (ClientDisconnect, ClientGone):
            _LOG.debug("the client of %s %s has gone", scope["method"], scope["path"])
        except Exception as found:
            _LOG.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            await error(500, f"internal error: {type(found).__name__}: {_line(found)}")(
                scope, receive, send_with_headers
            )


def admit(scope: Scope) -> tuple[int, str] | None:
    """Whether this client may do this: None, or a status and a message.

    Whoever can open the socket may do everything (its mode and group decide). Connections that are taken over pass here
    too, since it is a handler that takes them.
    """
    return None


def strip_version(scope: Scope) -> tuple[int, str] | None:
    """Cut the version off the path and put it into the scope; None, or a status and a message."""
    scope["api_version"] = VERSION
    found = _PREFIX.match(scope["path"])
    if not found:
        return None
    version = int(found[1]), int(found[2])
    limit = "supported API version is"
    if version > VERSION:
        return 400, f"client version {found[1]}.{found[2]} is too new. Maximum {limit} {VERSION_TEXT}"
    if version < MIN_VERSION:
        advice = "please upgrade your client to a newer version"
        return 400, f"client version {found[1]}.{found[2]} is too old. Minimum {limit} {MIN_VERSION_TEXT}, {advice}"
    scope["api_version"] = version
    scope["path"] = scope["path"][found.end() :] or "/"
    return None


def api_version(request: Request) -> tuple[int, int]:
    """The version that the client asked for; ours when it named none."""
    version: tuple[int, int] = request.scope["api_version"]
    return version


def _line(found: BaseException) -> str:
    return next(iter(str(found).splitlines()), "no details")


def head(status: str, content_type: str, **headers: Any) -> bytes:
    """A complete HTTP head, for a connection that is taken over."""
    own = [f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()]
    shared = [f"{name.decode()}: {value.decode()}" for name, value in HEADERS]
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {content_type}", *own, *shared, "", ""]).encode()
