"""Requests through the dispatcher, and the same ones through FastAPI: the same arguments, the same answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minirund.api.app import routes
from minirund.api.describe import described
from minirund.api.dispatch import Dispatcher, Handler
from minirund.api.errors import answer_to, describe
from minirund.api.params import EngineOf, Flag, Number
from minirund.api.responses import error
from minirund.api.routes import Header, Query, Route, Router
from minirund.errors import Conflict, MinirundError


class Size(BaseModel):
    Rows: int
    Columns: int = 80


Answer = tuple[int, Any]


def shown(**given: Any) -> Response:
    return Response(json.dumps(given, default=lambda value: value.model_dump()), media_type="application/json")


def a_router() -> Router:
    router = Router("/things")

    @router.get("/list")
    async def everything(all_: Annotated[Flag, Query(alias="all")] = False, limit: Number = None) -> Response:
        return shown(all=all_, limit=limit)

    @router.get("/{ref}")
    async def one(ref: str, needed: Number) -> Response:
        return shown(ref=ref, needed=needed)

    @router.get("/{name:path}/deep")
    async def deep(name: str, told: EngineOf, request: Request) -> Response:
        return shown(name=name, told=told, method=request.method)

    @router.post("/size")
    async def size(body: Size, x_word: Annotated[str | None, Header()] = None) -> Response:
        return shown(body=body, word=x_word)

    @router.post("/maybe")
    async def maybe(body: Size | None = None) -> Response:
        return shown(body=body)

    @router.post("/refuse")
    async def refuse() -> Response:
        raise Conflict("it is taken")

    return router


def by_fastapi() -> ASGIApp:
    app = described(a_router().routes)

    async def told(_request: Request, found: Exception) -> Response:
        if isinstance(found, RequestValidationError):
            return error(400, describe(found.errors()))
        assert isinstance(found, MinirundError)
        return answer_to(found)

    app.add_exception_handler(MinirundError, told)
    app.add_exception_handler(RequestValidationError, told)

    async def with_engine(scope: Scope, receive: Receive, send: Send) -> None:
        scope["engine"] = 7
        await app(scope, receive, send)

    return with_engine


def by_dispatcher() -> ASGIApp:
    return Dispatcher(7, a_router().routes)


def ask(app: ASGIApp, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "scheme": "http", "method": method, "path": path, "root_path": "",
        "query_string": query.encode(), "server": None, "client": None,
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "target", "body", "headers"),
    [
        ("GET", "/things/list", b"", {}), ("GET", "/things/list?all=1&limit=3", b"", {}),
        ("GET", "/things/list?limit=1&limit=2", b"", {}), ("GET", "/things/list?limit=", b"", {}),
        ("GET", "/things/list?limit=many&all=perhaps", b"", {}), ("GET", "/things/list?other=1", b"", {}),
        ("GET", "/things/x?needed=4", b"", {}), ("GET", "/things/x", b"", {}),
        ("GET", "/things/a%20b?needed=+4", b"", {}),
        ("GET", "/things/a/b/c/deep", b"", {}),
        ("POST", "/things/size", b'{"Rows": 3}', JSON), ("POST", "/things/size", b'{"Rows": 3}', {}),
        ("POST", "/things/size", b'{"Rows": 3}', {"content-type": "application/json; charset=utf-8"}),
        ("POST", "/things/size", b'{"Rows": 3}', {"content-type": "application/vnd.x+json"}),
        ("POST", "/things/size", b'{"Rows": 3}', {"content-type": "text/plain"}),
        ("POST", "/things/size", b'{"Rows": "x"}', JSON), ("POST", "/things/size", b"{", JSON),
        ("POST", "/things/size", b"", JSON), ("POST", "/things/size", b"null", JSON),
        ("POST", "/things/size", b"[]", JSON),
        ("POST", "/things/size", b'{"Rows": 3}', {**JSON, "x-word": "w"}),
        ("POST", "/things/maybe", b"", {}), ("POST", "/things/maybe", b"null", JSON),
        ("POST", "/things/maybe", b'{"Rows": 1, "Columns": 2}', JSON), ("POST", "/things/maybe", b"3", JSON),
        ("POST", "/things/refuse", b"", {}),
    ],
)  # fmt: skip
def test_as_fastapi_does(method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
    assert ask(by_dispatcher(), method, target, body, headers) == ask(by_fastapi(), method, target, body, headers)


@pytest.mark.parametrize(("method", "target"), [("GET", "/"), ("DELETE", "/things/list"), ("GET", "/things/list/")])
def test_what_is_not_there(method: str, target: str) -> None:
    assert ask(by_dispatcher(), method, target) == (404, {"message": "page not found"})


@pytest.mark.parametrize("body", [b'{"Rows": "\xff"}', b"[" * 200_000])
def test_a_body_that_is_beyond_json(body: bytes) -> None:
    status, answer = ask(by_dispatcher(), "POST", "/things/size", body, JSON)
    assert (status, answer["message"][:13]) == (400, "invalid JSON:")


async def _unread(limit: int) -> Response:
    return Response(str(limit))


async def _many(words: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006 - that is the point
    return Response(str(words))


async def _two_bodies(one: Size, two: Size) -> Response:
    return Response(f"{one}{two}")


async def _changeable(body: Size = Size(Rows=1)) -> Response:  # noqa: B008 - that is the point
    return Response(str(body))


@pytest.mark.parametrize("function", [_unread, _many, _two_bodies, _changeable])
def test_what_is_not_done_is_refused_when_the_route_is_taken_apart(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        assert Handler(Route(("POST",), "/x", function, "")).asks


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.methods[0]} {route.path}")
def test_every_route_of_the_api_can_be_taken_apart(route: Route) -> None:
    handler = Handler(route)
    names = set(handler.pattern.groupindex)
    assert {parameter.name for parameter in handler.asks.path} <= names
    assert handler.pattern.fullmatch(route.path.replace(":path}", "}").replace("{rest}", "/x"))


def test_the_first_route_that_fits_gets_the_request() -> None:
    router = Router()

    @router.get("/a/{name:path}")
    async def whole(name: str) -> Response:
        return shown(whole=name)

    @router.get("/a/b")
    async def never() -> Response:
        return shown()

    @router.post("/c{rest:path}")
    async def any_of_them() -> Response:
        return shown(any=True)

    app = Dispatcher(None, router.routes)
    assert ask(app, "GET", "/a/b") == (200, {"whole": "b"})
    assert ask(app, "POST", "/c") == ask(app, "POST", "/c/d/e") == (200, {"any": True})
    assert ask(app, "POST", "/cd")[0] == ask(app, "GET", "/a")[0] == ask(app, "GET", "/a/b\n")[0] == 404


def test_what_a_body_is_checked_by_is_made_once() -> None:
    app = by_dispatcher()
    (handler,) = [one for one in app._handlers["POST", "things"] if one.route.path == "/things/size"]  # type: ignore[attr-defined]
    assert ask(app, "POST", "/things/size", b'{"Rows": 3}', JSON)[0] == 200
    asks = handler.asks
    assert ask(app, "POST", "/things/size", b'{"Rows": 3}', JSON)[0] == 200
    assert handler.asks is asks
