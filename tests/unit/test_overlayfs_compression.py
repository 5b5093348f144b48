"""Decompression by magic number, whatever the stream's pieces are; damage is one kind of error."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable

import pytest
import zstandard

from overlayfs.compression import decompress
from overlayfs.errors import BadArchive

DATA = b"some text, " * 50_000 + os.urandom(10_000)
zstd = zstandard.ZstdCompressor(write_checksum=True).compress


class Dribble:
    """A stream that has only ``read``, and gives a few bytes at a time, as a socket may."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file, self._step = io.BytesIO(data), step

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._step))


@pytest.mark.parametrize("step", [1, 3, 1000, 1 << 20])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd, bz2.compress, lzma.compress])
def test_formats(pack: Callable[[bytes], bytes], step: int) -> None:
    data = DATA if step > 3 else DATA[-5000:]
    assert decompress(Dribble(pack(data), step)).read() == data


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_members_and_frames_follow_each_other(pack: Callable[[bytes], bytes]) -> None:
    assert decompress(io.BytesIO(pack(b"one ") + pack(b"two ") + pack(b"three"))).read() == b"one two three"


def test_skippable_frames() -> None:
    skip = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
    assert decompress(io.BytesIO(skip + zstd(b"one ") + skip + zstd(b"two") + skip)).read() == b"one two"


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f", b"BZ", b"\x1f\x8b"])
def test_short_streams_are_plain(data: bytes) -> None:
    assert decompress(io.BytesIO(data)).read() == data


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("where", [20, -30])
def test_damage(pack: Callable[[bytes], bytes], where: int) -> None:
    data = bytearray(pack(DATA))
    data[where] ^= 0xFF
    data[where + 1] ^= 0xFF
    with pytest.raises(BadArchive, match="damaged compressed data"):
        decompress(io.BytesIO(data)).read()


def test_a_truncated_gzip() -> None:
    with pytest.raises(BadArchive):
        decompress(io.BytesIO(gzip.compress(DATA)[:-100])).read()


def test_garbage_behind_a_gzip() -> None:
    with pytest.raises(BadArchive):
        decompress(io.BytesIO(gzip.compress(DATA) + b"garbage")).read()


def test_a_zstd_window_that_would_eat_our_memory() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(BadArchive):
        decompress(io.BytesIO(frame.compress(DATA) + frame.flush())).read()


def test_errors_of_the_stream_pass() -> None:
    class Broken:
        def read(self, size: int, /) -> bytes:
            raise ConnectionResetError(size)

    with pytest.raises(ConnectionResetError):
        decompress(Broken()).read()


def test_progress_counts_what_came_in() -> None:
    packed = gzip.compress(DATA)
    seen: list[int] = []
    decompress(io.BytesIO(packed), seen.append).read()
    assert seen == sorted(seen)
    assert seen[-1] == len(packed)
