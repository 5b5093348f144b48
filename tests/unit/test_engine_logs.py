"""Reading logs: lines, tails, times, following. Real files, the kernel's inotify."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from waiting import PATIENCE

from minirund.engine import logs
from minirund.engine.logs import LogRecord, Query, moment, parse, tail_offset

TIME = "2023-11-14T22:13:{:02}.000000000Z"
START = 1_700_000_000 - 20  # TIME.format(0)


def line(number: int, stream: str = "stdout", tag: str = "F") -> bytes:
    return f"{TIME.format(number)} {stream} {tag} line {number}\n".encode()


def written(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"".join(lines))
    return str(path)


async def collected(path: str, query: Query) -> list[bytes]:
    return [record.content async for records in logs.read(path, query, lambda: logs.ALL) for record in records]


@pytest.mark.parametrize(
    ("text", "record"),
    [
        (b"T stdout F hello\n", LogRecord(1, "T", b"hello\n")), (b"T stderr F hello", LogRecord(2, "T", b"hello\n")),
        (b"T stdout P part", LogRecord(1, "T", b"part")), (b"T stdout F ", LogRecord(1, "T", b"\n")),
        (b"T stdout F a b  c\r", LogRecord(1, "T", b"a b  c\r\n")),
        (b"T stdout F \xff\x00", LogRecord(1, "T", b"\xff\x00\n")),
        (b"", None), (b"T stdout", None), (b"T stdlog F x", None), (b"\xff stdout F x", None),
    ],
)  # fmt: skip
def test_parse(text: bytes, record: LogRecord | None) -> None:
    assert parse(text) == record


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00.000000000Z"), (1.5, "1970-01-01T00:00:01.500000000Z"), (START, TIME.format(0))],
)
def test_moments_compare_as_text(seconds: float, text: str) -> None:
    assert moment(seconds) == text


@pytest.mark.parametrize("chunk", [7, 64 * 1024])
@pytest.mark.parametrize(
    ("content", "wanted", "tail"),
    [
        (b"", 1, b""), (b"a\n", 1, b"a\n"), (b"a\nb\n", 1, b"b\n"), (b"a\nb\n", 2, b"a\nb\n"),
        (b"a\nb\n", 9, b"a\nb\n"),
        (b"\n\n\n", 2, b"\n\n"), (b"x" * 100 + b"\n" + b"y" * 50 + b"\n", 1, b"y" * 50 + b"\n"),
    ],
)  # fmt: skip
def test_tail_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, content: bytes, wanted: int, tail: bytes
) -> None:
    monkeypatch.setattr(logs, "CHUNK", chunk)
    descriptor = os.open(written(tmp_path / "log", content), os.O_RDONLY)
    assert content[tail_offset(descriptor, len(content), wanted) :] == tail
    os.close(descriptor)


@pytest.mark.parametrize("chunk", [16, 64 * 1024])
@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (Query(), "0 1 2 3 4 5"),
        (Query(stdout=False), "1 3 5"), (Query(stderr=False), "0 2 4"),
        (Query(tail=2), "4 5"), (Query(tail=0), ""), (Query(tail=99), "0 1 2 3 4 5"),
        (Query(stderr=False, tail=2), "2 4"),
        (Query(since=START + 3), "3 4 5"), (Query(until=START + 3), "0 1 2"),
        (Query(since=START + 1, until=START + 2), "1"),
        (Query(until=START + 4, tail=2), "2 3"), (Query(since=START + 5, tail=3), "5"),
        (Query(since=START + 100), ""),
    ],
)  # fmt: skip
def test_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, query: Query, numbers: str) -> None:
    monkeypatch.setattr(logs, "CHUNK", chunk)
    path = written(tmp_path / "log", *(line(number, ("stdout", "stderr")[number % 2]) for number in range(6)))
    found = asyncio.run(collected(path, query))
    assert [text.split()[-1].decode() for text in found] == numbers.split()


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert asyncio.run(collected(f"{tmp_path}/none", Query())) == []


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "log", line(1), b"\x00\x00garbage\n", line(2), b"2023 stdout F torn")
    assert asyncio.run(collected(path, Query())) == [b"line 1\n", b"line 2\n"]


def test_following(tmp_path: Path) -> None:
    """What comes is shown when it comes, a torn line when it is whole; the end is the container's."""
    path = written(tmp_path / "log", line(0))
    ended = asyncio.Event()

    async def follow() -> list[bytes]:
        found = []
        async for records in logs.read(path, Query(follow=True), lambda: logs.ALL if ended.is_set() else ""):
            found += [record.content for record in records]
            with open(path, "ab", buffering=0) as file:
                if len(found) == 1:
                    file.write(line(1)[:10])
                    file.write(line(1)[10:])
                if len(found) == 2:
                    ended.set()
                    file.write(line(2))
        return found

    assert asyncio.run(follow()) == [b"line 0\n", b"line 1\n", b"line 2\n"]


def test_following_ends_where_the_next_run_begins(tmp_path: Path) -> None:
    """A container that was started again writes on in the same log."""
    path = written(tmp_path / "log", *map(line, range(4)))

    async def follow() -> list[bytes]:
        query = Query(follow=True)
        read = logs.read(path, query, lambda: logs.moment(START + 1.5))
        return [record.content async for records in read for record in records]

    assert asyncio.run(follow()) == [b"line 0\n", b"line 1\n"]


def test_following_ends_at_the_time_that_is_asked_for(tmp_path: Path) -> None:
    """Though nothing is written any more."""
    path = written(tmp_path / "log", line(0))

    async def follow() -> list[bytes]:
        async with asyncio.timeout(PATIENCE):
            read = logs.read(path, Query(follow=True, until=time.time() + 0.2), lambda: "")
            return [record.content async for records in read for record in records]

    assert asyncio.run(follow()) == [b"line 0\n"]


def test_a_follower_that_leaves_leaves_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "log", line(0))
    before = len(os.listdir("/proc/self/fd"))

    async def one() -> None:
        reading = logs.read(path, Query(follow=True), lambda: "")
        assert [record.content for record in await anext(reading)] == [b"line 0\n"]  # type: ignore[call-overload]
        await reading.aclose()  # type: ignore[attr-defined]

    asyncio.run(one())
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("turns", range(9))
def test_a_follower_that_is_cancelled_while_the_log_grows_leaves_nothing(tmp_path: Path, turns: int) -> None:
    """However far the event loop has come with the news: who follows a busy container leaves all the same."""
    path = written(tmp_path / "log", line(0))
    before = len(os.listdir("/proc/self/fd"))

    async def follow() -> None:
        async for _ in logs.read(path, Query(follow=True, since=START + 9), lambda: ""):
            pass

    async def one() -> None:
        reading = asyncio.create_task(follow())
        await asyncio.sleep(0.05)  # it waits for news now; no line ever passes
        with open(path, "ab") as file:
            file.write(line(1))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=1)
        reading.cancel()
        assert done, "it follows on"

    asyncio.run(one())
    assert len(os.listdir("/proc/self/fd")) == before
