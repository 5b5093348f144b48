"""What all bodies share: null is not given, types are not guessed, unknown fields are noticed, case is not.

A client in Go sends every field, most of them zero; one in Python sends null for what it was not given. Both mean "the
default", so what reaches the engine is only what differs from it (``plain``): a record holds what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

Json = dict[str, Any]


class Body(BaseModel):
    """A request's body, or an object in it."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, use_attribute_docstrings=False)

    def __deepcopy__(self, memo: Any = None) -> Self:
        """A default that is a body serves every request: nobody writes to one (``frozen``). pydantic would copy it."""
        return self

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {cls._field(key): value for key, value in data.items() if value is not None}

    @classmethod
    def _field(cls, key: Any) -> Any:
        """The field that a key means. Go doesn't mind the case, and docker-py has "detachKeys"."""
        if key in cls.model_fields or not isinstance(key, str):
            return key
        return next((name for name in cls.model_fields if name.lower() == key.lower()), key)

    def plain(self, *exclude: str) -> Json:
        """The known fields that differ from their defaults, as plain data."""
        fields = type(self).model_fields
        return {
            key: _plain(value)
            for key, value in self.__dict__.items()
            if key not in exclude and value != fields[key].default
        }

    def unknown(self, path: str = "") -> Iterator[str]:
        """The names of fields that the API doesn't have, ``HostConfig.Foo``. A zero value asks for nothing."""
        yield from (path + key for key, value in (self.model_extra or {}).items() if value)
        for key, value in self.__dict__.items():
            for inner in _bodies(value):
                yield from inner.unknown(f"{path}{key}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Body):
        return value.plain()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _bodies(value: Any) -> Iterator[Body]:
    if isinstance(value, Body):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _bodies(item)


class Answer(BaseModel):
    """A response's body, or an object in it. Only described."""

    model_config = ConfigDict(defer_build=True)


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Words = Annotated[list[str], BeforeValidator(_words)]
"""A command: a list of words, or one word (an old form that clients still send)."""

Empty = dict[str, Any]
"""The value of a set's member, ``{}``."""
