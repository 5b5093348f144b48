"""A tar stream, read forward only: blocks of 512 bytes, a header, the data, the next header.

    header | data, padded | header | data, padded | ... | two blocks of zeros

Fifty years have left four dialects, and layers come in all of them: ustar (a name of 100 bytes and a prefix of 155),
pax (records ``key=value`` in an entry before the one that they describe; they win), GNU (long names in an entry before,
numbers in base 256), and three ways to write a sparse file as the list of its parts that aren't holes.
Nothing here touches a file system: names come out as they are, and ``extract.py`` judges them.

Sources: POSIX.1-2017 pax(1) "ustar Interchange Format" and "pax Extended Header", GNU tar manual appendix
"Basic Tar Format" and "Storing Sparse Files", Schilling's star(5) for ``SCHILY.xattr``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct

from overlayfs.errors import BadArchive
from overlayfs.stream import Chunks

BLOCK = 512
META_LIMIT = 1 << 20  # bytes of a pax header or a long name: Go's archive/tar has the same limit
SPARSE_LIMIT = 1 << 20  # parts of one sparse file
MAX_SIZE = (1 << 63) - 1  # off_t
MAX_ID = (1 << 32) - 2  # uid_t and gid_t; the one above means "leave it" to chown

FILE, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_SAME = {b"\0": FILE, b"7": FILE, b"S": FILE}  # before POSIX; contiguous; GNU sparse
_KINDS = {FILE, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO}
_ZEROS = bytes(BLOCK)
_XATTR = b"SCHILY.xattr."

#                name mode uid gid size mtime sum type link magic owner group major minor prefix
_HEADER = Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 64x 8s 8s 155s 12x")

Sparse = list[tuple[int, int]]  # offset in the file, length; the data follow each other in the stream
Records = dict[bytes, bytes]


@dataclass(slots=True)
class Entry:
    """One member. ``size`` bytes of data follow in the stream; a file is ``length`` bytes long, more if it has holes.

    ``mtime`` is in nanoseconds since 1970; ``device`` is (major, minor); ``link`` the target of a sym- or hardlink.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    length: int = 0
    sparse: Sparse | None = None
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


def entries(chunks: Chunks) -> Iterator[Entry]:
    """Every member of the archive. Read its data from ``chunks`` before asking for the next; what is left is skipped.

    Raises BadArchive on everything that isn't tar.
    """
    records: Records = {}
    while block := _next_header(chunks):
        kind = block[156:157]
        if kind in b"xXgLKV":
            _read_meta(chunks, block, kind, records)
            continue
        entry = _parse(block, records)
        read_sparse_map(chunks, block, entry, records)
        end = chunks.position + padded(entry.size)
        yield entry
        chunks.skip(end - chunks.position)
        records = {}


def padded(size: int) -> int:
    """``size`` rounded up to whole blocks."""
    return size + -size % BLOCK


def _next_header(chunks: Chunks) -> bytes:
    """The next header block, checked; empty at the end of the archive."""
    begins, block = chunks.position == 0, chunks.take_or_end(BLOCK)
    if not block:
        return b""
    if begins and not _is_header(block):
        raise BadArchive("", "not a tar archive: it does not begin with a header")
    if len(block) < BLOCK:
        raise BadArchive("", "truncated: it ends in the middle of a header")
    if block == _ZEROS:
        if chunks.take_or_end(BLOCK).strip(b"\0"):
            raise BadArchive("", "a block of zeros in the middle")
        return b""
    _check_sum(block)
    return block


def _is_header(block: bytes) -> bool:
    """Whether it can be the first block of an archive."""
    if len(block) < BLOCK:
        return False
    try:
        _check_sum(block)
    except BadArchive:
        return block == _ZEROS
    return True


def _check_sum(block: bytes) -> None:
    """The sum of all bytes, the field itself taken as blanks. Some old programs summed signed bytes."""
    stored = block[148:156]
    wanted, total = number(stored, "checksum"), sum(block) - sum(stored) + 8 * 32
    if total != wanted and total - 256 * sum(byte > 127 for byte in block[:148] + block[156:]) != wanted:
        raise BadArchive("", "damaged: the checksum of a header is wrong")


