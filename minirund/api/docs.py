"""/docs: the API's own description, as a page that needs nothing from elsewhere.

FastAPI's page loads Swagger UI from a content delivery network, so it stays blank on a machine without one. This page
is one file, ``docs.html``, which draws /openapi.json.
"""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI, Response


def install(app: FastAPI) -> None:
    """Serve the page."""
    app.add_api_route("/docs", _page, include_in_schema=False)


async def _page() -> Response:
    page = files("minirund.api").joinpath("docs.html").read_bytes()
    return Response(page, media_type="text/html")
