"""What a container wrote: its upper directory, compared with the layers below, as a list or as a layer's tar.

``changes`` is `docker diff`: A for added, C for changed, D for deleted. ``write_tar`` is the layer that `docker commit`
makes of it. Both read the upper directory while the container may be running and moving things about, so every
directory is opened from the one above it, without following links; the layers below are whole and quiet.

Overlayfs's marks become the archive's again: a character device 0:0 is a whiteout, ``trusted.overlay.opaque`` an opaque
directory. Sockets are left out, as they are in every tar.
Sources: overlayfs.rst; OCI image-spec layer.md; Docker Engine API, "Get changes on a container's filesystem".
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from overlayfs import merged, tar
from overlayfs.errors import OverlayError
from overlayfs.extract import OPAQUE_MARK, WHITEOUT
from overlayfs.merged import Found
from overlayfs.tarwrite import END, PADDING, encode, holes
from overlayfs.tree import MAX_DEPTH, OPEN_DIRECTORY, is_whiteout
from overlayfs.xattrs import CAPABILITY, get_xattrs

READ = 1 << 20  # bytes
_KINDS = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHAR,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}


class Writable(Protocol):
    """Where a tar goes."""

    def write(self, data: bytes, /) -> object:
        """All of ``data``."""


@dataclass(frozen=True)
class Change:
    """``path`` is absolute in the container. A deleted directory is one change, an added one has its content listed."""

    kind: Literal["A", "C", "D"]
    path: str


def changes(upper: Path, lowers: Sequence[Path]) -> Iterator[Change]:
    """What ``upper`` changes of ``lowers``, the layers' diff directories, top first. Sorted.

    As Docker counts it: a file is changed if its mode, owner, device, size, time or capability differs; a directory
    likewise but for size and time, and also if something in it changed. A copy that is like the original is no change.
    """
    with _directory(upper) as fd:
        yield from _in_directory(fd, "", merged.view(lowers), 0)


def _in_directory(fd: int, path: str, below: Found | None, depth: int) -> Iterator[Change]:
    """The changes inside a directory of the upper; ``below`` is what it covers, if that is a directory."""
    if depth > MAX_DEPTH:
        raise OverlayError(f"{path[:200]}...: more than {MAX_DEPTH} directories deep")
    present = {os.fsencode(name) for name in os.listdir(fd)}
    hidden = merged.names(below) - present if below and merged.is_opaque(fd) else set()
    for name in sorted(present | hidden):
        child = f"{path}/{os.fsdecode(name)}"
        old = merged.child(below, name) if below else None
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False) if name in present else None
        except FileNotFoundError:
            continue  # gone while we looked
        if info is None or is_whiteout(info):
            if old:
                yield Change("D", child)
        elif stat.S_ISDIR(info.st_mode):
            yield from _of_directory(fd, name, info, child, old, depth)
        elif old is None or _differs(fd, name, info, old):
            yield Change("C" if old else "A", child)


def _of_directory(
    fd: int, name: bytes, info: os.stat_result, path: str, old: Found | None, depth: int
) -> Iterator[Change]:
    """The change that a directory is, if any, and those inside."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), _directory(name, fd) as inner:
        inside = _in_directory(inner, path, old if old and old.is_directory else None, depth + 1)
        first = next(inside, None)
        if old is None:
            yield Change("A", path)
        elif first or _differs(fd, name, info, old):
            yield Change("C", path)
        if first:
            yield first
            yield from inside


def _differs(fd: int, name: bytes, info: os.stat_result, old: Found) -> bool:
    before = old.info
    if (info.st_mode, info.st_uid, info.st_gid, info.st_rdev) != (
        before.st_mode,
        before.st_uid,
        before.st_gid,
        before.st_rdev,
    ):
        return True
    if stat.S_ISDIR(info.st_mode):
        return False
    if info.st_size != before.st_size or info.st_mtime_ns != before.st_mtime_ns:
        return True
    return stat.S_ISREG(info.st_mode) and _capability(_at(fd, name)) != _capability(old.path)


def _capability(path: bytes) -> bytes | None:
    return get_xattrs(path).get(CAPABILITY)


def _at(fd: int, name: bytes) -> bytes:
    """A path for calls that take no directory descriptor; its last part must not be followed."""
    return b"/proc/self/fd/%d/%s" % (fd, name)


