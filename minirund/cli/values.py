"""Option values from text: sizes, durations, points in time, and files of variables. Pure but for reading the files.

The notations are Docker's: sizes count in 1024s (``64m``), durations are Go's (``1h30m``), a point in time is a Unix
time, a date, or a duration before now.
"""

from __future__ import annotations

import os
import time

from minirund.cli.failure import Failure
from minirund.sizes import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def restart_policy(text: str) -> dict[str, Any]:
    """``on-failure:3`` -> the API's RestartPolicy. Which names there are, the daemon says."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise Failure("invalid restart policy format: no policy provided before colon")
    try:
        return {"Name": name, "MaximumRetryCount": int(count or 0)}
    except ValueError:
        raise Failure("invalid restart policy format: maximum retry count must be an integer") from None


def swap_size(text: str) -> int:
    """A size, or -1 for no limit."""
    return -1 if text == "-1" else size(text)


def integer(text: str) -> int:
    """A whole number in decimal, 0x or 0o notation."""
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError("not a whole number") from None


def nanocpus(text: str) -> int:
    """``1.5`` CPUs -> 1500000000."""
    try:
        return round(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise ValueError("not a number") from None


def _parts(text: str) -> Iterator[tuple[float, str]]:
    rest = text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("hmsunµ"))]
        while unit and unit not in _SECONDS:
            unit = unit[:-1]
        if not number or not unit:
            raise ValueError(f'invalid duration "{text}"')
        rest = rest[len(unit) :]
        yield float(number), unit


def duration(text: str) -> float:
    """``1h30m`` -> 5400.0 seconds. Units h m s ms us ns."""
    if text in ("0", "+0", "-0"):
        return 0.0
    sign = -1 if text.startswith("-") else 1
    bare = text.lstrip("+-")
    if not bare:
        raise ValueError(f'invalid duration "{text}"')
    return sign * sum(number * _SECONDS[unit] for number, unit in _parts(bare))


def nanoseconds(text: str) -> int:
    """A duration in whole nanoseconds."""
    return round(duration(text) * 1e9)


def moment(text: str, now: float | None = None) -> str:
    """A point in time as the API takes it, ``SECONDS.NANOSECONDS``.

    Read from a Unix time (``1700000000.5``), a duration before now (``10m``), or an RFC 3339 date with as much
    of it as is known (``2026-01-02``, ``2026-01-02T15:04``, ``2026-01-02T15:04:05.123456789Z``; local time without a
    zone).
    """
    if text.replace(".", "", 1).isdecimal():
        return text
    try:
        return f"{(time.time() if now is None else now) - duration(text):.9f}"
    except ValueError:
        return _date(text)


def _date(text: str) -> str:
    from datetime import datetime

    head, dot, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
    zone = tail[len(digits) :]
    try:
        stamp = datetime.fromisoformat(head + zone).timestamp()
    except ValueError:
        raise ValueError(f'failed to parse value as time or duration: "{text}"') from None
    return f"{int(stamp)}.{digits[:9]:0<9}"


def filter_pair(text: str) -> str:
    """``name=value``, as it is."""
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text


def filters(pairs: Sequence[str]) -> dict[str, list[str]] | None:
    """``["name=a", "name=b"]`` -> ``{"name": ["a", "b"]}``, the API's form; None for no filters."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found or None


CONVERT: dict[str, Callable[[str], Any]] = {
    "string": str,
    "list": str,
    "filter": filter_pair,
    "int": integer,
    "bytes": size,
    "swap": swap_size,
    "decimal": nanocpus,
    "duration": nanoseconds,
    "moment": moment,
}


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                text = line.rstrip("\r\n").lstrip()
                if text and not text.startswith("#"):
                    yield number, text
    except OSError as error:
        raise Failure(f"open {path}: {os.strerror(error.errno or 0).lower()}") from None
    except UnicodeDecodeError:
        raise Failure(f"env file {path} contains invalid utf8 bytes") from None


def _from_file(path: str, *, inherit: bool) -> Iterator[str]:
    for number, line in _lines(path):
        name, equals, _ = line.partition("=")
        if not name.strip():
            raise Failure(f"invalid environment file: {path}: line {number}: no variable name")
        if name != name.strip() or any(mark in name for mark in " \t"):
            raise Failure(f"poorly formatted environment: variable '{name}' contains whitespaces ({path}:{number})")
        if equals or not inherit:
            yield line
        elif name in os.environ:
            yield f"{name}={os.environ[name]}"


def environment(files: Sequence[str], pairs: Sequence[str]) -> list[str]:
    """Variables of the files, then those of ``-e``. A name alone takes its value from this process's environment."""
    found = [line for path in files for line in _from_file(path, inherit=True)]
    for pair in pairs:
        name, equals, _ = pair.partition("=")
        if not name:
            raise Failure(f"invalid environment variable: {pair}")
        found.append(pair if equals or name not in os.environ else f"{name}={os.environ[name]}")
    return found


def labels(files: Sequence[str], pairs: Sequence[str]) -> dict[str, str]:
    """Labels of the files, then those of ``-l``; without ``=`` the value is empty."""
    found = [line for path in files for line in _from_file(path, inherit=False)]
    return mapping([*found, *pairs])


def mapping(pairs: Sequence[str]) -> dict[str, str]:
    """``["a=b", "c"]`` -> ``{"a": "b", "c": ""}``."""
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs}
