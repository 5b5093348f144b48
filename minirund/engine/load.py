"""Images from an archive into the store: what ``docker save`` writes, and OCI image layouts; plain or compressed.

    async with loader.received(body) as archive:     # spooled and looked through: raises InvalidArgument, StorageFull
        async for image in archive.images(sink):     # each in the store when it comes: record it, then
            ... image.messages()                     # "Loaded image: busybox:latest"

    manifest.json   [{"Config": path, "RepoTags": [...], "Layers": [path, ...]}, ...]                   docker save
    index.json      descriptors -> (index ->) manifest -> configuration, layers; all in blobs/<algorithm>/<hex>     OCI

Where there are both, manifest.json is used, as Docker does. Every blob must be what its digest or its diff ID says.
``docker save`` has no manifest: one is made, always the same for the same contents, so that the store stays an OCI
layout. Sources: Docker image spec v1.2 "Combined Image JSON"; OCI image-spec image-layout.md, annotations.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirund.engine.fetch import ImageDocuments, LayerFetcher, StoredImage, batches
from minirund.engine.progress import Message, Sink
from minirund.engine.transfer import settled, storage_errors
from minirund.errors import InvalidArgument, RegistryError
from minirund.registry import manifest as oci
from minirund.registry.manifest import Descriptor, Index, Manifest
from minirund.registry.platform import Platform, host
from minirund.registry.reference import Reference, parse
from overlayfs.archive import read_archive
from overlayfs.errors import DigestMismatch

MAX_DOCUMENT = oci.MAX_CONFIG
CHUNK = 1 << 20
MAX_DEPTH = 4  # indexes in indexes
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_MAGIC = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_LAYER_TYPES = {"": oci.OCI_LAYER, "gzip": f"{oci.OCI_LAYER}+gzip", "zstd": f"{oci.OCI_LAYER}+zstd"}


@dataclass(frozen=True)
class LoadedImage(StoredImage):
    """A ``StoredImage``, and the names that the archive gives it; none for an image without a tag."""

    names: tuple[Reference, ...]

    def messages(self) -> list[Message]:
        """What Docker says of it: a line a name, or one with its ID."""
        lines = [f"Loaded image: {name.familiar()}" for name in self.names] or [f"Loaded image ID: {self.id}"]
        return [{"stream": f"{line}\n"} for line in lines]


@dataclass(frozen=True)
class _Found:
    """An image of the archive: its documents, where its layers are, its names."""

    documents: ImageDocuments
    paths: tuple[Path, ...]
    names: tuple[Reference, ...]


class Loader:
    """Makes loads. One for a daemon."""

    def __init__(self, fetcher: LayerFetcher) -> None:
        self._fetcher = fetcher

    @asynccontextmanager
    async def received(self, body: AsyncIterator[bytes], platform: Platform | None = None) -> AsyncIterator[Load]:
        """Take in the archive. ``platform`` is which one to take of an index, and which others must be.

        Raises InvalidArgument (no image archive, a damaged one), NotFound (nothing for the platform), StorageFull.
        """
        layers, undo = self._fetcher.layers, ExitStack()
        try:
            with storage_errors(layers.root):
                scratch = await asyncio.to_thread(undo.enter_context, layers.scratch())
                async with aclosing(batches(body)) as received:
                    archive = Archive(await _spread(received, scratch, layers.max_unpacked_size))
            found = await asyncio.to_thread(find_images, archive, platform)
            yield Load(self._fetcher, archive, found)
        finally:
            await asyncio.to_thread(undo.close)


async def _spread(received: AsyncGenerator[bytes, None], scratch: Path, limit: int | None) -> dict[str, Path]:
    """Run ``read_archive`` in a thread; cancelled, it ends before this returns."""
    reader = BodyReader(received)
    work = asyncio.ensure_future(asyncio.to_thread(read_archive, reader, scratch, limit))
    try:
        return await asyncio.shield(work)
    finally:
        reader.stop()
        await settled(work)


class BodyReader:
    """An asynchronous stream, for a thread to read: each ``read`` has the loop fetch the next piece."""

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        self._pieces, self._loop = pieces, asyncio.get_running_loop()
        self._left = memoryview(b"")
        self._asked: asyncio.Task[bytes] | None = None  # known to the loop's thread only
        self._stopped = False

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end. Raises what the stream raises, and CancelledError after ``stop``."""
        if not self._left and not self._stopped:
            self._left = memoryview(asyncio.run_coroutine_threadsafe(self._next(), self._loop).result())
        data, self._left = bytes(self._left[:size]), self._left[size:]
        return data

    def stop(self) -> None:
        """The reading thread shall end: it gets no more. To be called in the loop's thread."""
        self._stopped = True
        if self._asked:
            self._asked.cancel()

    async def _next(self) -> bytes:
        """The next piece that is not empty: an empty one would mean the end."""
        self._asked = asyncio.current_task()
        if not self._stopped:
            async for piece in self._pieces:
                if piece:
                    return piece
        return b""


