"""JSON as Docker writes it: compact, with a newline at its end, so that answers can be told apart in a stream."""

from __future__ import annotations

import json
from typing import Any


def dump(data: Any) -> bytes:
    """The value as one line."""
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"
