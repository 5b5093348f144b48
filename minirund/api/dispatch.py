"""A request's way to the function that answers it: which route, with which arguments.

    method, path ── Dispatcher ─▶ Handler ── arguments ─▶ the function ─▶ Response

Routes are found by their method and the first word of their path; few share both. A route is taken apart at its first
request: what its path looks like, and what the annotations of its function say about each argument (``routes``). So
nothing is paid for routes that nobody asks for, and pydantic is loaded with the first body.

A route may ask for parameters of path, query and headers with one value each, one JSON body, the Request, and what
is made of the Request. Whatever else an annotation says is refused with a TypeError when the route is taken apart.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from inspect import Parameter as Declared
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from minirund.api.errors import answer_to, describe
from minirund.api.responses import error
from minirund.api.routes import Header, Made, Query, Reader, Route
from minirund.errors import InvalidArgument, MinirundError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Values = dict[str, Any]


class Dispatcher:
    """The ASGI app of all routes; the first one that fits gets the request. Handlers find ``engine`` in its scope."""

    def __init__(self, engine: Any, routes: Iterable[Route]) -> None:
        self._engine = engine
        self._handlers: dict[tuple[str, str], list[Handler]] = defaultdict(list)
        for route in routes:
            handler = Handler(route)
            for method in route.methods:
                self._handlers[method, _first_word(route.path)].append(handler)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["engine"] = self._engine
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"]
        for handler in self._handlers.get((request.scope["method"], _first_word(path)), ()):
            if found := handler.pattern.fullmatch(path):
                try:
                    return await handler.answer(request, found.groupdict())
                except MinirundError as problem:
                    return answer_to(problem)
        return error(404, "page not found")


def _first_word(path: str) -> str:
    """``containers`` of ``/containers/{ref}/json``, ``volumes`` of ``/volumes{rest:path}``."""
    return path[1:].partition("/")[0].partition("{")[0]


class Parameter(NamedTuple):
    """One argument that comes as text."""

    name: str
    alias: str
    place: str
    """path, query or header."""
    required: bool
    default: Any
    read: Callable[[str], Any] | None

    def take(self, given: Mapping[str, str], into: Values) -> None:
        """Take it out of what was given, read it and put it to the others. Raises InvalidArgument."""
        if (text := given.get(self.alias)) is not None:
            into[self.name] = self._value(text) if self.read else text
        elif self.required:
            raise InvalidArgument(describe([{"type": "missing", "loc": (self.place, self.alias), "input": None}]))
        else:
            into[self.name] = self.default

    def _value(self, text: str) -> Any:
        assert self.read is not None  # noqa: S101 - the caller has looked
        try:
            return self.read(text)
        except ValueError as wrong:
            where = (self.place, self.alias)
            problem = {"type": "value_error", "loc": where, "input": text, "msg": str(wrong)}
            raise InvalidArgument(describe([problem])) from None


class Body(NamedTuple):
    """The argument that is the request's body, and the model that checks it."""

    name: str
    required: bool
    default: Any
    model: TypeAdapter[Any]

    async def take(self, request: Request, into: Values) -> None:
        """Read and check it. Raises InvalidArgument."""
        content = await _content(request)
        if content is not None:
            into[self.name] = self._value(content.value)
        elif self.required:
            raise InvalidArgument(describe([{"type": "missing", "loc": ("body",), "input": None}]))
        else:
            into[self.name] = self.default

    def _value(self, given: Any) -> Any:
        from pydantic import ValidationError  # noqa: PLC0415 - the model has loaded it

        try:
            return self.model.validate_python(given, from_attributes=True)
        except ValidationError as found:
            problems = found.errors(include_url=False)
            raise InvalidArgument(describe([{**one, "loc": ("body", *one["loc"])} for one in problems])) from None


