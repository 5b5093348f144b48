"""Sizes from text, as the command and the daemon read them."""

from __future__ import annotations

import pytest

from minirund.sizes import size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0), ("0k", 0), ("10", 10), ("10b", 10), ("1048576B", 1 << 20), ("1k", 1024), ("64M", 64 << 20),
        ("1.5g", 3 << 29), (".5g", 1 << 29), ("2.g", 2 << 30), ("2GB", 2 << 30), ("20 GB", 20 << 30),
        ("512MiB", 512 << 20), ("1TiB", 1 << 40), ("1p", 1 << 50), ("8191p", 8191 << 50), ("1.9", 1),
    ],
)  # fmt: skip
def test_a_size(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "x", "10x", "k", ".k", "-1", "+1", "1_0", "1g1", "1 2", "1..5", "1ib", "1bb", "1e9", "1e999"),
        *("nan", "inf", "٣", "1µ", "8192p", "9" * 40, "1" * 400),
    ],
)
def test_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid size: '.{0,80}'$"):
        size(text)
