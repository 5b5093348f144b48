"""Sizes as people write them: 1024, 64m, 1.5g, 512MiB, 20 GB. They count in 1024s, as Docker's do.

The command and the daemon read them alike, and this is all that they share but HTTP: so it imports nothing.
"""

from __future__ import annotations

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
UNITS = {"": 0, "b": 0} | {unit + end: power for power, unit in enumerate("kmgtp", 1) for end in ("", "b", "ib")}
TOO_LARGE = 1 << 63


def size(text: str) -> int:
    """``64m`` -> 67108864. Units b k m g t p, each also as ``kb`` and ``kib``, in either case. Raises ValueError."""
    number = text.rstrip(LETTERS)
    unit = text[len(number) :].strip().lower()
    if text.isascii() and unit in UNITS and number.replace(".", "", 1).isdecimal():
        count = float(number) * 1024 ** UNITS[unit]
        if count < TOO_LARGE:
            return int(count)
    raise ValueError(f"invalid size: '{text[:80]}'")