@contextlib.contextmanager
def _directory(path: Path | bytes, dir_fd: int | None = None) -> Iterator[int]:
    fd = os.open(path, OPEN_DIRECTORY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


# --- as a layer's tar ------------------------------------------------------------------------------------------------


def write_tar(upper: Path, out: Writable) -> None:
    """Write ``upper`` to ``out`` as an OCI layer, plain tar. The same tree gives the same bytes.

    Raises OverlayError for what no layer can hold (a name that begins with ".wh."), OSError, and what ``out`` raises.
    A file that shrinks meanwhile is filled up with zeros; one that is gone when its turn comes is left out.
    """
    with _directory(upper) as fd:
        _Writer(out).content(fd, b"", 0)
    out.write(END)


class _Writer:
    def __init__(self, out: Writable) -> None:
        self._out = out
        self._names: dict[tuple[int, int], bytes] = {}  # device and inode of files with several names -> the first

    def content(self, fd: int, path: bytes, depth: int) -> None:
        """Everything in a directory, in the order of names."""
        if depth > MAX_DEPTH:
            raise OverlayError(f"{os.fsdecode(path[:200])}...: more than {MAX_DEPTH} directories deep")
        if path and merged.is_opaque(fd):
            self._mark(path + OPAQUE_MARK)
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            if name.startswith(WHITEOUT):
                raise OverlayError(f"{os.fsdecode(path + name)}: a layer can't hold a name that begins with .wh.")
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._one(fd, name, path, depth)

    def _one(self, fd: int, name: bytes, path: bytes, depth: int) -> None:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if is_whiteout(info):
            self._mark(path + WHITEOUT + name)
        elif stat.S_ISDIR(info.st_mode):
            with _directory(name, fd) as inner:
                self._put(_entry(path + name + b"/", tar.DIRECTORY, os.fstat(inner), get_xattrs(inner)))
                self.content(inner, path + name + b"/", depth + 1)
        elif (first := self._names.get((info.st_dev, info.st_ino))) is not None:
            self._put(_entry(path + name, tar.LINK, info, link=first))
        elif not stat.S_ISSOCK(info.st_mode):
            if info.st_nlink > 1:
                self._names[info.st_dev, info.st_ino] = path + name
            self._file(fd, name, path + name, info)

    def _file(self, fd: int, name: bytes, path: bytes, info: os.stat_result) -> None:
        if stat.S_ISREG(info.st_mode):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
            try:
                self._regular(file, path)
            finally:
                os.close(file)
            return
        entry = _entry(path, _KINDS[stat.S_IFMT(info.st_mode)], info)
        if entry.kind == tar.SYMLINK:
            entry.link = os.readlink(name, dir_fd=fd)
        self._put(entry)

    def _regular(self, file: int, path: bytes) -> None:
        info = os.fstat(file)
        if not stat.S_ISREG(info.st_mode):
            return  # something else took its name
        entry = _entry(path, tar.FILE, info, get_xattrs(file))
        entry.size = entry.length = info.st_size
        entry.sparse = holes(file, info)
        self._put(entry)
        parts = [(0, info.st_size)] if entry.sparse is None else entry.sparse
        total = sum(self._data(file, offset, count) for offset, count in parts)
        self._out.write(PADDING[: -total % tar.BLOCK])

    def _data(self, file: int, offset: int, count: int) -> int:
        """Exactly ``count`` bytes, since the header has promised them."""
        end = offset + count
        while offset < end:
            data = os.pread(file, min(READ, end - offset), offset) or bytes(min(READ, end - offset))
            self._out.write(data)
            offset += len(data)
        return count

    def _put(self, entry: tar.Entry) -> None:
        self._out.write(encode(entry))

    def _mark(self, name: bytes) -> None:
        """An empty file whose name says it all."""
        self._put(tar.Entry(name, tar.FILE, 0, 0, 0, 0, 0))


def _entry(
    name: bytes, kind: bytes, info: os.stat_result, xattrs: dict[bytes, bytes] | None = None, link: bytes = b""
) -> tar.Entry:
    device = os.major(info.st_rdev), os.minor(info.st_rdev)
    mode = stat.S_IMODE(info.st_mode)
    return tar.Entry(name, kind, mode, info.st_uid, info.st_gid, 0, info.st_mtime_ns, link, device, xattrs=xattrs or {})
