"""`container prune`, `image prune` and `system prune`: remove what is not in use, after a question.

Each kind of thing is one request; `system prune` is those of all kinds, one after the other. Docker's words: what they
remove, what they ask, what they print.
"""

from __future__ import annotations

import sys

from minirund.cli.context import say
from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt
from minirund.cli.values import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

_FILTER = Opt("filter", "filter", "Only those that fit (until=24h, label=KEY[=VALUE], label!=...)")
_FORCE = Opt("force", "bool", "Don't ask", "f")
_ALL = Opt("all", "bool", "All images that no container uses, not only those without a name", "a")
_VOLUMES = Opt("volumes", "bool", "Anonymous volumes too")

KINDS = {
    "containers": ("/containers/prune", "ContainersDeleted", "Deleted Containers:"),
    "networks": ("/networks/prune", "NetworksDeleted", "Deleted Networks:"),
    "volumes": ("/volumes/prune", "VolumesDeleted", "Deleted Volumes:"),
    "images": ("/images/prune", "ImagesDeleted", "Deleted Images:"),
    "build": ("/build/prune", "CachesDeleted", "Deleted build cache objects:"),
}
"""What can be pruned: the request, where its answer lists what has gone, and the line above that list."""


def containers(context: Context, args: Parsed) -> int:
    """Remove all containers that don't run."""
    return _prune(context, args, "all stopped containers", "containers")


def images(context: Context, args: Parsed) -> int:
    """Remove the images without a name, or all that no container uses."""
    everything = args.flag("all")
    what = "all images without at least one container associated to them" if everything else "all dangling images"
    return _prune(context, args, what, "images", everything=everything)


def _prune(context: Context, args: Parsed, what: str, kind: str, *, everything: bool = False) -> int:
    if args.flag("force") or _agreed(f"WARNING! This will remove {what}."):
        _remove(context, args, [kind], everything=everything)
    return 0


def system(context: Context, args: Parsed) -> int:
    """Remove what is not in use, of all kinds."""
    wanted = args.items("filter")
    if args.flag("volumes") and any(pair.startswith("until=") for pair in wanted):
        raise Failure('ERROR: The "until" filter is not supported with "--volumes"')
    everything, volumes = args.flag("all"), args.flag("volumes")
    if args.flag("force") or _agreed(warning(everything=everything, volumes=volumes, pairs=wanted)):
        _remove(context, args, [kind for kind in KINDS if kind != "volumes" or volumes], everything=everything)
    return 0


def warning(*, everything: bool, volumes: bool, pairs: Sequence[str]) -> str:
    """What `system prune` is going to do."""
    lines = ["all stopped containers", "all networks not used by at least one container"]
    lines += ["all anonymous volumes not used by at least one container"] if volumes else []
    lines += (
        ["all images without at least one container associated to them", "all build cache"]
        if everything
        else ["all dangling images", "unused build cache"]
    )
    text = "\n".join(["WARNING! This will remove:", *(f"  - {line}" for line in lines), ""])
    if pairs:
        heading = "  Items to be pruned will be filtered with:"
        text += "\n".join(["", heading, *(f"  - {pair}" for pair in sorted(pairs)), ""])
    return text


def _agreed(text: str) -> bool:
    """Whether who is asked says yes; the end of the input is a no."""
    sys.stdout.write(f"{text}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def _remove(context: Context, args: Parsed, kinds: Sequence[str], *, everything: bool) -> None:
    freed = 0
    for kind in kinds:
        path, key, heading = KINDS[kind]
        answer = context.client.post(path, query(kind, args.items("filter"), everything=everything)) or {}
        freed += answer.get("SpaceReclaimed") or 0
        if gone := answer.get(key):
            say("\n".join([heading, *map(_line, gone), ""]))
    from minirund.cli.human import size

    say(f"Total reclaimed space: {size(freed, 4)}")


def query(kind: str, pairs: Sequence[str], *, everything: bool) -> Mapping[str, object]:
    """The query of one kind's request."""
    wanted: dict[str, list[str]] = filters(pairs) or {}
    if kind == "images":
        wanted = {**wanted, "dangling": ["false" if everything else "true"]}
    return {"filters": wanted or None, **({"all": 1} if kind == "build" and everything else {})}


def _line(gone: Any) -> str:
    """An ID or a name; of an image, what became of it."""
    if isinstance(gone, str):
        return gone
    return f"untagged: {gone['Untagged']}" if gone.get("Untagged") else f"deleted: {gone['Deleted']}"


COMMANDS = {
    "container prune": Command(containers, "", (_FILTER, _FORCE), most=0),
    "image prune": Command(images, "", (_ALL, _FILTER, _FORCE), most=0),
    "system prune": Command(system, "", (_ALL, _FILTER, _FORCE, _VOLUMES), most=0),
}
