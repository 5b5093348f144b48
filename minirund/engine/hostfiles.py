"""Small files of the host: the kernel's in /proc and /sys, resolv.conf. Many are on some machines only, or end with a
process."""

from __future__ import annotations

import os


def read(path: str) -> str:
    """The whole text; "" where it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class Followed:
    """A file that is asked for often and seldom changes: read again when it has."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._text = ""

    def text(self) -> str:
        """The whole text; "" where it can't be read."""
        try:
            found = os.stat(self._path)
        except OSError:
            return ""
        seen = found.st_ino, found.st_size, found.st_mtime_ns
        if seen != self._seen:
            self._text, self._seen = read(self._path), seen
        return self._text
