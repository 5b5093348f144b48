"""The ways in: pulls from registries, archives, and what both share: threads, connections, layers in flight.

The image database (``images.py``) makes this at the first pull or load: decompressors, the registry protocol and
the readers of archives are a good part of the engine's code, and no start needs them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

from minirund.engine.fetch import LayerFetcher
from minirund.engine.load import Load, Loader
from minirund.engine.pull import Pull, Puller
from minirund.engine.records import Json
from minirund.registry.auth import credentials as to_credentials
from minirund.registry.client import RegistryClient
from minirund.registry.manifest import check_platform, parse_config
from minirund.registry.options import RegistryOptions
from minirund.registry.platform import Platform
from minirund.registry.reference import Reference
from overlayfs.content import ContentStore
from overlayfs.layer import LayerStore


class Incoming:
    """One for a daemon."""

    def __init__(self, content: ContentStore, layers: LayerStore, options: RegistryOptions) -> None:
        self._registry = RegistryClient(options)
        self._fetcher = LayerFetcher(content, layers)
        self._puller, self._loader = Puller(self._registry, self._fetcher), Loader(self._fetcher)

    async def close(self) -> None:
        """End transfers and connections."""
        await self._fetcher.close()
        await self._registry.close()

    async def resolve(self, reference: Reference, platform: Platform | None, credentials: Json | None) -> Pull:
        """Find out what a registry has under this name; see pull.Puller. ``credentials``: an AuthConfig of Docker's."""
        return await self._puller.resolve(reference, platform, to_credentials(credentials))

    def received(
        self, stream: AsyncGenerator[bytes, None], platform: Platform | None
    ) -> AbstractAsyncContextManager[Load]:
        """Take an archive in; see load.Loader."""
        return self._loader.received(stream, platform)


def require_platform(config: bytes, layers: int, wanted: Platform, name: str) -> None:
    """Refuse an image with this configuration for another platform. Raises NotFound, InvalidArgument."""
    check_platform(parse_config(config, layers), wanted, name)
