"""Stand-ins for six modules of the standard library: what they cost is paid by every container.

A shim is a fork of the spawner, so whatever the spawner imports is in every shim's page tables, and the part of it
that is written to (every reference count is) becomes the shim's own. ``dataclasses`` alone brings inspect, ast and dis:
1.5 MB, where the bare interpreter has 2.7. With these the spawner has half the memory, and forks faster. The rest of
the project writes ``from dataclasses import dataclass`` as always: the spawner calls ``install`` before it imports
anything of that, and other processes never do.

    dataclasses   dataclass, field, fields: init, repr, eq
    typing        names that mean nothing at run time, NamedTuple
    json, socket, signal   over the C modules that the real ones wrap too (see minirund.lean)
    pathlib       a name for annotations

Only what the fork side uses is here; a use that is not fails at import, in the first test.
"""

from __future__ import annotations

import array
import builtins
import collections
import sys
import types

from minirund import lean

MISSING = object()
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class Field:
    """A field's name and where its default comes from."""

    def __init__(self, default: Any = MISSING, default_factory: Any = MISSING) -> None:
        self.name, self.default, self.default_factory = "", default, default_factory


def dataclass(cls: Any = None, **options: Any) -> Any:
    """As ``dataclasses.dataclass``; ``slots`` and ``frozen`` are promises that type checkers hold us to."""
    if cls is None:
        return lambda decorated: dataclass(decorated, **options)
    made = []
    for name in cls.__dict__.get("__annotations__", {}):  # noqa: RUF063 - inspect is what we do without
        value = cls.__dict__.get(name, MISSING)
        each = value if isinstance(value, Field) else Field(value)
        each.name = name
        made.append(each)
        if isinstance(value, Field):
            delattr(cls, name)
    cls.__dataclass_fields__ = tuple(made)
    cls.__init__, cls.__repr__, cls.__eq__, cls.__hash__ = _init, _repr, _equal, _hash
    return cls


def _init(self: Any, *values: Any, **named: Any) -> None:
    for each, value in zip(self.__dataclass_fields__, values, strict=False):
        named[each.name] = value
    for each in self.__dataclass_fields__:
        if each.name in named:
            value = named.pop(each.name)
        elif each.default_factory is not MISSING:
            value = each.default_factory()
        elif each.default is not MISSING:
            value = each.default
        else:
            raise TypeError(f"{type(self).__name__}: {each.name} is missing")
        setattr(self, each.name, value)
    if named:
        raise TypeError(f"{type(self).__name__} has no {', '.join(named)}")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, each.name) for each in self.__dataclass_fields__)


def _repr(self: Any) -> str:
    pairs = (f"{each.name}={getattr(self, each.name)!r}" for each in self.__dataclass_fields__)
    return f"{type(self).__name__}({', '.join(pairs)})"


def _equal(self: Any, other: object) -> bool:
    return type(self) is type(other) and _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash(_values(self))


def fields(of: Any) -> tuple[Field, ...]:
    """As ``dataclasses.fields``."""
    found: tuple[Field, ...] = of.__dataclass_fields__
    return found


class _Subscriptable(type):
    def __getitem__(cls, _item: Any) -> Any:
        return cls


class Anything(metaclass=_Subscriptable):
    """Stands for every name of ``typing``."""


class _NamedTupleMeta(type):
    def __new__(mcs, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(mcs, name, bases, space)
        names = list(space.get("__annotations__", {}))
        base = collections.namedtuple(name, names, defaults=[space[each] for each in names if each in space])  # type: ignore[misc]
        body = {key: value for key, value in space.items() if key not in names and key != "__classcell__"}
        return builtins.type(name, (base,), {"__slots__": (), **body})


class NamedTuple(metaclass=_NamedTupleMeta):
    """As ``typing.NamedTuple``, as a base class."""


class Socket(lean.socket.socket):
    """``socket.socket``: the C class with the three conveniences of the wrapper."""

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def accept(self) -> tuple[Socket, Any]:
        """A connection, and where it comes from."""
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        return Socket(fileno=descriptor), address


def socketpair(family: int = 1, kind: int = 1, protocol: int = 0) -> tuple[Socket, Socket]:
    """As ``socket.socketpair``, close-on-exec."""
    one, other = lean.socket.socketpair(family, kind, protocol)
    return Socket(fileno=one.detach()), Socket(fileno=other.detach())


def send_fds(sock: Any, buffers: list[bytes], descriptors: list[int], flags: int = 0) -> int:
    """As ``socket.send_fds``; unlike it, with the flags."""
    rights = (lean.socket.SOL_SOCKET, lean.socket.SCM_RIGHTS, array.array("i", descriptors))
    sent: int = sock.sendmsg(buffers, [rights] if descriptors else [], flags)
    return sent


def recv_fds(sock: Any, size: int, count: int, flags: int = 0) -> tuple[bytes, list[int], int, Any]:
    """As ``socket.recv_fds``."""
    data, ancillary, got, address = sock.recvmsg(size, lean.socket.CMSG_LEN(count * 4), flags)
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (lean.socket.SOL_SOCKET, lean.socket.SCM_RIGHTS):
            descriptors.frombytes(payload[: len(payload) // 4 * 4])
    return data, list(descriptors), got, address


def _module(name: str, *sources: Any, **contents: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    for source in sources:
        made.__dict__.update({key: value for key, value in vars(source).items() if not key.startswith("__")})
    made.__dict__.update(contents)
    return made


def _typing() -> types.ModuleType:
    names = "Any Protocol TypedDict NoReturn Final Literal ClassVar Generic TypeVar Callable Self cast overload".split()
    return _module("typing", **dict.fromkeys(names, Anything), NamedTuple=NamedTuple, TYPE_CHECKING=False)


def _json() -> types.ModuleType:
    def load(file: Any) -> Any:
        return lean.loads(file.read())

    def dump(value: Any, file: Any) -> None:
        file.write(lean.dumps(value))

    return _module("json", loads=lean.loads, dumps=lean.dumps, load=load, dump=dump, JSONDecodeError=ValueError)


def _stand_ins() -> Iterator[types.ModuleType]:
    yield _module("dataclasses", dataclass=dataclass, field=Field, fields=fields)
    yield _typing()
    yield _json()
    yield _module("socket", lean.socket, socket=Socket, socketpair=socketpair, send_fds=send_fds, recv_fds=recv_fds)
    yield _module("signal", lean.signal)
    yield _module("pathlib", Path=Anything)


def install() -> Callable[[], None]:
    """Put the stand-ins in place of modules that nobody has imported yet; returns what takes them away again."""
    made = [each for each in _stand_ins() if each.__name__ not in sys.modules]
    sys.modules.update({each.__name__: each for each in made})

    def remove() -> None:
        for each in made:
            sys.modules.pop(each.__name__, None)

    return remove
