"""Shared work, and a file that is read while it is written."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from minirund.engine.progress import Message, Meter, Sink, amount_message, bar, human_size, layer_message, short_id
from minirund.engine.transfer import (
    WINDOW,
    Flight,
    Flights,
    Follower,
    Stopped,
    first_error,
    settled,
    storage_error,
)
from minirund.errors import EngineError, InvalidArgument, NotFound, RegistryError, StorageFull
from overlayfs.errors import BadArchive, BlobMissing, DigestMismatch, TooLarge


def ignored(message: Message) -> None:
    """A sink for who does not listen."""


Work = Callable[[Flight[int]], Coroutine[Any, Any, int]]


def test_two_who_want_the_same_share_the_work_and_both_hear_of_it() -> None:
    async def run() -> None:
        flights: Flights[int] = Flights()
        go, begun, heard = asyncio.Event(), 0, ([], [])  # type: ignore[var-annotated]

        async def work(flight: Flight[int]) -> int:
            nonlocal begun
            begun += 1
            flight.tell({"status": "one"})
            await go.wait()
            flight.tell({"status": "two"})
            return 7

        first = asyncio.create_task(flights.share("k", work, heard[0].append))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.create_task(flights.share("k", work, heard[1].append))
        await asyncio.sleep(0)
        go.set()
        assert await asyncio.gather(first, second) == [7, 7]
        assert begun == 1
        assert heard[0] == heard[1] == [{"status": "one"}, {"status": "two"}]

    asyncio.run(run())


def test_the_work_ends_when_the_last_who_waits_has_gone() -> None:
    async def run() -> None:
        flights: Flights[int] = Flights()
        ended = []

        async def work(flight: Flight[int]) -> int:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                ended.append(True)
            return 0

        tasks = [asyncio.create_task(flights.share("k", work, ignored)) for _ in range(2)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        assert not ended
        assert flights.working("k")
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert ended, "cancelled as the last, share returns when the work has stopped"
        assert not flights.working("k")

    asyncio.run(run())


def test_who_comes_while_cancelled_work_is_still_ending_begins_anew() -> None:
    async def run() -> None:
        flights: Flights[int] = Flights()
        begun = []

        async def work(flight: Flight[int]) -> int:
            begun.append(True)
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)
                raise
            return len(begun)

        first = asyncio.create_task(flights.share("k", work, ignored))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.01)
        assert await flights.share("k", work, ignored) == 2

    asyncio.run(run())


def test_a_failure_reaches_everyone_and_the_next_begins_anew() -> None:
    async def run() -> None:
        flights: Flights[int] = Flights()

        async def fail(flight: Flight[int]) -> int:
            await asyncio.sleep(0)
            raise NotFound("x")

        async def succeed(flight: Flight[int]) -> int:
            return 1

        results = await asyncio.gather(*(flights.share("k", fail, ignored) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [NotFound] * 3
        assert await flights.share("k", succeed, ignored) == 1

    asyncio.run(run())


def test_the_first_failure_ends_the_rest_before_it_is_raised() -> None:
    async def run() -> None:
        ended = []

        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                ended.append(True)

        async def fail() -> None:
            await asyncio.sleep(0.01)
            raise NotFound("x")

        with pytest.raises(NotFound):
            await first_error(slow(), fail(), slow())
        assert ended == [True, True]
        assert await first_error() == []

    asyncio.run(run())


def test_settled_outlasts_a_cancellation() -> None:
    async def run() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(settled(future))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        future.set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


@pytest.fixture
def growing(tmp_path: Path) -> Path:
    path = tmp_path / "growing"
    path.write_bytes(b"abc")
    return path


def test_a_follower_waits_for_bytes_that_are_still_to_come(growing: Path) -> None:
    seen: list[int] = []
    follower = Follower(seen.append)
    follower.attach(growing.open("rb"), 3)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.extend(iter(lambda: follower.read(2), b"")))
    thread.start()
    with growing.open("ab") as file:
        file.write(b"defgh")
    follower.grew(8)
    follower.finish()
    thread.join()
    follower.close()
    assert b"".join(got) == b"abcdefgh"
    assert max(map(len, got)) <= 2
    assert seen[-1] == 8


BORDER = 1 << 20
"""Bytes: the kernel's blocks of the page cache are no larger here."""


