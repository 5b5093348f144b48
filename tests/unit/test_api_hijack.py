"""Connections that a handler takes over: byte for byte, over a real unix socket, with uvicorn on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from waiting import PATIENCE

from minirund.api.hijack import MAX_HEAD, MAX_URL, ClientGone, Together, connection
from minirund.api.responses import Stream, Taken
from minirund.api.server import Server

HEAD = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
TAKE = b"POST /take HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
TAKE_PLAIN = b"POST /take HTTP/1.1\r\nHost: x\r\n\r\n"
TAKE_BODY = b"POST /take HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 4\r\n\r\nbody"
TAKE_BODY_PLAIN = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
TAKE_CHUNKED = b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
TAKE_UPGRADE_CHUNKED = TAKE_CHUNKED.replace(b"Host: x", b"Connection: Upgrade\r\nUpgrade: tcp")
ALL_FORMS = [TAKE, TAKE_PLAIN, TAKE_BODY, TAKE_BODY_PLAIN, TAKE_CHUNKED, TAKE_UPGRADE_CHUNKED]
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


def echo(descriptor: int, body: bytes, unread: bytes) -> None:
    """What a shim does with a connection: read to the end, say what was read."""
    with socket.socket(fileno=descriptor) as sock:
        sock.setblocking(True)
        data = unread
        while part := sock.recv(65536):
            data += part
        sock.sendall(b"<" + body + b"|" + data + b">")


def make_app(before: asyncio.Event | None = None) -> FastAPI:
    app = FastAPI()
    app.state.gone = 0

    @app.post("/take")
    async def take(request: Request) -> Response:
        body = await request.body()
        if before:
            await before.wait()
        try:
            descriptor, unread = await connection(request.scope).take(HEAD)
        except ClientGone:
            app.state.gone += 1
            return Taken()
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, echo, descriptor, body, unread)
        return Taken()

    @app.post("/lazy")
    async def lazy(request: Request) -> Response:
        with contextlib.suppress(ClientGone):
            descriptor, unread = await connection(request.scope).take(HEAD)
            asyncio.get_running_loop().run_in_executor(None, echo, descriptor, b"", unread)
        return Taken()

    @app.get("/ping")
    async def ping() -> Response:
        return Response("OK")

    @app.post("/slow")
    async def slow(request: Request) -> Response:
        if before:
            await before.wait()
        return Response(b"late:" + await request.body())

    return app


@contextlib.asynccontextmanager
async def serving(app: FastAPI, path: Path) -> AsyncIterator[Server]:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    server = Server(app, grace=2)
    ready = asyncio.Event()
    task = asyncio.create_task(server.run_on([sock], ready.set))
    await ready.wait()
    try:
        yield server
    finally:
        server.stop()
        await task


class Client:
    """Raw bytes to and fro."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes, end: bool = False) -> None:
        self.writer.write(data)
        await self.writer.drain()
        if end:
            self.writer.write_eof()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> bytes:
        head = await self.head()
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        return await self.reader.read()


@contextlib.asynccontextmanager
async def client(path: Path) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No error and no warning of the server; no descriptor left open."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    assert [record for record in caplog.get_records("call") if record.levelname in ("WARNING", "ERROR")] == []
    assert len(os.listdir("/proc/self/fd")) <= before


def expected(request: bytes) -> bytes:
    return b"body|" if b"body" in request else b"|"


@pytest.mark.parametrize("request_", ALL_FORMS)
def test_what_lies_behind_the_request_is_kept(path: Path, request_: bytes) -> None:
    async def main() -> None:
        async with serving(make_app(), path), client(path) as one:
            await one.send(request_ + b"GET behind\r\n\r\nmore")
            assert await one.head() == HEAD
            await one.send(b" and more", end=True)
            assert await one.rest() == b"<" + expected(request_) + b"GET behind\r\n\r\nmore and more>"

    asyncio.run(main())


@pytest.mark.parametrize("request_", ALL_FORMS)
def test_every_cut_of_the_segments(path: Path, request_: bytes) -> None:
    async def main() -> None:
        data = request_ + b"\r\n\r\nx"
        async with serving(make_app(), path):
            for cut in range(1, len(data)):
                async with client(path) as one:
                    await one.send(data[:cut])
                    await asyncio.sleep(0.001)
                    await one.send(data[cut:], end=True)
                    assert await one.head() == HEAD
                    assert await one.rest() == b"<" + expected(request_) + b"\r\n\r\nx>", cut

    asyncio.run(main())


