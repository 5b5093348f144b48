"""Parameters of requests, as Docker's clients write them: flags, filters, times, credentials, terminal keys.

Whatever can't be read raises InvalidArgument with the parameter's name, or ValueError where the caller adds the name.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from minirund.api.routes import Made, Path, Query, Reader
from minirund.errors import InvalidArgument

if TYPE_CHECKING:
    from minirund.engine.engine import Engine
else:
    Engine = Any  # annotations are read when a route is first used; the API needs the engine's shape, not its code

Json = dict[str, Any]

_TRUE, _FALSE = {"1", "true", "t", "yes", "on"}, {"", "0", "false", "f", "no", "off", "none"}


EngineOf = Annotated[Engine, Made(lambda request: request.scope["engine"])]
Ref = Annotated[str, Path(description="An ID, the beginning of one that is unique, or a name")]


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError("it is neither true (1) nor false (0)")


def _number(text: str) -> int | None:
    word = text.strip()
    if not word:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", word):
        raise ValueError("it is no whole number")
    return int(word)


Flag = Annotated[bool, Reader(_flag)]
Number = Annotated[int | None, Reader(_number)]
Filters = Annotated[str, Query(description='JSON: {"name": ["value", ...], ...}')]


def filters(text: str) -> dict[str, list[str]]:
    """``{"label": ["a", "b"]}``, or the older ``{"label": {"a": true, "b": true}}``."""
    if not text:
        return {}
    try:
        given = json.loads(text)
        return {name: _values(values) for name, values in given.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise InvalidArgument(f"invalid filters: {text[:200]}: it is no JSON map of names to lists of values") from None


def _values(values: Any) -> list[str]:
    if isinstance(values, dict):
        values = [value for value, wanted in values.items() if wanted]
    if not isinstance(values, list) or not all(isinstance(value, (str, bool, int)) for value in values):
        raise TypeError
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in values]


_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.{0,40}")


def moment(name: str, text: str) -> float | None:
    """A time in seconds since 1970: ``1700000000.5``, or RFC 3339. None when empty; "never" in Go's words is 0."""
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))
    except ValueError:
        raise InvalidArgument(f"invalid value for {name}: {text[:80]}: it is no time") from None
    seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return max(seconds, 0.0)  # year 1 is Go's "never"


def tail(text: str) -> int | None:
    """How many lines from the end; None for all (Docker takes whatever is no number for all)."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


_URLSAFE = str.maketrans("-_", "+/")


def credentials(header: str | None) -> Json | None:
    """``X-Registry-Auth``: JSON in base64url, padded or not."""
    if not header:
        return None
    try:
        text = header.rstrip("=").translate(_URLSAFE)
        found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or b"{}")
    except (ValueError, RecursionError):
        raise InvalidArgument("invalid X-Registry-Auth header: it is no JSON object in base64url") from None
    if not isinstance(found, dict):
        raise InvalidArgument("invalid X-Registry-Auth header: it is no JSON object")
    return found or None


_CONTROL = {chr(64 + code): chr(code) for code in range(32)} | {chr(96 + code): chr(code) for code in range(1, 27)}
DETACH_KEYS = "\x10\x11"


def detach_keys(text: str) -> str:
    """``ctrl-p,ctrl-q`` -> the two characters. Empty means those two."""
    return "".join(_key(word) for word in text.split(",")) if text else DETACH_KEYS


def _key(word: str) -> str:
    if len(word) == 1 and word.isascii():
        return word
    if word.startswith("ctrl-") and word[5:] in _CONTROL:
        return _CONTROL[word[5:]]
    raise InvalidArgument(f"invalid detach keys: unknown character: '{word[:40]}'")
