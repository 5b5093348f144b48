"""The filters of lists: ``{"status": ["exited"], "label": ["a=b"]}``. Values of one key: any; keys: all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from minirund.engine.lifecycle import Status
from minirund.errors import InvalidArgument

if TYPE_CHECKING:
    from minirund.engine.records import Container

Filters = dict[str, list[str]]

CONTAINER_KEYS = frozenset(
    "ancestor before exited expose health id is-task isolation label name network publish since status volume".split()
)


def check_keys(filters: Filters, known: Collection[str]) -> None:
    """Raises InvalidArgument for a filter that is none."""
    for key in filters:
        if key not in known:
            raise InvalidArgument(f"invalid filter '{key}'")


def label_matches(labels: dict[str, str] | None, wanted: str) -> bool:
    """``key`` or ``key=value``."""
    key, has_value, value = wanted.partition("=")
    labels = labels or {}
    return key in labels and (not has_value or labels[key] == value)


def container_filter(
    filters: Filters, find: Callable[[str], Container], image_id: Callable[[str], str]
) -> Callable[[Container], bool]:
    """The test that a list's filters amount to. ``find`` and ``image_id`` resolve names. Raises InvalidArgument."""
    check_keys(filters, CONTAINER_KEYS)
    tests: list[Callable[[Container], bool]] = []
    for key, values in filters.items():
        tests.append(_test(key, values, find, image_id))
    return lambda container: all(test(container) for test in tests)


Test = Callable[["Container"], bool]
Find = Callable[[str], "Container"]


def _test(key: str, values: list[str], find: Find, image_id: Callable[[str], str]) -> Test:
    if key in {"before", "since"}:
        return _by_age(key, [find(value).created for value in values])
    if key == "ancestor":
        wanted = {image_id(value) for value in values}
        return lambda container: container.image_id in wanted or container.image in values
    make = _MAKERS.get(key)
    return make(values) if make is not None else lambda _: False


def _by_age(key: str, times: list[int]) -> Test:
    if key == "before":
        return lambda container: container.created < min(times)
    return lambda container: container.created > max(times)


def _exited(values: list[str]) -> Test:
    codes = {_integer(value) for value in values}
    return lambda container: container.status is Status.EXITED and container.exit_code in codes


def _network(container: Container) -> str:
    return str(container.host_config.get("NetworkMode") or "bridge").replace("default", "bridge")


def _volumes(container: Container) -> set[str]:
    return {part for bind in container.host_config.get("Binds") or () for part in bind.split(":")[:2]}


def _status(values: list[str]) -> Callable[[Container], bool]:
    for value in values:
        if value not in set(Status):
            raise InvalidArgument(f"invalid filter 'status={value}': use one of {', '.join(Status)}")
    return lambda container: container.status in values


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"invalid filter 'exited={text}': not a number") from None


def _name_matches(name: str, pattern: str) -> bool:
    import re  # noqa: PLC0415

    try:
        return re.search(pattern.removeprefix("/"), name) is not None or re.search(pattern, f"/{name}") is not None
    except re.error:
        raise InvalidArgument(f"invalid filter 'name={pattern}': not a regular expression") from None


_MAKERS: dict[str, Callable[[list[str]], Test]] = {
    "status": _status,
    "exited": _exited,
    "label": lambda values: lambda one: all(label_matches(one.config.get("Labels"), value) for value in values),
    "name": lambda values: lambda one: any(_name_matches(one.name, value) for value in values),
    "id": lambda values: lambda one: any(one.id.startswith(value) for value in values),
    "network": lambda values: lambda one: _network(one) in values,
    "volume": lambda values: lambda one: bool(_volumes(one) & set(values)),
    "health": lambda values: lambda _: "none" in values,
}
