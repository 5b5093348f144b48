"""The app: the engine's use cases as the Docker Engine API, 1.24 to 1.47, and its own description at /docs.

FastAPI holds the routes and describes them; requests take the short way (``dispatch``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from minirund import __version__
from minirund.api import docs
from minirund.api.dispatch import Dispatcher
from minirund.api.protocol import Protocol
from minirund.api.routers import containers, execs, images, later, stats, streams, system

if TYPE_CHECKING:
    from minirund.engine.engine import Engine
else:
    Engine = Any

DESCRIPTION = """Containers, images and processes over HTTP: the Docker Engine API, version 1.47, as far as minirund
offers it. Every path may begin with a version, `/v1.24` to `/v1.47`. An error is `{"message": "..."}`."""


def create_app(engine: Engine) -> ASGIApp:
    """The API of one engine. Needs ``server.Server`` around it: attach, exec and wait take their connections over."""
    app = FastAPI(title="minirund", version=__version__, description=DESCRIPTION, openapi_url=None)
    app.state.engine = engine
    routers = (
        containers.router, stats.router, streams.router, execs.router, images.router, system.router,
        later.make_router(), docs.make_router(app),
    )  # fmt: skip
    for router in routers:
        app.include_router(router)
    return Protocol(Dispatcher(app, (route for router in routers for route in router.routes)))
