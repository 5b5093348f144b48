"""/docs: the API's own description, as a page that needs nothing from elsewhere.

FastAPI's page loads Swagger UI from a content delivery network, so it stays blank on a machine without one. This page
is one file, ``docs.html``, which draws /openapi.json.

The description is FastAPI's work (``describe``). It is done when somebody asks for it the first time, by a process of
its own: FastAPI and what it brings along would take a third of the daemon's memory, for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from importlib.resources import files

from starlette.responses import Response

from minirund.api.routes import Router
from minirund.errors import EngineError

CODE = "import sys; sys.path[:] = {path!r}; from minirund.api import describe; describe.main()"
_LOG = logging.getLogger(__name__)


def make_router() -> Router:
    """The page, and what it draws."""
    router, described = Router(), Description()

    @router.get("/docs")
    async def page() -> Response:
        text = files("minirund.api").joinpath("docs.html").read_bytes()
        return Response(text, media_type="text/html")

    @router.get("/openapi.json")
    async def description() -> Response:
        return Response(await described.text(), media_type="application/json")

    return router


class Description:
    """The text of /openapi.json, made once."""

    def __init__(self) -> None:
        self._making: asyncio.Task[bytes] | None = None

    async def text(self) -> bytes:
        """JSON. All who ask meanwhile wait for the same one; after a failure the next one tries again.

        Raises EngineError.
        """
        if self._making is None or (self._making.done() and (self._making.cancelled() or self._making.exception())):
            self._making = asyncio.create_task(_made())
        return await asyncio.shield(self._making)


async def _made() -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", CODE.format(path=sys.path),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        text, said = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode:
        _LOG.error("the API's description was not made: %s", said.decode(errors="replace"))
        raise EngineError(f"the API's description was not made: its process ended with {process.returncode}")
    return text
