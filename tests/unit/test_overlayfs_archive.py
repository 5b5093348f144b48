"""Image archives spread on disk: docker save's and OCI's, with docker's links, and without anybody's tricks."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import images
import pytest
import tars
import zstandard

from overlayfs.archive import MAX_MEMBERS, read_archive
from overlayfs.errors import BadArchive, TooLarge


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_docker_save(into: Path, pack: Callable[[bytes], bytes]) -> None:
    image = images.image({"a": "1"}, {"b": "2"})
    found = read_archive(io.BytesIO(pack(images.docker_archive({"one:latest": image}))), into)
    [manifest] = json.loads(found["manifest.json"].read_bytes())
    assert manifest["RepoTags"] == ["one:latest"]
    assert [found[name].read_bytes() for name in manifest["Layers"]] == list(image.tars)
    assert found[manifest["Config"]].read_bytes() == image.config.data


def test_oci_layout(into: Path) -> None:
    image = images.image({"a": "1"})
    found = read_archive(io.BytesIO(images.oci_archive({"latest": image})), into)
    assert "oci-layout" in found
    assert found[f"blobs/sha256/{image.digest[7:]}"].read_bytes() == image.manifest.data
    assert all((into / name) == path for name, path in found.items())
    assert all(path.stat().st_mode == 0o100600 for path in found.values())


def test_layers_under_two_names(into: Path) -> None:
    found = read_archive(
        io.BytesIO(
            tars.archive(
                tars.symlink("second/layer.tar", "../first/layer.tar"),
                tars.symlink("third/layer.tar", "../second/layer.tar"),
                tars.directory("first"),
                tars.member("./first/layer.tar", b"data", mode=0o4777),
                tars.hardlink("fourth.tar", "first/layer.tar"),
            )
        ),
        into,
    )
    assert {name: path.read_bytes() for name, path in found.items()} == dict.fromkeys(
        ["first/layer.tar", "second/layer.tar", "third/layer.tar", "fourth.tar"], b"data"
    )
    assert not any(path.is_symlink() for path in found.values())
    assert found["first/layer.tar"].stat().st_mode == 0o100600


def test_a_member_twice(into: Path) -> None:
    found = read_archive(io.BytesIO(tars.archive(tars.member("x", b"old"), tars.member("x", b"new"))), into)
    assert found["x"].read_bytes() == b"new"


@pytest.mark.parametrize(
    "members",
    [
        [tars.member("../x")],
        [tars.member("a/../../x")],
        [tars.member(".")],
        [tars.symlink("x", "/etc/passwd")],
        [tars.symlink("x", "../../etc/passwd")],
        [tars.symlink("x", "missing")],
        [tars.symlink("x", "x")],
        [tars.symlink("x", "y"), tars.symlink("y", "x")],
        [tars.symlink("d", "."), tars.member("f"), tars.symlink("x", "d")],
        [tars.hardlink("x", "../etc/passwd")],
        [tars.hardlink("x", "missing")],
        [tars.header("x", kind=tars.CHRTYPE, major=1, minor=3)],
        [tars.header("x", kind=tars.FIFOTYPE)],
        [tars.member("x"), tars.member("x/y")],
        [tars.member("x/y"), tars.member("x")],
        [tars.member("x"), tars.member("y"), tars.symlink("x", "y")],
        [tars.pax({"GNU.sparse.map": "0,0", "GNU.sparse.size": "99999999"}) + tars.member("s")],
        [tars.long_name(b"n" * 300) + tars.member()],
    ],
)
def test_tricks(into: Path, members: list[bytes]) -> None:
    with pytest.raises(BadArchive):
        read_archive(io.BytesIO(tars.archive(*members)), into)
    assert os.listdir(into.parent) == ["scratch"]


def test_symlinks_are_never_made_so_none_is_followed(into: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    data = tars.archive(tars.symlink("d", "../outside"), tars.member("d/x"))
    with pytest.raises(BadArchive):
        read_archive(io.BytesIO(data), into)
    assert os.listdir(tmp_path / "outside") == []


def test_limits(into: Path) -> None:
    with pytest.raises(TooLarge):
        read_archive(io.BytesIO(gzip.compress(tars.archive(tars.member("x", bytes(1 << 20))))), into, max_size=1 << 19)
    data = gzip.compress(tars.directory("d") * (MAX_MEMBERS + 1), 1)
    with pytest.raises(BadArchive, match="members"):
        read_archive(io.BytesIO(data), into)


def test_damage(into: Path) -> None:
    for data in (b"no archive" * 100, gzip.compress(tars.archive(tars.member("x", os.urandom(5000))))[:3000]):
        with pytest.raises(BadArchive):
            read_archive(io.BytesIO(data), into)


def test_progress(into: Path) -> None:
    seen: list[int] = []
    data = gzip.compress(tars.archive(tars.member("x", b"y")))
    read_archive(io.BytesIO(data), into, progress=seen.append)
    assert seen[-1] == len(data)
