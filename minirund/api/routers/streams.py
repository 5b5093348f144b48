"""/containers/{id}/attach, /wait and /logs: what goes on while a container runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from minirund.api import params, schemas
from minirund.api.params import EngineOf, Flag, Ref
from minirund.api.responses import Stream, Taken, answer
from minirund.api.routes import Query, Router
from minirund.api.streams import log_lines, media_type, send_all, take_stream, take_wait
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.errors import Conflict, InvalidArgument, NotSupported
from minirund.wire import Attach

router = Router("/containers", "Containers")

CONDITIONS = ("not-running", "next-exit", "removed")
Keys = Annotated[str, Query(alias="detachKeys", description="ctrl-p,ctrl-q")]


@router.post("/{ref}/wait", returns=lambda: schemas.containers.ContainerWait)
async def wait(request: Request, engine: EngineOf, ref: Ref, condition: str = "") -> Response:
    """Answer when the container ends. The head is sent at once, the body when it is so far."""
    condition = condition or CONDITIONS[0]
    if condition not in CONDITIONS:
        raise InvalidArgument(f'invalid condition: "{condition[:80]}"')
    code = engine.containers.exit_code(ref, condition)
    if code is not None:
        return answer({"StatusCode": code})
    before = engine.containers.get(ref)
    descriptor = await take_wait(request)
    await engine.containers.hand_wait(before, condition, descriptor)
    return Taken()


@router.post("/{ref}/attach", responses={101: {"description": "What follows is the stream"}})
async def attach(
    request: Request,
    engine: EngineOf,
    ref: Ref,
    logs: Flag = False,
    stream: Flag = False,
    stdin: Flag = False,
    stdout: Flag = False,
    stderr: Flag = False,
    detach_keys: Keys = "",
) -> Response:
    """Connect to a container's standard streams. The connection becomes the stream, both ways."""
    container = engine.containers.get(ref)
    if container.status is Status.PAUSED:
        raise Conflict(f"container {ref} is paused, unpause the container before attach")
    if container.status is Status.RESTARTING:
        raise Conflict(f"container {ref} is restarting, wait until the container is running")
    keys = params.detach_keys(detach_keys)
    descriptor, unread = await take_stream(request, framed=not container.tty)
    wanted = Attach(
        stdin=stdin and bool(container.config.get("OpenStdin")), stdout=stdout, stderr=stderr,
        framed=not container.tty, detach_keys=keys, unread=unread, logs=logs, stream=stream,
    )  # fmt: skip
    if stream or container.alive:
        await engine.containers.attach(container, wanted, descriptor)
    else:
        await send_all(descriptor, _printed(engine, container, wanted))
    return Taken()


async def _printed(engine: EngineOf, container: Container, wanted: Attach) -> AsyncIterator[bytes]:
    """What a container that has ended has printed, for who attaches to see just that."""
    if wanted.logs and (wanted.stdout or wanted.stderr):
        records = engine.containers.logs(
            container.id, stdout=wanted.stdout, stderr=wanted.stderr, follow=False, since=0.0, until=0.0,
            timestamps=False, tail=None,
        )  # fmt: skip
        async for piece in log_lines(records, wanted.framed, False):
            yield piece


@router.get("/{ref}/attach/ws")
async def attach_websocket(engine: EngineOf, ref: Ref) -> Response:
    """Attach over a WebSocket. Not offered yet."""
    engine.containers.get(ref)
    raise NotSupported("attaching over a WebSocket is not offered yet: use POST /containers/{id}/attach")


@router.get("/{ref}/logs")
async def logs(
    request: Request,
    engine: EngineOf,
    ref: Ref,
    follow: Flag = False,
    stdout: Flag = False,
    stderr: Flag = False,
    since: str = "",
    until: str = "",
    timestamps: Flag = False,
    tail: Annotated[str, Query(description="How many lines from the end, or all")] = "all",
) -> Response:
    """A container's output so far; with ``follow``, also what comes."""
    if not (stdout or stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    container = engine.containers.get(ref)
    framed = not container.tty
    records = engine.containers.logs(
        container.id,
        stdout=stdout,
        stderr=stderr,
        follow=follow,
        since=params.moment("since", since) or 0.0,
        until=params.moment("until", until) or 0.0,
        timestamps=timestamps,
        tail=params.tail(tail),
    )
    return Stream(log_lines(records, framed, timestamps), media_type(request, framed), endless=follow)
