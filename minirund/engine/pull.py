"""An image from a registry into the store.

    pull = await puller.resolve(reference, platform, credentials)   # manifest, platform, configuration: raises 4xx/5xx
    ... answer 200 ...
    image = await pull.run(sink)                                    # layers; what it raises is an error line by now
    sink(pull.status(newer=...))                                    # once the caller has recorded the tag

The layers come side by side (``fetch.py``). Configuration and manifest are stored after all of them: what is found in
the store is complete, and what fails midway leaves whole layers, and partial blobs for the next try, but no image.

Tags and image records are not touched here: ``PulledImage`` is what the image database needs to know.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from minirund.engine.fetch import ImageDocuments, LayerFetcher, StoredImage
from minirund.engine.progress import Message, Sink
from minirund.engine.transfer import storage_errors
from minirund.errors import RegistryError
from minirund.registry import manifest as documents
from minirund.registry.auth import Credentials
from minirund.registry.client import Document, RegistryClient, Repository
from minirund.registry.manifest import Descriptor, Manifest
from minirund.registry.platform import Platform, host
from minirund.registry.reference import Reference
from overlayfs.content import ContentStore


@dataclass(frozen=True)
class PulledImage(StoredImage):
    """A ``StoredImage``, and what the registry calls it."""

    reference: Reference
    digest: str
    """The manifest's digest, or that of the index that led to it."""

    @property
    def repo_digest(self) -> str:
        """``docker.io/library/alpine@sha256:...``."""
        return f"{self.reference.name}@{self.digest}"


class Puller:
    """Makes pulls. One for a daemon: they share connections, threads, and layers that are on their way."""

    def __init__(self, registry: RegistryClient, fetcher: LayerFetcher) -> None:
        self._registry, self._fetcher = registry, fetcher

    async def resolve(
        self, reference: Reference, platform: Platform | None = None, credentials: Credentials | None = None
    ) -> Pull:
        """Find out what ``reference`` is. Nothing of it is stored yet.

        ``platform`` None: the host's, or a single image of whatever architecture. Raises NotFound (no such image, or
        none for the platform), Unauthorized, TooMany, NotSupported (schema 1, no image), RegistryError, EngineError.
        """
        content = self._fetcher.content
        repository = self._registry.repository(reference, credentials)
        top = await repository.manifest(reference.identifier)
        document, parsed = top, documents.parse(top.data, top.media_type)
        if isinstance(parsed, documents.Index):
            document = await _entry(content, repository, documents.choose(parsed, platform or host()))
            parsed = documents.parse(document.data, document.media_type)
        if not isinstance(parsed, Manifest):
            raise RegistryError(f"{reference.familiar()}: an index in an index is not supported")
        config_data = await _configuration(content, repository, parsed.config)
        config = documents.parse_config(config_data, len(parsed.layers))
        documents.check_platform(config, platform, reference.familiar())
        return Pull(self._fetcher, repository, top.digest, ImageDocuments(document.data, parsed, config_data, config))


async def _entry(content: ContentStore, repository: Repository, entry: Descriptor) -> Document:
    stored = await asyncio.to_thread(_stored, content, entry.digest)
    return Document(stored, entry.media_type, entry.digest) if stored else await repository.manifest(entry.digest)


async def _configuration(content: ContentStore, repository: Repository, config: Descriptor) -> bytes:
    if config.size > documents.MAX_CONFIG:
        raise RegistryError(f"image configuration is larger than {documents.MAX_CONFIG >> 20} MiB")
    return await asyncio.to_thread(_stored, content, config.digest) or await repository.blob_bytes(
        config.digest, config.size
    )


def _stored(content: ContentStore, digest: str) -> bytes:
    """A document that is here already (its digest is checked), or b""."""
    with storage_errors(content.root):
        return content.read(digest, documents.MAX_CONFIG) if content.has(digest) else b""


class Pull:
    """One image, resolved, about to be fetched. ``digest`` is what the registry calls it, ``image_id`` what we do."""

    def __init__(
        self, fetcher: LayerFetcher, repository: Repository, digest: str, image_documents: ImageDocuments
    ) -> None:
        self.reference, self.digest = repository.reference, digest
        self.image_id = image_documents.manifest.config.digest
        self._fetcher, self._repository, self._documents = fetcher, repository, image_documents

    async def run(self, sink: Sink) -> PulledImage:
        """Fetch the layers, then store configuration and manifest. Progress goes to ``sink``.

        Cancel it and it stops (a layer that another pull wants too comes all the same). Raises RegistryError (also for
        wrong digests), InvalidArgument (archives that try a trick, or are too large), StorageFull, EngineError.
        """
        sink({"status": f"Pulling from {self.reference.familiar_name}", "id": self.reference.identifier})
        image = await self._fetcher.image(self._documents, sink, self._repository)
        sink({"status": f"Digest: {self.digest}"})
        return PulledImage(**vars(image), reference=self.reference, digest=self.digest)

    def status(self, newer: bool) -> Message:
        """The last message of a pull. ``newer``: the name did not stand for this image before."""
        verb = "Downloaded newer image" if newer else "Image is up to date"
        return {"status": f"Status: {verb} for {self.reference.familiar()}"}
