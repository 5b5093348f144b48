"""/metrics on an address of its own (--metrics-addr), as dockerd has it: for a Prometheus that can't open the socket.

One path and nothing else: whoever reaches the address can read figures and names of containers, and do nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from minirund.engine.exposition import CONTENT_TYPE

if TYPE_CHECKING:
    from minirund.engine.engine import Engine
else:
    Engine = Any


def create_metrics_app(engine: Engine) -> ASGIApp:
    """The app for ``server.Server``. The page is the same as on the socket."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (await _answer(engine, scope))(scope, receive, send)

    return app


async def _answer(engine: Engine, scope: Scope) -> Response:
    if scope["path"] != "/metrics":
        return PlainTextResponse("404 page not found\n", 404)
    if scope["method"] not in ("GET", "HEAD"):
        return PlainTextResponse("405 method not allowed\n", 405, headers={"allow": "GET, HEAD"})
    return Response(await engine.metrics.page(), headers={"content-type": CONTENT_TYPE})
