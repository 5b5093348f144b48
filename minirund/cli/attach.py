"""`attach` and `start`: join a container that exists."""

from __future__ import annotations

from minirund.cli.context import say, warn
from minirund.cli.failure import Failure, UsageError
from minirund.cli.options import Command, Opt
from minirund.cli.session import Session, attach_query, ending_by_signal, watch_container
from minirund.client import ApiError, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

_KEYS = Opt("detach-keys", "string", "The keys that leave the container running (default ctrl-p,ctrl-q)")
_PROXY = Opt("sig-proxy", "bool", "Pass signals on to it", default=True)

ATTACH = (_KEYS, Opt("no-stdin", "bool", "Don't attach stdin"), _PROXY)
START = (
    Opt("attach", "bool", "Attach stdout and stderr and pass signals on", "a"),
    _KEYS,
    Opt("interactive", "bool", "Attach stdin", "i"),
    _PROXY,
)


def attach(context: Context, args: Parsed) -> int:
    """Join a running container; its exit code, or a failure that says the user has left it."""
    details = context.client.get(f"/containers/{quote(args.rest[0])}/json")
    _refuse_unless_running(details["State"])
    stdin = not args.flag("no-stdin") and bool(details["Config"].get("OpenStdin"))
    code = _join(context, args, details, stdin=stdin, condition="not-running")
    if code is None:
        raise Failure("read escape sequence")
    return code


def _refuse_unless_running(state: dict[str, Any]) -> None:
    if not state.get("Running"):
        raise Failure("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise Failure("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise Failure("You cannot attach to a restarting container, wait until it is running")


def _join(
    context: Context,
    args: Parsed,
    details: dict[str, Any],
    *,
    stdin: bool,
    condition: str,
    start: Callable[[], None] | None = None,
) -> int | None:
    keys = args.text("detach-keys")
    tty = bool(details["Config"].get("Tty"))
    if tty and stdin:
        _need_terminal()
    session = Session(
        context.client,
        f"/containers/{details['Id']}",
        tty=tty,
        stdin=stdin,
        keys=keys,
        proxy=args.flag("sig-proxy"),
    )
    streams = ("stdin", "stdout", "stderr") if stdin else ("stdout", "stderr")
    left: list[bool] = []

    def follow() -> int:
        code = watch_container(
            context.client,
            details["Id"],
            session,
            query=attach_query(streams, keys),
            condition=condition,
            start=start,
        )
        if code is None:
            left.append(True)
        return code or 0

    code = ending_by_signal(follow)
    return None if left else code


def _need_terminal() -> None:
    from minirund.cli.terminal import is_terminal

    if not is_terminal(0):
        raise Failure("the input device is not a TTY")


def start(context: Context, args: Parsed) -> int:
    """Start stopped containers; with -a or -i start one and stay with it."""
    if args.flag("attach") or args.flag("interactive"):
        if len(args.rest) > 1:
            raise UsageError("you cannot start and attach multiple containers at once")
        return _start_attached(context, args)
    failed = [name for name in args.rest if not _started(context, name)]
    if failed:
        raise Failure(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _started(context: Context, name: str) -> bool:
    try:
        context.client.post(f"/containers/{quote(name)}/start")
    except ApiError as error:
        warn(f"Error response from daemon: {error.message}")
        return False
    say(name)
    return True


def _start_attached(context: Context, args: Parsed) -> int:
    details = context.client.get(f"/containers/{quote(args.rest[0])}/json")
    code = _join(
        context,
        args,
        details,
        stdin=args.flag("interactive") and bool(details["Config"].get("OpenStdin")),
        condition="removed" if details["HostConfig"].get("AutoRemove") else "next-exit",
        start=lambda: context.client.post(f"/containers/{details['Id']}/start"),
    )
    return code or 0


COMMANDS = {
    "attach": Command(attach, "CONTAINER", ATTACH, least=1, most=1, takes="running"),
    "start": Command(start, "CONTAINER [CONTAINER...]", START, least=1, takes="stopped"),
}
