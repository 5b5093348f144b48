"""Reading ahead in a thread, and bytes in the portions that a parser wants."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import threading

import pytest

from overlayfs.errors import BadArchive, TooLarge
from overlayfs.stream import AHEAD, CHUNK, Budget, Chunks, Pump

DATA = os.urandom(10_000)


def chunks(size: int, limit: int | None = None) -> Chunks:
    return Chunks((DATA[at : at + size] for at in range(0, len(DATA), size)), Budget(limit))


@pytest.mark.parametrize("size", [1, 100, 9_999, 20_000])
def test_portions(size: int) -> None:
    source = chunks(size)
    assert source.take(10) == DATA[:10]
    source.skip(500)
    assert source.position == 510
    assert b"".join(map(bytes, source.pieces(3000))) == DATA[510:3510]
    assert source.take_or_end(100_000) == DATA[3510:]
    assert source.take_or_end(1) == b""
    assert source.position == len(DATA)
    for ask in (source.take, source.skip, lambda count: list(source.pieces(count))):
        with pytest.raises(BadArchive, match="truncated"):
            ask(1)
        ask(0)


def test_drain() -> None:
    source = chunks(100)
    source.take(150)
    source.drain()
    assert source.position == len(DATA)


def test_budget() -> None:
    chunks(100, limit=len(DATA)).drain()
    with pytest.raises(TooLarge):
        chunks(100, limit=len(DATA) - 1).drain()


def test_pump() -> None:
    data = os.urandom(5 * CHUNK // 2)
    with Pump(io.BytesIO(gzip.compress(data, 1)), "sha256") as pump:
        pieces = [bytes(piece) for piece in pump]
        assert pump.digest() == hashlib.sha256(data).hexdigest()
    assert b"".join(pieces) == data
    assert len(pieces) <= 4


def test_the_pump_stops_when_nobody_reads_on() -> None:
    source = io.BytesIO(bytes(50 * CHUNK))
    with Pump(source, "sha256") as pump:
        next(iter(pump))
    assert source.tell() <= (AHEAD + 3) * CHUNK
    assert not [thread for thread in threading.enumerate() if thread.name == "unpack-read"]


def test_the_pump_passes_errors_on() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise TimeoutError("no more")
            return super().read(10)

    with Pump(Broken(DATA), "sha256") as pump, pytest.raises(TimeoutError, match="no more"):
        list(pump)
