"""An image's configuration comes from strangers: is every field of the type that everybody will take it for?

Whoever lists, inspects or runs an image reads these fields and expects what the specification says. So it is checked
once, before the image comes into the store. Fields that nobody here reads may be anything.
Source: OCI image-spec, config.md; Docker's image specification v1.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minirund.errors import RegistryError

Test = Callable[[Any], bool]


def _text(value: Any) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _object(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value))


def _labels(value: Any) -> bool:
    return _object(value) and all(map(_text, value.values()))


def _entries(value: Any) -> bool:
    return isinstance(value, list) and all(_fits(entry, HISTORY) for entry in value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int) and not _flag(value) and -(1 << 63) <= value < 1 << 63


HISTORY: Mapping[str, Test] = {
    "created": _text, "created_by": _text, "author": _text, "comment": _text, "empty_layer": _flag
}  # fmt: skip
DOCUMENT: Mapping[str, Test] = {
    "architecture": _text, "os": _text, "variant": _text, "os.version": _text, "created": _text, "author": _text,
    "comment": _text, "container": _text, "docker_version": _text, "config": _object, "history": _entries,
}  # fmt: skip
CONFIG: Mapping[str, Test] = {
    "User": _text, "WorkingDir": _text, "StopSignal": _text, "Hostname": _text, "Domainname": _text, "Image": _text,
    "MacAddress": _text, "Env": _texts, "Cmd": _texts, "Entrypoint": _texts, "OnBuild": _texts, "Shell": _texts,
    "Labels": _labels, "Volumes": _object, "ExposedPorts": _object, "Healthcheck": _object, "ArgsEscaped": _flag,
    "Tty": _flag, "OpenStdin": _flag, "StdinOnce": _flag, "AttachStdin": _flag, "AttachStdout": _flag,
    "AttachStderr": _flag, "StopTimeout": _number,
}  # fmt: skip
"""Field -> what its value must be, unless it is null or absent."""


def _wrong(value: Any, fields: Mapping[str, Test]) -> str:
    return next((name for name, test in fields.items() if value.get(name) is not None and not test(value[name])), "")


def _fits(value: Any, fields: Mapping[str, Test]) -> bool:
    return isinstance(value, dict) and not _wrong(value, fields)


def check(document: Mapping[str, Any]) -> None:
    """Refuse a configuration whose fields have other types than they should. Raises RegistryError."""
    wrong = _wrong(document, DOCUMENT)
    if not wrong:
        wrong = _wrong(document.get("config") or {}, CONFIG)
        wrong = wrong and f"config.{wrong}"
    if wrong:
        raise RegistryError(f"image configuration is not valid: {wrong} has a value of the wrong type")
