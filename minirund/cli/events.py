"""`events`: what happens in the engine, one line an event, until --until or ctrl-C."""

from __future__ import annotations

import sys

from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt
from minirund.cli.values import filters
from minirund.client import BrokenConnectionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

OPTIONS = (
    Opt("filter", "filter", "Only those that fit (NAME=VALUE)", "f"),
    Opt("format", "string", "json or TEMPLATE (Go's templates)"),
    Opt("since", "moment", "From this time on (a date, a Unix time, or 10m for ten minutes ago)"),
    Opt("until", "moment", "Up to this time"),
)


def events(context: Context, args: Parsed) -> int:
    """Print events as they come."""
    shown = _shower(args.text("format"))
    query = {
        "since": args.value("since"),
        "until": args.value("until"),
        "filters": filters(args.items("filter")),
    }
    response = context.client.request("GET", "/events", query)
    try:
        for event in response.values():
            sys.stdout.write(shown(event) + "\n")
            sys.stdout.flush()
    except BrokenConnectionError as error:
        raise Failure(f"minirun: the events broke off, because {error}; containers are not affected") from None
    return 0


def _shower(form: str) -> Callable[[Any], str]:
    if not form:
        return line
    from minirund.cli.template import Template

    template = Template("{{json .}}" if form == "json" else form)
    return lambda event: template.render(_Event(event))


class _Event:
    """An event as a template sees it: its fields in capitals, as Go names them."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._event = event

    def field(self, name: str) -> Any:
        """The field, under the API's name for it."""
        from minirund.cli.template_functions import field

        named = {
            "ID": "id",
            "Status": "status",
            "From": "from",
            "Scope": "scope",
            "Time": "time",
            "TimeNano": "timeNano",
        }
        return field(self._event, named.get(name, name))

    def raw(self) -> dict[str, Any]:
        """The event, for ``{{json .}}``."""
        return self._event


def line(event: dict[str, Any]) -> str:
    """``2026-11-21T09:40:48.000000000Z container start 6f1e... (image=busybox, name=web)``."""
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    details = ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes))
    words = (_stamp(event), event.get("Type"), event.get("Action"), actor.get("ID"), f"({details})" if details else "")
    return " ".join(str(word) for word in words if word)


def _stamp(event: dict[str, Any]) -> str:
    from minirund.cli.human import stamp

    seconds, nanoseconds = divmod(int(event.get("timeNano") or event.get("time", 0) * 10**9), 10**9)
    return stamp(seconds, f".{nanoseconds:09d}")


COMMANDS = {"events": Command(events, "", OPTIONS, most=0)}
