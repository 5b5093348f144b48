"""Sizes, ages and ports as Docker shows them. Pure."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_HOUR, _DAY = 60, 24  # minutes, hours

# (below this many hours, hours in one, its name)
_SPANS = (
    (48, 1, "hours"),
    (_DAY * 7 * 2, _DAY, "days"),
    (_DAY * 30 * 2, _DAY * 7, "weeks"),
    (_DAY * 365 * 2, _DAY * 30, "months"),
)


def _scaled(size: float, base: float, units: Sequence[str], digits: int) -> str:
    place = 0
    while size >= base and place < len(units) - 1:
        size /= base
        place += 1
    return f"{size:.{digits}g}{units[place]}"


def size(count: int, digits: int = 3) -> str:
    """1982000 -> ``1.98MB``, in 1000s."""
    return _scaled(count, 1000.0, _DECIMAL, digits)


def binary_size(count: int) -> str:
    """25276502016 -> ``23.54GiB``, in 1024s."""
    return _scaled(count, 1024.0, _BINARY, 4)


def span(seconds: float) -> str:
    """90 -> ``About a minute``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < _HOUR:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for below, unit, name in _SPANS:
        if hours < below:
            return f"{hours // unit} {name}"
    return f"{hours // (_DAY * 365)} years"


def ago(created: float) -> str:
    """A Unix time -> ``2 hours ago``; nothing for the time that never was."""
    return f"{span(time.time() - created)} ago" if created > 0 else "N/A"


def local_time(created: float) -> str:
    """A Unix time -> ``2026-11-21 09:40:47 +0000 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(created))


def stamp(seconds: int, fraction: str = "") -> str:
    """A Unix time as RFC 3339, local: ``2026-11-21T09:40:47Z``, ``...+01:00``; ``fraction`` follows the seconds."""
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}{fraction}{shown}"


def shortened(text: str, width: int) -> str:
    """Cut to ``width`` characters, the last of them an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short_id(identity: str) -> str:
    """``sha256:84ec0c1bab58...`` -> ``84ec0c1bab58``."""
    return identity.partition(":")[2][:12] if identity.startswith("sha256:") else identity[:12]


def ports(published: Sequence[dict[str, Any]]) -> str:
    """``0.0.0.0:80-81->80-81/tcp, 90/tcp``: ranges joined where the numbers inside and outside are the same."""
    keys = ("PrivatePort", "IP", "PublicPort", "Type")
    wanted = sorted(published, key=lambda port: [port.get(key) or (0 if key.endswith("Port") else "") for key in keys])
    ranges: list[list[Any]] = []
    mapped = []
    for port in wanted:
        inside, ip, kind = port["PrivatePort"], port.get("IP") or "", port.get("Type") or "tcp"
        if ip and port.get("PublicPort") != inside:
            mapped.append(f"{_host(ip)}:{port.get('PublicPort')}->{inside}/{kind}")
        elif same := [known for known in ranges if known[:2] == [ip, kind] and known[3] + 1 == inside]:
            same[0][3] = inside
        else:
            ranges.append([ip, kind, inside, inside])
    return ", ".join([_range(*known) for known in ranges] + mapped)


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _range(ip: str, kind: str, first: int, last: int) -> str:
    numbers = str(first) if first == last else f"{first}-{last}"
    return f"{_host(ip)}:{numbers}->{numbers}/{kind}" if ip else f"{numbers}/{kind}"
