"""Blobs by digest: layers, configs and manifests as a registry serves them, in an OCI image layout on disk.

    root/oci-layout  root/index.json         so that skopeo and others read the store as it is
    root/blobs/sha256/<hex>                  whole, checked, never changed
    root/ingest/sha256-<hex>                 a download on its way, or broken off and to be resumed
    root/ingest/*.tmp                        of no use after a crash; ``sweep`` removes them

A blob is written beside the store, checked, flushed, and renamed in: whoever finds it by its digest finds all of it.
The store's owner decides what to delete, and calls ``sweep`` once at its start. All of it is safe to call from several
threads and processes at once. Source: OCI image-spec, image-layout.md and descriptor.md.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

from overlayfs.errors import BadDigest, BlobMissing, DigestMismatch, SizeMismatch, TooLarge
from overlayfs.flush import start_writeback

ALGORITHMS = {"sha256": 64, "sha512": 128}  # hex digits of each
READ_LIMIT = 8 << 20  # bytes; registries refuse manifests over 4 MiB
CHUNK = 1 << 20
WRITEBACK = 8 << 20


def split(digest: str) -> tuple[str, str]:
    """``sha256:<hex>`` -> ("sha256", "<hex>"). Raises BadDigest, so that no other text ever becomes a path."""
    algorithm, _, digits = digest.partition(":")
    if ALGORITHMS.get(algorithm) != len(digits) or not re.fullmatch("[0-9a-f]+", digits):
        raise BadDigest(digest)
    return algorithm, digits


class ContentStore:
    """The blobs under ``root``. Makes what is missing of the layout."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._ingest = self.root / "ingest"
        for directory in (self._ingest, *(self.root / "blobs" / name for name in ALGORITHMS)):
            directory.mkdir(parents=True, exist_ok=True)
        if not (self.root / "oci-layout").exists():
            self._replace(self.root / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        if not (self.root / "index.json").exists():
            self.write_index([])

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be. Raises BadDigest."""
        return self.root.joinpath("blobs", *split(digest))

    def has(self, digest: str) -> bool:
        """Whether the blob is here, whole."""
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        """In bytes. Raises BlobMissing."""
        with _missing(digest):
            return self.path(digest).stat().st_size

    def open(self, digest: str) -> BinaryIO:
        """The blob for reading, unchecked: readers of large blobs check as they go. Raises BlobMissing."""
        with _missing(digest):
            return self.path(digest).open("rb")

    def read(self, digest: str, limit: int = READ_LIMIT) -> bytes:
        """All of a small blob (a manifest, a config), checked. Raises BlobMissing, TooLarge, DigestMismatch."""
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise TooLarge(limit, f"blob {digest}")
        actual = f"{split(digest)[0]}:{hashlib.new(split(digest)[0], data).hexdigest()}"
        if actual != digest:
            raise DigestMismatch(digest, actual)
        return data

    def put(self, data: bytes) -> str:
        """Store ``data``; returns its sha256 digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if not self.has(digest):
            self._replace(self.path(digest), data)
        return digest

    def ingest(self, digest: str, size: int | None = None, resumable: bool = True) -> Ingest:
        """Begin or resume the download of a blob of ``size`` bytes (None: unknown). Raises BadDigest.

        One that is not ``resumable`` begins at 0, and nothing of it is kept when it breaks off.
        """
        return Ingest(self._ingest, self.path(digest), digest, size, resumable)

    def delete(self, digest: str) -> None:
        """Remove the blob; no error if there is none."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Every blob's digest, in no order."""
        for algorithm, digits in ALGORITHMS.items():
            for name in os.listdir(self.root / "blobs" / algorithm):
                if len(name) == digits:
                    yield f"{algorithm}:{name}"

    def write_index(self, manifests: list[dict[str, Any]]) -> None:
        """Replace index.json, in one step. ``manifests`` are OCI descriptors (image-spec, image-index.md)."""
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
        self._replace(self.root / "index.json", json.dumps(index, indent=1).encode())

    def sweep(self, partials: bool = False) -> list[str]:
        """Remove what a crash left; with ``partials`` also broken downloads. Returns the names of the files removed.

        Files of downloads that are running, in this process or another, stay.
        """
        return [name for name in os.listdir(self._ingest) if self._sweep_one(self._ingest / name, partials)]

    def _sweep_one(self, path: Path, partials: bool) -> bool:
        if path.suffix != ".tmp" and not partials:
            return False
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            return True
        return False

    def _replace(self, target: Path, data: bytes) -> None:
        """Write a whole file in one step: under another name, flushed, renamed."""
        with _temporary(self._ingest) as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, target)


