"""`run` and `create`: options to a request, the image fetched when it is missing, and the container's session."""

from __future__ import annotations

import os
import sys

from minirund.cli.context import say, warn
from minirund.cli.failure import Failure
from minirund.cli.options import Command
from minirund.cli.run_options import CREATE_OPTIONS, RUN_OPTIONS
from minirund.cli.spec import attached, create_body
from minirund.client import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed

# what an engine says when the command can't be executed -> the exit code a shell would give
_NOT_FOUND = ("executable file not found", "no such file or directory", "not found in $path")
_NOT_EXECUTABLE = ("permission denied", "is a directory", "not executable", "exec format error")


def create(context: Context, args: Parsed) -> int:
    """Make the container and print its ID."""
    say(create_container(context, args, create_body(args, detach=False, console=_console(args))))
    return 0


def run(context: Context, args: Parsed) -> int:
    """Make the container, start it, and stay with it unless -d was given."""
    streams = attached(args, detach=args.flag("detach"))
    if "stdin" in streams and args.flag("tty") and not _stdin_is_terminal():
        raise Failure("the input device is not a TTY", 1)
    container = create_container(context, args, create_body(args, detach=not streams, console=_console(args)))
    if streams:
        return _stay(context, args, container, streams)
    _start(context, container)
    say(container)
    return 0


def _stdin_is_terminal() -> bool:
    from minirund.cli.terminal import is_terminal

    return is_terminal(0)


def _console(args: Parsed) -> tuple[int, int] | None:
    if not args.flag("tty"):
        return None
    from minirund.cli.terminal import window_size

    return window_size()


def _stay(context: Context, args: Parsed, container: str, streams: tuple[str, ...]) -> int:
    from minirund.cli.session import Session, attach_query, ending_by_signal, watch_container

    keys = args.text("detach-keys")
    session = Session(
        context.client,
        f"/containers/{container}",
        tty=args.flag("tty"),
        stdin="stdin" in streams,
        keys=keys,
        proxy=args.flag("sig-proxy"),
    )

    def follow() -> int:
        code = watch_container(
            context.client,
            container,
            session,
            query=attach_query(streams, keys),
            condition="removed" if args.flag("rm") else "next-exit",
            start=lambda: _start(context, container),
        )
        return code or 0

    return ending_by_signal(follow)


def _start(context: Context, container: str) -> None:
    try:
        context.client.post(f"/containers/{container}/start")
    except ApiError as error:
        raise Failure(f"Error response from daemon: {error.message}", start_code(error.message)) from error


def start_code(message: str) -> int:
    """126 or 127 where the command could not be executed, 125 for any other failure of the engine."""
    text = message.lower()
    if any(words in text for words in _NOT_FOUND):
        return 127
    return 126 if any(words in text for words in _NOT_EXECUTABLE) else 125


def create_container(context: Context, args: Parsed, body: dict[str, Any]) -> str:
    """``POST /containers/create``, fetching the image as --pull says; the container's ID."""
    cidfile = args.text("cidfile")
    if cidfile and os.path.exists(cidfile):
        raise Failure(f"container ID file found, make sure the other container isn't running or delete {cidfile}")
    if args.text("pull") == "always":
        _pull(context, args, body["Image"])
    answer = _post_create(context, args, body)
    for warning in answer.get("Warnings") or ():
        warn(f"WARNING: {warning}")
    if cidfile:
        _write_id(cidfile, answer["Id"])
    return str(answer["Id"])


def _post_create(context: Context, args: Parsed, body: dict[str, Any]) -> Any:
    query = {"name": args.value("name"), "platform": args.value("platform")}
    try:
        return context.client.post("/containers/create", query, body)
    except ApiError as error:
        missing = error.status == 404 and "no such image" in error.message.lower()
        if not missing or args.text("pull") != "missing":
            raise
    from minirund.cli.reference import with_tag

    if not args.flag("quiet"):
        warn(f"Unable to find image '{with_tag(body['Image'])}' locally")
    _pull(context, args, body["Image"])
    return context.client.post("/containers/create", query, body)


def _pull(context: Context, args: Parsed, image: str) -> None:
    from minirund.cli.pull import fetch

    fetch(context, image, platform=args.text("platform"), quiet=args.flag("quiet"), out=sys.stderr)


def _write_id(path: str, container: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(container)
    except OSError as error:
        raise Failure(f"failed to create the container ID file: {path}: {os.strerror(error.errno or 0)}") from None


COMMANDS = {
    "run": Command(run, "IMAGE [COMMAND] [ARG...]", RUN_OPTIONS, least=1, takes="images", options_end=True),
    "create": Command(create, "IMAGE [COMMAND] [ARG...]", CREATE_OPTIONS, least=1, takes="images", options_end=True),
}
