"""What templates can call, and how Go shows, compares and walks values. Pure.

``print`` and its like, ``json``, ``join``, ``split``, ``upper``, ``lower``, ``title``, ``pad``, ``truncate``, ``len``,
``index``, ``slice``, ``eq ne lt le gt ge``, ``and or not``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class CallError(Exception):
    """A field or an argument that does not fit."""


class _Missing:
    """A key that a map does not have: Go's zero value of no type, shown as ``<no value>``."""

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


class _Null:
    """A JSON null where a map or a list would stand: Go shows its nil maps and lists as empty ones."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __len__(self) -> int:
        return 0


_NULL_MAP, _NULL_LIST = _Null("map[]"), _Null("[]")

# fields that hold maps, where a missing key is no error; every other object is a struct, where it is one
_MAPS = frozenset(
    "Annotations Attributes Config Data DriverOpts ExposedPorts Labels LogOpts Metadata Networks Options Params "
    "PortBindings Ports Runtimes StorageOpt Sysctls Tmpfs Volumes".split()
)
# fields that the API leaves out where they are empty
_OPTIONAL = frozenset(
    "Annotations ArgsEscaped ConsoleSize Error ExposedPorts GraphDriver Health Healthcheck ImageManifestDescriptor "
    "Init MacAddress Metadata Mounts NetworkDisabled OnBuild Parent Shell SizeRootFs SizeRw StopSignal StopTimeout "
    "StorageOpt Sysctls Tmpfs Warnings".split()
)


_TEXTS = frozenset(("Error", "MacAddress", "Parent", "StopSignal"))
# fields that hold lists, of which a null is an empty one
_LISTS = frozenset(
    "Aliases Args Binds CapAdd CapDrop Cmd DNSNames DeviceCgroupRules DeviceRequests Devices Dns DnsOptions DnsSearch "
    "Entrypoint Env ExecIDs ExtraHosts GroupAdd Links MaskedPaths Mounts OnBuild ReadonlyPaths RepoDigests "
    "RepoTags SecurityOpt Shell Ulimits VolumesFrom Warnings".split()
)


class Map(dict[str, object]):
    """An object whose keys are data: asked for one that it lacks, it has no value."""


def field(value: Any, name: str) -> Any:
    """``value.name`` as Go has it: a struct's field, a map's entry, a row's method."""
    if isinstance(value, dict):
        return _entry(value, name)
    method = getattr(value, "field", None)
    if method is not None:
        return method(name)
    if value is None or isinstance(value, (_Missing, _Null)):
        raise CallError(f"at <.{name}>: nil pointer evaluating")
    raise CallError(f"at <.{name}>: can't evaluate field {name} in {shown(value)!r}")


def _entry(value: dict[str, Any], name: str) -> Any:
    if name in value:
        found = value[name]
        if found is None:
            return _NULL_MAP if name in _MAPS else _NULL_LIST if name in _LISTS else None
        return Map(found) if name in _MAPS and _has_free_keys(name, found) else found
    if isinstance(value, Map):
        return MISSING
    if name in _OPTIONAL:
        return "" if name in _TEXTS else None
    raise CallError(f'at <.{name}>: map has no entry for key "{name}"')


def _has_free_keys(name: str, found: Any) -> bool:
    """``Config`` is a struct in a container and an image, and a map in LogConfig."""
    return isinstance(found, dict) and not (name == "Config" and ("Cmd" in found or "Env" in found))


def truth(value: Any) -> bool:
    """Go's: false, 0, nil, and whatever is empty are false."""
    return bool(value)


def shown(value: Any) -> str:
    """As Go's ``fmt.Print`` shows it: ``[a b]``, ``map[a:1]``, ``true``."""
    if value is MISSING:
        return "<no value>"
    if isinstance(value, _Null):
        return value.text
    if isinstance(value, (dict, list)):
        return _nested(value)
    if callable(value):
        return shown(value())
    return _scalar(value)


