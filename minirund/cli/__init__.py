"""The ``minirun`` command.

It talks HTTP to the daemon's socket (``minirund.client``) and knows nothing of the engine behind it. A command that
starts slowly is a slow engine, so everything is imported when it is needed: ``table`` finds the command, its module
is imported, its options are read, its function runs. What goes wrong ends here, as one line on stderr and a code::

    main -> run -> table.find -> table.load -> options.parse -> Command.run(context, parsed) -> exit code
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed
    from minirund.cli.table import Entry
    from minirund.client import ConnectError


def main() -> None:
    """Run the command that ``sys.argv`` names and leave the process with its exit code."""
    from minirund.lean import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing is left to clean up, and taking the interpreter apart takes 2 ms


def run(argv: Sequence[str]) -> int:
    """Do what argv (without the program's name) says; the exit code."""
    from minirund.cli.context import Context
    from minirund.cli.failure import Failure
    from minirund.client import ClientError

    context = Context()
    try:
        return _dispatch(context, argv)
    except (Failure, ClientError) as error:
        return _report(context, error)


def _dispatch(context: Context, argv: Sequence[str]) -> int:
    from minirund.cli import table
    from minirund.cli.options import check_count, parse

    words = _global_options(context, argv)
    if not words:
        return _show_help("")
    if words[0] == "--version":
        return _show_version()
    if words[0] == "help" and words[1:]:
        return _dispatch(context, [*words[1:], "--help"])
    entry, rest = _find(context, words)
    if entry is None:
        return _show_help(words[0])
    command = table.load(entry)
    parsed = parse(command.options, ["--", *rest] if command.raw else rest, options_end=command.options_end)
    if parsed.help:
        return _show_help(context.name)
    check_count(f"minirun {context.name}", command, len(parsed.rest))
    return command.run(context, parsed)


def _global_options(context: Context, argv: Sequence[str]) -> Sequence[str]:
    if not argv or not argv[0].startswith("-"):
        return argv
    from minirund.cli.help import GLOBAL_OPTIONS
    from minirund.cli.options import parse

    parsed: Parsed = parse(GLOBAL_OPTIONS, argv, options_end=True)
    context.host = parsed.text("host") or context.host
    if parsed.flag("version"):
        return ["--version"]
    return ["help"] if parsed.help else parsed.rest


def _find(context: Context, words: Sequence[str]) -> tuple[Entry | None, Sequence[str]]:
    """The entry that the first one or two words name, and the rest; None for a request for help."""
    from minirund.cli import table
    from minirund.cli.failure import UsageError

    name = words[0]
    if name == "help" or (name in table.GROUPS and words[1:2] in ([], ["--help"])):
        return None, []
    size = 2 if name in table.GROUPS else 1
    context.name = " ".join(words[:size])
    entry = table.find(context.name)
    if entry is None:
        unknown, context.name = context.name, name if size == 2 else ""
        if unknown.split()[-1] in table.NOT_YET:
            raise UsageError(f"{unknown} is not offered yet")
        raise UsageError(f"unknown command: minirun {unknown}")
    return entry, words[size:]


def _show_version() -> int:
    from minirund import __version__

    sys.stdout.write(f"minirun version {__version__}\n")
    return 0


def _show_help(name: str) -> int:
    from minirund.cli.help import help_text

    sys.stdout.write(help_text(name))
    return 0


def _report(context: Context, error: Exception) -> int:
    """One line (two for wrong usage) on stderr; the exit code. ``run`` fails with 125 and says its name."""
    from minirund.cli.context import warn
    from minirund.cli.failure import Failure, UsageError

    runs = context.name.split(" ")[-1] == "run"
    text = error.message if isinstance(error, Failure) else _in_words(context, error)
    usage = isinstance(error, UsageError)
    if runs or usage:
        text = f"minirun: {text}\nSee '{' '.join(('minirun', *context.name.split()))} --help'."
    warn(text)
    code = error.code if isinstance(error, Failure) else None
    return code if code is not None else 125 if runs else 1


def _in_words(context: Context, error: Exception) -> str:
    from minirund.client import ApiError, BrokenConnectionError, ConnectError

    if isinstance(error, ApiError):
        return f"Error response from daemon: {error.message}"
    if isinstance(error, ConnectError):
        return _unreachable(context, error)
    if isinstance(error, BrokenConnectionError):
        return f"Lost the minirund daemon at {context.host}: {error}"
    return str(error)


def _unreachable(context: Context, error: ConnectError) -> str:
    import errno

    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Permission denied on {error.path}: join the group minirun (usermod -aG minirun $USER), or be root"
    return (
        f"Cannot connect to the minirund daemon at {context.host} ({os.strerror(error.errno)}): "
        "start it (minirund, make run, or systemctl start minirund), or name another with -H"
    )
