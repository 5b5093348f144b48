"""The entries of a layer's tar become files of a layer directory, the way overlayfs wants them.

    .wh.NAME         ->  NAME, a character device 0:0                     "nothing of that name below"
    .wh..wh..opq     ->  trusted.overlay.opaque=y on its directory       "nothing below this directory"
    other .wh..wh.*  ->  left out: aufs's own bookkeeping

A later entry replaces an earlier one of the same name, but a directory keeps what is in it. A hardlink to a file that
only a layer below has makes a copy of it here first, as writing to it in a container would. Directories that no entry
describes take after those below. Attributes go on in the one order that works: data, owner (clears setuid), mode,
extended attributes (writing clears capabilities), time; times of directories last of all.

Sources: OCI image-spec layer.md; overlayfs.rst; xattr(7); chown(2).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from overlayfs import merged, tar
from overlayfs.errors import BadArchive, LayerMissing, LinkTargetMissing
from overlayfs.stream import Budget, Chunks
from overlayfs.tree import OPAQUE, Tree, is_whiteout, split_name
from overlayfs.xattrs import get_xattrs, set_xattrs

WHITEOUT, OPAQUE_MARK, AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
SMALL = 1 << 15  # bytes up to which a copy costs less than views
# What the names and numbers of an archive can make a system call say. Everything else (ENOSPC, EIO) is our side's.
ARCHIVE_ERRORS = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENOENT,
        errno.EMLINK,
        errno.EFBIG,
        errno.EOVERFLOW,
        errno.E2BIG,
        errno.ERANGE,
    }
)
Lowers = Callable[[], merged.Found | None]


def unpack(chunks: Chunks, root: Path, lowers: Lowers, budget: Budget) -> int:
    """Unpack a layer's tar into the empty directory ``root``; returns the sum of its files' sizes in bytes.

    ``lowers`` gives the merged view of the layers below; it is called only if an entry leans on them, and may raise
    LayerMissing, which comes out as LinkTargetMissing. Raises BadArchive, TooLarge, OSError; what is made so far stays.
    """
    extractor = Extractor(chunks, Tree(root), lowers, budget)
    try:
        for entry in tar.entries(chunks):
            extractor.add(entry)
        chunks.drain()
        extractor.finish()
    finally:
        extractor.tree.close()
    return extractor.size


class Extractor:
    """One layer on its way. ``size`` counts its files' bytes, holes included."""

    def __init__(self, chunks: Chunks, tree: Tree, lowers: Lowers, budget: Budget) -> None:
        self.tree, self.size = tree, 0
        self._chunks, self._lowers, self._budget = chunks, lowers, budget
        self._times: dict[bytes, int] = {}  # directory -> mtime, set when nothing more is made in it
        self._makers: dict[bytes, Callable[[tar.Entry, int, bytes, bytes], None]] = {
            tar.FILE: self._file,
            tar.LINK: self._link,
            tar.SYMLINK: self._symlink,
            tar.CHAR: self._node,
            tar.BLOCK_DEVICE: self._node,
            tar.DIRECTORY: self._directory,
            tar.FIFO: self._node,
        }

    def add(self, entry: tar.Entry) -> None:
        """One entry, its data read from the stream. Raises BadArchive naming it."""
        self.tree.trim()
        try:
            self._add(entry)
        except OSError as error:
            if error.errno in ARCHIVE_ERRORS:
                raise BadArchive(entry.name, os.strerror(error.errno)) from error
            raise
        except BadArchive as error:
            inner = "" if error.entry in {"", os.fsdecode(entry.name)} else f"{error.entry!r}: "
            raise BadArchive(entry.name, inner + error.why) from error

    def finish(self) -> None:
        """Directories of no entry get their attributes, all directories their times."""
        for path in sorted(self.tree.implicit):
            self.tree.trim()
            self._take_after_lower(path)
        for path, mtime in self._times.items():
            self.tree.trim()
            fd, _ = self.tree.directory(path)
            os.utime(fd, ns=(mtime, mtime))

    def _add(self, entry: tar.Entry) -> None:
        parts = split_name(entry.name)
        if not parts:
            self._root(entry)
            return
        leaf = parts.pop()
        if WHITEOUT in entry.name and self._is_mark(parts, leaf):
            return
        fd, parent = self.tree.directory(b"/".join(parts))
        self._makers[entry.kind](entry, fd, leaf, self.tree.child(parent, leaf))

    # --- whiteouts ---

    def _is_mark(self, parts: list[bytes], leaf: bytes) -> bool:
        """Do what an entry means whose name has ".wh." in it. False if it is a file like others."""
        if leaf == OPAQUE_MARK:
            os.setxattr(self.tree.directory(b"/".join(parts))[0], OPAQUE, b"y")
            return True
        if any(part.startswith(AUFS) for part in (*parts, leaf)):
            return True
        if any(part.startswith(WHITEOUT) for part in parts):
            raise BadArchive(b"/".join([*parts, leaf]), "a whiteout with something in it")
        if not leaf.startswith(WHITEOUT):
            return False
        self._whiteout(parts, leaf[len(WHITEOUT) :])
        return True

    def _whiteout(self, parts: list[bytes], hidden: bytes) -> None:
        if hidden in {b"", b".", b".."}:
            raise BadArchive(b"/".join([*parts, WHITEOUT + hidden]), "a whiteout of no name")
        fd, parent = self.tree.directory(b"/".join(parts))
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=fd)
        except FileExistsError:
            # This layer has the name already: a whiteout is about those below, so theirs is hidden and ours stays.
            if stat.S_ISDIR(os.stat(hidden, dir_fd=fd, follow_symlinks=False).st_mode):
                os.setxattr(self.tree.directory(self.tree.child(parent, hidden))[0], OPAQUE, b"y")

    # --- one method a kind of entry: entry, descriptor of its directory, name in it, path in the layer ---

    def _file(self, entry: tar.Entry, fd: int, leaf: bytes, path: bytes) -> None:
        try:
            file = os.open(leaf, CREATE, 0o600, dir_fd=fd)
        except FileExistsError:
            self._forget(fd, leaf, path)
            file = os.open(leaf, CREATE, 0o600, dir_fd=fd)
        try:
            if entry.sparse is None:
                self._write(file, entry.size)
            else:
                self._write_sparse(file, entry)
            os.fchown(file, entry.uid, entry.gid)
            os.fchmod(file, entry.mode)
            if entry.xattrs:
                set_xattrs(file, entry.xattrs)
            os.utime(file, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(file)
        self.size += entry.length

    def _write(self, file: int, size: int) -> None:
        if size <= SMALL:
            write_all(file, self._chunks.take(size))
            return
        for piece in self._chunks.pieces(size):
            write_all(file, piece)

    def _write_sparse(self, file: int, entry: tar.Entry) -> None:
        self._budget.charge(entry.length - entry.size)
        for offset, count in entry.sparse or ():
            os.lseek(file, offset, os.SEEK_SET)
            self._write(file, count)
        os.ftruncate(file, entry.length)

    def _directory(self, entry: tar.Entry, fd: int, leaf: bytes, path: bytes) -> None:
        try:
            self.tree.make(fd, leaf, path)
        except FileExistsError:
            info = os.stat(leaf, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(info.st_mode):
                os.unlink(leaf, dir_fd=fd)
                made = self.tree.make(fd, leaf, path)
                if is_whiteout(info):  # below is hidden still
                    os.setxattr(made, OPAQUE, b"y")
        self._describe(entry, path)

    def _root(self, entry: tar.Entry) -> None:
        if entry.kind != tar.DIRECTORY:
            raise BadArchive(entry.name or "(no name)", "it would take the place of the layer's root directory")
        self._describe(entry, b"")

    def _describe(self, entry: tar.Entry, path: bytes) -> None:
        fd, _ = self.tree.directory(path)
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        set_xattrs(fd, entry.xattrs)
        self._times[path] = entry.mtime
        self.tree.implicit.discard(path)

    def _symlink(self, entry: tar.Entry, fd: int, leaf: bytes, path: bytes) -> None:
        self._forget(fd, leaf, path)
        os.symlink(entry.link, leaf, dir_fd=fd)
        os.chown(leaf, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
        os.utime(leaf, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)

    def _node(self, entry: tar.Entry, fd: int, leaf: bytes, path: bytes) -> None:
        self._forget(fd, leaf, path)
        kinds = {tar.CHAR: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
        major, minor = entry.device
        if major >= 1 << 12 or minor >= 1 << 20:  # what Linux's dev_t holds
            raise BadArchive(entry.name, f"device {major}:{minor}, which can't exist")
        os.mknod(leaf, kinds[entry.kind] | 0o600, os.makedev(major, minor), dir_fd=fd)
        os.chown(leaf, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
        os.chmod(leaf, entry.mode, dir_fd=fd)  # no link: made one line above, and nobody else writes here
        os.utime(leaf, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)

    def _forget(self, fd: int, leaf: bytes, path: bytes) -> None:
        if self.tree.clear(fd, leaf, path):
            self._times = {name: time for name, time in self._times.items() if not within(name, path)}

    # --- what leans on other entries and on the layers below ---

    def _link(self, entry: tar.Entry, fd: int, leaf: bytes, path: bytes) -> None:
        parts = split_name(entry.link)
        if not parts:
            raise BadArchive(entry.name, "a hardlink to no file")
        name = parts.pop()
        source, parent = self.tree.directory(b"/".join(parts))
        target = self.tree.child(parent, name)
        info = self._target(entry, source, name, target)
        if stat.S_ISDIR(info.st_mode) or is_whiteout(info):
            raise BadArchive(entry.name, f"a hardlink to {os.fsdecode(entry.link)!r}, which is no file")
        if target == path:
            return
        if within(target, path):
            raise BadArchive(entry.name, "a hardlink that takes the place of the directory that its target is in")
        self._forget(fd, leaf, path)
        os.link(name, leaf, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)

    def _target(self, entry: tar.Entry, source: int, name: bytes, target: bytes) -> os.stat_result:
        """The file that a hardlink is to, copied up from the layers below if this one hasn't it."""
        try:
            return os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            found = self._below(entry.name, target)
        if found is None:
            raise BadArchive(entry.name, f"a hardlink to {os.fsdecode(entry.link)!r}, which is nowhere")
        if not found.is_directory:
            self._budget.charge(found.info.st_size)
            self.size += copy_up(found, source, name)
        return found.info

    def _below(self, entry: bytes, path: bytes) -> merged.Found | None:
        try:
            return merged.lookup(self._lowers(), path.split(b"/"))
        except LayerMissing as missing:
            raise LinkTargetMissing(missing.chain_id, entry, path) from missing

    def _take_after_lower(self, path: bytes) -> None:
        found, (fd, _) = self._below(path, path), self.tree.directory(path)
        self._times[path] = 0
        if found is not None and found.is_directory:
            os.fchown(fd, found.info.st_uid, found.info.st_gid)
            os.fchmod(fd, stat.S_IMODE(found.info.st_mode))
            set_xattrs(fd, get_xattrs(found.path))
            self._times[path] = found.info.st_mtime_ns


def within(name: bytes, path: bytes) -> bool:
    """Whether ``name`` is ``path`` or below it."""
    return name == path or name.startswith(path + b"/")


def write_all(file: int, data: bytes | memoryview) -> None:
    """write(2) until nothing is left."""
    while data:
        data = data[os.write(file, data) :]


def copy_up(found: merged.Found, fd: int, name: bytes) -> int:
    """Copy a file of a layer below, whatever kind of file it is, to ``name`` in ``fd``. Returns its size in bytes."""
    info = found.info
    if stat.S_ISREG(info.st_mode):
        _copy_content(found, fd, name)
        return info.st_size
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(found.path), name, dir_fd=fd)
    else:
        os.mknod(name, stat.S_IFMT(info.st_mode) | 0o600, info.st_rdev, dir_fd=fd)
    os.chown(name, info.st_uid, info.st_gid, dir_fd=fd, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=fd)
    os.utime(name, ns=(info.st_mtime_ns, info.st_mtime_ns), dir_fd=fd, follow_symlinks=False)
    return 0


def _copy_content(found: merged.Found, fd: int, name: bytes) -> None:
    info = found.info
    source = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        target = os.open(name, CREATE, 0o600, dir_fd=fd)
        try:
            while os.sendfile(target, source, None, 1 << 30):
                pass
            os.fchown(target, info.st_uid, info.st_gid)
            os.fchmod(target, stat.S_IMODE(info.st_mode))
            set_xattrs(target, get_xattrs(source))
            os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)
