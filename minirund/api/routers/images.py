"""/images: pull, load, list, inspect, tag, remove."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from starlette.requests import Request
from starlette.responses import Response

from minirund.api import image_views as views
from minirund.api import schemas
from minirund.api.encoding import dump
from minirund.api.params import EngineOf, Filters, Flag, Json, credentials, filters
from minirund.api.protocol import api_version
from minirund.api.responses import Stream, answer, one_line
from minirund.api.routes import LINES, Header, Path, Query, Router
from minirund.errors import InvalidArgument, MinirundError, NotSupported

router = Router("/images", "Images")

ImageName = Annotated[str, Path(description="A name with tag or digest, an ID, or the beginning of one that is unique")]


@router.get("/json", returns=lambda: list[schemas.images.ImageSummary])
async def images(
    request: Request,
    engine: EngineOf,
    all_: Annotated[Flag, Query(alias="all")] = False,
    filters_: Annotated[Filters, Query(alias="filters")] = "",
) -> Response:
    """List images, the newest first."""
    found = engine.images.list(all_, filters(filters_))
    return answer([sized(request, views.summary(image, engine.images.config(image))) for image in found])


def sized(request: Request, view: Json) -> Json:
    """An image's view, for clients before 1.44 with its size under a second name."""
    return view | {"VirtualSize": view["Size"]} if api_version(request) < (1, 44) else view


@router.post("/create", returns=lambda: schemas.images.Progress, responses=LINES)
async def pull(
    engine: EngineOf,
    from_image: Annotated[str, Query(alias="fromImage")] = "",
    from_src: Annotated[str, Query(alias="fromSrc")] = "",
    tag: str = "",
    platform: str = "",
    x_registry_auth: Annotated[str | None, Header(description="AuthConfig, JSON in base64url")] = None,
) -> Response:
    """Pull an image. The answer is its progress, a JSON object a line; one with an ``error`` ends it."""
    if from_src or not from_image:
        raise NotSupported("importing a file system as an image is not offered yet")
    progress = await engine.images.pull(from_image, tag or None, platform or None, credentials(x_registry_auth))
    return Stream(progress_lines(progress), "application/json", endless=True)


@router.post("/load", returns=lambda: schemas.images.Progress, responses=LINES)
async def load(request: Request, engine: EngineOf, platform: str = "") -> Response:
    """Load an archive: docker save's, or an OCI image layout, compressed or not, in the request's body."""
    lines = progress_lines(engine.images.load(request.stream(), platform or None))
    return Stream(await begun(lines), "application/json")


async def begun(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same lines, once the first is there: by then the request's body has been read, and nobody waits for it."""
    first = await anext(lines, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for line in lines:
            yield line

    return whole()


async def progress_lines(progress: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Progress as lines of JSON. An error is the last line: the status is on its way already."""
    try:
        async for line in progress:
            yield dump(line)
    except MinirundError as error:
        message = one_line(str(error))
        yield dump({"errorDetail": {"message": message}, "error": message})


@router.post("/prune", returns=lambda: schemas.images.ImagesPruned)
async def prune(engine: EngineOf, filters_: Annotated[Filters, Query(alias="filters")] = "") -> Response:
    """Remove images without a name; with ``dangling=false``, all that no container uses."""
    removed, freed = await engine.images.prune(filters(filters_))
    return answer({"ImagesDeleted": removed or None, "SpaceReclaimed": freed})


@router.get("/{name:path}/json", returns=lambda: schemas.images.ImageInspect)
async def inspect(request: Request, engine: EngineOf, name: ImageName) -> Response:
    """All about an image."""
    image = engine.images.get(name)
    return answer(sized(request, views.inspect(image, engine.images.config(image))))


@router.get("/{name:path}/history", returns=lambda: list[schemas.images.ImageHistory])
async def history(engine: EngineOf, name: ImageName) -> Response:
    """The steps in which an image was made, the last first."""
    return answer(engine.images.history(engine.images.get(name)))


@router.post("/{name:path}/tag", status_code=201)
async def tag(engine: EngineOf, name: ImageName, repo: str = "", tag: str = "") -> Response:
    """Give an image another name."""
    if not repo:
        raise InvalidArgument("repo is missing: the name to give")
    await engine.images.tag(name, repo, tag)
    return Response(status_code=201)


@router.delete("/{name:path}", returns=lambda: list[schemas.images.ImageDeleted])
async def remove(engine: EngineOf, name: ImageName, force: Flag = False, noprune: Flag = False) -> Response:
    """Remove a name; with its last name, the image."""
    return answer(await engine.images.remove(name, force=force, prune=not noprune))
