"""One layer's way into the store, from a registry or from a blob that is there already.

    registry --chunks--> [loop] --1 MiB--> [writer: hash, blob file] ~~file~~> [unpacker: decompress, hash, files]

Four layers at a time. The unpacker follows the file that the writer fills (``transfer.Follower``): it may be slower
than the network, nothing waits for it and nothing piles up in memory. A broken connection is resumed where it broke; a
download that was cancelled or failed leaves its bytes for the next one. A layer is in the store whole or not at all,
and only if both its blob's digest and its diff ID are right. Several callers who need one layer share one ``Flight``.

Two threads a layer, because two things block: writing to a slow disk, and unpacking. The loop only passes bytes on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from minirund.engine.progress import Message, Meter, Sink, layer_message, short_id
from minirund.engine.transfer import (
    Flight,
    Flights,
    Follower,
    Stopped,
    first_error,
    settled,
    storage_error,
    storage_errors,
)
from minirund.errors import RegistryError
from minirund.registry.client import Repository
from minirund.registry.manifest import Descriptor, ImageConfig, Manifest
from minirund.registry.platform import Platform
from overlayfs.content import ContentStore, Ingest
from overlayfs.errors import DigestMismatch, LinkTargetMissing, TooLarge
from overlayfs.layer import Layer, LayerStore, chain_id

T = TypeVar("T")
AT_ONCE = 4  # blobs in flight, and layers being unpacked, over all pulls
NICENESS = 5  # of the threads that do the work: other requests are answered meanwhile
BATCH = 1 << 20  # bytes handed to the writer at a time


@dataclass(frozen=True)
class LayerSource:
    """One layer of an image: its blob, and where it stands in the chain. ``parent`` is "" for the lowest."""

    blob: Descriptor
    diff_id: str
    chain: str
    parent: str

    @property
    def short(self) -> str:
        """The id that progress messages carry."""
        return short_id(self.blob.digest)


def layer_sources(manifest: Manifest, config: ImageConfig) -> tuple[LayerSource, ...]:
    """The layers with their chain IDs, lowest first (image-spec, config.md "Layer ChainID")."""
    sources: list[LayerSource] = []
    for blob, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        parent = sources[-1].chain if sources else ""
        sources.append(LayerSource(blob, diff_id, chain_id(parent or None, diff_id), parent))
    return tuple(sources)


@dataclass(frozen=True)
class ImageDocuments:
    """What describes an image: the manifest and the configuration, as bytes and as what they say."""

    manifest_data: bytes
    manifest: Manifest
    config_data: bytes
    config: ImageConfig

    @property
    def digest(self) -> str:
        """The manifest's. (sha256, whatever algorithm a registry may have named it by: so it is stored.)"""
        return "sha256:" + hashlib.sha256(self.manifest_data).hexdigest()


@dataclass(frozen=True)
class StoredImage:
    """An image that is in the store, for the database to record."""

    id: str
    """Digest of the configuration."""
    manifest: str
    """Digest of the manifest that names configuration and layers."""
    media_type: str
    """The manifest's."""
    manifest_size: int
    """Bytes of the manifest document."""
    platform: Platform
    """What the configuration says."""
    chain_ids: tuple[str, ...]
    """Unpacked layers, lowest first."""
    blobs: tuple[str, ...]
    """Every blob that the image needs kept: manifest, configuration, layers."""
    size: int
    """Bytes, unpacked, all layers."""


def stored_image(documents: ImageDocuments, layers: list[Layer]) -> StoredImage:
    """The record of an image whose layers these are."""
    manifest = documents.manifest
    return StoredImage(
        id=manifest.config.digest,
        manifest=documents.digest,
        media_type=manifest.media_type,
        manifest_size=len(documents.manifest_data),
        platform=documents.config.platform,
        chain_ids=tuple(layer.chain_id for layer in layers),
        blobs=tuple(
            dict.fromkeys((documents.digest, manifest.config.digest, *(one.digest for one in manifest.layers)))
        ),
        size=sum(layer.size for layer in layers),
    )


