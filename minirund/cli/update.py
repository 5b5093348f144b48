"""`update`: other limits and another restart policy for containers that exist, while they run or not."""

from __future__ import annotations

from minirund.cli.context import warn
from minirund.cli.failure import Failure
from minirund.cli.options import Command
from minirund.cli.run_options import CREATE_OPTIONS
from minirund.cli.spec import update_body
from minirund.client import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

NAMES = frozenset(
    "blkio-weight blkio-weight-device cgroup-conf cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus "
    "cpuset-cpus cpuset-mems device-read-bps device-read-iops device-write-bps device-write-iops kernel-memory memory "
    "memory-reservation memory-swap pids-limit restart".split()
)
OPTIONS = tuple(option for option in CREATE_OPTIONS if option.long in NAMES)


def update(context: Context, args: Parsed) -> int:
    """Change what containers were created with, and print the name of each one that has changed."""
    if not any(args.given(option.long) for option in OPTIONS):
        raise Failure("you must provide one or more flags when using this command")
    body = update_body(args)
    return context.for_each(args.rest, lambda name: _update(context, name, body))


def _update(context: Context, name: str, body: Mapping[str, object]) -> None:
    answer = context.client.post(f"/containers/{quote(name)}/update", body=body)
    for warning in (answer or {}).get("Warnings") or ():
        warn(f"WARNING: {warning}")


COMMANDS = {"update": Command(update, "CONTAINER [CONTAINER...]", OPTIONS, least=1, takes="containers")}
