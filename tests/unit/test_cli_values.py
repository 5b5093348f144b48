"""Sizes, durations, times and files of variables."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from minirund.cli import values
from minirund.cli.failure import Failure


def test_swap_may_have_no_limit() -> None:
    assert (values.swap_size("-1"), values.swap_size("1k")) == (-1, 1024)


@pytest.mark.parametrize(("text", "nano"), [("1", 10**9), ("1.5", 1_500_000_000), (".25", 250_000_000)])
def test_cpus(text: str, nano: int) -> None:
    assert values.nanocpus(text) == nano


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1h30m", 5400), ("1m1.5s", 61.5), ("250ms", 0.25), ("-1m", -60), ("0", 0)]
)
def test_duration(text: str, seconds: float) -> None:
    assert values.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "1x", "1m2", "-"])
def test_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1700000000", "1700000000"),
        ("1700000000.25", "1700000000.25"),
        ("10m", "400.000000000"),
        ("1970-01-01T00:01:00Z", "60.000000000"),
        ("1970-01-01T00:01:00.000000001Z", "60.000000001"),
        ("1970-01-01T01:00:01.5+01:00", "1.500000000"),
    ],
)
def test_moment(text: str, moment: str) -> None:
    assert values.moment(text, now=1000.0) == moment


def test_a_date_without_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert values.moment("1970-01-02") == "79200.000000000"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_not_a_moment() -> None:
    with pytest.raises(ValueError, match="failed to parse value as time or duration"):
        values.moment("yesterday")


def test_filters() -> None:
    assert values.filters(["name=a", "name=b", "label=x=y"]) == {"name": ["a", "b"], "label": ["x=y"]}
    assert values.filters([]) is None


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "here")
    monkeypatch.delenv("GONE", raising=False)
    file = tmp_path / "env"
    file.write_text("\ufeff# a comment\n\nA=1\nB=two words # kept\nMINE\nGONE\n  C==x\n", encoding="utf-8")
    found = values.environment([str(file)], ["MINE", "GONE", "D=4", "E="])
    assert found == ["A=1", "B=two words # kept", "MINE=here", "C==x", "MINE=here", "GONE", "D=4", "E="]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"=x\n", "no variable name"), (b"A B=1\n", "contains whitespaces"), (b"A=\xff\n", "invalid utf8")],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    with pytest.raises(Failure, match=message) as caught:
        values.environment([str(file)], [])
    assert str(file) in caught.value.message


def test_a_missing_file_and_a_variable_without_name() -> None:
    with pytest.raises(Failure, match=r"^open /nope: no such file or directory$"):
        values.environment(["/nope"], [])
    with pytest.raises(Failure, match="invalid environment variable: =x"):
        values.environment([], ["=x"])


def test_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=1\nb\n")
    assert values.labels([str(file)], ["a=2", "c=x=y"]) == {"a": "2", "b": "", "c": "x=y"}
