"""/exec: further processes in a running container."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from minirund.api import params, schemas, views
from minirund.api.params import EngineOf, Number, Ref
from minirund.api.responses import Taken, answer
from minirund.api.routers.containers import size_of
from minirund.api.routes import Router
from minirund.api.streams import take_stream
from minirund.errors import InvalidArgument
from minirund.wire import Attach

router = Router(tag="Exec")


@router.post("/containers/{ref}/exec", status_code=201, returns=lambda: schemas.execs.IdResponse)
async def create(engine: EngineOf, ref: Ref, body: schemas.execs.ExecConfig) -> Response:
    """Prepare a process. It starts with ``start``."""
    if not body.Cmd:
        raise InvalidArgument("No exec command specified")
    params.detach_keys(body.DetachKeys)
    return answer({"Id": engine.execs.create(ref, body.plain("Detach", "Container"))}, 201)


@router.post("/exec/{exec_id}/start", responses={101: {"description": "What follows is the stream"}})
async def start(
    request: Request, engine: EngineOf, exec_id: str, body: schemas.execs.ExecStart | None = None
) -> Response:
    """Start it. Unless it is detached, the connection becomes its standard streams."""
    body = body or schemas.execs.ExecStart()
    size = (body.ConsoleSize[0], body.ConsoleSize[1]) if body.ConsoleSize else None
    if size and not body.Tty:
        raise InvalidArgument("console size is only supported when TTY is enabled")
    record = engine.execs.check(exec_id)
    given = record.config
    tty = bool(
        given.get("Tty")
    )  # the process has the terminal that create asked for; start says how to send its output
    if body.Detach:
        await engine.execs.start(record.id, None, None, tty, size)
        return Response()
    descriptor, unread = await take_stream(request, framed=not body.Tty)
    wanted = Attach(
        stdin=bool(given.get("AttachStdin")), stdout=bool(given.get("AttachStdout")),
        stderr=bool(given.get("AttachStderr")), framed=not body.Tty,
        detach_keys=params.detach_keys(given.get("DetachKeys") or ""), unread=unread,
    )  # fmt: skip
    await engine.execs.start(record.id, wanted, descriptor, tty, size)
    return Taken()


@router.post("/exec/{exec_id}/resize")
async def resize(engine: EngineOf, exec_id: str, h: Number = None, w: Number = None) -> Response:
    """Set the size of its terminal."""
    height, width = size_of(h, w)
    engine.execs.resize(exec_id, height, width)
    return Response()


@router.get("/exec/{exec_id}/json", returns=lambda: schemas.execs.ExecInspect)
async def inspect(engine: EngineOf, exec_id: str) -> Response:
    """All about it."""
    return answer(views.exec_inspect(engine.execs.get(exec_id)))
