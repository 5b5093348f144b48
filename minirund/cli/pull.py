"""`pull`: have the daemon fetch an image, and show how far it is."""

from __future__ import annotations

import sys

from minirund.cli.context import say
from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt
from minirund.cli.reference import canonical, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

OPTIONS = (
    Opt("all-tags", "bool", "Fetch every tag of the repository (not offered yet)", "a"),
    Opt("platform", "string", "Platform of the image, such as linux/arm64"),
    Opt("quiet", "bool", "Print the image's name only", "q"),
)


def pull(context: Context, args: Parsed) -> int:
    """Fetch one image and print its full name."""
    name = args.rest[0]
    _, tag, digest = split(name)
    quiet = args.flag("quiet")
    if args.flag("all-tags"):
        raise Failure("pull --all-tags is not offered yet: name the tags one by one", 1)
    if not (quiet or tag or digest):
        say("Using default tag: latest")
    fetch(context, name, platform=args.text("platform"), quiet=quiet)
    say(canonical(name))
    return 0


def fetch(
    context: Context,
    name: str,
    *,
    platform: str = "",
    quiet: bool = False,
    out: TextIO | None = None,
) -> None:
    """``POST /images/create``; progress goes to ``out`` (stdout). ``Failure`` with the daemon's words."""
    from minirund.cli.auth import registry_auth
    from minirund.cli.progress import Progress

    repository, tag, digest = split(name)
    query = {
        "fromImage": repository,
        "tag": digest or tag or "latest",
        "platform": platform or None,
    }
    headers = registry_auth(repository)
    progress = Progress(out or sys.stdout)
    for message in context.client.request("POST", "/images/create", query, b"", headers).values():
        if not quiet or "error" in message:
            progress.show(message)
    progress.close()


COMMANDS = {"pull": Command(pull, "NAME[:TAG|@DIGEST]", OPTIONS, least=1, most=1, takes="images")}