def _read_meta(chunks: Chunks, block: bytes, kind: bytes, records: Records) -> None:
    """An entry that describes the one after it. Global pax headers and volume labels say nothing that a layer needs."""
    size = number(block[124:136], "size")
    if size > META_LIMIT:
        raise BadArchive("", f"a header of {size} bytes, where {META_LIMIT} are allowed")
    data = chunks.take(size)
    chunks.skip(-size % BLOCK)
    if kind in b"xX":
        records.update(pax_records(data))
    elif kind in b"LK":
        records[b"path" if kind == b"L" else b"linkpath"] = data.partition(b"\0")[0]


def pax_records(data: bytes) -> Records:
    """``<length> <key>=<value>\\n`` ... -> {key: value}. Raises BadArchive.

    The parts of a sparse file in GNU's format 0.0 come as one key many times: they are gathered into one value.
    """
    records: Records = {}
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        digits = data[at : at + 10].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or not key or len(record) != length or record[-1:] != b"\n":
            raise BadArchive("", "damaged pax header")
        if key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
            parts.append(value)
        records[key] = value
        at += length
    if parts:
        records[b"GNU.sparse.map"] = b",".join(parts)
    return records


def number(field: bytes, what: str, name: bytes = b"", signed: bool = False) -> int:
    """A number of a header: octal digits, or with the first bit set a big-endian number. Raises BadArchive."""
    try:
        value = _base256(field) if field[0] & 0x80 else int(field.strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise BadArchive(name, f"its {what} is no number") from None
    if value < 0 and not signed:
        raise BadArchive(name, f"its {what} is negative")
    return value


def _base256(field: bytes) -> int:
    """All bits but the first are a number in two's complement."""
    bits = 8 * len(field) - 1
    value = int.from_bytes(field, "big") & ((1 << bits) - 1)
    return value - (1 << bits) if value >> (bits - 1) else value


def decimal(value: bytes, what: str, name: bytes) -> int:
    """A number of a pax record. Raises BadArchive."""
    if not value.isdigit() or len(value) > 20:
        raise BadArchive(name, f"its {what} is no number")
    return int(value)


def nanoseconds(value: bytes, name: bytes) -> int:
    """``1700000000.25`` -> 1700000000250000000, exactly; a time before 1970 has a minus sign."""
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    total = decimal(whole, "time", name) * 10**9 + decimal(fraction[:9].ljust(9, b"0"), "time", name)
    return -total if value.startswith(b"-") else total


def _parse(block: bytes, records: Records) -> Entry:
    name, mode, uid, gid, size, mtime, _, kind, link, magic, major, minor, prefix = _HEADER.unpack(block)
    name, link = _text(name), _text(link)
    if magic == b"ustar\x0000" and prefix[0]:
        name = _text(prefix[:131] if block[508:512] == b"tar\0" else prefix) + b"/" + name
    entry = Entry(
        name,
        _SAME.get(kind, kind),
        number(mode, "mode", name) & 0o7777,
        number(uid, "user ID", name),
        number(gid, "group ID", name),
        number(size, "size", name),
        number(mtime, "time", name, signed=True) * 10**9,
        link,
    )
    if kind in b"34":
        entry.device = number(major, "device number", name), number(minor, "device number", name)
    if records:
        _apply(records, entry)
    _settle(entry, kind)
    return entry


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _apply(records: Records, entry: Entry) -> None:
    """What pax says wins over the header; an empty value takes a record back."""
    name = entry.name = records.get(b"GNU.sparse.name") or records.get(b"path") or entry.name
    entry.link = records.get(b"linkpath") or entry.link
    if b"\0" in name or b"\0" in entry.link:
        raise BadArchive(name, "a NUL byte in a name")
    for key, value in records.items():
        if not value and not key.startswith(_XATTR):
            continue
        if key == b"mtime":
            entry.mtime = nanoseconds(value, name)
        elif key == b"uid":
            entry.uid = decimal(value, "user ID", name)
        elif key == b"gid":
            entry.gid = decimal(value, "group ID", name)
        elif key == b"size":
            entry.size = decimal(value, "size", name)
        elif key.startswith(_XATTR):
            entry.xattrs[key[len(_XATTR) :]] = value


def _settle(entry: Entry, kind: bytes) -> None:
    """What follows from the fields together; and the bounds of each."""
    if entry.kind not in _KINDS:
        raise BadArchive(entry.name, f"a tar entry of type {kind!r}, which no image layer has")
    if entry.kind == FILE and entry.name.endswith(b"/"):
        entry.kind = DIRECTORY  # as before POSIX
    if not 0 <= entry.size <= MAX_SIZE:
        raise BadArchive(entry.name, f"a size of {entry.size} bytes")
    if not (0 <= entry.uid <= MAX_ID and 0 <= entry.gid <= MAX_ID):
        raise BadArchive(entry.name, f"user and group {entry.uid}:{entry.gid}, which no file can have")
    if not -(1 << 63) <= entry.mtime < 1 << 63:
        raise BadArchive(entry.name, "a time out of range")
    if entry.kind != FILE:
        entry.size = 0  # the field means other things there; Go and GNU tar don't look at it either
    entry.length = entry.size


# --- sparse files ----------------------------------------------------------------------------------------------------


def read_sparse_map(chunks: Chunks, block: bytes, entry: Entry, records: Records) -> None:
    """Set ``sparse`` and ``length`` of an entry with holes, from wherever its dialect keeps the map.

    Raises BadArchive if the parts don't ascend, overlap, leave the file, or are not what the data are.
    """
    if block[156:157] == b"S":
        entry.sparse, length = _old_map(chunks, block, entry.name)
    elif records.get(b"GNU.sparse.major") == b"1":
        entry.sparse, length = _map_in_data(chunks, entry), _real_size(records, entry)
    elif b"GNU.sparse.map" in records:
        entry.sparse = _decimal_pairs(records[b"GNU.sparse.map"].split(b","), entry.name)
        length = _real_size(records, entry)
    else:
        return
    entry.length = _checked(entry, entry.sparse, length)


def _old_map(chunks: Chunks, block: bytes, name: bytes) -> tuple[Sparse, int]:
    """GNU's type S: four parts in the header, 21 in each block behind it, and a byte that says whether more come."""
    length = number(block[483:495], "real size", name)
    fields, more = [block[at : at + 12] for at in range(386, 482, 12)], block[482]
    while more:
        block = chunks.take(BLOCK)
        fields += [block[at : at + 12] for at in range(0, 504, 12)]
        more = block[504]
        if len(fields) > 2 * SPARSE_LIMIT:
            raise BadArchive(name, "too many holes")
    return _pairs([number(field, "sparse map", name) for field in fields if field.strip(b"\0 ")], name), length


def _map_in_data(chunks: Chunks, entry: Entry) -> Sparse:
    """Format 1.0: before the data, as lines of decimal numbers, the count of parts first; padded to whole blocks."""
    blocks, lines, wanted = [b""], 0, 1
    while lines < wanted:
        if entry.size < BLOCK or len(blocks) > SPARSE_LIMIT // 8:
            raise BadArchive(entry.name, "damaged sparse map")
        blocks.append(chunks.take(BLOCK))
        entry.size -= BLOCK
        if not lines and b"\n" in blocks[-1]:
            wanted += 2 * decimal(b"".join(blocks).partition(b"\n")[0], "sparse map", entry.name)
        lines += blocks[-1].count(b"\n")
        if wanted > 2 * SPARSE_LIMIT:
            raise BadArchive(entry.name, "too many holes")
    return _decimal_pairs(b"".join(blocks).split(b"\n")[1:wanted], entry.name)


def _decimal_pairs(numbers: list[bytes], name: bytes) -> Sparse:
    return _pairs([decimal(text, "sparse map", name) for text in numbers if text], name)


def _pairs(values: list[int], name: bytes) -> Sparse:
    if len(values) % 2:
        raise BadArchive(name, "damaged sparse map")
    return list(zip(values[::2], values[1::2], strict=True))


def _real_size(records: Records, entry: Entry) -> int:
    text = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size") or b""
    return decimal(text, "real size", entry.name)


def _checked(entry: Entry, parts: Sparse, length: int) -> int:
    end = 0
    for offset, count in parts:
        if offset < end or count < 0:
            raise BadArchive(entry.name, "damaged sparse map")
        end = offset + count
    if end > length or length > MAX_SIZE or sum(count for _, count in parts) != entry.size:
        raise BadArchive(entry.name, "its sparse map does not fit its size")
    return length
