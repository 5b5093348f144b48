"""A layer's tar becomes a directory, once: overlayfs then stacks such directories (``mount.py``).

    root/<16 hex digits of the chain ID>/diff         the layer's files, as overlayfs takes them for a lower directory
    root/<16 hex digits of the chain ID>/layer.json   chain ID, diff ID, parent, size, link; written last
    root/l/<short>                                    link to that diff: three hex digits or as many as make it unique
    root/l/empty, root/l/empty2                       empty directories, for an image without layers
    root/*.tmp                                        half made; ``sweep`` removes what a crash left

A chain ID names a layer together with all below it: sha256 over the parent's chain ID and the diff ID, which is the
digest of the plain tar. So two images that share layers store them once.
A layer is unpacked beside the store, flushed by one syncfs, and renamed in: after a crash it is whole or not there.
Every method may be called from several threads. One process is the store's owner.
Source: OCI image-spec config.md, "Layer ChainID"; overlayfs.rst.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs import merged
from overlayfs.content import split
from overlayfs.errors import DigestMismatch, LayerCollision, LayerMissing
from overlayfs.flush import syncfs
from overlayfs.mount import EMPTY, LINKS, POINT_DIRECTORIES, POINT_FILES, POINTS
from overlayfs.remove import remove_tree

if TYPE_CHECKING:
    from overlayfs.compression import Readable

NAME = 16  # hex digits of a layer directory's name
TEMPORARY = ".tmp"


def chain_id(parent_chain: str | None, diff_id: str) -> str:
    """The chain ID of a layer on top of ``parent_chain`` (None: at the bottom). Raises BadDigest."""
    split(diff_id)
    if parent_chain is None:
        return diff_id
    split(parent_chain)
    return f"sha256:{hashlib.sha256(f'{parent_chain} {diff_id}'.encode()).hexdigest()}"


@dataclass(frozen=True)
class Layer:
    """One unpacked layer. ``size`` is the sum of its files' sizes in bytes; ``path`` its diff directory."""

    chain_id: str
    diff_id: str
    parent: str | None
    size: int
    path: Path
    link: str


