"""The description that FastAPI writes, and the process that has it write."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from starlette.responses import PlainTextResponse, Response

from minirund.api import docs
from minirund.api.app import routes
from minirund.api.describe import described
from minirund.api.params import EngineOf, Filters, Flag
from minirund.api.routes import Header, Query, Router
from minirund.errors import EngineError


class Thing(BaseModel):
    Name: str


def of_one(router: Router) -> Any:
    return described(router.routes).openapi()["paths"]


def test_every_route_is_described_but_those_without_a_tag() -> None:
    found = described(routes()).openapi()
    here = {(method.lower(), path) for path, methods in found["paths"].items() for method in methods}
    tagged = [route for route in routes() if route.tag]
    wanted = {(method.lower(), route.path.replace(":path}", "}")) for route in tagged for method in route.methods}
    assert here == wanted
    for method, path in here:
        said = found["paths"][path][method]
        assert said["tags"]
        assert said["description"]
        assert "/ErrorResponse" in json.dumps(said["responses"]["default"]["content"])


def test_answers_have_their_schemas() -> None:
    found = described(routes()).openapi()
    for route in routes():
        if route.returns:
            said = found["paths"][route.path.replace(":path}", "}")][route.methods[0].lower()]
            assert "$ref" in json.dumps(said["responses"][str(route.status_code)]["content"])
    host = found["components"]["schemas"]["HostConfig"]["properties"]
    assert host["Memory"]["description"] == "Bytes; 0 sets no limit"


def test_a_parameter_is_described_by_all_that_is_said_of_it() -> None:
    router = Router("/things", "Things")

    @router.get("/{ref}")
    async def one(
        engine: EngineOf,
        ref: str,
        all_: Annotated[Flag, Query(alias="all")] = False,
        filters_: Annotated[Filters, Query(alias="filters")] = "",
        x_word: Annotated[str | None, Header(description="A word")] = None,
    ) -> Response:
        """One."""
        return Response()

    given = {each["name"]: each for each in of_one(router)["/things/{ref}"]["get"]["parameters"]}
    assert {name: (each["in"], each["required"]) for name, each in given.items()} == {
        "ref": ("path", True), "all": ("query", False), "filters": ("query", False), "x-word": ("header", False),
    }  # fmt: skip
    assert given["all"]["schema"]["type"] == "boolean"
    assert given["filters"]["description"].startswith("JSON: ")
    assert given["x-word"]["description"] == "A word"


def test_an_answer_is_described_by_all_that_is_said_of_it() -> None:
    router = Router("/things", "Things")

    @router.post("", status_code=201, returns=lambda: list[Thing], responses={201: {"description": "All"}, 304: {}})
    async def make(body: Thing) -> Response:
        """Make one."""
        return Response()

    @router.get("/words", response_class=PlainTextResponse)
    async def words() -> Response:
        """Words."""
        return Response()

    found = of_one(router)
    answers = found["/things"]["post"]["responses"]
    assert (answers["201"]["description"], set(answers)) == ("All", {"201", "304", "default"})
    assert answers["201"]["content"]["application/json"]["schema"]["items"]["$ref"].endswith("/Thing")
    assert found["/things"]["post"]["requestBody"]["required"]
    assert list(found["/things/words"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


def test_who_asks_at_the_same_time_waits_for_the_same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    start = asyncio.create_subprocess_exec

    async def noted(*command: Any, **how: Any) -> Any:
        started.append(command)
        return await start(*command, **how)

    async def ask() -> list[bytes]:
        described = docs.Description()
        first = await asyncio.gather(described.text(), described.text())
        return [*first, await described.text()]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    texts = asyncio.run(ask())
    assert len(started) == 1
    assert [json.loads(text) for text in texts] == [described(routes()).openapi()] * 3


def test_a_process_that_fails_is_no_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> bytes:
        described = docs.Description()
        with monkeypatch.context() as broken:
            broken.setattr(docs, "CODE", "import sys; sys.exit('no memory')")
            with pytest.raises(EngineError, match="its process ended with 1"):
                await described.text()
        return await described.text()

    assert json.loads(asyncio.run(ask()))["info"]["title"] == "minirund"
