"""-v, --mount, --tmpfs, --publish: the notations of one line, read into the API's shapes. Pure."""

from __future__ import annotations

import os

from minirund.cli.failure import Failure, UsageError
from minirund.sizes import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_TRUE = ("", "1", "true")


def volumes(specs: Sequence[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """``-v`` -> (HostConfig.Binds, Config.Volumes). A path alone is an anonymous volume; ``./x`` is made absolute."""
    binds: list[str] = []
    anonymous: dict[str, dict[str, str]] = {}
    for spec in specs:
        source, colon, rest = spec.partition(":")
        if not spec or (colon and not rest):
            raise Failure(
                "invalid empty volume spec" if not spec else f"invalid spec: {spec}: empty section between colons"
            )
        if not colon:
            anonymous[spec] = {}
            continue
        binds.append(f"{_absolute(source)}:{rest}")
    return binds, anonymous


def _absolute(source: str) -> str:
    return os.path.abspath(source) if source.startswith(".") else source


_KEYS = {
    "type": "Type",
    "source": "Source",
    "src": "Source",
    "target": "Target",
    "destination": "Target",
    "dst": "Target",
    "consistency": "Consistency",
}


def _fields(spec: str) -> list[tuple[str, str, bool]]:
    parts = [field.partition("=") for field in spec.split(",")]
    return [(key.strip().lower(), value, bool(equals)) for key, equals, value in parts]


def _yes(key: str, value: str) -> bool:
    if value.lower() not in (*_TRUE, "0", "false"):
        raise UsageError(f"invalid value for {key}: {value}")
    return value.lower() in _TRUE


def _option(mount: dict[str, Any], key: str, value: str) -> None:
    """One field of --mount that is not the same for every type."""
    bind, volume, tmpfs = (mount.setdefault(f"{kind}Options", {}) for kind in ("Bind", "Volume", "Tmpfs"))
    if key in ("readonly", "ro"):
        mount["ReadOnly"] = _yes(key, value)
    elif key == "bind-propagation":
        bind["Propagation"] = value
    elif key == "bind-nonrecursive":
        bind["NonRecursive"] = _yes(key, value)
    elif key == "volume-nocopy":
        volume["NoCopy"] = _yes(key, value)
    elif key == "volume-subpath":
        volume["Subpath"] = value
    elif key == "volume-label":
        volume.setdefault("Labels", {})[value.partition("=")[0]] = value.partition("=")[2]
    elif key == "tmpfs-size":
        tmpfs["SizeBytes"] = size(value)
    elif key == "tmpfs-mode":
        tmpfs["Mode"] = int(value, 8)
    else:
        raise UsageError(f"unexpected key '{key}' in --mount")


def mount(spec: str) -> dict[str, Any]:
    """``type=bind,src=/a,dst=/b,readonly`` -> an entry of HostConfig.Mounts."""
    found: dict[str, Any] = {"Type": "volume"}
    for key, value, equals in _fields(spec):
        if not equals and key not in ("readonly", "ro", "bind-nonrecursive", "volume-nocopy"):
            raise UsageError(f"invalid field '{key}' must be a key=value pair in --mount")
        if key in _KEYS:
            found[_KEYS[key]] = value
        else:
            _option(found, key, value)
    if not found.get("Target"):
        raise UsageError(f'invalid argument "{spec}" for "--mount" flag: target is required')
    if found["Type"] == "bind" and "Source" in found:
        found["Source"] = _absolute(found["Source"])
    return _without_empty(found)


def _without_empty(found: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in found.items() if value != {}}
    own = f"{found['Type'].capitalize()}Options"
    if strange := [key for key in kept if key.endswith("Options") and key != own]:
        kind = strange[0].removesuffix("Options").lower()
        raise UsageError(f"cannot mix '{kind}-*' options with mount type '{found['Type']}'")
    return kept


def tmpfs(specs: Sequence[str]) -> dict[str, str]:
    """``/run:size=1m`` -> ``{"/run": "size=1m"}``."""
    return {spec.partition(":")[0]: spec.partition(":")[2] for spec in specs}


def _ports(text: str, spec: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        low, high = int(first), int(last if dash else first)
    except ValueError:
        raise UsageError(f"invalid containerPort: {spec}") from None
    if not 0 <= low <= high <= 65535:
        raise UsageError(f"invalid range format for port: {spec}")
    return list(range(low, high + 1))


def exposed(spec: str) -> list[str]:
    """``80-81/udp`` -> ``["80/udp", "81/udp"]``."""
    ports, _, protocol = spec.partition("/")
    return [f"{port}/{protocol or 'tcp'}" for port in _ports(ports, spec)]


def published(spec: str) -> list[tuple[str, dict[str, str]]]:
    """``[IP:][HOST:]CONTAINER[/PROTO]``, each a port or a range -> (``80/tcp``, a port binding) for every port."""
    address, mark, tail = spec.rpartition("]:")
    left, colon, inner = (tail if mark else spec).rpartition(":")
    ip, _, host = left.rpartition(":") if not mark else (address.lstrip("["), "", left)
    inside = exposed(inner)
    outside = [str(port) for port in _ports(host, spec)] if host and colon else [""] * len(inside)
    if len(inside) == 1 and len(outside) > 1:
        outside = [host]
    if len(inside) != len(outside):
        raise UsageError(f"invalid ranges specified for container and host Ports: {inner} and {host}")
    return [(port, {"HostIp": ip, "HostPort": to}) for port, to in zip(inside, outside, strict=True)]
