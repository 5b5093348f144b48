"""`images`, `tag`, `rmi` and `load`."""

from __future__ import annotations

import os
import sys

from minirund.cli.context import say
from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt
from minirund.cli.reference import split
from minirund.cli.values import filters
from minirund.client import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed
    from minirund.cli.tables import Fields

_NONE = "<none>"
_PIECE = 1 << 20

_IMAGES = (
    Opt("all", "bool", "Images in between, too", "a"),
    Opt("digests", "bool", "Show digests"),
    Opt("filter", "filter", "Only those that fit (NAME=VALUE)", "f"),
    Opt("format", "string", "table, json, table TEMPLATE or TEMPLATE (Go's templates)"),
    Opt("no-trunc", "bool", "Show values whole"),
    Opt("quiet", "bool", "Show IDs only", "q"),
)
_RMI = (
    Opt("force", "bool", "Remove it even where a stopped container uses it", "f"),
    Opt("no-prune", "bool", "Keep its unnamed parents"),
)
_LOAD = (
    Opt("input", "string", "Read this file rather than standard input", "i"),
    Opt("quiet", "bool", "Don't show progress", "q"),
)


def images(context: Context, args: Parsed) -> int:
    """List images, all of them or those of one repository."""
    from minirund.cli.tables import show

    wanted = filters([*args.items("filter"), *(f"reference={name}" for name in args.rest)])
    form = args.text("format")
    found = context.client.get("/images/json", {"all": args.flag("all") or None, "filters": wanted})
    digests = args.flag("digests") or ".Digest" in form
    rows = [row for image in found for row in _rows(image, digests=digests, quiet=args.flag("quiet"))]
    columns = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
    show(form, fields(whole=args.flag("no-trunc")), columns, rows, quiet="ID" if args.flag("quiet") else "")
    return 0


def _rows(image: dict[str, Any], *, digests: bool, quiet: bool) -> Iterator[dict[str, Any]]:
    """One row for every name of the image, and for every digest where these are shown."""
    tags = [split(name)[:2] for name in image.get("RepoTags") or () if name != f"{_NONE}:{_NONE}"]
    known = [(split(name)[0], split(name)[2]) for name in image.get("RepoDigests") or () if not name.startswith(_NONE)]
    if quiet:
        yield {**image, "names": (_NONE, _NONE, _NONE)}
        return
    for repository, tag in tags:
        own = [digest for of, digest in known if of == repository] if digests else []
        for digest in own or [_NONE]:
            yield {**image, "names": (repository, tag or _NONE, digest)}
    for repository, digest in known:
        if repository not in [name for name, _ in tags]:
            yield {**image, "names": (repository, _NONE, digest)}
    if not tags and not known:
        yield {**image, "names": (_NONE, _NONE, _NONE)}


def fields(*, whole: bool) -> Fields:
    """What a row of the list can show; ``whole`` leaves nothing out."""
    from minirund.cli import human

    def count(key: str) -> Any:
        return lambda row: "N/A" if row.get(key, -1) in (-1, None) else human.size(row[key])

    return {
        "ID": ("IMAGE ID", lambda row: row["Id"] if whole else human.short_id(row["Id"])),
        "Repository": ("REPOSITORY", lambda row: row["names"][0]),
        "Tag": ("TAG", lambda row: row["names"][1]),
        "Digest": ("DIGEST", lambda row: row["names"][2]),
        "CreatedSince": ("CREATED", lambda row: human.ago(row["Created"])),
        "CreatedAt": ("CREATED AT", lambda row: human.local_time(row["Created"])),
        "Size": ("SIZE", lambda row: human.size(row["Size"])),
        "Containers": ("CONTAINERS", lambda row: "N/A" if row.get("Containers", -1) == -1 else str(row["Containers"])),
        "VirtualSize": ("SIZE", lambda row: human.size(row.get("VirtualSize") or row["Size"], 4)),
        "SharedSize": ("SHARED SIZE", count("SharedSize")),
        "UniqueSize": ("UNIQUE SIZE", lambda _: "N/A"),
    }


def tag(context: Context, args: Parsed) -> int:
    """Name an image anew."""
    source, target = args.rest
    repository, name, _ = split(target)
    context.client.post(f"/images/{quote(source, b'/:@')}/tag", {"repo": repository, "tag": name or "latest"})
    return 0


def remove(context: Context, args: Parsed) -> int:
    """Remove names, and images that have none left."""
    query = {"force": args.value("force"), "noprune": args.value("no-prune")}

    def one(name: str) -> None:
        for change in context.client.delete(f"/images/{quote(name, b'/:@')}", query) or ():
            say(f"Deleted: {change['Deleted']}" if change.get("Deleted") else f"Untagged: {change['Untagged']}")

    return context.for_each(args.rest, one, echo=False, missing_is_fine=args.flag("force"))


def load(context: Context, args: Parsed) -> int:
    """Send an archive and show what it held."""
    from minirund.cli.progress import Progress

    with _archive(args.text("input")) as file:
        response = context.client.request("POST", "/images/load", {"quiet": args.flag("quiet")}, _pieces(file))
    progress = Progress(sys.stdout)
    for message in response.values():
        progress.show(message)
    progress.close()
    return 0


def _archive(path: str) -> BinaryIO:
    try:
        if path:
            return open(path, "rb")
        if os.isatty(0):
            raise Failure("requested load from stdin, but stdin is empty")
        return os.fdopen(os.dup(0), "rb")
    except OSError as error:
        raise Failure(f"open {path or 'standard input'}: {os.strerror(error.errno or 0).lower()}") from None


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


COMMANDS = {
    "images": Command(images, "[REPOSITORY[:TAG]]", _IMAGES, most=1, takes="images"),
    "tag": Command(tag, "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", least=2, most=2, takes="images"),
    "rmi": Command(remove, "IMAGE [IMAGE...]", _RMI, least=1, takes="images"),
    "load": Command(load, "", _LOAD, most=0),
}
