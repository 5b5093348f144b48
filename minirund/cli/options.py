"""The command line as data: a command is a table of options, and this module reads argv against it.

Docker's syntax: ``--name x``, ``--name=x``, ``-it``, ``-ex=y``, ``--rm=false``, ``--`` ends the options; for `run`,
`create`, `exec` and `top` so does the first argument, because what follows belongs to the container. The same tables
give ``--help`` (help.py) and the completions (completion.py). ``argparse`` does less of this and takes 8 ms to import.
"""

from __future__ import annotations

from minirund.cli.failure import UsageError
from minirund.cli.values import CONVERT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirund.cli.context import Context

MANY = 1 << 30
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_LISTS = frozenset(("list", "filter"))


class Opt:
    """One option. ``kind``: bool, list, filter (name=value, repeatable), or a key of ``values.CONVERT``."""

    __slots__ = ("choices", "default", "kind", "long", "short", "text")

    def __init__(
        self, long: str, kind: str, text: str, short: str = "", default: object = None, *, choices: str = ""
    ) -> None:
        self.long = long
        self.kind = kind
        self.text = text
        self.short = short
        self.default = default
        self.choices = choices

    def __str__(self) -> str:
        return f"-{self.short}, --{self.long}" if self.short else f"--{self.long}"


class Command:
    """A command: its options, how many arguments it takes, and the function that does it.

    ``takes`` names what the arguments are (containers, running, stopped, paused, images), for completion.
    ``options_end`` is True where the first argument ends the options, ``raw`` where every word is an argument.
    """

    __slots__ = ("least", "most", "options", "options_end", "raw", "run", "takes", "usage")

    def __init__(
        self,
        run: Callable[[Context, Parsed], int],
        usage: str = "",
        options: Sequence[Opt] = (),
        *,
        least: int = 0,
        most: int = MANY,
        takes: str = "",
        options_end: bool = False,
        raw: bool = False,
    ) -> None:
        self.run = run
        self.usage = usage
        self.options = tuple(options)
        self.least = least
        self.most = most
        self.takes = takes
        self.options_end = options_end
        self.raw = raw


class Parsed:
    """What argv said: option values by long name; ``rest``, the arguments; ``help``, whether --help was among it."""

    def __init__(self, options: Sequence[Opt]) -> None:
        self._options = {option.long: option for option in options}
        self._values: dict[str, Any] = {}
        self.rest: list[str] = []
        self.help = False

    def given(self, name: str) -> bool:
        """Whether the option was on the command line."""
        return name in self._values

    def value(self, name: str) -> Any:
        """The converted value, or the option's default."""
        return self._values.get(name, self._options[name].default)

    def flag(self, name: str) -> bool:
        """A bool option."""
        return bool(self.value(name))

    def text(self, name: str) -> str:
        """A string option, "" when it was not given and has no default."""
        return str(self.value(name) or "")

    def number(self, name: str) -> int | None:
        """An int, bytes or duration option; None when it was not given and has no default."""
        value = self.value(name)
        return None if value is None else int(value)

    def items(self, name: str) -> list[str]:
        """A repeatable option: its values in order."""
        return list(self.value(name) or ())

    def put(self, option: Opt, raw: str) -> None:
        """Convert and store one occurrence."""
        if option.kind in _LISTS:
            self._values.setdefault(option.long, []).append(_checked(option, raw))
        else:
            self._values[option.long] = _checked(option, raw)


def _checked(option: Opt, raw: str) -> Any:
    try:
        if option.kind == "bool":
            return _boolean(raw)
        if option.choices and raw not in option.choices.split():
            raise ValueError(f"must be one of {', '.join(option.choices.split())}")
        return CONVERT[option.kind](raw)
    except ValueError as error:
        raise UsageError(f'invalid argument "{raw}" for "{option}" flag: {error}') from None


def _boolean(raw: str) -> bool:
    if raw in _TRUE:
        return True
    if raw in _FALSE:
        return False
    raise ValueError("neither true nor false")


class _Reader:
    def __init__(self, options: Sequence[Opt], argv: Sequence[str]) -> None:
        self.long = {option.long: option for option in options}
        self.short = {option.short: option for option in options if option.short}
        self.argv = list(argv)
        self.parsed = Parsed(options)

    def read(self, options_end: bool) -> Parsed:
        rest = self.parsed.rest
        while self.argv:
            word = self.argv.pop(0)
            if word == "--":
                rest += self.argv
                break
            if word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and word != "-":
                self._short(word)
            else:
                rest.append(word)
                if options_end:
                    rest += self.argv
                    break
        return self.parsed

    def _long(self, word: str) -> None:
        name, equals, raw = word[2:].partition("=")
        option = self.long.get(name)
        if option is None and name == "help":
            self.parsed.help = True
            return
        if option is None:
            raise UsageError(f"unknown flag: --{name}")
        if equals:
            self.parsed.put(option, raw)
        elif option.kind == "bool":
            self.parsed.put(option, "true")
        elif self.argv:
            self.parsed.put(option, self.argv.pop(0))
        else:
            raise UsageError(f"flag needs an argument: --{name}")

    def _short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self.short.get(letter)
            if option is None and letter == "h":
                self.parsed.help = True
                continue
            if option is None:
                raise UsageError(f"unknown shorthand flag: {letter!r} in {word}")
            if option.kind == "bool" and not letters.startswith("="):
                self.parsed.put(option, "true")
                continue
            if not letters and not self.argv:
                raise UsageError(f"flag needs an argument: {letter!r} in {word}")
            self.parsed.put(option, letters.removeprefix("=") if letters else self.argv.pop(0))
            return


def parse(options: Sequence[Opt], argv: Sequence[str], *, options_end: bool = False) -> Parsed:
    """Read argv against the table; ``UsageError`` says what is wrong with it, in Docker's words."""
    return _Reader(options, argv).read(options_end)


def check_count(name: str, command: Command, count: int) -> None:
    """``UsageError`` unless the command takes that many arguments."""
    least, most = command.least, command.most
    if least <= count <= most:
        return
    if most == 0:
        raise UsageError(f'"{name}" accepts no arguments')
    bound, word = (least, "at least ") if count < least else (most, "at most ")
    exactly = "" if least == most else word
    raise UsageError(f'"{name}" requires {exactly}{bound} argument{"" if bound == 1 else "s"}')
