"""/_ping, /version, /info, /events, /system/df, /metrics, and /networks, which are read only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from minirund.api import image_views, params, schemas, views
from minirund.api.encoding import dump
from minirund.api.params import EngineOf, Filters, filters
from minirund.api.responses import Stream, answer
from minirund.api.routers.containers import network_ids
from minirund.api.routers.images import sized
from minirund.api.routes import LINES, Query, Router
from minirund.engine.exposition import CONTENT_TYPE
from minirund.errors import InvalidArgument

router = Router(tag="System")

_PING_HEADERS = {
    "Builder-Version": "1",
    "Swarm": "inactive",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
}


@router.get("/_ping")
@router.head("/_ping")
async def ping() -> Response:
    """OK. The headers say which version of the API is spoken."""
    return Response("OK", headers=_PING_HEADERS, media_type="text/plain")


@router.get("/version", returns=lambda: schemas.system.SystemVersion)
async def version(engine: EngineOf) -> Response:
    """Which version runs, on what."""
    return answer(engine.system.version())


@router.get("/info", returns=lambda: schemas.system.Info)
async def info(engine: EngineOf) -> Response:
    """The daemon and its host."""
    return answer(engine.system.info())


@router.get("/events", returns=lambda: schemas.system.Event, responses=LINES)
async def events(
    engine: EngineOf, since: str = "", until: str = "", filters_: Annotated[Filters, Query(alias="filters")] = ""
) -> Response:
    """What happens, as it happens; with ``since``, also what happened."""
    begin, end = params.moment("since", since), params.moment("until", until) or None  # 0: no end
    if begin is not None and end is not None and begin > end:
        raise InvalidArgument("`since` time cannot be after `until` time")
    found = engine.events.stream(begin, end, filters(filters_))
    return Stream(_lines(found), "application/json", endless=True)


async def _lines(found: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for event in found:
        yield dump(event)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(engine: EngineOf) -> Response:
    """Figures of the engine and of every container that runs, for Prometheus."""
    return Response(await engine.metrics.page(), headers={"content-type": CONTENT_TYPE})


@router.get("/system/df", returns=lambda: schemas.system.DiskUsage)
async def disk_usage(request: Request, engine: EngineOf) -> Response:
    """What takes space."""
    used = await engine.system.data_usage()
    network_id = network_ids(engine)
    lines = [views.summary(one, network_id) for one in engine.containers.list(True, None, {})]
    images = [
        sized(request, image_views.summary(one, engine.images.config(one), engine.images.in_use(one.id)))
        | {"SharedSize": used["SharedSize"].get(one.id, 0)}
        for one in engine.images.list(True, {})
    ]
    return answer(
        {
            "LayersSize": used["LayersSize"],
            "Images": images,
            "Containers": [line | {"SizeRw": used["SizeRw"].get(line["Id"], 0)} for line in lines],
            "Volumes": [],
            "BuildCache": [],
        }
    )


@router.get("/networks", returns=lambda: list[schemas.system.Network])
async def networks(engine: EngineOf, filters_: Annotated[Filters, Query(alias="filters")] = "") -> Response:
    """List networks."""
    wanted = filters(filters_)
    return answer([network for network in engine.networks.list() if _passes(network, wanted)])


def _passes(network: Any, wanted: dict[str, list[str]]) -> bool:
    fields = {"name": "Name", "id": "Id", "driver": "Driver", "scope": "Scope"}
    return all(
        any(value in network[fields[name]] for value in values) if name in fields else name not in {"label", "dangling"}
        for name, values in wanted.items()
    )


@router.get("/networks/{ref}", returns=lambda: schemas.system.Network)
async def network(engine: EngineOf, ref: str) -> Response:
    """All about a network."""
    return answer(engine.networks.get(ref))
