"""--help, in Docker's layout, from the same tables that argv is read against."""

from __future__ import annotations

from minirund.cli import table
from minirund.cli.options import Opt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from minirund.cli.table import Entry

GLOBAL_OPTIONS = (
    Opt("host", "string", "The daemon's socket (default MINIRUN_HOST, or unix:///run/minirund.sock)", short="H"),
    Opt("version", "bool", "Show the version and stop", short="v"),
)


def help_text(name: str) -> str:
    """The help of the program (``""`` or ``help``), of a group, or of a command."""
    if name in ("", "help"):
        return _join(_program())
    if name in table.GROUPS:
        return _join(_group(name))
    entry = table.find(name)
    return _join(_command(name, entry)) if entry else _join(_program())


def _join(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _rows(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return (f"  {name:<{width}}   {text}".rstrip() for name, text in rows)


def _program() -> Iterator[str]:
    entries = {entry.short: entry for entry in table.visible() if entry.short}
    yield "Usage:  minirun [OPTIONS] COMMAND"
    yield "\nRun containers with the minirund engine"
    yield "\nCommon Commands:"
    yield from _rows([(name, entries[name].text) for name in table.COMMON])
    yield "\nManagement Commands:"
    yield from _rows(list(table.GROUPS.items()))
    yield "\nCommands:"
    yield from _rows([(name, entries[name].text) for name in sorted(entries) if name not in table.COMMON])
    yield "\nGlobal Options:"
    yield from options_help(GLOBAL_OPTIONS)
    yield "\nRun 'minirun COMMAND --help' for more information on a command."


def _group(name: str) -> Iterator[str]:
    long = [entry.names[0] for entry in table.visible() if entry.names[0].startswith(name + " ")]
    rows = [(full.split(" ")[1], found.text) for full in sorted(long) if (found := table.find(full))]
    yield f"Usage:  minirun {name} COMMAND"
    yield f"\n{table.GROUPS[name]}"
    yield "\nCommands:"
    yield from _rows(rows)
    yield f"\nRun 'minirun {name} COMMAND --help' for more information on a command."


def _command(name: str, entry: Entry) -> Iterator[str]:
    command = table.load(entry)
    options = " [OPTIONS]" if command.options else ""
    yield f"Usage:  minirun {name}{options} {command.usage}".rstrip()
    yield f"\n{entry.text}"
    if len(entry.names) > 1:
        yield "\nAliases:\n  " + ", ".join(f"minirun {alias}" for alias in entry.names)
    if command.options:
        yield "\nOptions:"
        yield from options_help(command.options)


def _kind(option: Opt) -> str:
    return {"bool": "", "swap": "bytes", "moment": "string"}.get(option.kind, option.kind)


def _left(option: Opt) -> str:
    short = f"-{option.short}, " if option.short else "    "
    return f"{short}--{option.long} {_kind(option)}".rstrip()


def options_help(options: Sequence[Opt]) -> Iterator[str]:
    """One option a row, its text wrapped to the right of the names."""
    rows = [(_left(option), option) for option in sorted(options, key=lambda option: option.long)]
    width = max(len(left) for left, _ in rows)
    for left, option in rows:
        first, *more = _wrap(_text(option), max(80 - width - 5, 32))
        yield f"  {left:<{width}}   {first}"
        yield from (f"  {'':<{width}}   {line}" for line in more)


def _text(option: Opt) -> str:
    choices = f" ({'|'.join(option.choices.split())})" if option.choices else ""
    default = option.default
    shown = (
        "" if default in (None, False, "", ()) else f" (default {str(default).lower() if default is True else default})"
    )
    return option.text + choices + shown


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
