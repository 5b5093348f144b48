"""Routes: which request goes to which function, and where that function's arguments come from. Declarations alone.

    router = Router("/containers", "Containers")

    @router.post("/{ref}/stop", status_code=204)
    async def stop(engine: EngineOf, ref: Ref, t: Timeout = None) -> Response: ...

The decorators note the function and nothing more: what its annotations mean is found out by who needs to know.
``dispatch`` does at a route's first request, ``describe`` with FastAPI when somebody asks for /openapi.json. So a
daemon starts without FastAPI and pydantic, whose imports took half of its start.

A parameter whose name is in the path is one of the path; text, a flag or a number is one of the query, with ``Header``
of the headers; ``Made`` comes from the request; anything else is the request's JSON body, a model of ``schemas``. Paths
begin with a word of their own, ``{name}`` is one segment, and ``{name:path}`` any number of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from starlette.requests import Request
from starlette.responses import Response

Function = Callable[..., Awaitable[Response]]
F = TypeVar("F", bound=Function)


LINES: Mapping[int, Mapping[str, Any]] = {200: {"description": "Lines of JSON"}}


class Path(NamedTuple):
    """Says more about a parameter of the path."""

    description: str | None = None


class Query(NamedTuple):
    """Says more about a parameter of the query: the name that clients give it, where Python can't."""

    alias: str | None = None
    description: str | None = None


class Header(NamedTuple):
    """A parameter that is a header: ``x_registry_auth`` is X-Registry-Auth."""

    description: str | None = None


class Reader(NamedTuple):
    """Makes a value of a parameter's text. A ValueError says what is wrong with it."""

    read: Callable[[str], Any]


class Made(NamedTuple):
    """An argument that the server makes of the request."""

    make: Callable[[Request], Any]


class Route(NamedTuple):
    """One way to a function. ``returns`` gives the answer's model, for the description; called as late as that."""

    methods: tuple[str, ...]
    path: str
    call: Function
    tag: str
    status_code: int = 200
    returns: Callable[[], Any] | None = None
    responses: Mapping[int, Mapping[str, Any]] = {}
    response_class: type[Response] | None = None


class Router:
    """The routes of one resource, in the order in which they are tried. Without a ``tag`` they are not described."""

    def __init__(self, prefix: str = "", tag: str = "") -> None:
        self.routes: list[Route] = []
        self._prefix, self._tag = prefix, tag

    def add(self, methods: str, path: str, call: Function, **how: Any) -> None:
        """``methods``: with spaces between them; ``how``: fields of Route."""
        self.routes.append(Route(tuple(methods.split()), self._prefix + path, call, self._tag, **how))

    def _adding(self, method: str, path: str, how: dict[str, Any]) -> Callable[[F], F]:
        def add(call: F) -> F:
            self.add(method, path, call, **how)
            return call

        return add

    def get(self, path: str, **how: Any) -> Callable[[F], F]:
        """GET, by decorator."""
        return self._adding("GET", path, how)

    def head(self, path: str, **how: Any) -> Callable[[F], F]:
        """HEAD."""
        return self._adding("HEAD", path, how)

    def post(self, path: str, **how: Any) -> Callable[[F], F]:
        """POST."""
        return self._adding("POST", path, how)

    def delete(self, path: str, **how: Any) -> Callable[[F], F]:
        """DELETE."""
        return self._adding("DELETE", path, how)
