"""/docs: the API's own description, as a page that needs nothing from elsewhere.

FastAPI's page loads Swagger UI from a content delivery network, so it stays blank on a machine without one. This page
is one file, ``docs.html``, which draws /openapi.json.
"""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, FastAPI, Response

from minirund.api.responses import answer


def make_router(app: FastAPI) -> APIRouter:
    """The page, and what it draws: ``app``'s routes and schemas."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def page() -> Response:
        text = files("minirund.api").joinpath("docs.html").read_bytes()
        return Response(text, media_type="text/html")

    @router.get("/openapi.json")
    async def description() -> Response:
        return answer(app.openapi())

    return router
