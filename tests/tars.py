"""Tar archives for tests, byte by byte: also those that no program would write.

    archive(member("a/b", b"data"), member("l", kind=SYMTYPE, link="b"))     whole, with its end
    pax({"path": "x"}) + member("y")                                         a header before a member
    header(size=-1) , header(raw={"size": b"12x"})                           what isn't right

Written by hand and not by ``overlayfs.tarwrite``, so that a mistake is not made twice. Owners are whoever runs the
test, so that it needs no root.
"""

from __future__ import annotations

import os
from tarfile import BLKTYPE, CHRTYPE, DIRTYPE, FIFOTYPE, LNKTYPE, REGTYPE, SYMTYPE

__all__ = ["BLKTYPE", "CHRTYPE", "DIRTYPE", "FIFOTYPE", "LNKTYPE", "REGTYPE", "SYMTYPE"]

END = bytes(1024)
# field: offset, length
FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "kind": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "major": (329, 8),
    "minor": (337, 8),
    "prefix": (345, 155),
}


def base256(number: int, length: int) -> bytes:
    return bytes([0x80 if number >= 0 else 0xFF]) + (number % (1 << 8 * (length - 1))).to_bytes(length - 1, "big")


def _field(value: int | str | bytes, length: int) -> bytes:
    if isinstance(value, int):
        if 0 <= value < 8 ** (length - 1):
            return b"%0*o\0" % (length - 1, value)
        return base256(value, length)
    return value.encode() if isinstance(value, str) else value


def header(name: str | bytes = "file", raw: dict[int, bytes] | None = None, **fields: int | str | bytes) -> bytes:
    """512 bytes with a right checksum. ``raw`` maps offsets to bytes put there before it is made."""
    block = bytearray(512)
    values: dict[str, int | str | bytes] = {"name": name, "mode": 0o644, "uid": os.getuid(), "gid": os.getgid()}
    values |= {"size": 0, "mtime": 0, "kind": REGTYPE, "magic": b"ustar\x0000"} | fields
    for key, value in values.items():
        offset, length = FIELDS[key]
        data = _field(value, length)
        assert len(data) <= length, (key, value)
        block[offset : offset + len(data)] = data
    for offset, data in (raw or {}).items():
        block[offset : offset + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: str | bytes = "file", data: bytes = b"", **fields: int | str | bytes) -> bytes:
    return header(name, **{"size": len(data), **fields}) + pad(data)  # type: ignore[arg-type]


def directory(name: str | bytes, mode: int = 0o755, **fields: int | str | bytes) -> bytes:
    return header(name, mode=mode, kind=DIRTYPE, **fields)


def symlink(name: str | bytes, target: str | bytes) -> bytes:
    return header(name, mode=0o777, kind=SYMTYPE, link=target)


def hardlink(name: str | bytes, target: str | bytes) -> bytes:
    return header(name, kind=LNKTYPE, link=target)


def record(key: str, value: str | bytes) -> bytes:
    body = b" " + key.encode() + b"=" + (value.encode() if isinstance(value, str) else value) + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def pax(records: dict[str, str | bytes] | list[tuple[str, str | bytes]], kind: str = "x") -> bytes:
    pairs = records.items() if isinstance(records, dict) else records
    return member("pax", b"".join(record(key, value) for key, value in pairs), kind=kind)


def long_name(name: bytes) -> bytes:
    return member("././@LongLink", name + b"\0", kind="L")


def long_link(name: bytes) -> bytes:
    return member("././@LongLink", name + b"\0", kind="K")


def archive(*members: bytes) -> bytes:
    return b"".join(members) + END
