"""/containers: create, list, inspect, and everything that changes a container."""

from __future__ import annotations

from typing import Annotated

from starlette.responses import Response

from minirund.api import schemas, views
from minirund.api.params import EngineOf, Filters, Flag, Number, Ref, filters
from minirund.api.responses import answer, empty
from minirund.api.routes import Query, Router
from minirund.errors import InvalidArgument, NotSupported

router = Router("/containers", "Containers")

Name = Annotated[str, Query(description="[a-zA-Z0-9][a-zA-Z0-9_.-]+; one is made up if it is empty")]
Timeout = Annotated[Number, Query(description="Seconds until the container is killed; -1: never")]
Signal = Annotated[str, Query(description="A name, with or without SIG, or a number")]


@router.post("/create", status_code=201, returns=lambda: schemas.containers.ContainerCreated)
async def create(
    engine: EngineOf, body: schemas.containers.ContainerCreate, name: Name = "", platform: str = ""
) -> Response:
    """Create a container. Fields that the API does not have are named in the warnings."""
    config = body.plain("HostConfig", "NetworkingConfig")
    new_id, warnings = await engine.containers.create(
        name or None, config, body.HostConfig.plain(), body.NetworkingConfig.plain(), platform or None
    )
    unknown = [f"unknown field ignored: {field}" for field in body.unknown()]
    return answer({"Id": new_id, "Warnings": [*warnings, *unknown]}, 201)


@router.post("/{ref}/start", status_code=204, responses={304: {"description": "It runs already"}})
async def start(engine: EngineOf, ref: Ref) -> Response:
    """Start a container."""
    return empty(await engine.containers.start(ref))


@router.delete("/{ref}", status_code=204)
async def remove(engine: EngineOf, ref: Ref, v: Flag = False, force: Flag = False, link: Flag = False) -> Response:
    """Remove a container; ``force`` one that runs, too."""
    if link:
        raise NotSupported("links are not offered")
    await engine.containers.remove(ref, force=force, volumes=v)
    return empty()


@router.get("/json", returns=lambda: list[schemas.containers.ContainerSummary])
async def containers(
    engine: EngineOf,
    all_: Annotated[Flag, Query(alias="all", description="Those that don't run, too")] = False,
    limit: Number = None,
    size: Flag = False,
    filters_: Annotated[Filters, Query(alias="filters")] = "",
) -> Response:
    """List containers, the newest first."""
    wanted = limit if limit and limit > 0 else None
    found = engine.containers.list(all_, wanted, filters(filters_))
    network_id = network_ids(engine)
    lines = [views.summary(container, network_id) for container in found]
    if size:
        sizes = await engine.containers.sizes_of(line["Id"] for line in lines)
        lines = [line for line in lines if line["Id"] in sizes]
        for line in lines:
            line["SizeRw"], line["SizeRootFs"] = sizes[line["Id"]]
    return answer(lines)


def network_ids(engine: EngineOf) -> views.NetworkId:
    """A network's name -> its ID, each looked up once."""
    known = {network["Name"]: network["Id"] for network in engine.networks.list()}
    return lambda name: known.get(name, "")


@router.get("/{ref}/json", returns=lambda: schemas.containers.ContainerInspect)
async def inspect(engine: EngineOf, ref: Ref, size: Flag = False) -> Response:
    """All about a container."""
    container = engine.containers.get(ref)
    view = views.inspect(
        container, network_ids(engine), engine.containers.bundle(container), engine.execs.running_in(container)
    )
    if size:
        view["SizeRw"], view["SizeRootFs"] = await engine.containers.sizes(container.id)
    return answer(view)


@router.post("/{ref}/stop", status_code=204, responses={304: {"description": "It does not run"}})
async def stop(engine: EngineOf, ref: Ref, t: Timeout = None, signal: Signal = "") -> Response:
    """Ask the container to end; kill it after a while."""
    return empty(await engine.containers.stop(ref, timeout=t, signal=signal or None))


@router.post("/{ref}/restart", status_code=204)
async def restart(engine: EngineOf, ref: Ref, t: Timeout = None, signal: Signal = "") -> Response:
    """Stop and start."""
    await engine.containers.restart(ref, timeout=t, signal=signal or None)
    return empty()


@router.post("/{ref}/kill", status_code=204)
async def kill(engine: EngineOf, ref: Ref, signal: Signal = "") -> Response:
    """Send the container's first process a signal."""
    await engine.containers.kill(ref, signal or "SIGKILL")
    return empty()


@router.post("/{ref}/pause", status_code=204)
async def pause(engine: EngineOf, ref: Ref) -> Response:
    """Freeze all processes of a container."""
    await engine.containers.pause(ref)
    return empty()


@router.post("/{ref}/unpause", status_code=204)
async def unpause(engine: EngineOf, ref: Ref) -> Response:
    """Let them go on."""
    await engine.containers.unpause(ref)
    return empty()


@router.post("/{ref}/update", returns=lambda: schemas.containers.ContainerUpdated)
async def update(engine: EngineOf, ref: Ref, body: schemas.containers.ContainerUpdate) -> Response:
    """Change a container's limits and its restart policy, while it runs or not. What is not named stays as it is."""
    unknown = [f"unknown field ignored: {field}" for field in body.unknown()]
    return answer({"Warnings": [*await engine.updates.update(ref, body.plain()), *unknown] or None})


@router.post("/{ref}/rename", status_code=204)
async def rename(engine: EngineOf, ref: Ref, name: str = "") -> Response:
    """Give a container another name."""
    if not name:
        raise InvalidArgument("Neither old nor new names may be empty")
    await engine.containers.rename(ref, name)
    return empty()


@router.post("/{ref}/resize", status_code=200)
async def resize(engine: EngineOf, ref: Ref, h: Number = None, w: Number = None) -> Response:
    """Set the size of a container's terminal."""
    height, width = size_of(h, w)
    engine.containers.resize(ref, height, width)
    return Response()


def size_of(h: int | None, w: int | None) -> tuple[int, int]:
    """Rows and columns. Raises InvalidArgument."""
    for name, value in (("h", h), ("w", w)):
        if value is None:
            raise InvalidArgument(f"{name} is missing: the size of the terminal")
        if not 0 <= value <= 65535:
            raise InvalidArgument(f"invalid value for {name}: {value}: it should be a whole number from 0 to 65535")
    return h or 0, w or 0


@router.get("/{ref}/top", returns=lambda: schemas.containers.ContainerTop)
async def top(engine: EngineOf, ref: Ref, ps_args: str = "-ef") -> Response:
    """The processes in a container, as ps(1) prints them."""
    titles, processes = await engine.containers.top(ref, ps_args or "-ef")
    return answer({"Titles": titles, "Processes": processes})


@router.get("/{ref}/changes", returns=lambda: list[schemas.containers.FilesystemChange])
async def changes(engine: EngineOf, ref: Ref) -> Response:
    """What differs from the image."""
    found = await engine.containers.changes(ref)
    return answer([{"Path": path, "Kind": kind} for kind, path in found] or None)


@router.post("/prune", returns=lambda: schemas.containers.ContainersPruned)
async def prune(engine: EngineOf, filters_: Annotated[Filters, Query(alias="filters")] = "") -> Response:
    """Remove containers that don't run."""
    removed, freed = await engine.containers.prune(filters(filters_))
    return answer({"ContainersDeleted": removed or None, "SpaceReclaimed": freed})