class LayerFetcher:
    """Brings layers into the store. One for a daemon: ``close`` it when no pull or load is running any more."""

    def __init__(self, content: ContentStore, layers: LayerStore) -> None:
        self.content, self.layers = content, layers
        self.slots = asyncio.Semaphore(AT_ONCE)
        self._flights: Flights[Layer] = Flights()
        self._writers = ThreadPoolExecutor(AT_ONCE, "layer-write", _step_back)
        self._unpackers = ThreadPoolExecutor(AT_ONCE, "layer-unpack", _step_back)

    async def close(self) -> None:
        """Release the threads."""
        for pool in (self._writers, self._unpackers):
            await asyncio.to_thread(pool.shutdown)

    async def image(self, documents: ImageDocuments, sink: Sink, repository: Repository | None = None) -> StoredImage:
        """All layers side by side, then configuration and manifest: the store never has an image by half.

        Blobs come from ``repository`` if they are not here. Raises RegistryError (wrong digest), InvalidArgument (bad
        archive, too large), StorageFull, EngineError, and what ``Repository.blob`` raises. Cancelled, it stops; layers
        that others wait for come all the same.
        """
        sources = layer_sources(documents.manifest, documents.config)
        here = await asyncio.to_thread(lambda: [self._present(source) for source in sources])
        coming = (self._layer(source, layer, sink, repository) for source, layer in zip(sources, here, strict=True))
        layers = await first_error(*coming)
        await asyncio.to_thread(self._put, documents.config_data, documents.manifest_data)
        return stored_image(documents, layers)

    def _put(self, *data: bytes) -> None:
        with storage_errors(self.content.root):
            for one in data:
                self.content.put(one)

    async def _layer(
        self, source: LayerSource, present: Layer | None, sink: Sink, repository: Repository | None
    ) -> Layer:
        """One layer. Nothing is awaited before its flight has begun: so a parent's is known before its child's."""
        if present:
            sink(layer_message("Already exists", source.short))
            return present
        key = f"{source.chain} {source.blob.digest}"
        return await self._flights.share(key, lambda flight: self._bring(flight, source, repository), sink)

    def _present(self, source: LayerSource) -> Layer | None:
        with storage_errors(self.layers.root):
            whole = self.content.has(source.blob.digest) and self.layers.has(source.chain)
            return self.layers.get(source.chain) if whole else None

    async def _bring(self, flight: Flight[Layer], source: LayerSource, repository: Repository | None) -> Layer:
        flight.tell(layer_message("Pulling fs layer", source.short))
        job = _Job(self, flight.tell, source)
        try:
            if repository and not self.content.has(source.blob.digest):
                await job.download(repository)
            layer = await job.unpacked()
        except Exception as error:
            raise storage_error(error, self.layers.root) from error
        flight.tell(layer_message("Pull complete", source.short))
        return layer

    async def parent_settled(self, source: LayerSource) -> None:
        """Wait until the layer below is no longer on its way, whatever became of it."""
        for task in self._flights.working(f"{source.parent} "):
            await asyncio.wait([task])

    def write(self, work: Callable[[], None]) -> asyncio.Future[None]:
        """Run ``work`` in a writer's thread."""
        return asyncio.get_running_loop().run_in_executor(self._writers, work)

    def unpack(self, source: LayerSource, follower: Follower) -> asyncio.Future[Layer]:
        """Unpack what ``follower`` reads, in an unpacker's thread."""
        work = self.layers.unpack
        return asyncio.get_running_loop().run_in_executor(
            self._unpackers, lambda: work(follower, parent=source.parent or None, diff_id=source.diff_id)
        )


def _step_back() -> None:
    """Let the loop's thread go first. Linux keeps niceness by thread, and hands it on to new ones (sched(7))."""
    os.nice(NICENESS)


