"""A pull's or a load's progress: the daemon's JSON messages as bars that grow on a terminal, or as plain lines.

A message is ``{"status", "id", "progressDetail": {"current", "total"}, "error"}``. On a terminal every ``id`` has a
line of its own, rewritten in place; elsewhere each change of status is one line and bars are left out.
"""

from __future__ import annotations

from minirund.cli.failure import Failure
from minirund.cli.human import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

_BAR = 50


def bar(current: int, total: int, width: int) -> str:
    """``[====>    ]  1.2MB/4MB``, as wide as a terminal of ``width`` columns has room for."""
    if total <= 0:
        return size(current) if current else ""
    counts = f"{size(current)}/{size(total)}"
    if width <= _BAR + 60:
        return counts
    done = min(current * _BAR // total, _BAR)
    return f"[{'=' * done}{'>' if done < _BAR else ''}{' ' * (_BAR - done - 1)}]  {counts}"


class Progress:
    """Shows messages on ``out`` as they come."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._lines: dict[str, int] = {}
        self._width = self._columns()

    def _columns(self) -> int:
        from minirund.cli.terminal import window_size

        found = window_size() if self._live else None
        return found[1] if found else 80

    def show(self, message: dict[str, Any]) -> None:
        """One message; ``Failure`` when it is the daemon's report of an error."""
        if problem := message.get("error") or (message.get("errorDetail") or {}).get("message"):
            self.close()
            raise Failure(str(problem))
        if "stream" in message:
            self._out.write(message["stream"])
            return
        detail = message.get("progressDetail") or {}
        text = self._text(message, detail)
        identity = message.get("id") or ""
        if self._live and identity:
            self._in_place(identity, text)
        elif self._live or not (detail.get("current") or detail.get("total")):
            self._lines.clear()
            self._out.write(text + "\n")
        self._out.flush()

    def _text(self, message: dict[str, Any], detail: dict[str, Any]) -> str:
        identity = f"{message['id']}: " if message.get("id") else ""
        grown = bar(detail.get("current") or 0, detail.get("total") or 0, self._width) if self._live else ""
        return f"{identity}{message.get('status', '')} {grown}".rstrip()

    def _in_place(self, identity: str, text: str) -> None:
        """Go up to the line of ``identity``, write it, and come down again."""
        if identity not in self._lines:
            self._lines[identity] = len(self._lines)
            self._out.write("\n")
        up = len(self._lines) - self._lines[identity]
        self._out.write(f"\x1b[{up}A\r\x1b[2K{text[: self._width - 1]}\r\x1b[{up}B")

    def close(self) -> None:
        """The last message has come."""
        self._out.flush()
