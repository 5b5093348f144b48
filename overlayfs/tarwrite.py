"""Tar headers, the other direction of ``tar.py``: ustar where it is enough, pax records before it where it isn't.

What asks for pax: names over 100 bytes, numbers over their octal fields, parts of a second, extended attributes, holes
(GNU's sparse format 1.0, which Go's reader and GNU tar both know). Source: as for ``tar.py``.
"""

from __future__ import annotations

import errno
import os
from struct import Struct

from overlayfs.tar import BLOCK, Entry, Sparse, padded

PADDING = bytes(BLOCK)
END = bytes(2 * BLOCK)
HOLES_FROM = 1 << 16  # bytes of holes that are worth a map
_ID_LIMIT, _NUMBER_LIMIT = 8**7, 8**11
#                name mode uid gid size mtime sum type link magic owner group major minor prefix
_HEADER = Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 32s 32s 8s 8s 155s 12x")


def encode(entry: Entry) -> bytes:
    """The header blocks of an entry, its sparse map included. Data of ``entry.size`` bytes (its parts, if it has
    holes) must follow, padded to whole blocks."""
    records, name, size, prologue = _records(entry), entry.name, entry.size, b""
    if entry.sparse is not None:
        prologue = _sparse_map(entry.sparse, entry.length)
        size = len(prologue) + sum(count for _, count in entry.sparse)
        directory, _, base = name.rpartition(b"/")
        name = directory + b"/GNUSparseFile.0/" + base
        records |= {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.name": entry.name,
            b"GNU.sparse.realsize": b"%d" % entry.length,
        }
    if size >= _NUMBER_LIMIT:
        records[b"size"] = b"%d" % size
    return _pax_blocks(records, entry) + _header(entry, name, size) + prologue


def holes(file: int, info: os.stat_result) -> Sparse | None:
    """The parts of an open file that aren't holes; None if it has hardly any. Source: lseek(2), SEEK_DATA."""
    if info.st_size - info.st_blocks * 512 < HOLES_FROM:
        return None
    parts: Sparse = []
    end = 0
    try:
        while end < info.st_size:
            start = os.lseek(file, end, os.SEEK_DATA)
            end = min(os.lseek(file, start, os.SEEK_HOLE), info.st_size)
            if start < end:
                parts.append((start, end - start))
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data after here
            raise
    return parts


def _records(entry: Entry) -> dict[bytes, bytes]:
    records = {}
    if len(entry.name) > 100 and entry.sparse is None:
        records[b"path"] = entry.name
    if len(entry.link) > 100:
        records[b"linkpath"] = entry.link
    for key, value in ((b"uid", entry.uid), (b"gid", entry.gid)):
        if value >= _ID_LIMIT:
            records[key] = b"%d" % value
    seconds, rest = divmod(entry.mtime, 10**9)
    if rest or not 0 <= seconds < _NUMBER_LIMIT:
        records[b"mtime"] = _decimal(entry.mtime)
    return records | {b"SCHILY.xattr." + key: value for key, value in entry.xattrs.items()}


def _decimal(nanoseconds: int) -> bytes:
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{seconds}.{rest:09}".rstrip("0").rstrip(".").encode()


def _pax_blocks(records: dict[bytes, bytes], entry: Entry) -> bytes:
    """The records as an entry of their own, nothing if there are none."""
    if not records:
        return b""
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    base = entry.name.rstrip(b"/").rpartition(b"/")[2]
    header = _header(Entry(b"", b"x", 0o644, 0, 0, 0, 0), b"PaxHeaders.0/" + base[:80], len(data))
    return header + data.ljust(padded(len(data)), b"\0")


def _record(key: bytes, value: bytes) -> bytes:
    """``<length> <key>=<value>\\n``, the length counting its own digits."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def _sparse_map(parts: Sparse, length: int) -> bytes:
    """A hole at the end is an empty part there: GNU tar takes the file's size from the last part."""
    if not parts or sum(parts[-1]) < length:
        parts = [*parts, (length, 0)]
    numbers = [len(parts), *(number for part in parts for number in part)]
    text = b"".join(b"%d\n" % number for number in numbers)
    return text.ljust(padded(len(text)), b"\0")


def _header(entry: Entry, name: bytes, size: int) -> bytes:
    seconds = entry.mtime // 10**9
    fields = [
        name[:100],
        b"%07o" % entry.mode,
        b"%07o" % (entry.uid if entry.uid < _ID_LIMIT else 0),
        b"%07o" % (entry.gid if entry.gid < _ID_LIMIT else 0),
        b"%011o" % (size if size < _NUMBER_LIMIT else 0),
        b"%011o" % (seconds if 0 <= seconds < _NUMBER_LIMIT else 0),
        b" " * 8,
        entry.kind,
        entry.link[:100],
        b"ustar\x0000",
        b"",
        b"",
        b"%07o" % entry.device[0],
        b"%07o" % entry.device[1],
        b"",
    ]
    fields[6] = b"%06o\0 " % sum(_HEADER.pack(*fields))
    return _HEADER.pack(*fields)