class Handler:
    """One route. What there is to know about it is found out at its first request."""

    def __init__(self, route: Route) -> None:
        self.route = route

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the whole path looks like: ``/images/{name:path}/json``."""
        pieces = re.split(r"\{(\w+)(:path)?\}", self.route.path)
        words, names, kinds = pieces[::3], pieces[1::3], pieces[2::3]
        holes = [f"(?P<{name}>{'.*' if kind else '[^/]+'})" for name, kind in zip(names, kinds, strict=True)]
        return re.compile("".join(re.escape(word) + hole for word, hole in zip(words, [*holes, ""], strict=True)))

    @cached_property
    def asks(self) -> Asks:
        """What the function asks for. Raises TypeError."""
        return Asks.of(self.route)

    async def answer(self, request: Request, path: Mapping[str, str]) -> Response:
        """Call the function. Raises InvalidArgument, and what the function raises."""
        asks = self.asks
        given: Values = {name: make(request) for name, make in asks.made}
        if asks.path:
            _take(asks.path, path, given)
        if asks.query:
            text = request.scope["query_string"]
            _take(asks.query, QueryParams(text) if text else {}, given)
        if asks.header:
            _take(asks.header, Headers(scope=request.scope), given)
        if asks.body:
            await asks.body.take(request, given)
        return await self.route.call(**given)


def _take(parameters: list[Parameter], given: Mapping[str, str], into: Values) -> None:
    for parameter in parameters:
        parameter.take(given, into)


class Asks:
    """A function's arguments, by where they come from."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Callable[[Request], Any]]] = []
        self.path: list[Parameter] = []
        self.query: list[Parameter] = []
        self.header: list[Parameter] = []
        self.body: Body | None = None

    @classmethod
    def of(cls, route: Route) -> Asks:
        """From the function's annotations. Raises TypeError for what can't be had."""
        asks = cls()
        hints = get_type_hints(route.call, include_extras=True)
        for name, declared in signature(route.call).parameters.items():
            kind, *notes = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
            made = _one(notes, Made)
            if kind is Request or made:
                asks.made.append((name, made.make if made else _itself))
            elif kind in _TEXTS or _one(notes, Reader) or _one(notes, Query) or _one(notes, Header):
                asks._add(_parameter(route, declared, kind, notes))
            else:
                asks._add_body(declared, hints[name])
        return asks

    def _add(self, parameter: Parameter) -> None:
        {"path": self.path, "query": self.query, "header": self.header}[parameter.place].append(parameter)

    def _add_body(self, declared: Declared, hint: Any) -> None:
        from pydantic import TypeAdapter  # noqa: PLC0415 - not before there is a body

        required = declared.default is Declared.empty
        if self.body or not (required or declared.default is None):
            raise TypeError(f"{declared.name}: a function can have one body, and no default but None for it")
        self.body = Body(declared.name, required, declared.default, TypeAdapter(hint))


_TEXTS = (str, str | None, bool, int, int | None)


def _parameter(route: Route, declared: Declared, kind: Any, notes: list[Any]) -> Parameter:
    name, reader = declared.name, _one(notes, Reader)
    if kind not in _TEXTS or not (reader or kind in (str, str | None)):
        raise TypeError(f"{route.path}: nothing reads {name}, which is no text")
    if f"{{{name}}}" in route.path or f"{{{name}:path}}" in route.path:
        place, alias = "path", name
    elif _one(notes, Header):
        place, alias = "header", name.replace("_", "-")
    else:
        place, alias = "query", next((note.alias for note in notes if isinstance(note, Query) and note.alias), name)
    return Parameter(
        name, alias, place, declared.default is Declared.empty, declared.default, reader.read if reader else None
    )


def _one(notes: list[Any], kind: type) -> Any:
    """The note of this kind; None if there is none."""
    return next((note for note in notes if isinstance(note, kind)), None)


def _itself(request: Request) -> Request:
    return request


class _Content(NamedTuple):
    """A request's body, which may well be null."""

    value: Any


async def _content(request: Request) -> _Content | None:
    """The body: parsed if it is JSON or of no type, else its bytes, None for none. Raises InvalidArgument."""
    body = await request.body()
    if not body:
        return None
    if not _is_json(request.headers.get("content-type", "")):
        return _Content(body)
    try:
        return _Content(json.loads(body))
    except json.JSONDecodeError as problem:
        where = {"type": "json_invalid", "loc": ("body", problem.pos), "ctx": {"error": problem.msg}}
        raise InvalidArgument(describe([where])) from None
    except (ValueError, RecursionError):
        raise InvalidArgument("invalid JSON: the body is not UTF-8, or nested too deeply") from None


def _is_json(content_type: str) -> bool:
    """application/json and application/...+json; also no type at all."""
    kind, _, detail = content_type.partition(";")[0].strip().lower().partition("/")
    return not content_type or (kind == "application" and (detail == "json" or detail.endswith("+json")))