def resident(path: Path) -> int:
    """Bytes of a file in the page cache. fincore(1)"""
    done = subprocess.run(["fincore", "-nb", "-o", "res", path], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_what_a_follower_has_read_leaves_memory(tmp_path: Path) -> None:
    """And nothing but that: a part that is still to be read does not have to come from the disk.

    But for the block of memory across the border, which the kernel keeps whole or drops whole.
    """
    path = tmp_path / "blob"
    with path.open("wb") as file:
        file.write(bytes(4 * WINDOW))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(path):
        pytest.skip("a file system in memory")
    path.read_bytes()
    follower = Follower()
    follower.attach(path.open("rb"), 4 * WINDOW)
    while follower.position < 3 * WINDOW:
        follower.read()
    assert 0 <= WINDOW - resident(path) <= BORDER
    assert len(follower.read(5)) == 5
    follower.close()
    assert 0 <= WINDOW - resident(path) <= BORDER


def test_a_follower_never_reads_beyond_what_is_valid(growing: Path) -> None:
    follower = Follower()
    follower.attach(growing.open("rb"), 2)
    assert follower.read(100) == b"ab"
    follower.fail(Stopped())
    with pytest.raises(Stopped):
        follower.read(100)
    follower.close()


def test_a_failure_wakes_the_reader_and_the_first_one_counts() -> None:
    follower = Follower()
    caught: list[BaseException] = []

    def read() -> None:
        try:
            follower.read(1)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    follower.fail(NotFound("first"))
    follower.fail(Stopped())
    thread.join()
    assert str(caught[0]) == "first"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError(errno.ENOSPC, "x"), StorageFull, "no space left on device: /store"),
        (OSError(errno.EDQUOT, "x"), StorageFull, "no space left on device: /store"),
        (OSError(errno.EIO, "bad", "/x"), EngineError, "[Errno 5] bad: '/x'"),
        (TooLarge(10), InvalidArgument, "archive is larger than the limit of 10 bytes (set by --max-unpacked-size)"),
        (BadArchive("../x", "no"), InvalidArgument, "bad archive: '../x': no"),
        (BlobMissing("sha256:0"), EngineError, "no blob sha256:0"),
        (NotFound("as it is"), NotFound, "as it is"),
    ],
)
def test_errors_of_the_store_become_ours(error: Exception, kind: type[Exception], text: str) -> None:
    ours = storage_error(error, "/store")
    assert type(ours) is kind
    assert str(ours) == text


def test_a_wrong_digest_is_the_registrys_error() -> None:
    assert type(storage_error(DigestMismatch("sha256:a", "sha256:b"), "/")) is RegistryError


def test_messages_have_dockers_form() -> None:
    assert layer_message("Pull complete", "abc") == {"status": "Pull complete", "progressDetail": {}, "id": "abc"}
    assert amount_message("Downloading", "abc", 1_048_576, 2_097_152) == {
        "status": "Downloading",
        "progressDetail": {"current": 1_048_576, "total": 2_097_152},
        "progress": f"[{'=' * 25}>{' ' * 25}]  1.049MB/2.097MB",
        "id": "abc",
    }
    assert short_id("sha256:0123456789abcdef") == "0123456789ab"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1500, "1.5kB"), (3_401_613, "3.402MB"), (10**18, "1000PB")],
)
def test_sizes_have_four_digits(size: int, text: str) -> None:
    assert human_size(size) == text


def test_a_bar_never_overflows() -> None:
    assert bar(0, 0) == ""
    assert bar(5, 0) == "      5B"
    assert bar(30, 10).startswith(f"[{'=' * 50}>]")


def test_a_meter_lets_through_what_is_due() -> None:
    told: list[Message] = []
    sink: Sink = told.append
    meter = Meter(sink, "Downloading", "abc", 1000)
    for current in range(1000):
        meter.at(current)
    assert 1 <= len(told) < 100
    meter.show(1000)
    assert told[-1]["progressDetail"] == {"current": 1000, "total": 1000}
