"""`system df`: four lines from an answer of a dockerd. What is printed, beside docker: tests/api/test_cli_prune.py."""

from __future__ import annotations

from typing import Any

from minirund.cli.df import summary

USAGE: dict[str, Any] = {
    "LayersSize": 10_000,
    "Images": [
        {"Size": 8000, "SharedSize": 2000, "Containers": 2},
        {"Size": 4000, "SharedSize": 2000, "Containers": 0},
        {"Size": 3000, "SharedSize": -1, "Containers": 1},
    ],
    "Containers": [
        {"State": "running", "SizeRw": 300}, {"State": "exited", "SizeRw": 100}, {"State": "paused"},
    ],
    "Volumes": [
        {"UsageData": {"RefCount": 1, "Size": 30}}, {"UsageData": {"RefCount": 0, "Size": 10}}, {"UsageData": None},
    ],
    "BuildCache": [
        {"Size": 7, "InUse": True}, {"Size": 5, "InUse": False}, {"Size": 90, "InUse": False, "Shared": True},
    ],
}  # fmt: skip


def test_what_is_used_and_what_could_go() -> None:
    assert [tuple(row.values()) for row in summary(USAGE)] == [
        ("Images", "3", "2", "10kB", "4kB (40%)"),
        ("Containers", "3", "2", "400B", "100B (25%)"),
        ("Local Volumes", "3", "1", "40B", "10B (25%)"),
        ("Build Cache", "3", "1", "12B", "5B"),
    ]


def test_nothing() -> None:
    answer = {"LayersSize": 0, "Images": None, "Containers": [], "Volumes": None, "BuildCache": None}
    assert {tuple(row.values())[1:] for row in summary(answer)} == {("0", "0", "0B", "0B")}
