"""The log's records, and the way back."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from minirund.runtime import log
from minirund.wire import STDERR, STDOUT


def opened(path: Path) -> tuple[str, int]:
    """As prepare.py does."""
    return str(path), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def read_all(path: Path) -> list[tuple[int, bytes]]:
    reader = log.LogReader(str(path))
    pairs = []
    while found := reader.read():
        pairs += found
    reader.close()
    return pairs


def test_a_stamp_has_nanoseconds() -> None:
    assert log.stamp(1_700_000_000_000_000_007) == b"2023-11-14T22:13:20.000000007Z"


def test_every_line_gets_a_head() -> None:
    text = log.records(STDERR, b"one\n\ntwo\n", 0)
    assert text == b"".join(b"1970-01-01T00:00:00.000000000Z stderr F %b\n" % line for line in (b"one", b"", b"two"))


@pytest.mark.parametrize("length", [0, 1, log.PART - 1, log.PART, log.PART + 1, 2 * log.PART, 2 * log.PART + 1, 65535])
def test_long_lines_are_cut_into_parts(length: int) -> None:
    line = bytes(97 + index % 26 for index in range(length))
    text = log.records(STDOUT, b"before\n" + line + b"\nafter\n", 0)
    records = [record.split(b" ", 3) for record in text.split(b"\n")[:-1]]
    assert all(len(content) <= log.PART for *_, content in records)
    assert b"".join(log.parse(record)[1] for record in text.split(b"\n")[:-1]) == b"before\n" + line + b"\nafter\n"
    assert [tag for _time, _stream, tag, _content in records].count(b"F") == 3


@pytest.mark.parametrize("seed", range(6))
def test_any_output_in_any_pieces_comes_back(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    writer = log.LogWriter(*opened(tmp_path / "log"))
    printed = {STDOUT: b"", STDERR: b""}
    for _ in range(30):
        stream = chance.choice((STDOUT, STDERR))
        length = chance.choice((1, 10, 1000, 20000, 60000))
        data = bytes(chance.choice(b"abc \n\r\x00\xff") for _ in range(length // 10)) * 10
        data = data if chance.random() < 0.7 else data.replace(b"\n", b"x")
        printed[stream] += data
        writer.write(stream, data)
        waiting = dict(writer.waiting())
        recorded = b"".join(text for name, text in read_all(tmp_path / "log") if name == stream)
        assert recorded + waiting.get(stream, b"") == printed[stream]
    writer.close()
    pairs = read_all(tmp_path / "log")
    for stream, text in printed.items():
        assert b"".join(data for name, data in pairs if name == stream) == text
    lines = (tmp_path / "log").read_bytes().split(b"\n")[:-1]
    assert all(len(line.split(b" ", 3)[3]) <= log.PART for line in lines)


def test_a_reader_that_meets_the_writer_s_middle_of_a_record(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"2023-11-14T22:13:20.000000007Z stdout F one\n2023-11-14T22:13:20.0000")
    assert read_all(path) == [(STDOUT, b"one\n")]
