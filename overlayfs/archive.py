"""An image archive, as ``docker save`` or an OCI layout in a tar gives it, laid out on disk for reading in any order.

The blobs come before the manifest that says what they are, so the archive is first spread into a scratch directory of
the caller's. Only regular files come out of it, readable by us alone; directories are made as names ask for them.
``docker save`` also writes links, one layer's tar under two names: those become hardlinks between the files here.
A link that leads anywhere else is an error, and so is every other kind of entry.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from overlayfs import tar
from overlayfs.compression import Readable
from overlayfs.errors import BadArchive
from overlayfs.extract import ARCHIVE_ERRORS, CREATE, write_all
from overlayfs.stream import Budget, Chunks, Pump
from overlayfs.tree import Tree, split_name

MAX_MEMBERS = 100_000


def read_archive(
    stream: Readable, into: Path, max_size: int | None = None, progress: Callable[[int], None] | None = None
) -> dict[str, Path]:
    """Spread the archive (plain, gzip, zstd, bzip2 or xz) into the empty directory ``into``.

    Returns its files: name in the archive, without "./" and the like -> path. ``max_size`` bounds the plain archive in
    bytes; ``progress`` is called with the number of bytes read so far. Raises BadArchive, TooLarge, OSError, what
    ``stream.read`` raises; what came until then stays in ``into``, which is the caller's to remove.
    """
    tree = Tree(into)
    try:
        with Pump(stream, "sha256", progress) as pump:
            spread = _Spread(Chunks(iter(pump), Budget(max_size)), tree)
            names = spread.all()
    finally:
        tree.close()
    return {name.decode("utf-8", "surrogateescape"): into / os.fsdecode(name) for name in names}


class _Spread:
    def __init__(self, chunks: Chunks, tree: Tree) -> None:
        self._chunks, self._tree = chunks, tree
        self._files: set[bytes] = set()
        self._links: dict[bytes, bytes] = {}  # name -> name that it is a link to

    def all(self) -> set[bytes]:
        for count, entry in enumerate(tar.entries(self._chunks)):
            if count >= MAX_MEMBERS:
                raise BadArchive("", f"more than {MAX_MEMBERS} members")
            self._one(entry)
        self._chunks.drain()
        for name in self._links:
            self._join(name)
        return self._files | set(self._links)

    def _one(self, entry: tar.Entry) -> None:
        try:
            self._add(entry)
        except OSError as error:
            if error.errno in ARCHIVE_ERRORS:
                raise BadArchive(entry.name, os.strerror(error.errno)) from error
            raise

    def _add(self, entry: tar.Entry) -> None:
        parts = split_name(entry.name)
        name = b"/".join(parts)
        if entry.kind == tar.DIRECTORY:
            return
        if not parts or entry.sparse is not None:
            raise BadArchive(entry.name, "no member that an image archive has")
        if entry.kind == tar.FILE:
            self._file(entry, parts, name)
        elif entry.kind == tar.SYMLINK and not entry.link.startswith(b"/"):
            self._links[name] = b"/".join(split_name(b"/".join([*parts[:-1], entry.link])))
        elif entry.kind == tar.LINK:
            self._links[name] = b"/".join(split_name(entry.link))
        else:
            raise BadArchive(entry.name, "neither a file nor a link to one in the archive")

    def _file(self, entry: tar.Entry, parts: list[bytes], name: bytes) -> None:
        self._tree.trim()
        parent, _ = self._tree.directory(b"/".join(parts[:-1]))
        if name in self._files:
            os.unlink(parts[-1], dir_fd=parent)
        file = os.open(parts[-1], CREATE, 0o600, dir_fd=parent)
        try:
            for piece in self._chunks.pieces(entry.size):
                write_all(file, piece)
        finally:
            os.close(file)
        self._files.add(name)
        self._links.pop(name, None)

    def _join(self, name: bytes) -> None:
        """Give the file at the end of a chain of links the name at its start."""
        target, steps = self._links[name], 0
        while target in self._links and steps < len(self._links):
            target, steps = self._links[target], steps + 1
        if target not in self._files:
            raise BadArchive(name, f"a link to {os.fsdecode(target)!r}, which is no file of the archive")
        if name in self._files:
            raise BadArchive(name, "both a file and a link")
        self._tree.trim()
        (source, _), (parent, _) = (self._tree.directory(path.rpartition(b"/")[0]) for path in (target, name))
        os.link(target.rpartition(b"/")[2], name.rpartition(b"/")[2], src_dir_fd=source, dst_dir_fd=parent)
