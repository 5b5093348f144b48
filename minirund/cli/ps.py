"""`ps`: the containers. The request is on its way before the modules that show its answer are imported."""

from __future__ import annotations

from minirund.cli.options import Command, Opt
from minirund.cli.values import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed
    from minirund.cli.tables import Fields

OPTIONS = (
    Opt("all", "bool", "Those that don't run, too", "a"),
    Opt("filter", "filter", "Only those that fit (NAME=VALUE)", "f"),
    Opt("format", "string", "table, json, table TEMPLATE or TEMPLATE (Go's templates)"),
    Opt("last", "int", "The last N made, running or not", "n", -1),
    Opt("latest", "bool", "The last one made, running or not", "l"),
    Opt("no-trunc", "bool", "Show values whole"),
    Opt("quiet", "bool", "Show IDs only", "q"),
    Opt("size", "bool", "Show sizes", "s"),
)
_DEFAULT = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def ps(context: Context, args: Parsed) -> int:
    """List containers."""
    form = args.text("format")
    last = 1 if args.flag("latest") else args.number("last") or -1
    query = {
        "all": args.flag("all") or None,
        "limit": last if last > 0 else None,
        "size": args.flag("size") or ".Size" in form or "json ." in form or None,
        "filters": filters(args.items("filter")),
    }
    containers = context.client.get("/containers/json", query)
    from minirund.cli.tables import show

    columns = (*_DEFAULT, "Size") if args.flag("size") else _DEFAULT
    show(form, fields(whole=args.flag("no-trunc")), columns, containers, quiet="ID" if args.flag("quiet") else "")
    return 0


def fields(*, whole: bool) -> Fields:
    """What a row of the list can show; ``whole`` leaves nothing out."""
    from minirund.cli import human

    return {
        "ID": ("CONTAINER ID", lambda row: row["Id"] if whole else human.short_id(row["Id"])),
        "Names": ("NAMES", lambda row: _names(row, whole=whole)),
        "Image": ("IMAGE", lambda row: _image(row, whole=whole)),
        "Command": ("COMMAND", lambda row: _command(row, whole=whole)),
        "CreatedAt": ("CREATED AT", lambda row: human.local_time(row["Created"])),
        "RunningFor": ("CREATED", lambda row: human.ago(row["Created"])),
        "Ports": ("PORTS", lambda row: human.ports(row.get("Ports") or [])),
        "State": ("STATE", lambda row: row.get("State", "")),
        "Status": ("STATUS", lambda row: row.get("Status", "")),
        "Size": ("SIZE", _size),
        "Labels": ("LABELS", lambda row: ",".join(sorted(f"{key}={value}" for key, value in _labels(row).items()))),
        "Label": ("LABEL", lambda row: lambda key="": _labels(row).get(key, "")),
        "Mounts": ("MOUNTS", lambda row: _mounts(row, whole=whole)),
        "LocalVolumes": ("LOCAL VOLUMES", _local_volumes),
        "Networks": ("NETWORKS", _networks),
        "Platform": ("PLATFORM", lambda _: None),
    }


def _names(row: dict[str, Any], *, whole: bool) -> str:
    names = [name.removeprefix("/") for name in row.get("Names") or ()]
    return ",".join(name for name in names if whole or "/" not in name)


def _image(row: dict[str, Any], *, whole: bool) -> str:
    from minirund.cli.human import short_id

    image = row.get("Image") or "<no image>"
    same = short_id(row.get("ImageID") or "")
    return same if not whole and same and short_id(image) == same else image


def _command(row: dict[str, Any], *, whole: bool) -> str:
    from minirund.cli.human import shortened

    command = row.get("Command") or ""
    return _quote(command if whole else shortened(command, 20))


def _quote(text: str) -> str:
    """A Go string literal, without asking ``json`` for the usual text."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    from minirund.cli.template_functions import quoted

    return quoted(text)


def _size(row: dict[str, Any]) -> str:
    from minirund.cli.human import size

    own, whole = row.get("SizeRw") or 0, row.get("SizeRootFs") or 0
    return f"{size(own)} (virtual {size(whole)})" if whole else size(own)


def _labels(row: dict[str, Any]) -> dict[str, str]:
    return row.get("Labels") or {}


def _mounts(row: dict[str, Any], *, whole: bool) -> str:
    from minirund.cli.human import shortened

    names = [mount.get("Name") or mount.get("Source") or "" for mount in row.get("Mounts") or ()]
    return ",".join(name if whole else shortened(name, 15) for name in names)


def _local_volumes(row: dict[str, Any]) -> str:
    return str(sum(mount.get("Driver") == "local" for mount in row.get("Mounts") or ()))


def _networks(row: dict[str, Any]) -> str:
    return ",".join(sorted((row.get("NetworkSettings") or {}).get("Networks") or {}))


COMMANDS = {"ps": Command(ps, "", OPTIONS, most=0)}
