"""The user's terminal: raw mode and size.

In raw mode every key goes to the container, ctrl-C too; whoever switches it on owes it to the user to switch it off
again, whatever happens. So it is a context manager, and a session that a signal ends (session.py) leaves through it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULT_KEYS = b"\x10\x11"  # ctrl-p ctrl-q


class RawMode:
    """Put a terminal into raw mode for the length of a ``with``; do nothing where ``enabled`` is False."""

    def __init__(self, descriptor: int, *, enabled: bool = True) -> None:
        self._descriptor = descriptor
        self._enabled = enabled
        self._saved: list[Any] = []

    def __enter__(self) -> RawMode:
        if self._enabled:
            import termios

            self._saved = termios.tcgetattr(self._descriptor)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, _raw(self._saved))
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved:
            import termios

            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._saved)


def _raw(attributes: list[Any]) -> list[Any]:
    """cfmakeraw(3)."""
    import termios as t

    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = attributes
    iflag &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
    oflag &= ~t.OPOST
    lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    cflag = cflag & ~(t.CSIZE | t.PARENB) | t.CS8
    characters = list(characters)
    characters[t.VMIN], characters[t.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]


def is_terminal(descriptor: int) -> bool:
    """isatty(3); a closed descriptor is no terminal."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def window_size() -> tuple[int, int] | None:
    """(rows, columns) of the terminal on stdout, else on stdin; None without one."""
    for descriptor in (1, 0):
        try:
            columns, rows = os.get_terminal_size(descriptor)
        except OSError:
            continue
        if rows and columns:
            return rows, columns
    return None


def _key(name: str) -> int:
    if len(name) == 1:
        return ord(name)
    letter = name.removeprefix("ctrl-").lower()
    if name.startswith("ctrl-") and len(letter) == 1 and letter in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
        return ord(letter.upper()) - 64
    raise ValueError(f'invalid detach keys: unknown character "{name}"')


def key_bytes(keys: str) -> bytes:
    """``ctrl-p,ctrl-q`` -> ``b"\\x10\\x11"``; "" is the default. ``ValueError`` for a key that does not exist."""
    return bytes(_key(name) for name in keys.split(",")) if keys else _DEFAULT_KEYS


class KeySequence:
    """Tells when a sequence of keys has been typed, however the bytes come in."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def seen(self, data: bytes) -> bool:
        """Feed what was typed; True once the sequence is complete."""
        for byte in data:
            if byte != self._keys[self._matched]:
                self._matched = 0
            if byte == self._keys[self._matched]:
                self._matched += 1
            if self._matched == len(self._keys):
                self._matched = 0
                return True
        return False
