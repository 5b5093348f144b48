"""A request's way to the function that answers it: which route, with which arguments.

Routes and schemas are declared to FastAPI, and it writes /openapi.json from them. Its own way through a request, layers
of middleware and every dependency solved anew, costs more than most of the engine's work. So each route is taken apart
once, when the app is made: a ``Handler`` knows where its arguments come from. What checks them is what FastAPI made of
the declarations, so the errors are the same.

    method, path ── Dispatcher ─▶ Handler ── arguments ─▶ the function ─▶ Response

A route may ask for parameters of path, query and headers with one value each, one JSON body, the Request, and what
a function makes of the Request (``Depends``). Whatever else FastAPI knows is refused when the app is made.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, QueryParams
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from minirund.api.errors import answer_to
from minirund.api.responses import error
from minirund.errors import InvalidArgument, MinirundError

Values = dict[str, Any]


class Dispatcher:
    """The ASGI app of all routes; the first one that fits gets the request. ``app`` is what handlers find in it."""

    def __init__(self, app: FastAPI, routes: Iterable[BaseRoute]) -> None:
        """Raises TypeError for a route that asks for what isn't done here."""
        self._app = app
        self._handlers: dict[str, list[tuple[re.Pattern[str], Handler]]] = defaultdict(list)
        for route in routes:
            if not isinstance(route, APIRoute):
                raise TypeError(f"no route of FastAPI's: {route}")
            handler = Handler(route)
            for method in route.methods or ():
                self._handlers[method].append((route.path_regex, handler))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["app"] = self._app
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        scope = request.scope
        for pattern, handler in self._handlers.get(scope["method"], ()):
            if found := pattern.match(scope["path"]):
                try:
                    return await handler.answer(request, found.groupdict())
                except (MinirundError, RequestValidationError) as problem:
                    return answer_to(problem)
        return error(404, "page not found")


class Parameter(NamedTuple):
    """One argument of a handler: its name there, and what FastAPI made of its declaration."""

    name: str
    alias: str
    place: str
    """path, query, header or body: an error's message begins there."""
    required: bool
    default: Any
    validate: Callable[..., tuple[Any, list[Any]]]

    @classmethod
    def of(cls, field: Any, place: str) -> Parameter:
        """From one of FastAPI's fields. Raises TypeError for a default that one request could change for the next."""
        required = field.field_info.is_required()
        if not required and not isinstance(field.default, str | int | None):
            raise TypeError(f"the default of {field.name} can be changed: {field.default!r}")
        return cls(field.name, field.alias, place, required, field.default, field.validate)

    def read(self, given: Mapping[str, Any], into: Values, *inside: str) -> None:
        """Take it out of what was given, check it and put it to the others. Raises RequestValidationError."""
        if self.alias in given:
            into[self.name], problems = self.validate(given[self.alias], into, loc=(self.place, *inside))
            if problems:
                raise RequestValidationError(problems)
        elif self.required:
            raise RequestValidationError([{"type": "missing", "loc": (self.place, *inside), "input": None}])
        else:
            into[self.name] = self.default


class Handler:
    """One route, taken apart."""

    def __init__(self, route: APIRoute) -> None:
        needs = route.dependant
        if needs.call is None or needs.cookie_params or len(needs.body_params) > 1:
            raise TypeError(f"{route.path} asks for more than a handler can have")
        self._call: Callable[..., Any] = needs.call
        self._request, self._made = needs.request_param_name, [_dependency(one) for one in needs.dependencies]
        self._path, self._query, self._header, self._body = (
            [Parameter.of(field, place) for field in fields]
            for fields, place in (
                (needs.path_params, "path"), (needs.query_params, "query"), (needs.header_params, "header"),
                (needs.body_params, "body"),
            )
        )  # fmt: skip

    async def answer(self, request: Request, path: Mapping[str, str]) -> Response:
        """Call the function. Raises RequestValidationError, InvalidArgument, and what the function raises."""
        given: Values = {name: await make(request) for name, make in self._made}
        if self._request:
            given[self._request] = request
        query = QueryParams(request.scope["query_string"]) if self._query and request.scope["query_string"] else {}
        header = Headers(scope=request.scope) if self._header else {}
        for parameters, values in ((self._path, path), (self._query, query), (self._header, header)):
            for parameter in parameters:
                parameter.read(values, given, parameter.alias)
        for parameter in self._body:
            body = await _content(request)
            parameter.read({} if body is None else {parameter.alias: body.value}, given)
        response: Response = await self._call(**given)
        return response


def _dependency(needs: Any) -> tuple[str, Callable[[Request], Any]]:
    """The argument's name, and the function that makes it of the request."""
    if needs.dependencies or needs.path_params or needs.query_params or needs.header_params or needs.body_params:
        raise TypeError(f"the dependency {needs.name} asks for more than the request")
    name, call, wanted = needs.name, needs.call, needs.request_param_name
    return name, lambda request: call(**{wanted: request})


class _Content(NamedTuple):
    """A request's body, which may well be null."""

    value: Any


async def _content(request: Request) -> _Content | None:
    """The body: parsed if it is JSON or of no type, else its bytes, None for none. Raises RequestValidationError."""
    body = await request.body()
    if not body:
        return None
    if not _is_json(request.headers.get("content-type", "")):
        return _Content(body)
    try:
        return _Content(json.loads(body))
    except json.JSONDecodeError as problem:
        where = {"type": "json_invalid", "loc": ("body", problem.pos), "ctx": {"error": problem.msg}}
        raise RequestValidationError([where]) from problem
    except (ValueError, RecursionError):
        raise InvalidArgument("invalid JSON: the body is not UTF-8, or nested too deeply") from None


def _is_json(content_type: str) -> bool:
    """application/json and application/...+json; also no type at all."""
    kind, _, detail = content_type.partition(";")[0].strip().lower().partition("/")
    return not content_type or (kind == "application" and (detail == "json" or detail.endswith("+json")))
