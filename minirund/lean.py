"""The standard library's C modules, taken without their Python wrappers.

``import socket``, ``signal`` and ``json`` cost the command 13 ms, most of it for enums and regular expressions that it
never uses; the C modules beneath them cost 0.2 ms. The names here are those of the wrappers, so a reader (and mypy)
may take ``lean.socket`` for ``socket``. Where an interpreter has no such C module, the wrapper itself is used.

Used by the command, for its time, and by the runtime's fork side, for its memory (runtime/lean.py). A daemon that
lives for months has no reason to.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    import json as _json
    import signal
    import socket
    from collections.abc import Callable
    from typing import Any
else:
    try:
        import _json
        import _signal as signal
        import _socket as socket
    except ImportError:
        import json as _json
        import signal
        import socket

__all__ = ["dumps", "loads", "signal", "socket"]


class _Scanning:
    """What the C scanner asks its context for: the choices that ``json.JSONDecoder`` makes by default."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - only the pure-Python scanner fills it, and clears it


def _unserialisable(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _scanner() -> Callable[[str, int], tuple[Any, int]] | None:
    make: Any = getattr(_json, "make_scanner", None)
    return make(_Scanning) if make else None


def loads(data: str | bytes) -> Any:
    """Parse one JSON document; ``ValueError`` when it is none."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    text = text.strip(" \t\r\n")
    scan = _scanner()
    if scan is None:
        import json

        return json.loads(text)
    try:
        value, end = scan(text, 0)
    except (StopIteration, SystemError, ImportError):  # json's exception is looked for, and may not be there
        raise ValueError(f"not JSON: {text[:60]!r}") from None
    if end != len(text):
        raise ValueError(f"not JSON: more text after column {end}")
    return value


def dumps(value: Any) -> str:
    """The value as compact JSON, non-ASCII escaped."""
    make: Any = getattr(_json, "make_encoder", None)
    if make is None:
        import json

        return json.dumps(value, separators=(",", ":"))
    quote: Any = getattr(_json, "encode_basestring_ascii")  # noqa: B009 - a private name of the C module
    encode = make({}, _unserialisable, quote, None, ":", ",", False, False, True)
    return "".join(encode(value, 0))
