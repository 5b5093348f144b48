"""The API's description, OpenAPI 3.1, written by FastAPI from the same declarations that requests are served by.

FastAPI is given every route with its annotations in its own words (``Query``, ``Depends``), so what it makes of them
is a whole app: tests ask both, and get the same answers. The daemon has a process of its own do this (``docs``).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import fastapi
from fastapi import FastAPI, Request, Response
from pydantic import BeforeValidator

from minirund import __version__
from minirund.api import schemas
from minirund.api.app import routes
from minirund.api.encoding import dump
from minirund.api.routes import Function, Header, Made, Path, Query, Reader, Route

DESCRIPTION = """Containers, images and processes over HTTP: the Docker Engine API, version 1.47, as far as minirund
offers it. Every path may begin with a version, `/v1.24` to `/v1.47`. An error is `{"message": "..."}`."""


def main() -> None:
    """Write it to stdout, as JSON."""
    sys.stdout.buffer.write(dump(described(routes()).openapi()))


def described(given: Iterable[Route]) -> FastAPI:
    """An app of FastAPI's with these routes."""
    app = FastAPI(
        title="minirund", version=__version__, description=DESCRIPTION, openapi_url=None, strict_content_type=False
    )  # fmt: skip
    for route in given:
        app.add_api_route(route.path, in_its_words(route.call), methods=list(route.methods), **_details(route))
    return app


def _details(route: Route) -> dict[str, Any]:
    """What FastAPI is told about a route's answers."""
    details: dict[str, Any] = {"status_code": route.status_code, "include_in_schema": bool(route.tag)}
    if route.response_class:
        details["response_class"] = route.response_class
    if not route.tag:
        return details
    answers: dict[int | str, dict[str, Any]] = {
        "default": {"model": schemas.system.ErrorResponse, "description": "What is wrong, in one line"}
    }
    answers |= {status: dict(said) for status, said in route.responses.items()}
    if route.returns:
        answers[route.status_code] = {"model": route.returns(), **answers.get(route.status_code, {})}
    return details | {"tags": [route.tag], "responses": answers}


def in_its_words(call: Function) -> Function:
    """The same function, with annotations as FastAPI has them."""

    async def asked(**given: Any) -> Response:
        return await call(**given)

    hints = get_type_hints(call, include_extras=True)
    declared = [
        each.replace(annotation=_translated(hints[each.name]), kind=each.KEYWORD_ONLY)
        for each in inspect.signature(call).parameters.values()
    ]
    asked.__name__, asked.__doc__ = call.__name__, call.__doc__
    asked.__signature__ = inspect.Signature(declared, return_annotation=Response)  # type: ignore[attr-defined]
    return asked


def _translated(hint: Any) -> Any:
    if get_origin(hint) is not Annotated:
        return hint
    kind, *notes = get_args(hint)
    return Annotated[(kind, *(_note(note) for note in notes))]


def _note(note: Any) -> Any:
    for ours, theirs in ((Path, fastapi.Path), (Query, fastapi.Query), (Header, fastapi.Header)):
        if isinstance(note, ours):
            return theirs(**{name: said for name, said in note._asdict().items() if said is not None})
    if isinstance(note, Reader):
        return BeforeValidator(lambda value: note.read(str(value)))
    return fastapi.Depends(_dependency(note)) if isinstance(note, Made) else note


def _dependency(made: Made) -> Callable[[Request], Any]:
    async def dependency(request: Request) -> Any:
        return made.make(request)

    return dependency
