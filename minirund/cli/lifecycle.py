"""The commands that are one request a container: stop, kill, restart, rm, pause, rename, wait, top, diff, port."""

from __future__ import annotations

from minirund.cli.context import say, warn
from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt
from minirund.client import ApiError, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

_SIGNAL = Opt("signal", "string", "The signal to send", "s")
_STOP = (
    _SIGNAL,
    Opt("timeout", "int", "Seconds to wait before SIGKILL, -1 to wait for ever", "t"),
    Opt("time", "int", "The same as --timeout"),
)
_RM = (
    Opt("force", "bool", "Kill it if it runs", "f"),
    Opt("link", "bool", "Remove the link of this name", "l"),
    Opt("volumes", "bool", "Remove its anonymous volumes too", "v"),
)


def _poster(action: str, *options: str) -> Callable[[Context, Parsed], int]:
    """A command that posts ``action`` to every container named; options become the query."""

    def command(context: Context, args: Parsed) -> int:
        query = {"signal": args.value("signal")} if "signal" in options else {}
        if "timeout" in options:
            query["t"] = args.value("timeout") if args.given("timeout") else args.value("time")
        return context.for_each(
            args.rest, lambda name: context.client.post(f"/containers/{quote(name)}/{action}", query)
        )

    return command


def kill(context: Context, args: Parsed) -> int:
    """Send a signal (KILL)."""
    query = {"signal": args.text("signal") or "KILL"}
    return context.for_each(args.rest, lambda name: context.client.post(f"/containers/{quote(name)}/kill", query))


def remove(context: Context, args: Parsed) -> int:
    """Remove containers; with -f a missing one is no failure."""
    query = {"force": args.value("force"), "link": args.value("link"), "v": args.value("volumes")}

    def one(name: str) -> None:
        context.client.delete(f"/containers/{quote(name.strip('/'))}", query)

    return context.for_each(args.rest, one, missing_is_fine=args.flag("force"))


def rename(context: Context, args: Parsed) -> int:
    """Rename one container."""
    old, new = args.rest
    if not new.strip():
        raise Failure("Error: Neither old nor new names may be empty")
    try:
        context.client.post(f"/containers/{quote(old)}/rename", {"name": new})
    except ApiError as error:
        warn(f"Error response from daemon: {error.message}")
        raise Failure(f"Error: failed to rename container named {old}") from None
    return 0


def wait(context: Context, args: Parsed) -> int:
    """Print the exit code of each container once it has stopped."""
    from minirund.cli.session import code_of, patiently

    return context.for_each(args.rest, lambda name: say(str(code_of(patiently(_waiter(context, name))))), echo=False)


def _waiter(context: Context, name: str) -> Callable[[], object]:
    return lambda: context.client.post(f"/containers/{quote(name)}/wait")


def top(context: Context, args: Parsed) -> int:
    """The container's processes, as ps(1) lists them."""
    from minirund.cli.tables import align

    name, *options = args.rest
    query = {"ps_args": " ".join(options) or None}
    found = context.client.get(f"/containers/{quote(name)}/top", query)
    rows = [found["Titles"], *(found.get("Processes") or [])]
    say(align(rows, least=20))
    return 0


def diff(context: Context, args: Parsed) -> int:
    """What was changed (C), added (A) or deleted (D)."""
    for change in context.client.get(f"/containers/{quote(args.rest[0])}/changes") or []:
        say(f"{'CAD'[change['Kind']]} {change['Path']}")
    return 0


def port(context: Context, args: Parsed) -> int:
    """All published ports, or where one of them is published."""
    name, *wanted = args.rest
    details = context.client.get(f"/containers/{quote(name)}/json")
    ports = (details.get("NetworkSettings") or {}).get("Ports") or {}
    bindings = {key: [_address(binding) for binding in found or ()] for key, found in ports.items()}
    if not wanted:
        for key in sorted(bindings):
            for address in bindings[key]:
                say(f"{key} -> {address}")
        return 0
    key = wanted[0] if "/" in wanted[0] else f"{wanted[0]}/tcp"
    if not bindings.get(key):
        raise Failure(f"Error: No public port '{key}' published for {name}")
    for address in bindings[key]:
        say(address)
    return 0


def _address(binding: dict[str, str]) -> str:
    host = binding.get("HostIp", "")
    return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"


_MANY = "CONTAINER [CONTAINER...]"
COMMANDS = {
    "stop": Command(_poster("stop", "signal", "timeout"), _MANY, _STOP, least=1, takes="running"),
    "restart": Command(_poster("restart", "signal", "timeout"), _MANY, _STOP, least=1, takes="containers"),
    "pause": Command(_poster("pause"), _MANY, least=1, takes="running"),
    "unpause": Command(_poster("unpause"), _MANY, least=1, takes="paused"),
    "kill": Command(kill, _MANY, (_SIGNAL,), least=1, takes="running"),
    "rm": Command(remove, _MANY, _RM, least=1, takes="containers"),
    "rename": Command(rename, "CONTAINER NEW_NAME", least=2, most=2, takes="containers"),
    "wait": Command(wait, _MANY, least=1, takes="containers"),
    "top": Command(top, "CONTAINER [ps OPTIONS]", least=1, takes="running", options_end=True),
    "diff": Command(diff, "CONTAINER", least=1, most=1, takes="containers"),
    "port": Command(port, "CONTAINER [PRIVATE_PORT[/PROTO]]", least=1, most=2, takes="running"),
}
