"""Waiting for what others bring about: asked again and again, and no longer than has been said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(
    true: Callable[[], Any], what: str = "it never came to that", patience: float = 30.0, pause: float = 0.01
) -> Any:
    """What ``true`` returns once that counts as true. ``patience`` and ``pause`` in seconds. Raises AssertionError."""
    deadline = time.monotonic() + patience
    while not (found := true()):
        assert time.monotonic() < deadline, what
        time.sleep(pause)
    return found