class Archive:
    """The files of an archive by name, spread in a directory. A name is looked up, never opened."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def __contains__(self, name: str) -> bool:
        return posixpath.normpath(name) in self._files

    def path(self, name: str) -> Path:
        """Raises InvalidArgument if there is no such file."""
        path = self._files.get(posixpath.normpath(name))
        if path is None:
            raise InvalidArgument(f"invalid image archive: it has no {name[:200]!r}")
        return path

    def read(self, name: str) -> bytes:
        """All of a small file. Raises InvalidArgument."""
        with self.path(name).open("rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
        if len(data) > MAX_DOCUMENT:
            raise InvalidArgument(f"invalid image archive: {name[:200]!r} is larger than {MAX_DOCUMENT >> 20} MiB")
        return data


class Load:
    """An archive that was received and understood."""

    def __init__(self, fetcher: LayerFetcher, archive: Archive, found: list[_Found]) -> None:
        self._fetcher, self._archive, self._found = fetcher, archive, found

    async def images(self, sink: Sink) -> AsyncGenerator[LoadedImage, None]:
        """Store one image after the other; each is yielded when all of it is there.

        Raises InvalidArgument (wrong digests, bad layers, too large), StorageFull, EngineError.
        """
        for found in self._found:
            try:
                await asyncio.to_thread(self._take_blobs, found)
                image = await self._fetcher.image(found.documents, _as_load(sink))
            except RegistryError as error:  # there was no registry: it is the archive that is wrong
                raise InvalidArgument(f"invalid image archive: {error}") from error
            yield LoadedImage(**vars(image), names=found.names)

    def _take_blobs(self, found: _Found) -> None:
        content = self._fetcher.content
        for descriptor, path in zip(found.documents.manifest.layers, found.paths, strict=True):
            if content.has(descriptor.digest):
                continue
            with (
                storage_errors(content.root),
                path.open("rb") as file,
                content.ingest(descriptor.digest, descriptor.size, resumable=False) as ingest,
            ):
                while chunk := file.read(CHUNK):
                    ingest.write(chunk)
                ingest.commit()


def _as_load(sink: Sink) -> Sink:
    """A pull's messages in a load's words."""

    def told(message: Message) -> None:
        if message.get("status") == "Extracting":
            sink({**message, "status": "Loading layer"})

    return told


def find_images(archive: Archive, platform: Platform | None) -> list[_Found]:
    """Everything that the archive offers. Raises InvalidArgument, NotFound."""
    try:
        if "manifest.json" in archive:
            return _docker_images(archive, platform)
        if "index.json" in archive:
            return _oci_images(archive, platform)
    except RegistryError as error:
        raise InvalidArgument(f"invalid image archive: {error}") from error
    raise InvalidArgument("invalid image archive: it has neither manifest.json nor index.json")


# --- docker save -----------------------------------------------------------------------------------------------------


def _docker_images(archive: Archive, platform: Platform | None) -> list[_Found]:
    items = _json(archive, "manifest.json")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidArgument("invalid image archive: manifest.json is no list of images")
    return [_docker_image(archive, item, platform) for item in items]


def _docker_image(archive: Archive, item: dict[str, Any], platform: Platform | None) -> _Found:
    paths, config_path = item.get("Layers") or [], item.get("Config")
    if not isinstance(config_path, str) or not _is_texts(paths):
        raise InvalidArgument("invalid image archive: manifest.json has an image without Config or Layers")
    config_data = archive.read(config_path)
    files = tuple(archive.path(path) for path in paths)
    config = oci.parse_config(config_data, len(files))
    layers = tuple(_described(*both) for both in zip(files, config.diff_ids, strict=True))
    described = Descriptor(oci.OCI_CONFIG, _sha256(config_data), len(config_data))
    manifest = Manifest(oci.OCI_MANIFEST, described, layers)
    names = _names(item.get("RepoTags") or [])
    oci.check_platform(config, platform, str(names[0]) if names else described.digest)
    return _Found(ImageDocuments(manifest_bytes(manifest), manifest, config_data, config), files, names)


def _described(path: Path, diff_id: str) -> Descriptor:
    """A layer as it lies in the archive. A plain tar must have its diff ID for a digest, others are what they are."""
    with path.open("rb") as file:
        head = file.read(4)
        packed = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
        file.seek(0)
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" if packed else diff_id
    return Descriptor(_LAYER_TYPES[packed], digest, path.stat().st_size)


def manifest_bytes(manifest: Manifest) -> bytes:
    """The OCI manifest of these descriptors; equal ones give equal bytes."""
    described = [
        {"mediaType": one.media_type, "digest": one.digest, "size": one.size}
        for one in (manifest.config, *manifest.layers)
    ]
    whole = {"schemaVersion": 2, "mediaType": manifest.media_type, "config": described[0], "layers": described[1:]}
    return json.dumps(whole, separators=(",", ":")).encode()


# --- OCI image layout ------------------------------------------------------------------------------------------------


def _oci_images(archive: Archive, platform: Platform | None) -> list[_Found]:
    """One image for each name in index.json, or for each entry without one; of several platforms the fitting one."""
    index = oci.parse(archive.read("index.json"), oci.OCI_INDEX)
    if not isinstance(index, Index):
        raise InvalidArgument("invalid image archive: index.json is no index")
    by_name: dict[tuple[Reference, ...] | str, list[Descriptor]] = {}
    for entry in index.manifests:
        names = _names([text for text in map(entry.annotations.get, NAME_ANNOTATIONS) if text and _is_name(text)][:1])
        by_name.setdefault(names or ("" if entry.platform else entry.digest), []).append(entry)
    return [
        _oci_image(archive, entries[0] if len(entries) == 1 else _chosen(entries, platform), platform, names)
        for names, entries in by_name.items()
    ]


def _chosen(entries: list[Descriptor], platform: Platform | None) -> Descriptor:
    return oci.choose(Index(oci.OCI_INDEX, tuple(entries)), platform or host())


def _oci_image(
    archive: Archive, entry: Descriptor, platform: Platform | None, names: tuple[Reference, ...] | str
) -> _Found:
    data = _blob(archive, entry)
    parsed = oci.parse(data, entry.media_type)
    for _ in range(MAX_DEPTH):
        if isinstance(parsed, Manifest):
            break
        entry = _chosen(list(parsed.manifests), platform)
        data = _blob(archive, entry)
        parsed = oci.parse(data, entry.media_type)
    if not isinstance(parsed, Manifest):
        raise InvalidArgument(f"invalid image archive: more than {MAX_DEPTH} indexes, one in the other")
    config_data = _blob(archive, parsed.config)
    config = oci.parse_config(config_data, len(parsed.layers))
    named = names if isinstance(names, tuple) else ()
    oci.check_platform(config, platform, str(named[0]) if named else parsed.config.digest)
    paths = tuple(archive.path(_blob_path(layer)) for layer in parsed.layers)
    return _Found(ImageDocuments(data, parsed, config_data, config), paths, named)


def _is_name(text: str) -> bool:
    """A bare word, as skopeo writes for a tag without a name, is no name."""
    return ":" in text or "/" in text


def _blob_path(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.replace(':', '/')}"


def _blob(archive: Archive, descriptor: Descriptor) -> bytes:
    """A document of the layout, checked against its digest."""
    data = archive.read(_blob_path(descriptor))
    algorithm, _, digits = descriptor.digest.partition(":")
    actual = hashlib.new(algorithm, data).hexdigest()
    if actual != digits:
        raise InvalidArgument(f"invalid image archive: {DigestMismatch(descriptor.digest, f'{algorithm}:{actual}')}")
    return data


# --- both ------------------------------------------------------------------------------------------------------------


def _names(texts: Any) -> tuple[Reference, ...]:
    """Names as references."""
    if not _is_texts(texts):
        raise InvalidArgument("invalid image archive: an image's names are not text")
    return tuple(map(parse, texts))


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _json(archive: Archive, name: str) -> Any:
    try:
        return json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"invalid image archive: {name} is not JSON: {error}") from None


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
