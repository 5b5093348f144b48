"""An engine in memory, for tests of the API alone: it keeps records, and does nothing to a kernel.

It has the surface of ``minirund.engine.engine.Engine``. A container "runs" until it is told to end; the connections
that the API hands over are kept (``handed``): a test can play the shim. ``served`` puts the real server around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

from minirund import wire
from minirund.api.app import create_app
from minirund.api.server import Server
from minirund.bundle import Bundle
from minirund.engine.lifecycle import Status
from minirund.engine.logs import LogRecord
from minirund.engine.names import new_id
from minirund.engine.records import Container, Exec, Image, Json
from minirund.engine.stats import Frame
from minirund.errors import Conflict, InvalidArgument, NotFound

IMAGE = Image(
    id="sha256:" + "1" * 64, manifest="sha256:" + "2" * 64, layers=("sha256:" + "3" * 64,), size=4_000_000,
    created=1_700_000_000_000_000_000, pulled=1_700_000_000_500_000_000,
    tags=("docker.io/library/busybox:latest",), digests=("docker.io/library/busybox@sha256:" + "2" * 64,),
)  # fmt: skip
IMAGE_CONFIG: Json = {
    "created": "2023-11-14T22:13:20Z", "architecture": "amd64", "os": "linux",
    "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], "Labels": {"a": "b"}},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "4" * 64]},
    "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "ADD", "comment": "made by hand"}],
}  # fmt: skip


class Containers:
    def __init__(self) -> None:
        self.all: dict[str, Container] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.handed: list[tuple[Any, int]] = []
        self.records: list[LogRecord] = []
        self.log_readers = 0

    def bundle(self, container: Container) -> Bundle:
        return Bundle(f"/data/{container.id}", f"/run/{container.id}")

    async def create(
        self, name: str | None, config: Json, host_config: Json, networking: Json, platform: str | None = None
    ) -> tuple[str, list[str]]:
        if config.get("Image") != "busybox":
            raise NotFound(f"No such image: {config.get('Image')}:latest")
        self.calls.append(("create", name, config, host_config, networking, platform))
        ident = new_id()
        self.all[ident] = Container(
            id=ident, name=name or f"name{len(self.all)}", image="busybox", image_id=IMAGE.id, layers=IMAGE.layers,
            config=config, host_config=host_config, args=tuple(config.get("Cmd") or ("sh",)), created=time.time_ns(),
            networking=networking,
        )  # fmt: skip
        return ident, []

    def get(self, ref: str) -> Container:
        for one in self.all.values():
            if ref.removeprefix("/") == one.name or one.id.startswith(ref):
                return one
        raise NotFound(f"No such container: {ref}")

    def change(self, ref: str, **changes: Any) -> None:
        one = self.get(ref)
        self.all[one.id] = one.but(**changes)

    def list(self, all: bool, limit: int | None, filters: dict[str, list[str]]) -> list[Container]:
        self.calls.append(("list", all, limit, filters))
        return [one for one in reversed(self.all.values()) if all or one.alive][:limit]

    async def start(self, ref: str) -> bool:
        if self.get(ref).alive:
            return False
        self.change(ref, status=Status.RUNNING, pid=4242, started=time.time_ns())
        return True

    def end(self, ref: str, code: int) -> None:
        self.change(ref, status=Status.EXITED, exit_code=code, finished=time.time_ns())

    async def stop(self, ref: str, timeout: int | None = None, signal: str | None = None) -> bool:
        self.calls.append(("stop", ref, timeout, signal))
        if not self.get(ref).alive:
            return False
        self.end(ref, 137)
        return True

    async def restart(self, ref: str, timeout: int | None = None, signal: str | None = None) -> None:
        self.calls.append(("restart", self.get(ref).name, timeout, signal))

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        self.calls.append(("kill", self.get(ref).name, signal))

    async def pause(self, ref: str) -> None:
        if not self.get(ref).alive:
            raise Conflict(f"container {ref} is not running")
        self.change(ref, status=Status.PAUSED)

    async def unpause(self, ref: str) -> None:
        self.change(ref, status=Status.RUNNING)

    async def rename(self, ref: str, name: str) -> None:
        self.change(ref, name=name)

    async def remove(self, ref: str, force: bool = False, volumes: bool = False) -> None:
        one = self.get(ref)
        if one.alive and not force:
            raise Conflict("cannot remove container: container is running: stop the container or force remove")
        del self.all[one.id]

    async def prune(self, filters: dict[str, list[str]]) -> tuple[list[str], int]:
        gone = [ident for ident, one in self.all.items() if not one.alive]
        for ident in gone:
            del self.all[ident]
        return gone, 1000

    async def sizes(self, ref: str) -> tuple[int, int]:
        return 12, 4_000_012

    async def sizes_of(self, refs: Iterable[str]) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(refs, (12, 4000012))

    async def attach(self, ref: str, attach: wire.Attach, descriptor: int) -> None:
        self.handed.append((attach, descriptor))

    def exit_code(self, ref: str, condition: str) -> int | None:
        one = self.get(ref)
        return one.exit_code if condition == "not-running" and one.status is Status.EXITED else None

    async def hand_wait(self, ref: str, condition: str, descriptor: int) -> None:
        self.handed.append((condition, descriptor))

    def resize(self, ref: str, height: int, width: int) -> None:
        self.calls.append(("resize", height, width))

    async def top(self, ref: str, ps_args: str) -> tuple[list[str], list[list[str]]]:
        return ["PID", "CMD"], [["1", f"sh {ps_args}"]]

    async def changes(self, ref: str) -> list[tuple[int, str]]:
        return [(0, "/etc"), (1, "/etc/new"), (2, "/bin/gone")]

    async def logs(self, ref: str, **query: Any) -> AsyncIterator[list[LogRecord]]:
        self.calls.append(("logs", query))
        self.log_readers += 1
        try:
            for record in self.records:
                yield [record]
            if query["follow"]:
                await asyncio.Event().wait()
        finally:
            self.log_readers -= 1


class Execs:
    def __init__(self, containers: Containers) -> None:
        self.all: dict[str, Exec] = {}
        self._containers = containers
        self.started: list[tuple[Any, ...]] = []

    def running_in(self, container: Container) -> list[str]:
        return [one.id for one in self.all.values() if one.container_id == container.id and one.running]

    def create(self, ref: str, config: Json) -> str:
        record = Exec(new_id(), self._containers.get(ref).id, config, time.time_ns())
        self.all[record.id] = record
        return record.id

    def get(self, exec_id: str) -> Exec:
        if exec_id not in self.all:
            raise NotFound(f"No such exec instance: {exec_id}")
        return self.all[exec_id]

    def check(self, exec_id: str) -> Exec:
        if self.get(exec_id).started:
            raise Conflict(f"exec command {exec_id} is already running")
        return self.get(exec_id)

    async def start(
        self,
        exec_id: str,
        attach: wire.Attach | None,
        descriptor: int | None,
        tty: bool,
        console_size: tuple[int, int] | None,
    ) -> None:
        self.all[exec_id] = self.all[exec_id].but(started=True, pid=77)
        self.started.append((attach, descriptor, tty, console_size))

    def resize(self, exec_id: str, height: int, width: int) -> None:
        self.get(exec_id)


class Images:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fail_late = False

    def list(self, all: bool, filters: dict[str, list[str]]) -> list[Image]:
        return [IMAGE]

    def get(self, ref: str) -> Image:
        if ref not in {"busybox", "busybox:latest", IMAGE.id, "docker.io/library/busybox"}:
            raise NotFound(f"No such image: {ref}:latest")
        return IMAGE

    def config(self, image: Image) -> Json:
        return IMAGE_CONFIG

    def history(self, image: Image) -> list[Json]:
        return [{"Id": image.id, "Created": 1, "CreatedBy": "ADD", "Tags": None, "Size": 1, "Comment": ""}]

    def in_use(self, image_id: str) -> int:
        return 1

    async def tag(self, ref: str, repo: str, tag: str) -> None:
        self.calls.append(("tag", self.get(ref).id, repo, tag))

    async def remove(self, ref: str, force: bool = False, prune: bool = True) -> list[Json]:
        return [{"Untagged": ref}, {"Deleted": self.get(ref).id}]

    async def pull(self, *wanted: Any) -> AsyncIterator[Json]:
        self.calls.append(("pull", *wanted))
        if wanted[0] == "nope":
            raise NotFound("pull access denied for nope")

        async def progress() -> AsyncIterator[Json]:
            yield {"status": "Pulling from library/busybox", "id": "latest"}
            if self.fail_late:
                raise InvalidArgument("the layer is corrupt")
            yield {"status": "Status: Downloaded newer image for busybox:latest"}

        return progress()

    async def load(self, stream: AsyncIterator[bytes], platform: str | None = None) -> AsyncIterator[Json]:
        size = 0
        async for piece in stream:
            size += len(piece)
        if size == 3:
            raise InvalidArgument("this is no archive")
        yield {"stream": f"Loaded image: busybox:latest ({size})\n"}

    async def prune(self, filters: dict[str, list[str]]) -> tuple[list[Json], int]:
        return [], 0


class Events:
    def __init__(self) -> None:
        self.readers = 0
        self.past: list[Json] = []

    async def stream(
        self, since: float | None, until: float | None, filters: dict[str, list[str]]
    ) -> AsyncIterator[Json]:
        self.readers += 1
        try:
            for event in self.past:
                yield event
            if until is None:
                await asyncio.Event().wait()
        finally:
            self.readers -= 1


class System:
    memory = 1 << 30

    def version(self) -> Json:
        return {"Version": "0.1.0", "ApiVersion": "1.47", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}

    def info(self) -> Json:
        raise RuntimeError("a fault\nin the engine")

    async def data_usage(self) -> Json:
        return {"LayersSize": 5, "SizeRw": {}, "SharedSize": {}}


class Statistics:
    """Frames without readings, two of them for who watches; ``watchers`` are there now."""

    def __init__(self) -> None:
        self.watchers = 0

    async def once(self, container: Container) -> Frame:
        return Frame(container, None, None)

    async def pair(self, container: Container) -> Frame:
        return Frame(container, None, None)

    async def watch(self, container: Container) -> AsyncIterator[Frame]:
        self.watchers += 1
        try:
            yield Frame(container, None, None)
            yield Frame(container, None, None)
            await asyncio.Event().wait()
        finally:
            self.watchers -= 1

    def why(self, frame: Frame) -> list[str]:
        return ["does not run"]


class Networks:
    def list(self) -> list[Json]:
        return [{"Name": name, "Id": name * 4, "Driver": name, "Scope": "local"} for name in ("bridge", "host")]

    def get(self, ref: str) -> Json:
        for network in self.list():
            if ref in {network["Name"], network["Id"]}:
                return network
        raise NotFound(f"network {ref} not found")


class MemoryEngine:
    def __init__(self) -> None:
        self.containers = Containers()
        self.execs = Execs(self.containers)
        self.stats = Statistics()
        self.images, self.events, self.system, self.networks = Images(), Events(), System(), Networks()

    def close_handed(self) -> None:
        for _, descriptor in self.containers.handed:
            os.close(descriptor)
        self.containers.handed.clear()


class Served:
    """The API of an engine in memory, in a thread, on a unix socket."""

    def __init__(self, path: Path) -> None:
        self.path, self.engine = path, MemoryEngine()
        self.server: Server | None = None
        self.tasks_left: set[str] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(self.path))
        sock.listen()
        self.loop = asyncio.get_running_loop()
        self.server = Server(create_app(self.engine), grace=2)  # type: ignore[arg-type]
        await self.server.run_on([sock], self._ready.set)
        await asyncio.sleep(0)
        self.tasks_left = {str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            assert self.server
            self.loop.call_soon_threadsafe(self.server.stop)
            self._thread.join(20)
            assert not self._thread.is_alive()


@contextlib.contextmanager
def served(path: Path) -> Iterator[Served]:
    """A served engine; at the end, nothing of a request may still be there."""
    one = Served(path)
    one.start()
    try:
        yield one
    finally:
        one.stop()
        one.engine.close_handed()
    assert one.tasks_left == set()
