"""Errors as answers: always ``{"message": "one line"}``, with the status that the error's class has.

The engine's own errors know what to say; what was found wrong with a request is put into one line that names the field.
For whatever nobody foresaw see ``protocol``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from minirund.api.responses import error
from minirund.errors import MinirundError, http_status

MAX_SHOWN = 80


def answer_to(problem: MinirundError) -> Response:
    """The answer to a request that came to this."""
    return error(http_status(problem), str(problem))


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
