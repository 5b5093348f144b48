"""Requests through the dispatcher, and the same ones through FastAPI: the same arguments, the same answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from minirund.api.dispatch import Dispatcher
from minirund.api.errors import answer_to
from minirund.errors import Conflict, MinirundError


class Size(BaseModel):
    Rows: int
    Columns: int = 80


async def _size(request: Request) -> Any:
    return request.app.state.size


Told = Annotated[Any, Depends(_size)]
Answer = tuple[int, Any]


def shown(**given: Any) -> Response:
    return Response(json.dumps(given, default=lambda value: value.model_dump()), media_type="application/json")


def a_router() -> APIRouter:
    router = APIRouter(prefix="/things")

    @router.get("/list")
    async def everything(all_: Annotated[bool, Query(alias="all")] = False, limit: int | None = None) -> Response:
        return shown(all=all_, limit=limit)

    @router.get("/{ref}")
    async def one(ref: str, needed: int) -> Response:
        return shown(ref=ref, needed=needed)

    @router.get("/{name:path}/deep")
    async def deep(name: str, told: Told, request: Request) -> Response:
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
    app = FastAPI(strict_content_type=False)
    app.state.size = 7
    app.include_router(a_router())

    async def told(_request: Request, found: Exception) -> Response:
        assert isinstance(found, MinirundError | RequestValidationError)
        return answer_to(found)

    app.add_exception_handler(MinirundError, told)
    app.add_exception_handler(RequestValidationError, told)
    return app


def by_dispatcher() -> ASGIApp:
    app = FastAPI()
    app.state.size = 7
    return Dispatcher(app, a_router().routes)


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


async def _with_query(word: str) -> str:
    return word


async def _cookie(token: Annotated[str, Cookie()]) -> Response:
    return Response(token)


async def _two_bodies(one: Size, two: Size) -> Response:
    return Response(f"{one}{two}")


async def _changeable(words: Annotated[list[str], Query()] = []) -> Response:  # noqa: B006 - that is the point
    return Response(str(words))


async def _dependent(word: Annotated[str, Depends(_with_query)]) -> Response:
    return Response(word)


@pytest.mark.parametrize("function", [_cookie, _two_bodies, _changeable, _dependent])
def test_what_is_not_done_is_refused_when_the_app_is_made(function: Callable[..., Any]) -> None:
    router = APIRouter()
    router.add_api_route("/x", function, methods=["POST"])
    with pytest.raises(TypeError):
        Dispatcher(FastAPI(), router.routes)


def test_only_routes_of_fastapi() -> None:
    with pytest.raises(TypeError, match="no route of FastAPI's"):
        Dispatcher(FastAPI(), [Route("/x", _with_query)])
