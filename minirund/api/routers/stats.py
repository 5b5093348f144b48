"""/containers/{id}/stats: what a container uses and what it waits for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from starlette.responses import Response

from minirund.api import schemas
from minirund.api.encoding import dump
from minirund.api.params import EngineOf, Flag, Ref
from minirund.api.responses import Stream, answer
from minirund.api.routes import LINES, Query, Router
from minirund.api.stats_view import body
from minirund.engine.records import Container, Json
from minirund.engine.stats import Frame
from minirund.errors import InvalidArgument

router = Router(tag="Containers")

Why = Annotated[Flag, Query(description="Say in words what it waits for, too. minirund's own")]


@router.get("/containers/{ref}/stats", returns=lambda: schemas.stats.ContainerStats, responses=LINES)
async def stats(
    engine: EngineOf,
    ref: Ref,
    stream: Flag = True,
    one_shot: Annotated[Flag, Query(alias="one-shot")] = False,
    why: Why = False,
) -> Response:
    """What a container uses, each second; without ``stream`` once, over a second, or with ``one-shot`` at once.

    A container that doesn't run uses nothing: its figures are zero or not there.
    """
    container = engine.containers.get(ref)
    if stream and one_shot:
        raise InvalidArgument("cannot have stream=true and one-shot=true")
    if stream:
        return Stream(_lines(engine, container, why), "application/json", endless=True)
    frame = await (engine.stats.once(container) if one_shot else engine.stats.pair(container))
    return answer(_body(engine, frame, why))


async def _lines(engine: EngineOf, container: Container, why: bool) -> AsyncIterator[bytes]:
    async for frame in engine.stats.watch(container):
        yield dump(_body(engine, frame, why))


def _body(engine: EngineOf, frame: Frame, why: bool) -> Json:
    return body(frame, engine.system.memory, engine.stats.why(frame) if why else None)
