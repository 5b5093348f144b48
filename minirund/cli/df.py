"""`system df`: what takes space on the disk, in four lines, or thing by thing with -v."""

from __future__ import annotations

from minirund.cli.context import say
from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed
    from minirund.cli.tables import Fields

    Json = dict[str, Any]

OPTIONS = (
    Opt("format", "string", "table, json, table TEMPLATE or TEMPLATE (Go's templates)"),
    Opt("verbose", "bool", "Show every image, container and volume", "v"),
)
_COLUMNS = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
_NONE = "<none>"


def disk_usage(context: Context, args: Parsed) -> int:
    """Show what takes space."""
    form = args.text("format")
    if args.flag("verbose") and form:
        raise Failure("the verbose and the format options conflict")
    from minirund.cli.tables import show

    usage = context.client.get("/system/df")
    if args.flag("verbose"):
        _show_all(usage)
    else:
        show(form, {name: (_HEADERS[name], _getter(name)) for name in _COLUMNS}, _COLUMNS, summary(usage))
    return 0


_HEADERS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}


def _getter(name: str) -> Callable[[Any], Any]:
    return lambda row: row[name]


def summary(usage: Json) -> list[dict[str, str]]:
    """A line for each kind of thing: how many, how many of them in use, bytes, and bytes of those that are not."""
    images, containers = usage.get("Images") or [], usage.get("Containers") or []
    volumes, cache = usage.get("Volumes") or [], usage.get("BuildCache") or []
    used = [one for one in images if (one.get("Containers") or 0) > 0]
    own = sum(one["Size"] - one["SharedSize"] for one in used if min(one["Size"], one.get("SharedSize", -1)) >= 0)
    layers = usage.get("LayersSize") or 0
    written = sum(one.get("SizeRw") or 0 for one in containers)
    idle = sum(one.get("SizeRw") or 0 for one in containers if not _is_active(one))
    kept = [one.get("UsageData") or {} for one in volumes]
    blocks = [max(one.get("Size", 0), 0) for one in kept]
    free = [max(one.get("Size", 0), 0) for one in kept if not one.get("RefCount")]
    own_cache = [one for one in cache if not one.get("Shared")]
    unused = sum(one["Size"] for one in own_cache if not one.get("InUse"))
    return [
        _row("Images", len(images), len(used), layers, _share(layers - own, layers)),
        _row("Containers", len(containers), sum(map(_is_active, containers)), written, _share(idle, written)),
        _row("Local Volumes", len(volumes), len(volumes) - len(free), sum(blocks), _share(sum(free), sum(blocks))),
        _row("Build Cache", len(cache), sum(bool(one.get("InUse")) for one in cache),
             sum(one["Size"] for one in own_cache), _size(unused)),
    ]  # fmt: skip


def _row(kind: str, total: int, active: int, size: int, reclaimable: str) -> dict[str, str]:
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": _size(size),
        "Reclaimable": reclaimable,
    }


def _is_active(container: Json) -> bool:
    return container.get("State") in ("running", "paused", "restarting")


def _share(part: int, whole: int) -> str:
    return f"{_size(part)} ({part * 100 // whole}%)" if whole > 0 else _size(part)


def _size(count: int) -> str:
    from minirund.cli.human import size

    return size(count, 4)


# --- thing by thing


def _show_all(usage: Json) -> None:
    cache = sum(one["Size"] for one in usage.get("BuildCache") or [] if not one.get("Shared"))
    parts = (
        ("Images space usage:", _images(), usage.get("Images") or []),
        ("Containers space usage:", _containers(), usage.get("Containers") or []),
        ("Local Volumes space usage:", _volumes(), usage.get("Volumes") or []),
        (f"Build cache usage: {_size(cache)}", _caches(), usage.get("BuildCache") or []),
    )
    from minirund.cli.tables import align

    shown = []
    for title, fields, things in parts:
        rows = [[str(value(thing)) for _, value in fields.values()] for thing in things]
        shown.append(f"{title}\n\n{align([[header for header, _ in fields.values()], *rows])}")
    say("\n\n".join(shown))


def _images() -> Fields:
    from minirund.cli.images import fields

    known = fields(whole=False)
    return {
        "Repository": ("REPOSITORY", lambda one: _name(one)[0]),
        "Tag": ("TAG", lambda one: _name(one)[1]),
        **{name: known[name] for name in ("ID", "CreatedSince", "Size")},
        "SharedSize": ("SHARED SIZE", lambda one: _known(one.get("SharedSize", -1))),
        "UniqueSize": ("UNIQUE SIZE", _unique),
        "Containers": known["Containers"],
    }


def _name(image: Json) -> Sequence[str]:
    """Repository and tag of its first name."""
    from minirund.cli.reference import split

    names = image.get("RepoTags") or [f"{_NONE}:{_NONE}"]
    return (_NONE, _NONE) if names[0].startswith(_NONE) else split(names[0])[:2]


def _known(count: int) -> str:
    return "N/A" if count < 0 else _size(count)


def _unique(image: Json) -> str:
    shared = image.get("SharedSize", -1)
    return "N/A" if shared < 0 else _size(image["Size"] - shared)


def _containers() -> Fields:
    from minirund.cli.ps import fields

    known = fields(whole=False)
    names = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    return {name: known[name] for name in names}


def _volumes() -> Fields:
    def usage(key: str) -> Callable[[Any], Any]:
        return lambda one: (one.get("UsageData") or {}).get(key, -1)

    return {
        "Name": ("VOLUME NAME", lambda one: one["Name"]),
        "Links": ("LINKS", usage("RefCount")),
        "Size": ("SIZE", lambda one: _known(usage("Size")(one))),
    }


def _caches() -> Fields:
    from minirund.cli.human import short_id

    return {
        "ID": ("CACHE ID", lambda one: short_id(one["ID"])),
        "Type": ("CACHE TYPE", lambda one: one.get("Type", "")),
        "Size": ("SIZE", lambda one: _size(one["Size"])),
        "Created": ("CREATED", lambda one: one.get("CreatedAt", "")),
        "LastUsed": ("LAST USED", lambda one: one.get("LastUsedAt", "")),
        "Usage": ("USAGE", lambda one: one.get("UsageCount", 0)),
        "Shared": ("SHARED", lambda one: str(bool(one.get("Shared"))).lower()),
    }


COMMANDS = {"df": Command(disk_usage, "", OPTIONS, most=0)}