class Ingest:
    """One blob on its way in. A context manager: leaving it closes, and keeps what came for a later resume.

    ``offset`` is the number of bytes already here: ask the server for the rest (``Range: bytes=<offset>-``), and write
    that. To start from the beginning after all (a server without ranges), call ``restart()``.

    Of two ingests of one digest at the same time, the first has the resumable file; the second gets a file of its own,
    starting at 0, which is not kept on close. Whichever commits last replaces the same bytes: no harm.
    """

    def __init__(self, directory: Path, target: Path, digest: str, size: int | None, resumable: bool = True) -> None:
        self.digest, self.size = digest, size
        self._target = target
        self._algorithm = split(digest)[0]
        self._resumable = directory / digest.replace(":", "-")
        self._file, self._path = (resumable and self._open_resumable()) or _own(directory)
        self._flushed = 0
        self._hash, self.offset = hashlib.new(self._algorithm), 0
        try:
            self._rehash()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            self.discard()  # half a blob on a full disk is in everyone's way
        self.close()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append. Raises SizeMismatch beyond the announced size; then nothing is kept."""
        if self.size is not None and self.offset + len(chunk) > self.size:
            self.discard()
            raise SizeMismatch(self.digest, self.size, self.offset + len(chunk))
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._file.fileno(), view) :]
        self._hash.update(chunk)
        self.offset += len(chunk)
        if self.offset - self._flushed >= WRITEBACK:
            start_writeback(self._file.fileno(), self._flushed, self.offset - self._flushed)
            self._flushed = self.offset

    def reader(self) -> BinaryIO:
        """The file as it grows, to be read beside the writing, and after ``commit`` too. The caller closes it."""
        return open(self._path, "rb", buffering=0)

    def restart(self) -> None:
        """Forget what came so far; ``offset`` is 0 again."""
        self._file.seek(0)
        self._file.truncate()
        self._hash, self.offset, self._flushed = hashlib.new(self._algorithm), 0, 0

    def commit(self) -> None:
        """Check size and digest, flush, and put the blob in its place.

        Raises SizeMismatch if bytes are missing (what came is kept), DigestMismatch otherwise (nothing is kept).
        """
        if self.size is not None and self.offset != self.size:
            raise SizeMismatch(self.digest, self.size, self.offset)
        actual = f"{self._algorithm}:{self._hash.hexdigest()}"
        if actual != self.digest:
            self.discard()
            raise DigestMismatch(self.digest, actual)
        os.fdatasync(self._file.fileno())
        os.replace(self._path, self._target)
        self._file.close()

    def close(self) -> None:
        """Stop here. What came is kept for a resume, unless another ingest holds the resumable file."""
        if not self._file.closed and self._path != self._resumable:
            self.discard()
        self._file.close()

    def discard(self) -> None:
        """Stop here and keep nothing. No effect after ``commit``."""
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
            self._file.close()

    def _open_resumable(self) -> tuple[BinaryIO, Path] | None:
        """The resumable file, locked; None if another ingest has the lock."""
        while True:
            fd = os.open(self._resumable, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            if _lock(fd) and _same(fd, self._resumable):
                return os.fdopen(fd, "r+b", buffering=0), self._resumable
            busy = _same(fd, self._resumable)
            os.close(fd)
            if busy:
                return None

    def _rehash(self) -> None:
        """Rebuild the hash from the bytes of an earlier try. More than the blob can have is of no use."""
        if self.size is not None and os.fstat(self._file.fileno()).st_size > self.size:
            self._file.truncate(0)
        while chunk := self._file.read(CHUNK):
            self._hash.update(chunk)
            self.offset += len(chunk)


def _own(directory: Path) -> tuple[BinaryIO, Path]:
    """A new file for one ingest alone, locked."""
    fd, name = tempfile.mkstemp(dir=directory, suffix=".tmp")
    os.fchmod(fd, 0o644)
    _lock(fd)
    return os.fdopen(fd, "r+b", buffering=0), Path(name)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(fd: int, path: Path) -> bool:
    """Whether ``path`` still is the open file: the one before us may have renamed or removed it under our hands."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _temporary(directory: Path) -> Iterator[Any]:
    """A named file that is gone afterwards unless it was renamed; locked, so that a sweep leaves it alone."""
    file = tempfile.NamedTemporaryFile(dir=directory, suffix=".tmp", delete=False)  # noqa: SIM115 - closed below
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        file.close()
        Path(file.name).unlink(missing_ok=True)


@contextlib.contextmanager
def _missing(digest: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BlobMissing(digest) from None
