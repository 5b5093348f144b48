"""The app: the engine's use cases as the Docker Engine API, 1.24 to 1.47, and its own description at /docs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from minirund.api import docs
from minirund.api.dispatch import Dispatcher
from minirund.api.protocol import Protocol
from minirund.api.routers import containers, execs, images, later, stats, streams, system
from minirund.api.routes import Route

if TYPE_CHECKING:
    from minirund.engine.engine import Engine


def create_app(engine: Engine) -> ASGIApp:
    """The API of one engine. Needs ``server.Server`` around it: attach, exec and wait take their connections over."""
    return Protocol(Dispatcher(engine, routes()))


def routes() -> list[Route]:
    """All of them, in the order in which they are tried."""
    routers = (
        containers.router, stats.router, streams.router, execs.router, images.router, system.router,
        later.make_router(), docs.make_router(),
    )  # fmt: skip
    return [route for router in routers for route in router.routes]
