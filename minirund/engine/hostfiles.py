"""Small files of the host: the kernel's in /proc and /sys, resolv.conf. Many are on some machines only, or end with a
process."""

from __future__ import annotations


def read(path: str) -> str:
    """The whole text; "" where it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
