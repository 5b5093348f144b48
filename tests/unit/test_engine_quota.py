"""--storage-opt: what it may say, and what becomes of it where a limit can't be held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minirund.engine import quota
from minirund.errors import EngineError, InvalidArgument, NotSupported

NOWHERE = "/proc/self"  # no file system for a container, and none with quotas


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10G", 10 << 30), ("1048576b", 1 << 20), ("0", 0), ("0k", 0),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert quota.bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "8192p", "1" * 400])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid size: '.{0,80}': use a number of bytes, or one like"):
        quota.bytes_of(text)


def test_a_layer_takes_some_room() -> None:
    with pytest.raises(InvalidArgument, match=r"invalid size: '1023k': a read-write layer takes at least 1m"):
        quota.bytes_of("1023k")


@pytest.mark.parametrize(
    ("asked", "size"), [(None, 0), ({}, 0), ({"size": "1g"}, 1 << 30), ({"Size": "1g"}, 1 << 30), ({"size": "0"}, 0)]
)
def test_what_a_host_config_asks_for(asked: Any, size: int) -> None:
    host = {"StorageOpt": asked}
    assert quota.size_of(host) == size
    assert quota.guarded(host) == bool(size)
    assert not quota.guarded({**host, "Privileged": True})


@pytest.mark.parametrize("key", ["foo", "", "overlay2.size", "dm.basesize"])
def test_an_option_that_is_none(key: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^Unknown option {key}: "):
        quota.check({"StorageOpt": {key: "1g"}}, NOWHERE, 0)


@pytest.mark.parametrize(("asked", "default"), [({"size": "1g"}, 0), (None, 1 << 30), ({}, 1 << 30)])
def test_a_limit_that_would_not_hold_is_refused(asked: Any, default: int) -> None:
    with pytest.raises(NotSupported, match=r"^--storage-opt is supported only with project quotas: /proc is proc "):
        quota.check({"StorageOpt": asked}, NOWHERE, default)


def test_no_limit_needs_nothing() -> None:
    for asked in (None, {}, {"size": "0"}):
        host = {"StorageOpt": asked}
        quota.check(host, NOWHERE, 0)
        assert host == {"StorageOpt": asked}
    lifted = {"StorageOpt": {"size": "0"}}
    quota.check(lifted, NOWHERE, 1 << 30)
    assert lifted == {"StorageOpt": {"size": "0"}}, "the daemon's default is for who asks for nothing"


def test_a_layer_without_a_limit(tmp_path: Path) -> None:
    quota.make_layer(f"{tmp_path}/one/rw", {})
    assert sorted(path.name for path in (tmp_path / "one/rw").iterdir()) == ["upper", "work"]
    quota.check_held("one", f"{tmp_path}/one/rw", {})


def test_a_layer_that_is_not_held_any_more_does_not_start() -> None:
    with pytest.raises(EngineError, match=r"container one is not held to its 1048576 bytes any more: mount /proc with"):
        quota.check_held("one", NOWHERE, {"StorageOpt": {"size": "1m"}})
