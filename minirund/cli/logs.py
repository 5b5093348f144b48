"""`logs`: what a container has written, and with -f what it goes on writing."""

from __future__ import annotations

from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt
from minirund.client import BrokenConnectionError, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

OPTIONS = (
    Opt("details", "bool", "Show the extra attributes of the log driver"),
    Opt("follow", "bool", "Go on with what comes", "f"),
    Opt("since", "moment", "From this time on (a date, a Unix time, or 10m for ten minutes ago)"),
    Opt("tail", "string", "How many lines of the end", "n", "all"),
    Opt("timestamps", "bool", "Put the time in front of every line", "t"),
    Opt("until", "moment", "Up to this time"),
)


def logs(context: Context, args: Parsed) -> int:
    """Write a container's stdout and stderr to ours."""
    from minirund.cli.streams import sink

    details = context.client.get(f"/containers/{quote(args.rest[0])}/json")
    query: dict[str, object] = {"stdout": True, "stderr": True}
    query |= {name: args.value(name) for name in ("details", "follow", "since", "tail", "timestamps", "until")}
    put = sink(tty=bool(details["Config"].get("Tty")))
    response = context.client.request("GET", f"/containers/{details['Id']}/logs", query)
    try:
        for chunk in response.chunks():
            put(chunk)
    except BrokenConnectionError as error:
        raise Failure(f"minirun: the log broke off, because {error}; the container is not affected") from None
    return 0


COMMANDS = {"logs": Command(logs, "CONTAINER", OPTIONS, least=1, most=1, takes="containers")}