def test_bytes_one_at_a_time(path: Path) -> None:
    async def main() -> None:
        async with serving(make_app(), path), client(path) as one:
            for byte in TAKE_CHUNKED + b"abc":
                await one.send(bytes([byte]))
                await asyncio.sleep(0)
            one.writer.write_eof()
            assert await one.head() == HEAD
            assert await one.rest() == b"<body|abc>"

    asyncio.run(main())


@pytest.mark.parametrize("request_", ALL_FORMS)
def test_bytes_that_arrive_while_the_handler_runs(path: Path, request_: bytes) -> None:
    async def main() -> None:
        go = asyncio.Event()
        async with serving(make_app(go), path), client(path) as one:
            await one.send(request_)
            await asyncio.sleep(0.02)
            await one.send(b"x" * 300_000)
            await asyncio.sleep(0.02)
            go.set()
            assert await one.head() == HEAD
            one.writer.write_eof()
            assert len(await one.rest()) == 300_002 + len(expected(request_))

    asyncio.run(main())


@pytest.mark.parametrize("request_", ALL_FORMS)
def test_a_client_that_has_ended_its_side(path: Path, request_: bytes) -> None:
    async def main() -> None:
        go = asyncio.Event()
        async with serving(make_app(go), path), client(path) as one:
            await one.send(request_ + b"in", end=True)
            await asyncio.sleep(0.02)
            go.set()
            assert await one.head() == HEAD
            assert await one.rest() == b"<" + expected(request_) + b"in>"

    asyncio.run(main())


def test_a_loop_of_two_hundred_with_keep_alive_before(path: Path) -> None:
    async def main() -> None:
        async with serving(make_app(), path) as server:
            for turn in range(200):
                async with client(path) as one:
                    await one.send(PING)
                    assert await one.answer() == b"OK"
                    await one.send(PING + PING)
                    assert (await one.answer(), await one.answer()) == (b"OK", b"OK")
                    await one.send(ALL_FORMS[turn % 6] + str(turn).encode(), end=bool(turn % 2))
                    assert await one.head() == HEAD
                    if not turn % 2:
                        one.writer.write_eof()
                    assert await one.rest() == b"<" + expected(ALL_FORMS[turn % 6]) + str(turn).encode() + b">"
            assert (len(server.server_state.connections), len(server.server_state.tasks)) == (0, 0)

    asyncio.run(main())


def test_a_body_that_the_handler_does_not_read_is_dropped(path: Path) -> None:
    async def main() -> None:
        async with serving(make_app(), path), client(path) as one:
            await one.send(b"POST /lazy HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"y" * 50_000)
            await asyncio.sleep(0.02)
            await one.send(b"y" * 50_000 + b"stdin", end=True)
            assert await one.head() == HEAD
            assert await one.rest() == b"<|stdin>"

    asyncio.run(main())


def test_a_client_that_leaves_before_the_takeover(path: Path) -> None:
    async def main() -> None:
        go = asyncio.Event()
        app = make_app(go)
        async with serving(app, path) as server:
            async with client(path) as one:
                await one.send(b"POST /lazy HTTP/1.1\r\nContent-Length: 10\r\n\r\n123")
            async with asyncio.timeout(PATIENCE):
                while server.server_state.connections or server.server_state.tasks:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_pipelined_requests_are_answered_in_order_though_the_client_has_ended(path: Path) -> None:
    async def main() -> None:
        async with serving(make_app(), path), client(path) as one:
            slow = b"POST /slow HTTP/1.1\r\nContent-Length: 1\r\n\r\n"
            await one.send(PING + slow + b"1" + slow + b"2" + PING, end=True)
            assert [await one.answer() for _ in range(4)] == [b"OK", b"late:1", b"late:2", b"OK"]
            assert await one.rest() == b""

    asyncio.run(main())


@contextlib.asynccontextmanager
async def streaming(path: Path, pieces: int) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """A server with a stream at /, of an end of its own: a first piece, and when the first event is set ``pieces`` in
    one go, and a last one. The second event tells that the stream is over."""
    go, over = asyncio.Event(), asyncio.Event()
    app = FastAPI()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"first "
            await go.wait()
            for _ in range(pieces):
                yield b"piece "
            await asyncio.sleep(0)
            yield b"last"
        finally:
            over.set()

    @app.get("/")
    async def stream() -> Response:
        return Stream(body(), "text/plain")

    async with serving(app, path):
        yield go, over


def test_a_stream_ends_when_its_reader_is_gone(path: Path) -> None:
    """Though nothing is to be written, from which one would learn it."""

    async def main() -> None:
        async with streaming(path, 1) as (_, over):
            async with client(path) as one:
                await one.send(b"GET / HTTP/1.0\r\n\r\n")
                assert (await one.reader.readuntil(b"first ")).endswith(b"first ")
            async with asyncio.timeout(PATIENCE):
                await over.wait()

    asyncio.run(main())


def test_a_stream_goes_on_for_a_reader_that_has_ended_its_own_side(path: Path) -> None:
    async def main() -> None:
        async with streaming(path, 1) as (go, _), client(path) as one:
            await one.send(b"GET / HTTP/1.0\r\n\r\n", end=True)
            await one.reader.readuntil(b"first ")
            await asyncio.sleep(0.05)
            go.set()
            assert b"last" in await one.rest()

    asyncio.run(main())


def test_a_reader_that_goes_in_the_midst_of_many_pieces_is_no_cause_for_warnings(path: Path) -> None:
    async def main() -> None:
        async with streaming(path, 100) as (go, over):
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(path))
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")
                await asyncio.sleep(0.05)
                go.set()
            async with asyncio.timeout(PATIENCE):  # closed, and no turn of the event loop since
                await over.wait()

    asyncio.run(main())


