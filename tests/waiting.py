"""Waiting for what others bring about: asked again and again, and no longer than has been said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 120.0
"""Seconds. It ends what will never be: a busy machine, or an emulated one, takes dozens of times what a test should."""


def until(
    true: Callable[[], Any],
    what: str | Callable[[], str] = "it never came to that",
    patience: float = PATIENCE,
    pause: float = 0.01,
) -> Any:
    """What ``true`` returns once that counts as true. ``patience`` and ``pause`` in seconds.

    Raises AssertionError with ``what``, asked for at the end if it is a function.
    """
    deadline = time.monotonic() + patience
    while not (found := true()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(pause)
    return found
