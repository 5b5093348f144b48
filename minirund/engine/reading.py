"""Containers: what can be asked of them without changing anything. The records answer, the shim, and the files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from minirund.bundle import Bundle
from minirund.engine import logs, processes, spec
from minirund.engine.catalog import Catalog, check_runs
from minirund.engine.filters import Filters, container_filter
from minirund.engine.images import Images
from minirund.engine.preparation import without_own_files
from minirund.engine.records import Container
from minirund.engine.runner import Runner
from minirund.engine.transfer import storage_errors
from minirund.engine.usage import disk_usage
from minirund.errors import NotFound, NotSupported


class Reading:
    """The half of Containers that only looks."""

    def __init__(self, catalog: Catalog, runner: Runner, images: Images) -> None:
        self._catalog, self._runner, self._images = catalog, runner, images

    def get(self, ref: str) -> Container:
        """By ID, name, or the beginning of an ID. Raises NotFound, InvalidArgument."""
        return self._runner.catch_up(self._catalog.find(ref))

    def bundle(self, container: Container) -> Bundle:
        """Its directories, with what is in them."""
        return self._runner.bundle(container)

    async def sizes(self, ref: str) -> tuple[int, int]:
        """Bytes of the read-write layer, and of the whole root file system."""
        container = self.get(ref)
        upper = await asyncio.to_thread(disk_usage, f"{self._runner.bundle(container).rw_path}/upper")
        return upper, upper + sum(self._images.layers.get(chain).size for chain in container.layers)

    async def sizes_of(self, refs: Iterable[str]) -> dict[str, tuple[int, int]]:
        """`sizes` of several. Who is removed meanwhile is not among them."""
        found = {}
        for ref in refs:
            with contextlib.suppress(NotFound):
                found[ref] = await self.sizes(ref)
        return found

    async def top(self, ref: str, ps_args: str) -> tuple[list[str], list[list[str]]]:
        """Its processes as ps shows them: titles and rows. Raises Conflict, InvalidArgument."""
        container = self.get(ref)
        check_runs(container)
        pids = await asyncio.to_thread(self._runner.cgroup(container).processes)
        return await processes.listing(pids, ps_args)

    def logs(
        self,
        ref: str,
        *,
        stdout: bool,
        stderr: bool,
        follow: bool,
        since: float,
        until: float,
        timestamps: bool,
        tail: int | None,
    ) -> AsyncIterator[list[logs.LogRecord]]:
        """What it printed; lines that are read at once come together. ``follow`` goes on until it has ended, also if
        it is started again at once."""
        container = self.get(ref)
        if not spec.logged(container.host_config):
            raise NotSupported("configured logging driver does not support reading")
        query = logs.Query(stdout, stderr, since, until, tail, follow)
        return logs.read(
            self._runner.bundle(container).log_path,
            query,
            lambda: self._end_of(container),
        )

    def _has_ended(self, before: Container) -> bool:
        """Whether what ran when somebody asked runs no more."""
        if before.id not in self._catalog:
            return True
        now = self.get(before.id)
        return not now.alive or now.started != before.started

    def _end_of(self, before: Container) -> str:
        """See ``logs.read``: the end of what ran when somebody asked."""
        if not self._has_ended(before):
            return ""
        now = self._catalog.get(before.id) if before.id in self._catalog else before
        return logs.moment(now.finished / 1e9) if now.started != before.started else logs.ALL

    async def changes(self, ref: str) -> list[tuple[int, str]]:
        """What differs from the image: (0 changed, 1 added, 2 deleted; path)."""
        from overlayfs.diff import changes  # noqa: PLC0415 - readers of archives come along, and no start needs them

        container = self.get(ref)
        upper = f"{self._runner.bundle(container).rw_path}/upper"
        layers = self._images.layers
        lowers = [*(layers.get(chain).path for chain in reversed(container.layers)), layers.points]
        with storage_errors(upper):
            found = await asyncio.to_thread(lambda: list(changes(upper, lowers)))  # type: ignore[arg-type]
        return without_own_files([("CAD".index(change.kind), change.path) for change in found])

    def list(self, all: bool, limit: int | None, filters: Filters) -> list[Container]:
        """Those that run, or all, the newest first."""
        passes = container_filter(filters, self.get, lambda name: self._images.get(name).id)
        everything = all or bool(limit) or any(key in filters for key in ("status", "exited", "before", "since"))
        current = map(self._runner.catch_up, self._catalog.containers())
        found = [one for one in current if (everything or one.active) and passes(one)]
        return found[:limit] if limit else found
