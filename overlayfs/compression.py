"""Compressed or plain: the first bytes tell. Layers come as gzip, zstd or plain tar; image archives as bzip2 or xz too.

``decompress`` wraps a stream in the decompressor that its magic number asks for. isal unpacks gzip three times as fast
as zlib; like zstandard and hashlib it lets other threads run meanwhile, so the callers work in chunks of a megabyte.
Sources: RFC 1952 (gzip, more than one member allowed), RFC 8878 (zstd, more than one frame, skippable ones too).
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from overlayfs.errors import BadArchive

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER = 1 << 17  # compressed bytes asked for at a time
ZSTD_WINDOW = 1 << 27  # bytes; what a frame may make us allocate: the zstd command's own limit
_ISAL = (cast("type[Exception]", isal_zlib.error),)
# What the decompressors raise on damaged data. (isal's BadGzipFile is an OSError without an errno.)
DAMAGE: tuple[type[Exception], ...] = (
    EOFError,
    zlib.error,
    igzip.BadGzipFile,
    *_ISAL,
    zstandard.ZstdError,
    lzma.LZMAError,
)


class Readable(Protocol):
    """All that is asked of a stream: up to ``size`` bytes, none at its end."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; fewer does not mean the end."""


class Decompressed(io.RawIOBase):
    """A decompressor's output for reading. Damage raises BadArchive, errors of the source pass through."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` as far as the decompressor gets in one step; 0 at the end."""
        try:
            return int(self._stream.readinto(buffer))
        except DAMAGE as error:
            raise BadArchive("", f"damaged compressed data: {error}") from error


class _Source(io.RawIOBase):
    """A stream with its first bytes put back, and the total reported to ``progress``."""

    def __init__(self, head: bytes, stream: Readable, progress: Callable[[int], None] | None) -> None:
        self._head, self._stream, self._progress, self._total = head, stream, progress, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """One read of the source."""
        view = memoryview(buffer).cast("B")
        data = self._head or self._stream.read(len(view))
        count = min(len(data), len(view))
        view[:count] = data[:count]
        self._head = data[count:]
        self._total += count
        if self._progress and count:
            self._progress(self._total)
        return count


def decompress(stream: Readable, progress: Callable[[int], None] | None = None) -> BinaryIO:
    """The plain content of ``stream``, for ``read`` and ``readinto``; reading raises BadArchive on damaged data.

    ``progress`` is called with the number of bytes taken from ``stream`` so far, in the thread that reads.
    """
    head = _head(stream, max(len(magic) for magic, _ in FORMATS))
    source = _Source(head, stream, progress)
    for magic, opened in FORMATS:
        if head.startswith(magic):
            return cast("BinaryIO", Decompressed(opened(source)))
    return cast("BinaryIO", source)


def _head(stream: Readable, count: int) -> bytes:
    head = b""
    while len(head) < count and (more := stream.read(count - len(head))):
        head += more
    return head


def _gzip(source: _Source) -> Any:
    opened: Any = igzip.IGzipFile
    return opened(fileobj=source, mode="rb")


def _zstd(source: _Source) -> Any:
    unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    return unpacker.stream_reader(cast("BinaryIO", source), read_size=BUFFER, read_across_frames=True)


FORMATS: tuple[tuple[bytes, Callable[[_Source], Any]], ...] = (
    (b"\x1f\x8b\x08", _gzip),
    (b"\x28\xb5\x2f\xfd", _zstd),
    *((bytes([0x50 + low]) + b"\x2a\x4d\x18", _zstd) for low in range(16)),  # a skippable frame first
    (b"BZh", lambda source: bz2.BZ2File(cast("BinaryIO", source))),
    (b"\xfd7zXZ\x00", lambda source: lzma.LZMAFile(cast("BinaryIO", source))),  # noqa: SIM115 - the caller's to close
)
