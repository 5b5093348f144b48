"""`exec`: another process in a running container.

::

    POST /containers/ID/exec     -> an exec ID
    POST /exec/EID/start         hijacked; the daemon hands the connection to the shim
    GET  /exec/EID/json          -> the exit code, once the stream has ended (of the next daemon, if this one died)
"""

from __future__ import annotations

import time

from minirund.cli.failure import Failure
from minirund.cli.options import Command, Opt
from minirund.cli.values import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed
    from minirund.client import Client

OPTIONS = (
    Opt("detach", "bool", "Leave it running in the background", "d"),
    Opt("detach-keys", "string", "The keys that leave it running (default ctrl-p,ctrl-q)"),
    Opt("env", "list", "Set a variable (KEY=VALUE, or KEY to pass on this one's)", "e"),
    Opt("env-file", "list", "Set the variables that a file lists"),
    Opt("interactive", "bool", "Keep stdin open", "i"),
    Opt("privileged", "bool", "Give it every capability"),
    Opt("tty", "bool", "Give it a terminal", "t"),
    Opt("user", "string", "User, and group (NAME|UID[:GROUP|GID])", "u"),
    Opt("workdir", "string", "Working directory inside", "w"),
)


def execute(context: Context, args: Parsed) -> int:
    """Run the command; its exit code, or 0 when it was left in the background."""
    container, *_ = args.rest
    detach, tty, stdin = (args.flag(name) for name in ("detach", "tty", "interactive"))
    if stdin and tty and not detach:
        _need_terminal()
    size = _console(args)
    made = context.client.post(f"/containers/{_quoted(container)}/exec", None, _body(args) | size)
    path = f"/exec/{made['Id']}"
    body = {"Detach": detach, "Tty": tty, **size}
    if detach:
        context.client.post(f"{path}/start", None, body)
        return 0
    return _stay(context.client, path, body, stdin=stdin, keys=args.text("detach-keys"))


def _quoted(name: str) -> str:
    from minirund.client import quote

    return quote(name)


def _need_terminal() -> None:
    from minirund.cli.terminal import is_terminal

    if not is_terminal(0):
        raise Failure("the input device is not a TTY")


def _body(args: Parsed) -> dict[str, Any]:
    stays = not args.flag("detach")
    body: dict[str, Any] = {
        "AttachStdin": stays and args.flag("interactive"),
        "AttachStdout": stays,
        "AttachStderr": stays,
        "Tty": args.flag("tty"),
        "Cmd": args.rest[1:],
    }
    texts = {"DetachKeys": args.text("detach-keys"), "User": args.text("user"), "WorkingDir": args.text("workdir")}
    lists = {"Env": environment(args.items("env-file"), args.items("env")), "Privileged": args.flag("privileged")}
    return body | {key: value for key, value in (texts | lists).items() if value}


def _console(args: Parsed) -> dict[str, Any]:
    if not args.flag("tty"):
        return {}
    from minirund.cli.terminal import window_size

    size = window_size()
    return {"ConsoleSize": list(size)} if size else {}


def _stay(client: Client, path: str, body: dict[str, Any], *, stdin: bool, keys: str) -> int:
    from minirund.cli.session import Session, ending_by_signal

    session = Session(client, path, tty=body["Tty"], stdin=stdin, keys=keys)

    def follow() -> int:
        pending = client.begin("POST", f"{path}/start", None, body, upgrade=True)
        try:
            with session.signals():
                if session.stream(pending.answer()):
                    raise Failure("read escape sequence")
        finally:
            pending.close()
        return exit_code(client, path)

    return ending_by_signal(follow)


def exit_code(client: Client, path: str) -> int:
    """The exit code of an exec whose stream has ended; waits a little for an end that isn't recorded yet."""
    from minirund.cli.session import patiently

    give_up = time.monotonic() + 10
    while True:
        state = patiently(lambda: client.get(f"{path}/json"))
        if not state.get("Running") and state.get("ExitCode") is not None:
            return int(state["ExitCode"])
        if time.monotonic() > give_up:
            raise Failure("the command closed its output but has not ended")
        time.sleep(0.01)


COMMANDS = {"exec": Command(execute, "CONTAINER COMMAND [ARG...]", OPTIONS, least=2, takes="running", options_end=True)}