def test_a_stop_does_not_touch_what_was_taken_over(path: Path) -> None:
    async def main() -> None:
        async with client_after_stop(path) as one:
            await one.send(b"still here", end=True)
            assert await one.rest() == b"<|still here>"

    @contextlib.asynccontextmanager
    async def client_after_stop(path: Path) -> AsyncIterator[Client]:
        async with contextlib.AsyncExitStack() as stack:
            async with serving(make_app(), path):
                one = await stack.enter_async_context(client(path))
                await one.send(TAKE)
                assert await one.head() == HEAD
            yield one

    asyncio.run(main())


def test_what_is_no_http_is_refused(path: Path) -> None:
    async def refused(data: bytes) -> bytes:
        async with client(path) as one:
            await one.send(data)
            head = await one.head()
            await one.send(b"what it was about to say all the same" * 10000)
            assert b"message" in await one.rest()
            return head

    async def main() -> None:
        async with serving(make_app(), path):
            for data in (
                b"\x16\x03\x01\x02\x00",
                b"GET /ping HTTQ/1.1\r\n\r\n",
                b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD,
                b"GET /" + b"a" * 4 * MAX_URL + b" HTTP/1.1\r\n\r\n",
            ):
                assert (await refused(data)).startswith(b"HTTP/1.1 400 ")

    asyncio.run(main())


def test_a_refused_upgrade_ends_the_connection(path: Path) -> None:
    async def main() -> None:
        async with serving(make_app(), path), client(path) as one:
            await one.send(b"POST /slow HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nstdin, no HTTP")
            assert b"connection: close" in await one.head()
            assert await one.rest() == b"late:"

    asyncio.run(main())


def test_the_descriptor_is_not_inherited_and_the_scope_holds_no_protocol(path: Path) -> None:
    seen: list[Any] = []

    async def main() -> None:
        app = make_app()

        @app.post("/look")
        async def look(request: Request) -> Response:
            one = connection(request.scope)
            descriptor, _ = await one.take(HEAD)
            seen.extend((os.get_inheritable(descriptor), one))
            os.close(descriptor)
            return Taken()

        async with serving(app, path), client(path) as one:
            await one.send(TAKE.replace(b"take", b"look"))
            assert await one.head() == HEAD
            assert await one.rest() == b""
        with pytest.raises(ClientGone):
            await seen[1].take(HEAD)

    asyncio.run(main())
    assert seen[0] is False


class Written(asyncio.Transport):
    """What leaves in one go, piece by piece: a socket would show it as one."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: Any) -> None:
        self.pieces.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.pieces.append(b"closed")


def test_the_head_leaves_with_the_first_of_the_body() -> None:
    async def answer(together: Together) -> None:
        for data in (b"head ", b"body", b"more"):
            together.write(data)

    assert asyncio.run(written_by(answer)) == [b"head body", b"more"]


def test_a_head_alone_does_not_wait_for_a_body() -> None:
    async def answer(together: Together) -> None:
        together.write(b"head")
        await asyncio.sleep(0)
        together.write(b"body")

    assert asyncio.run(written_by(answer)) == [b"head", b"body"]


def test_a_head_without_a_body_is_sent_before_the_end() -> None:
    async def answer(together: Together) -> None:
        together.write(b"head")
        together.close()

    assert asyncio.run(written_by(answer)) == [b"head", b"closed"]


async def written_by(answer: Callable[[Together], Coroutine[Any, Any, None]]) -> list[bytes]:
    below = Written()
    await answer(Together(below))
    await asyncio.sleep(0)
    return below.pieces