class LayerStore:
    """The layers under ``root``. ``max_unpacked_size`` bounds one layer's plain tar and holes together, in bytes."""

    def __init__(self, root: Path, max_unpacked_size: int | None = None) -> None:
        self.root = Path(root).absolute()
        self.max_unpacked_size = max_unpacked_size
        self._links = self.root / LINKS
        self.points = self._links / POINTS
        """The directory below the layers of containers: see ``mount.POINTS``."""
        self._make_directories()
        self._lock = threading.Lock()
        self._known: dict[str, Layer] = {}
        self._unpacking: dict[str, threading.Event] = {}  # chain ID -> set when that unpack is over
        self._temporary: set[str] = set()

    def _make_directories(self) -> None:
        """What is in the directory of links besides links."""
        for path in (*map(self._links.joinpath, (*EMPTY, POINTS)), *map(self.points.joinpath, POINT_DIRECTORIES)):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)
        for path in map(self.points.joinpath, POINT_FILES):
            path.touch()
            path.chmod(0o644)

    def has(self, chain_id: str) -> bool:
        """Whether the layer is here. Raises LayerCollision."""
        return self._load(chain_id) is not None

    def get(self, chain_id: str) -> Layer:
        """Raises LayerMissing, LayerCollision."""
        layer = self._load(chain_id)
        if layer is None:
            raise LayerMissing(chain_id)
        return layer

    def chain(self, chain_id: str) -> list[Layer]:
        """The layer and all below it, bottom to top. Raises LayerMissing."""
        layers = [self.get(chain_id)]
        while parent := layers[-1].parent:
            layers.append(self.get(parent))
        return layers[::-1]

    def layers(self) -> list[Layer]:
        """All of them, in no order."""
        return [layer for name in self._names() if (layer := self._read(self.root / name))]

    def unpack(
        self,
        stream: Readable,
        *,
        parent: str | None = None,
        diff_id: str,
        progress: Callable[[int], None] | None = None,
    ) -> Layer:
        """Unpack a layer's tar (plain, gzip or zstd; the first bytes tell) on top of the layer ``parent``. Blocks.

        ``progress`` is called with the number of bytes read from ``stream`` so far, in a thread of its own.
        If the layer is here already it is returned, and ``stream`` is not read. Is it just being unpacked, this waits.
        The parent may still be missing, so that layers can be unpacked in parallel; should an entry lean on it, this
        waits if the parent is being unpacked, and else raises LinkTargetMissing.

        Raises BadArchive, DigestMismatch (the plain tar is not ``diff_id``), TooLarge, LayerCollision, BadDigest, what
        ``stream.read`` raises, and OSError: ENOSPC on a full disk. Then nothing of the layer is left.
        """
        chain = chain_id(parent, diff_id)
        with self._only_one(chain):
            present = self._load(chain)
            return present or self._unpack(stream, chain, parent, diff_id, progress)

    def remove(self, chain_id: str) -> None:
        """Delete a layer that no mount uses; no error if it isn't here."""
        layer = self._load(chain_id)
        if layer is None:
            return
        with self.scratch() as scratch:
            os.rename(layer.path.parent, scratch / "layer")
            (self._links / layer.link).unlink(missing_ok=True)
            self._known.pop(chain_id, None)

    def sweep(self) -> list[str]:
        """Remove what a crash left half made, links to nowhere too. Returns their names. Running unpacks stay."""
        swept = []
        with self._lock:
            running = set(self._temporary)
        for name in os.listdir(self.root):
            half = re.fullmatch("[0-9a-f]{16}", name) and self._read(self.root / name) is None
            if (name.endswith(TEMPORARY) and name not in running) or half:
                remove_tree(self.root / name)
                swept.append(name)
        for link in os.scandir(self._links):
            if link.is_symlink() and not os.path.exists(link.path) and not running:
                os.unlink(link.path)
                swept.append(f"{LINKS}/{link.name}")
        return swept

    # --- reading ---

    def _names(self) -> list[str]:
        return [name for name in os.listdir(self.root) if re.fullmatch("[0-9a-f]{16}", name)]

    def _load(self, chain_id: str) -> Layer | None:
        if known := self._known.get(chain_id):
            return known
        name = split(chain_id)[1][:NAME]
        layer = self._read(self.root / name)
        if layer is None:
            return None
        if layer.chain_id != chain_id:
            raise LayerCollision(name, chain_id, layer.chain_id)
        self._known[chain_id] = layer
        return layer

    @staticmethod
    def _read(directory: Path) -> Layer | None:
        """None if there is no whole layer."""
        try:
            data = json.loads((directory / "layer.json").read_bytes())
            return Layer(path=directory / "diff", **data)
        except (FileNotFoundError, ValueError, TypeError):
            return None

    # --- unpacking ---

    def _unpack(
        self, stream: Readable, chain: str, parent: str | None, diff_id: str, progress: Callable[[int], None] | None
    ) -> Layer:
        # Readers of archives and decompressors: who only looks at layers, or mounts them, need not have them.
        from overlayfs import extract  # noqa: PLC0415
        from overlayfs.stream import Budget, Chunks, Pump  # noqa: PLC0415

        algorithm, digits = split(diff_id)
        with self.scratch() as scratch:
            work = scratch / "layer"
            (work / "diff").mkdir(parents=True)
            (work / "diff").chmod(0o755)
            budget = Budget(self.max_unpacked_size)
            with Pump(stream, algorithm, progress) as pump:
                chunks = Chunks(iter(pump), budget)
                size = extract.unpack(chunks, work / "diff", lambda: self._below(parent), budget)
                if pump.digest() != digits:
                    raise DigestMismatch(diff_id, f"{algorithm}:{pump.digest()}", "layer")
            return self._commit(work, chain, parent, diff_id, size)

    def _commit(self, work: Path, chain: str, parent: str | None, diff_id: str, size: int) -> Layer:
        """Flush, and rename the layer into the store. Another process may have been faster."""
        name = split(chain)[1][:NAME]
        link = self._link(name)
        layer = Layer(chain, diff_id, parent, size, self.root / name / "diff", link)
        fields = {"chain_id": chain, "diff_id": diff_id, "parent": parent, "size": size, "link": link}
        (work / "layer.json").write_text(json.dumps(fields))
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
            os.rename(work, self.root / name)
            os.fsync(fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return self.get(chain)
        finally:
            os.close(fd)
        self._known[chain] = layer
        return layer

    def _link(self, name: str) -> str:
        """Make the short link to a layer directory that is about to be; returns its name."""
        target = f"../{name}/diff"
        for digits in range(3, NAME + 1):
            link = self._links / name[:digits]
            try:
                link.symlink_to(target)
            except FileExistsError:
                if os.readlink(link) != target:
                    continue
            return link.name
        raise LayerCollision(name, name, name)

    def _below(self, parent: str | None) -> merged.Found | None:
        """The merged view of the parents. Raises LayerMissing unless they are here or on their way."""
        lowers: list[Path] = []
        while parent:
            with self._lock:
                running = self._unpacking.get(parent)
            if running:
                running.wait()
            layer = self.get(parent)
            lowers.append(layer.path)
            parent = layer.parent
        return merged.view(lowers)

    @contextlib.contextmanager
    def _only_one(self, chain: str) -> Iterator[None]:
        """Wait until nobody else unpacks this layer, then be the one."""
        over = threading.Event()
        while True:
            with self._lock:
                other = self._unpacking.setdefault(chain, over)
            if other is over:
                break
            other.wait()
        try:
            yield
        finally:
            with self._lock:
                del self._unpacking[chain]
            over.set()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory on the store's file system, gone afterwards, and after a crash with the next ``sweep``."""
        with self._lock:  # a sweep sees it only once it is known to be ours
            path = Path(tempfile.mkdtemp(dir=self.root, suffix=TEMPORARY))
            self._temporary.add(path.name)
        try:
            yield path
        finally:
            remove_tree(path)
            with self._lock:
                self._temporary.discard(path.name)