class _Job:
    """The work of one flight."""

    def __init__(self, fetcher: LayerFetcher, tell: Sink, source: LayerSource) -> None:
        self._fetcher, self._tell, self._source = fetcher, tell, source
        self._loop = asyncio.get_running_loop()
        self._layer: Layer | None = None
        self._downloaded = False
        self._extracting = Meter(self._tell_later, "Extracting", source.short, source.blob.size)

    async def download(self, repository: Repository) -> None:
        """Fetch the blob and unpack it as it comes.

        If it went on where an earlier one broke off, and comes out wrong, it is begun once more, from the beginning.
        """
        if self._fetcher.slots.locked():
            self._say("Waiting")
        async with self._fetcher.slots:
            resumed = await self._download_once(repository)
            if resumed and not self._downloaded:
                await self._download_once(repository)
        if not self._downloaded:
            raise RegistryError(f"filesystem layer verification failed for digest {self._source.blob.digest}")

    async def unpacked(self) -> Layer:
        """The layer; unpacked from the blob in the store where that has not happened on the way."""
        try:
            return self._layer or self._present() or await self._unpack_stored()
        except LinkTargetMissing:
            await self._fetcher.parent_settled(self._source)
            return await self._unpack_stored()

    async def _download_once(self, repository: Repository) -> bool:
        """One try. Wrong bytes leave ``_downloaded`` False; returns whether it began with bytes of an earlier try."""
        ingest = await asyncio.to_thread(self._fetcher.content.ingest, self._source.blob.digest, self._source.blob.size)
        resumed = ingest.offset > 0
        with ingest:  # keeps what came for a later try, unless the disk is full
            try:
                await self._pipeline(repository, ingest)
            except DigestMismatch:
                if self._downloaded:
                    raise  # the blob was right: it is the diff ID that is wrong
        return resumed

    async def _pipeline(self, repository: Repository, ingest: Ingest) -> None:
        """Download, with an unpacker that follows. A damaged archive is left to be told by its digest first."""
        follower = Follower(self._on_read)
        follower.attach(ingest.reader(), ingest.offset)
        unpacking = None if self._present() else self._fetcher.unpack(self._source, follower)
        try:
            await self._receive(repository, ingest, follower, unpacking)
            follower.finish()
            if unpacking:
                self._layer = await _result(unpacking)
        except LinkTargetMissing:
            return
        finally:
            await _ended(unpacking, follower)

    async def _receive(
        self, repository: Repository, ingest: Ingest, follower: Follower, unpacking: asyncio.Future[Layer] | None
    ) -> None:
        blob = self._source.blob
        meter = Meter(self._tell, "Downloading", self._source.short, blob.size)
        writing: asyncio.Future[None] | None = None
        try:
            chunks = repository.blob(blob.digest, blob.size, ingest.offset)
            async with aclosing(chunks), aclosing(batches(chunks)) as received:
                async for batch in received:
                    if writing:
                        await _result(writing)
                    _raise_if_hopeless(unpacking)
                    writing = self._fetcher.write(_writer(ingest, follower, batch))
                    meter.at(ingest.offset)
            if writing:
                await _result(writing)
            meter.show(blob.size)
        finally:
            if writing:
                await settled(writing)
        self._say("Verifying Checksum")
        await self._committed(ingest)
        self._downloaded = True
        self._say("Download complete")

    async def _committed(self, ingest: Ingest) -> None:
        committing = self._fetcher.write(ingest.commit)
        try:
            await _result(committing)
        finally:
            await settled(committing)

    async def _unpack_stored(self) -> Layer:
        self._downloaded = True
        follower = Follower(self._on_read)
        follower.attach(self._fetcher.content.open(self._source.blob.digest), self._source.blob.size)
        follower.finish()
        unpacking = self._fetcher.unpack(self._source, follower)
        try:
            return await _result(unpacking)
        finally:
            await _ended(unpacking, follower)

    def _present(self) -> Layer | None:
        layers = self._fetcher.layers
        return layers.get(self._source.chain) if layers.has(self._source.chain) else None

    def _on_read(self, position: int) -> None:
        """In the unpacker's thread: show how far it is, once the download no longer has the line."""
        if self._downloaded:
            self._extracting.at(position)

    def _tell_later(self, message: Message) -> None:
        self._loop.call_soon_threadsafe(self._tell, message)

    def _say(self, status: str) -> None:
        self._tell(layer_message(status, self._source.short))


def _writer(ingest: Ingest, follower: Follower, batch: bytes) -> Callable[[], None]:
    def write() -> None:
        ingest.write(batch)
        follower.grew(ingest.offset)

    return write


async def _result(future: asyncio.Future[T]) -> T:
    """What ``future`` gives or raises. A cancellation does not reach the thread behind it: it only ends the waiting."""
    await asyncio.wait([future])
    return future.result()


async def _ended(unpacking: asyncio.Future[Layer] | None, follower: Follower) -> None:
    """Stop the unpacker, if it is still at work, and wait for it; then the file can be closed."""
    follower.fail(Stopped())
    if unpacking:
        await settled(unpacking)
        unpacking.exception()  # raised already, or of no interest beside what is
    follower.close()


def _raise_if_hopeless(unpacking: asyncio.Future[Layer] | None) -> None:
    """No need to receive the rest of an archive that is too large, or does not fit on the disk."""
    if unpacking and unpacking.done() and isinstance(error := unpacking.exception(), TooLarge | OSError):
        raise error


async def batches(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of about ``BATCH``: one hand-over to a thread for many small chunks.

    What came before an error is given before the error is raised: it need not be sent again.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= BATCH:
                batch, parts, size = b"".join(parts), [], 0
                yield batch
    except Exception:
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)
