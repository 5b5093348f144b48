"""A template's text cut into literal text and actions, and an action into tokens. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_WORDS = {"true": True, "false": False, "nil": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class TemplateSyntaxError(Exception):
    """What is wrong with a template's text, and in which line."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Token:
    """``kind``: field, dot, variable, constant, name, mark, end. ``spaced``: white space stands before it."""

    __slots__ = ("kind", "line", "spaced", "text", "value")

    def __init__(self, kind: str, text: str, spaced: bool, line: int, value: Any = None) -> None:
        self.kind = kind
        self.text = text
        self.spaced = spaced
        self.line = line
        self.value = value


def scan(template: str) -> Iterator[tuple[bool, str, int]]:
    """(is an action, text, line), trimmed where ``{{-`` and ``-}}`` ask for it; comments left out."""
    at, line, trim = 0, 1, False
    while at < len(template):
        start = template.find("{{", at)
        text = template[at:] if start < 0 else template[at:start]
        inside = "" if start < 0 else template[start + 2 : start + 4]
        left = inside[:1] == "-" and inside[1:2].isspace()
        shown = text.lstrip() if trim else text
        if shown := shown.rstrip() if left else shown:
            yield False, shown, line
        line += text.count("\n")
        if start < 0:
            return
        action, at, trim = _action(template, start + 2 + (2 if left else 0), line)
        if not action.strip().startswith("/*"):
            yield True, action, line
        line += action.count("\n")


def _action(template: str, start: int, line: int) -> tuple[str, int, bool]:
    """The action that starts here, where the text goes on behind it, and whether that is to be trimmed."""
    end = _end_of_action(template, start, line)
    text = template[start:end]
    trim = text.endswith("-") and text[-2:-1].isspace()
    return text[:-1] if trim else text, end + 2, trim


def _end_of_action(template: str, at: int, line: int) -> int:
    quote = ""
    while at < len(template):
        letter = template[at]
        if quote and letter == "\\" and quote != "`":
            at += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "\"`'":
            quote = letter
        elif template.startswith("}}", at):
            return at
        at += 1
    raise TemplateSyntaxError("unterminated quoted string" if quote else "unclosed action", line)


def tokens(action: str, line: int) -> list[Token]:
    """The tokens of one action."""
    found: list[Token] = []
    at = 0
    while at < len(action):
        start = at
        while at < len(action) and action[at].isspace():
            at += 1
        if at < len(action):
            kind, end, value = _token(action, at, line)
            found.append(Token(kind, _name(kind, action[at:end]), at > start or not found, line, value))
            at = end
    return found


def _name(kind: str, text: str) -> str:
    return text[1:] if kind == "field" else text


def _word_end(action: str, at: int) -> int:
    while at < len(action) and (action[at].isalnum() or action[at] == "_"):
        at += 1
    return at


def _token(action: str, at: int, line: int) -> tuple[str, int, Any]:
    """(kind, where it ends, a constant's value)."""
    letter = action[at]
    if letter in "\"`'":
        return _string(action, at, line)
    if letter.isdigit() or (letter in "+-" and action[at + 1 : at + 2].isdigit()):
        return _number(action, at, line)
    if letter in ".$":
        end = _word_end(action, at + 1)
        bare = "dot" if letter == "." else "variable"
        return (bare if end == at + 1 or letter == "$" else "field"), end, None
    if letter.isalpha() or letter == "_":
        end = _word_end(action, at)
        word = action[at:end]
        return ("constant", end, _WORDS[word]) if word in _WORDS else ("name", end, None)
    if action.startswith(":=", at):
        return "mark", at + 2, None
    if letter in "|()=,":
        return "mark", at + 1, None
    raise TemplateSyntaxError(f"unexpected {letter!r} in command", line)


def _number(action: str, at: int, line: int) -> tuple[str, int, Any]:
    end = at + 1
    while end < len(action) and (action[end].isalnum() or action[end] in "._"):
        end += 1
    text = action[at:end]
    for read in (lambda word: int(word, 0), float):
        try:
            return "constant", end, read(text)
        except ValueError:
            continue
    raise TemplateSyntaxError(f"bad number syntax: {text!r}", line)


def _string(action: str, at: int, line: int) -> tuple[str, int, Any]:
    quote = action[at]
    if quote == "`":
        end = action.find("`", at + 1)
        return "constant", end + 1, action[at + 1 : end]
    text, at = "", at + 1
    while at < len(action) and action[at] != quote:
        if action[at] == "\\":
            piece, at = _escape(action, at + 1, line)
            text += piece
        else:
            text += action[at]
            at += 1
    return "constant", at + 1, ord(text) if quote == "'" and len(text) == 1 else text


def _escape(action: str, at: int, line: int) -> tuple[str, int]:
    letter = action[at : at + 1]
    if letter in _ESCAPES:
        return _ESCAPES[letter], at + 1
    width = {"x": 2, "u": 4, "U": 8}.get(letter, 0)
    try:
        return chr(int(action[at + 1 : at + 1 + width], 16)), at + 1 + width
    except ValueError:
        raise TemplateSyntaxError(f"unknown escape in string: \\{letter}", line) from None
