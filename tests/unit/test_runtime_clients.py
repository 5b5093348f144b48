"""Detach keys, without a container."""

from __future__ import annotations

import pytest

from minirund.runtime.clients import DetachKeys

CTRL_P, CTRL_Q = b"\x10", b"\x11"


def typed(keys: bytes, *pieces: bytes) -> tuple[bytes, bool]:
    """What comes through, and whether it detached."""
    filtering, passed = DetachKeys(keys), b""
    for piece in pieces:
        through, detached = filtering.filter(piece)
        passed += through
        if detached:
            return passed, True
    return passed, False


@pytest.mark.parametrize(
    ("pieces", "passed", "detached"),
    [
        ((b"plain",), b"plain", False),
        ((b"a" + CTRL_P + CTRL_Q + b"lost",), b"a", True),
        ((b"a" + CTRL_P, CTRL_Q), b"a", True),
        ((CTRL_P, b"b"), CTRL_P + b"b", False),
        ((CTRL_P + CTRL_P, CTRL_Q), CTRL_P, True),
        ((CTRL_P,), b"", False),
        ((CTRL_Q + CTRL_P,), CTRL_Q, False),
    ],
)
def test_ctrl_p_ctrl_q(pieces: tuple[bytes, ...], passed: bytes, detached: bool) -> None:
    assert typed(CTRL_P + CTRL_Q, *pieces) == (passed, detached)


def test_a_sequence_that_repeats_its_own_beginning() -> None:
    assert typed(b"aab", b"aaab") == (b"a", True)
    assert typed(b"aab", b"aac") == (b"aac", False)


def test_no_keys_never_detach() -> None:
    assert typed(b"", CTRL_P + CTRL_Q) == (CTRL_P + CTRL_Q, False)
