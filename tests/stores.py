"""A store in a directory, and pulls and loads into it without a daemon around them.

with temporary_store() as store:                       # on /dev/shm; store.root has content/ and layers/
    image, messages = store.pull("127.0.0.1:5000/x")
    images, messages = store.load(docker_archive({"x:1": one}))
    store.check(image)                                 # every blob by its digest, every layer, no leftovers
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from minirund.engine.fetch import LayerFetcher, StoredImage
from minirund.engine.load import LoadedImage, Loader
from minirund.engine.progress import Message, Sink
from minirund.engine.pull import PulledImage, Puller
from minirund.registry.auth import credentials
from minirund.registry.client import RegistryClient
from minirund.registry.options import RegistryOptions
from minirund.registry.platform import Platform, parse_platform
from minirund.registry.reference import parse
from overlayfs.content import ContentStore
from overlayfs.layer import LayerStore

T = TypeVar("T")
PATIENT = RegistryOptions(first_delay=0.0)


async def pieces(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def load(
    loader: Loader, body: AsyncIterator[bytes], sink: Sink, platform: Platform | None = None
) -> list[LoadedImage]:
    """All images of an archive, kept; ``sink`` is told. Raises what ``received`` and ``images`` raise."""
    images = []
    async with loader.received(body, platform) as archive:
        async for image in archive.images(sink):
            images.append(image)
            for message in image.messages():
                sink(message)
    return images


@dataclass
class TemporaryStore:
    """``content`` and ``layers`` under ``root``; each call below has a loop, threads and connections of its own."""

    root: Path
    max_unpacked_size: int | None = None
    options: RegistryOptions = PATIENT

    def __post_init__(self) -> None:
        self.content = ContentStore(self.root / "content")
        self.layers = LayerStore(self.root / "layers", self.max_unpacked_size)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[tuple[Puller, Loader]]:
        fetcher, client = LayerFetcher(self.content, self.layers), RegistryClient(self.options)
        try:
            yield Puller(client, fetcher), Loader(fetcher)
        finally:
            await client.close()
            await fetcher.close()

    def run(self, work: Callable[[Puller, Loader], Awaitable[T]]) -> T:
        async def whole() -> T:
            async with self.working() as (puller, loader):
                return await work(puller, loader)

        return asyncio.run(whole())

    def pull(
        self, name: str, platform: str = "", auth: Mapping[str, Any] | None = None
    ) -> tuple[PulledImage, list[Message]]:
        messages: list[Message] = []

        async def work(puller: Puller, _: Loader) -> PulledImage:
            wanted = parse_platform(platform) if platform else None
            pull = await puller.resolve(parse(name), wanted, credentials(auth))
            return await pull.run(messages.append)

        return self.run(work), messages

    def load(self, data: bytes, platform: str = "") -> tuple[list[LoadedImage], list[Message]]:
        messages: list[Message] = []

        async def work(_: Puller, loader: Loader) -> list[LoadedImage]:
            return await load(loader, pieces(data), messages.append, parse_platform(platform) if platform else None)

        return self.run(work), messages

    def check(self, *images: StoredImage) -> None:
        """The store is sound: blobs are what they are called, layers are whole, nothing is half made."""
        for digest in self.content.digests():
            algorithm, _, digits = digest.partition(":")
            assert hashlib.new(algorithm, self.content.path(digest).read_bytes()).hexdigest() == digits
        names = {path.name for path in self.layers.root.iterdir()} - {"l"}
        assert names == {layer.path.parent.name for layer in self.layers.layers()}
        assert not list((self.root / "content" / "ingest").glob("*.tmp"))
        for image in images:
            assert all(map(self.content.has, image.blobs))
            assert [layer.chain_id for layer in self.chain(image)] == list(image.chain_ids)

    def chain(self, image: StoredImage) -> list[Any]:
        return self.layers.chain(image.chain_ids[-1]) if image.chain_ids else []

    def partials(self) -> list[str]:
        return [path.name for path in (self.root / "content" / "ingest").iterdir()]


@contextmanager
def temporary_store(where: str = "/dev/shm", **options: Any) -> Iterator[TemporaryStore]:
    with tempfile.TemporaryDirectory(prefix="minirund-test-", dir=where) as directory:
        yield TemporaryStore(Path(directory), **options)
