"""Errors as answers: always ``{"message": "one line"}``, with the status that the error's class has.

Four kinds arrive here: the engine's own, which know what to say; what pydantic found wrong with a request, which is put
into one line that names the field; a path that the API doesn't have; and whatever nobody foresaw (see ``protocol``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from minirund.api.responses import error
from minirund.errors import MinirundError, http_status

MAX_SHOWN = 80


def install(app: FastAPI) -> None:
    """Have the app answer errors so."""
    app.add_exception_handler(MinirundError, _from_engine)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _from_routing)


async def _from_engine(_request: Request, found: Exception) -> Response:
    return error(http_status(found), str(found))


async def _from_routing(_request: Request, found: Exception) -> Response:
    assert isinstance(found, HTTPException)  # noqa: S101 - the type under which it is installed
    if found.status_code in {404, 405}:
        return error(404, "page not found")
    if found.status_code == 400:  # FastAPI's word for a body that json.loads doesn't take
        return error(400, "invalid JSON: the body is not UTF-8, or nested too deeply")
    return error(found.status_code, str(found.detail))


async def _invalid(_request: Request, found: Exception) -> Response:
    assert isinstance(found, RequestValidationError)  # noqa: S101 - the type under which it is installed
    return error(400, describe(found.errors()))


def describe(problems: Sequence[Any]) -> str:
    """The first of pydantic's findings, in a line that names it: ``invalid value for HostConfig.Memory: ...``."""
    first = problems[0]
    where, field = first["loc"][0], _name(first["loc"][1:])
    if first["type"] == "json_invalid":
        return f"invalid JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
    if first["type"] == "missing":
        return f"{field} is missing" if field else "invalid JSON: the request has no body"
    subject = f"invalid value for {field}: {_shown(first['input'])}" if field else f"invalid {where}"
    return f"{subject}: {_reason(first)}"


def _name(parts: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def _reason(problem: Any) -> str:
    if problem["type"] in {"model_type", "dict_type", "model_attributes_type"}:
        return "it should be an object"
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should", "it should")
    return message[:1].lower() + message[1:]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
