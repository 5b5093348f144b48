"""Images: which names stand for which image, and what may be deleted.

Blobs and layers belong to nobody in particular. What no image's record and no container's record names is garbage, and
``collect`` deletes it, unless something is just being fetched; so removal is one change to the records, and a crash
anywhere leaves at most garbage, which the next collection takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from minirund.engine import damage, removal
from minirund.engine.events import Events
from minirund.engine.filters import Filters, check_keys, labels_pass, truth, until
from minirund.engine.image_records import (
    from_store,
    index_entries,
    name_matches,
    only_names,
    seconds,
    with_name,
    without_name,
)
from minirund.engine.names import by_prefix
from minirund.engine.progress import Message
from minirund.engine.records import Container, Image, Json
from minirund.engine.store import Store
from minirund.errors import InvalidArgument, NotFound
from minirund.registry import reference as names
from minirund.registry.options import RegistryOptions
from minirund.registry.platform import parse_platform
from minirund.registry.reference import Reference
from overlayfs.content import ContentStore
from overlayfs.flush import syncfs
from overlayfs.layer import LayerStore
from overlayfs.mount import PLAIN, VOLATILE, describe

if TYPE_CHECKING:
    from minirund.engine.incoming import Incoming
    from minirund.engine.load import LoadedImage

log = logging.getLogger(__name__)

REMEMBERED = 8  # configurations

Bodies = list[Json]
Chains = list[str]


class Images:
    """The image database, and the ways into it."""

    def __init__(
        self,
        store: Store,
        content: ContentStore,
        layers: LayerStore,
        registries: RegistryOptions,
        events: Events,
        containers: Callable[[], Iterable[Container]],
    ) -> None:
        self._store, self.content, self.layers, self._events = store, content, layers, events
        self._containers = containers
        self._configs: dict[str, bytes] = {}  # read and checked a moment ago: what is made of one image, often is again
        self._images = {record.id: record for record in store.images()}
        self._names = {name: record.id for record in self._images.values() for name in (*record.tags, *record.digests)}
        self._registries = registries
        self._fetching = 0
        self._sweeping = asyncio.Lock()
        """Held while garbage is deleted: what a fetch would find there must not go under its hands."""

    async def close(self) -> None:
        """End transfers and connections."""
        if "_incoming" in self.__dict__:
            await self._incoming.close()

    @cached_property
    def _incoming(self) -> Incoming:
        from minirund.engine.incoming import Incoming  # noqa: PLC0415 - see there

        return Incoming(self.content, self.layers, self._registries)

    # ---- to read ----

    def all(self) -> list[Image]:
        """Every image, the newest first."""
        return sorted(self._images.values(), key=lambda image: image.created, reverse=True)

    def get(self, ref: str) -> Image:
        """By name, digest, ID or the beginning of an ID. Raises NotFound, InvalidArgument."""
        return self._find(ref)[0]

    def _find(self, ref: str) -> tuple[Image, str]:
        """The image, and which of its full names ``ref`` is: "" if it is an ID. A name goes before an ID."""
        shown = ref
        with contextlib.suppress(InvalidArgument):
            reference = names.parse(ref)
            shown, key = reference.familiar(), _key(reference)
            if key in self._names:
                return self._images[self._names[key]], key
        image_id = by_prefix(self._images.keys(), f"sha256:{ref.removeprefix('sha256:')}") if ref else None
        if image_id is not None:
            return self._images[image_id], ""
        if shown is ref and not ref.startswith("sha256:"):
            names.parse(ref)  # says what is wrong with it
        raise NotFound(f"No such image: {shown}")

    def config(self, image: Image) -> Json:
        """The image's configuration, OCI image-spec config.md."""
        if image.id not in self._configs:
            while len(self._configs) >= REMEMBERED:
                del self._configs[next(iter(self._configs))]
            self._configs[image.id] = self.content.read(image.id)
        return json.loads(self._configs[image.id])  # type: ignore[no-any-return]

    def check_platform(self, image: Image, wanted: str | None, name: str) -> None:
        """Refuse one for another platform. Raises NotFound (a client then pulls the right one), InvalidArgument."""
        if wanted:
            from minirund.engine.incoming import require_platform  # noqa: PLC0415 - see there

            require_platform(self.content.read(image.id), len(image.layers), parse_platform(wanted), name)

    def history(self, image: Image) -> Bodies:
        """Docker's history: the newest first; only layers that are not empty have a size."""
        sizes = iter([self.layers.get(chain).size for chain in image.layers])
        rows = [
            {
                "Id": "<missing>", "Created": seconds(entry.get("created")), "CreatedBy": entry.get("created_by") or "",
                "Tags": None, "Size": 0 if entry.get("empty_layer") else next(sizes, 0),
                "Comment": entry.get("comment") or "",
            }
            for entry in self.config(image).get("history") or [{} for _ in image.layers]
        ]  # fmt: skip
        rows.reverse()
        if rows:
            rows[0] |= {"Id": image.id, "Tags": [names.parse(tag).familiar() for tag in image.tags] or None}
        return rows

    def users(self, image: Image) -> tuple[Container, ...]:
        """The containers made from it."""
        return tuple(container for container in self._containers() if container.image_id == image.id)

    def in_use(self, image_id: str) -> int:
        """How many containers were made from it."""
        return sum(container.image_id == image_id for container in self._containers())

    def rootfs(self, chain_ids: Iterable[str], rw: str, volatile: bool) -> Json:
        """How a container's root file system is put together, as the bundle says it. ``volatile``: one that a power cut
        takes anyhow, so that nothing in it need be synced."""
        layers = [self.layers.get(chain) for chain in chain_ids]
        return describe(self.layers.root, layers, rw, extra=(*PLAIN, *[VOLATILE] * volatile), points=True).to_json()

    # ---- names ----

    async def tag(self, ref: str, repo: str, tag: str) -> None:
        """Give an image a further name. Raises NotFound, InvalidArgument."""
        reference = names.combine(repo, tag)
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        image = self.get(ref)
        self._name(image.id, str(reference))
        self._events.image("tag", image.id, reference.familiar())
        await self._store.synced()

    def _name(self, image_id: str, name: str) -> None:
        """Make ``name`` stand for this image, and for no other."""
        with self._together():
            old = self._images.get(self._names.get(name, ""))
            if old is not None and old.id != image_id:
                self._put(without_name(old, name))
            self._put(with_name(self._images[image_id], name))
        self._write_index()

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Changes that are saved together, or are none in memory either. Nothing may be awaited inside."""
        before = dict(self._images), dict(self._names)
        try:
            with self._store.transaction():
                yield
        except BaseException:
            self._images, self._names = before
            raise

    def _put(self, image: Image) -> None:
        self._store.put(image)
        self._place(image)

    def _place(self, image: Image) -> None:
        for name in (*image.tags, *image.digests):
            self._names[name] = image.id
        self._images[image.id] = image

    def _record(self, fresh: Image) -> None:
        """Save what came in; an image that was here keeps its names."""
        old = self._images.get(fresh.id)
        self._put(fresh if old is None else fresh.but(tags=old.tags, digests=old.digests))

    def _write_index(self) -> None:
        """For others who read the store; the database is what counts, so a full disk does not undo a change."""
        try:
            self.content.write_index([entry for image in self.all() for entry in index_entries(image)])
        except OSError as error:
            log.warning("index.json is not up to date: %s", error)

    # ---- in ----

    async def pull(
        self, name: str, tag: str | None, platform: str | None, credentials: Json | None
    ) -> AsyncIterator[Message]:
        """Pull; awaited it has found the manifest, iterated it yields progress. What fails later raises there."""
        wanted = parse_platform(platform) if platform else None
        pull = await self._incoming.resolve(names.combine(name, tag or ""), wanted, credentials)

        async def run(sink: Callable[[Message], None]) -> None:
            found = await pull.run(sink)
            name = str(found.reference) if found.reference.tag and not found.reference.digest else found.repo_digest
            newer = self._names.get(name) != found.id
            image = from_store(found, await asyncio.to_thread(self._settled, found.id))
            with self._together():
                self._record(image)
                self._name(found.id, found.repo_digest)
                self._name(found.id, name)
            await self._store.synced()
            self._events.image("pull", found.reference.familiar(), found.reference.familiar_name)
            sink(pull.status(newer))

        return self._streamed(run)

    def load(self, stream: AsyncGenerator[bytes, None], platform: str | None = None) -> AsyncIterator[Message]:
        """Load an archive, ``docker save``'s or an OCI layout; yields messages."""
        receiving = self._incoming.received(stream, parse_platform(platform) if platform else None)

        async def run(sink: Callable[[Message], None]) -> None:
            async with receiving as archive:
                async for loaded in archive.images(sink):
                    await self._take_in(loaded)
                    for message in loaded.messages():
                        sink(message)

        return self._streamed(run)

    async def _take_in(self, loaded: LoadedImage) -> None:
        self._record(from_store(loaded, await asyncio.to_thread(self._settled, loaded.id)))
        for reference in loaded.names:
            self._name(loaded.id, str(reference))
            self._events.image("load", loaded.id, loaded.id)
        self._write_index()
        await self._store.synced()

    def _settled(self, digest: str) -> bytes:
        """An image's configuration, when it and all else of the image is on the disk: then it may be recorded."""
        config = self.content.read(digest)
        root = os.open(self.content.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(root)
        finally:
            os.close(root)
        return config

    async def _streamed(self, run: Callable[[Callable[[Message], None]], Any]) -> AsyncIterator[Message]:
        """The messages of ``run(sink)`` as they come; it is cancelled when the reader goes."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue()
        async with self._sweeping:
            self._fetching += 1
        task = asyncio.ensure_future(run(queue.put_nowait))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (message := await queue.get()) is not None:
                yield message
            await task
        finally:
            task.cancel()
            with contextlib.suppress(BaseException):
                await task
            self._fetching -= 1

    # ---- out ----

    async def remove(self, ref: str, force: bool = False, prune: bool = True) -> Bodies:
        """Take a name away, and the image with its last one; see removal.py. Raises NotFound, Conflict."""
        image, name = self._find(ref)
        users = self.users(image)
        plan = removal.by_name(image, name, ref, users, force) if name else removal.by_id(image, users, force)
        gone = [{"Untagged": names.parse(one).familiar()} for one in plan.names]
        image = self._untag(image, plan.names)
        await self._store.synced()
        return gone + (await self._delete(image) if plan.image and not users else [])

    def _untag(self, image: Image, gone: Iterable[str]) -> Image:
        for name in gone:
            image = without_name(image, name)
            self._names.pop(name, None)
            self._events.image("untag", image.id, image.id)
        self._store.settle(image)
        self._place(image)
        self._write_index()
        return image

    async def _delete(self, image: Image) -> Bodies:
        """Delete an image that has no name and no container any more."""
        self._store.delete(image)
        del self._images[image.id]
        self._events.image("delete", image.id, image.id)
        await self._store.synced()  # first the record, then what it names: nothing is listed that has gone
        gone = [{"Deleted": image.id}, *({"Deleted": chain} for chain in await self.collect())]
        self._write_index()  # last: on a full disk there is room again
        return gone

    async def drop_damaged(self) -> None:
        """Take images off the list whose files are not all there; one that containers are made of keeps its record.

        Where no layer is left at all, a disk is more likely not mounted than all lost: nothing is dropped then.
        """
        images = self.all()
        if images and not await asyncio.to_thread(self.layers.layers):
            log.error("%s holds no layer of %d images: is a disk not mounted?", self.layers.root, len(images))
            return
        for image in images:
            if what := await asyncio.to_thread(damage.found, image, self.content, self.layers):
                shown = ", ".join((*image.tags, *image.digests)) or image.id
                log.error("image %s is damaged and no longer listed; pull or load it again: %s", shown, what)
                left = self._untag(image, (*image.tags, *image.digests))
                if not self.users(left):
                    await self._delete(left)

    async def prune(self, filters: Filters) -> tuple[Bodies, int]:
        """Remove images without a name (or, with dangling=false, all) that no container uses: what went, and bytes."""
        check_keys(filters, {"dangling", "until", "label", "label!"})
        everything, before = not truth(filters, "dangling", True), until(filters)
        gone: Bodies = []
        freed = 0
        for image in self.all():
            if (everything or not image.tags) and not self.users(image) and image.created < before \
                    and labels_pass(filters, self._labels(image)):  # fmt: skip
                freed += image.size
                gone += [{"Untagged": names.parse(name).familiar()} for name in (*image.tags, *image.digests)]
                gone += await self._delete(self._untag(image, (*image.tags, *image.digests)))
        await asyncio.to_thread(self.content.sweep, partials=True)  # downloads that broke off, and were not resumed
        self._events.prune("image", freed)
        return gone, freed

    async def collect(self) -> Chains:
        """Delete layers and blobs that nothing names: the layers' chain IDs. Waits for the next time during a pull."""
        async with self._sweeping:
            if self._fetching:
                return []
            layers = {chain for container in self._containers() for chain in container.layers}
            layers |= {chain for image in self._images.values() for chain in image.layers}
            blobs = {digest for image in self._images.values() for digest in image.blobs}
            return await asyncio.to_thread(self._sweep, layers, blobs)

    def _sweep(self, layers: set[str], blobs: set[str]) -> Chains:
        gone = []
        garbage = [layer for layer in self.layers.layers() if layer.chain_id not in layers]
        while leaves := [one for one in garbage if not any(other.parent == one.chain_id for other in garbage)]:
            for layer in leaves:
                self.layers.remove(layer.chain_id)
                gone.append(layer.chain_id)
                garbage.remove(layer)
        for digest in tuple(self.content.digests()):
            if digest not in blobs:
                self.content.delete(digest)
        return gone

    def list(self, all: bool, filters: Filters) -> list[Image]:
        """The images that pass, the newest first. Raises InvalidArgument."""
        check_keys(filters, {"reference", "dangling", "label", "label!", "before", "since", "until"})
        patterns = filters.get("reference") or ()
        first = max((self.get(ref).created for ref in filters.get("since") or ()), default=-1)
        last = min([until(filters), *(self.get(ref).created for ref in filters.get("before") or ())])
        dangling = truth(filters, "dangling", None)
        found = [image for image in self.all() if first < image.created < last
                 and (dangling is None or dangling is not bool(image.tags))
                 and labels_pass(filters, self._labels(image))]  # fmt: skip
        if not patterns:
            return found
        shown = (only_names(image, lambda name: name_matches(name, patterns)) for image in found)
        return [image for image in shown if image.tags or image.digests]

    def _labels(self, image: Image) -> dict[str, str] | None:
        return (self.config(image).get("config") or {}).get("Labels")


def _key(reference: Reference) -> str:
    """A name as the records have it: with its digest if it has one, else with its tag."""
    return f"{reference.name}@{reference.digest}" if reference.digest else str(reference)
