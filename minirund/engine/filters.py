"""The filters of lists and prunes: ``{"status": ["exited"], "label": ["a=b"]}``.

A thing passes if it passes every key, and a key if any of its values fits; labels are the exception, they must all be
there. A filter that is none is refused, and so is a value that can't be one: a prune that passed over a condition would
remove more than was asked for.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TypeVar

from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.errors import InvalidArgument, NotFound

Filters = dict[str, list[str]]
Test = Callable[[Container], bool]
Labels = dict[str, str] | None
T = TypeVar("T")

CONTAINER_KEYS = frozenset(
    "ancestor before exited expose health id is-task isolation label name network publish since status volume".split()
)
_TRUE, _FALSE = {"1", "t", "true"}, {"0", "f", "false"}
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


def check_keys(filters: Filters, known: Collection[str]) -> None:
    """Raises InvalidArgument for a filter that is none."""
    for key in filters:
        if key not in known:
            raise InvalidArgument(f"invalid filter '{key}'")


def truth(filters: Filters, key: str, default: T) -> bool | T:
    """The value of a filter that is true or false. Raises InvalidArgument."""
    values = {value.lower() for value in filters.get(key) or ()}
    if not values:
        return default
    if not (values <= _TRUE or values <= _FALSE):
        raise InvalidArgument(f"invalid filter '{key}=[{' '.join(filters[key])}]'")
    return values <= _TRUE


def until(filters: Filters) -> float:
    """Before when a thing must have been made: nanoseconds since 1970, infinity for whenever. Raises InvalidArgument.

    The value is a time (seconds since 1970, or RFC 3339) or an age (``24h``, ``1h30m``), as in Docker.
    """
    return min((_before(value) for value in filters.get("until") or ()), default=math.inf)


def _before(value: str) -> float:
    if value and not _DURATION.sub("", value):
        return time.time_ns() - sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value))
    try:
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value) * 1e9
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidArgument(f"invalid filter 'until={value}': neither a time nor an age like 24h") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e9


def labels_pass(filters: Filters, labels: Labels) -> bool:
    """Whether all of ``label``, and none of ``label!``, is there."""
    return all(has_label(labels, wanted) for wanted in filters.get("label") or ()) and not any(
        has_label(labels, unwanted) for unwanted in filters.get("label!") or ()
    )


def has_label(labels: Labels, wanted: str) -> bool:
    """``key`` or ``key=value``."""
    key, has_value, value = wanted.partition("=")
    labels = labels or {}
    return key in labels and (not has_value or labels[key] == value)


def container_filter(
    filters: Filters, find: Callable[[str], Container], image_id: Callable[[str], str]
) -> Callable[[Container], bool]:
    """The test that a list's filters amount to. ``find`` and ``image_id`` resolve names.

    Raises InvalidArgument, and NotFound for a container that ``before`` or ``since`` names.
    """
    check_keys(filters, CONTAINER_KEYS)
    tests = [_test(key, values, find, image_id) for key, values in filters.items() if values]
    return lambda container: all(test(container) for test in tests)


def _test(key: str, values: list[str], find: Callable[[str], Container], image_id: Callable[[str], str]) -> Test:
    if key == "before":
        last = min(find(value).created for value in values)
        return lambda container: container.created < last
    if key == "since":
        first = max(find(value).created for value in values)
        return lambda container: container.created > first
    if key == "ancestor":
        wanted = {found for value in values if (found := _known(image_id, value))}
        return lambda container: container.image_id in wanted or container.image in values
    return _MAKERS[key](values)


def _known(image_id: Callable[[str], str], name: str) -> str:
    """The ID of an image, "" if there is none: nothing was made from that."""
    try:
        return image_id(name)
    except (NotFound, InvalidArgument):
        return ""


def _by_status(values: list[str]) -> Test:
    for value in values:
        if value not in set(Status):
            raise InvalidArgument(f"invalid filter 'status={value}': use one of {', '.join(Status)}")
    return lambda container: container.status in values


def _by_exit_code(values: list[str]) -> Test:
    for value in values:
        if not re.fullmatch(r"-?\d+", value):
            raise InvalidArgument(f"invalid filter 'exited={value}': not a number")
    codes = {int(value) for value in values}
    return lambda container: container.status is Status.EXITED and container.exit_code in codes


def _by_name(values: list[str]) -> Test:
    try:
        patterns = [re.compile(value) for value in values]
    except re.error as error:
        raise InvalidArgument(f"invalid filter 'name={error.pattern!s}': not a regular expression") from None
    return lambda container: any(
        pattern.search(name) for pattern in patterns for name in (container.name, f"/{container.name}")
    )


def _network(container: Container) -> str:
    return str(container.host_config.get("NetworkMode") or "bridge").replace("default", "bridge")


def _places(container: Container) -> set[str]:
    """Sources and destinations of its mounts."""
    host = container.host_config
    binds = {part for bind in host.get("Binds") or () for part in bind.split(":")[:2]}
    return binds | {mount.get(key) or "" for mount in host.get("Mounts") or () for key in ("Source", "Target")}


def _by_exposed_port(values: list[str]) -> Test:
    wanted = {value if "/" in value else f"{value}/tcp" for value in values}
    return lambda container: bool(wanted & set(container.config.get("ExposedPorts") or ()))


def _never(values: list[str]) -> Test:
    """What no container here has: published ports, a task of a swarm."""
    return lambda container: "false" in values


_MAKERS: dict[str, Callable[[list[str]], Test]] = {
    "status": _by_status,
    "exited": _by_exit_code,
    "name": _by_name,
    "expose": _by_exposed_port,
    "label": lambda values: lambda one: labels_pass({"label": values}, one.config.get("Labels")),
    "id": lambda values: lambda one: any(one.id.startswith(value) for value in values),
    "network": lambda values: lambda one: _network(one) in values,
    "volume": lambda values: lambda one: bool(_places(one) & set(values)),
    "health": lambda values: lambda _: "none" in values,
    "isolation": lambda values: lambda _: "default" in values,
    "publish": _never,
    "is-task": _never,
}