def _nested(value: Any) -> str:
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_nested(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_nested(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def items(value: Any) -> Iterator[tuple[Any, Any]]:
    """What a range walks: a list by index, a map by sorted key, a number up to it."""
    if isinstance(value, dict):
        return iter([(key, value[key]) for key in sorted(value)])
    if isinstance(value, list):
        return iter(list(enumerate(value)))
    if value is None or isinstance(value, (_Missing, _Null)):
        return iter(())
    if isinstance(value, int) and not isinstance(value, bool):
        return iter([(number, number) for number in range(value)])
    raise CallError(f"at <range>: can't iterate over {shown(value)}")


def to_json(value: Any) -> str:
    """Compact JSON, as Go writes it: non-ASCII as it is."""
    import json

    raw = getattr(value, "raw", None)
    value = raw() if raw is not None else value
    plain = getattr(value, "plain", None)
    if plain is not None:
        return escaped(json.dumps(plain(), separators=(",", ":"), ensure_ascii=False, sort_keys=True))
    return json.dumps(
        None if isinstance(value, (_Missing, _Null)) else value, separators=(",", ":"), ensure_ascii=False
    )


def escaped(text: str) -> str:
    """JSON text with ``<``, ``>`` and ``&`` written as Go writes them by default."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def short_circuit(name: str, values: Iterator[Any]) -> Any:
    """``and``: the first false value, or the last; ``or``: the first true one, or the last."""
    found: Any = MISSING
    for found in values:
        if truth(found) == (name == "or"):
            break
    if found is MISSING:
        raise CallError(f"at <{name}>: wrong number of args for {name}: want at least 1 got 0")
    return found


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "" if all(isinstance(item, str) for item in value.values()) else MISSING)
        elif isinstance(value, _Null):
            value = MISSING
        elif isinstance(value, (list, str)):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise CallError(f"at <index>: error calling index: index out of range: {shown(key)}")
            value = value[key]
        else:
            raise CallError(f"at <index>: error calling index: can't index item of {shown(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    low, high = (*bounds, *([0, len(value)][len(bounds) :]))[:2]
    if not 0 <= low <= high <= len(value):
        raise CallError(f"at <slice>: error calling slice: index out of range: {high}")
    return value[low:high]


def _same(first: Any, *others: Any) -> bool:
    if not others:
        raise CallError("at <eq>: error calling eq: missing argument for comparison")
    for other in others:
        if first is not None and other is not None and _kind(first) != _kind(other):
            raise CallError("at <eq>: error calling eq: incompatible types for comparison")
    return any(first == other for other in others)


def _less(first: Any, second: Any) -> bool:
    if _kind(first) != _kind(second) or _kind(first) not in ("number", "str"):
        raise CallError("at <lt>: error calling lt: incompatible types for comparison")
    return bool(first < second)


def _kind(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else type(value).__name__


def _print(*values: Any) -> str:
    text = ""
    for place, value in enumerate(values):
        between = place and not isinstance(value, str) and not isinstance(values[place - 1], str)
        text += (" " if between else "") + shown(value)
    return text


def _printf(pattern: str, *values: Any) -> str:
    left = list(values)
    text, at = "", 0
    while (mark := pattern.find("%", at)) >= 0:
        end = mark + 1
        while end < len(pattern) and pattern[end] in "+-# 0123456789.":
            end += 1
        verb = pattern[end : end + 1]
        text += pattern[at:mark] + ("%" if verb == "%" else _verb(pattern[mark:end], verb, left))
        at = end + 1
    return text + pattern[at:]


def _verb(flags: str, verb: str, left: list[Any]) -> str:
    if not left:
        return f"%!{verb}(MISSING)"
    value = left.pop(0)
    if verb in ("v", "s"):
        return f"{flags.replace('+', '').replace('#', '')}s" % shown(value)
    if verb == "q":
        return f"{flags}s" % quoted(shown(value))
    if verb == "t":
        return shown(value)
    try:
        return str((flags + verb) % value)
    except (TypeError, ValueError):
        return f"%!{verb}({shown(value)})"


def quoted(text: str) -> str:
    """A Go string literal."""
    import json

    return json.dumps(text, ensure_ascii=False)


def _join(values: Any, between: str = "") -> str:
    return between.join(shown(value) for value in (values or []))


def _pad(text: str, before: int, after: int) -> str:
    return text if not text else " " * before + text + " " * after


def _title(text: str) -> str:
    return "".join(
        letter.upper() if place == 0 or text[place - 1].isspace() else letter for place, letter in enumerate(text)
    )


def _not_lazy(*_: Any) -> Any:
    raise CallError("at <and>: and, or are evaluated where they stand")


TABLE: dict[str, Callable[..., Any]] = {
    "and": _not_lazy,
    "or": _not_lazy,
    "not": lambda value: not truth(value),
    "eq": _same,
    "ne": lambda first, second: not _same(first, second),
    "lt": _less,
    "le": lambda first, second: not _less(second, first),
    "gt": lambda first, second: _less(second, first),
    "ge": lambda first, second: not _less(first, second),
    "len": len,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(shown(value) for value in values) + "\n",
    "json": to_json,
    "join": _join,
    "split": lambda text, between: text.split(between),
    "upper": lambda text: text.upper(),
    "lower": lambda text: text.lower(),
    "title": _title,
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
}
