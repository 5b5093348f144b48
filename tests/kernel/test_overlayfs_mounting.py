"""Real overlay mounts of unpacked layers: what is seen, what is written, and what a layer made of that shows."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tars
from overlay_mounts import facts, mounted, needs_root, tmpfs, unpack

from overlayfs.diff import changes, write_tar
from overlayfs.layer import Layer, LayerStore
from overlayfs.mount import PLAIN, VOLATILE, OverlayMount, create_rw, describe, forget_volatile

pytestmark = needs_root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk") as path:
        yield path


@pytest.fixture
def store(disk: Path) -> LayerStore:
    return LayerStore(disk / "layers")


BASE = tars.archive(
    tars.directory("etc"),
    tars.member("etc/passwd", b"root"),
    tars.member("etc/hosts", b"hosts", mode=0o640),
    tars.directory("etc/apt"),
    tars.member("etc/apt/a", b"a"),
    tars.member("etc/apt/b", b"b"),
    tars.directory("var"),
    tars.directory("var/lib"),
    tars.member("var/lib/data", b"data" * 10_000),
    tars.symlink("bin", "usr/bin"),
    tars.directory("tmp", 0o1777),
)
SECOND = tars.archive(
    tars.directory("etc"), tars.member("etc/.wh.passwd"), tars.member("etc/group", b"group"), tars.member(".wh.bin")
)


def listed(upper: Path, layers: list[Layer]) -> list[str]:
    return [f"{change.kind} {change.path}" for change in changes(upper, [layer.path for layer in reversed(layers)])]


def test_layers_are_seen_merged(store: LayerStore, disk: Path) -> None:
    layers = unpack(store, BASE, SECOND)
    with mounted(describe(store.root, layers), disk / "root") as root:
        assert sorted(os.listdir(root / "etc")) == ["apt", "group", "hosts"]
        assert not os.path.lexists(root / "bin")
        with pytest.raises(OSError, match="Read-only"):
            (root / "x").touch()


@pytest.mark.parametrize("count", [0, 1, 2, 128, 300, 500])
@pytest.mark.parametrize("readonly", [False, True])
def test_many_layers(store: LayerStore, disk: Path, count: int, readonly: bool) -> None:
    layers = unpack(store, *(tars.archive(tars.member(f"f{number}", b"%d" % number)) for number in range(count)))
    create_rw(disk / "rw")
    if count == 500 and readonly:
        layers = layers[1:]  # the upper directory is one of them then
    with mounted(describe(store.root, layers, disk / "rw", readonly), disk / "root") as root:
        assert len(os.listdir(root)) == len(layers)
        if not readonly:
            (root / "new").touch()
            assert (root.stat().st_mode, root.stat().st_uid) == (0o40755, 0)


def test_paths_with_commas_colons_and_backslashes(disk: Path) -> None:
    store = LayerStore(disk / "la,yers:and\\more")
    layers = unpack(store, BASE, SECOND)
    rw = disk / "rw:with,such\\na\\,mes\\:"
    create_rw(rw)
    with mounted(describe(store.root, layers, rw), disk / "root") as root:
        (root / "new").write_text("x")
        assert (rw / "upper/new").read_text() == "x"
    with mounted(describe(store.root, layers, rw, readonly=True), disk / "root") as root:
        assert (root / "new").read_text() == "x"
    with mounted(OverlayMount(str(disk), (f"{rw.name}/upper", store.root.name)), disk / "root") as root:
        assert sorted(os.listdir(root)) == sorted(["new", *os.listdir(store.root)])


def test_from_json(store: LayerStore, disk: Path) -> None:
    overlay = OverlayMount.from_json(describe(store.root, unpack(store, BASE)).to_json())
    with mounted(overlay, disk / "root") as root:
        assert (root / "etc/passwd").read_text() == "root"


def write_as_a_container_does(root: Path) -> None:
    (root / "etc/hosts").write_text("changed")
    (root / "etc/group").unlink()
    (root / "etc/new").write_text("new")
    os.link(root / "etc/new", root / "etc/same")
    os.setxattr(root / "etc/new", "user.x", b"y")
    shutil.rmtree(root / "etc/apt")
    (root / "etc/apt").mkdir()
    (root / "etc/apt/b").write_text("new b")
    os.chmod(root / "var/lib/data", 0o4711)
    os.chown(root / "var/lib/data", 5, 6)
    shutil.rmtree(root / "tmp")
    (root / "tmp").write_text("a file now")
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    (root / "dev/sub").mkdir(parents=True)
    (root / "dev/sub/link").symlink_to("nowhere")
    with pytest.raises(OSError, match="cross-device"):  # with redirect_dir=off, as in Docker; programs then copy
        os.rename(root / "var/lib", root / "var/libs")
    shutil.copytree(root / "var/lib", root / "var/libs")
    shutil.rmtree(root / "var/lib")


WRITTEN = [
    "A /dev",
    "A /dev/sub",
    "A /dev/sub/link",
    "C /etc",
    "C /etc/apt",
    "D /etc/apt/a",
    "C /etc/apt/b",
    "D /etc/group",
    "C /etc/hosts",
    "A /etc/new",
    "A /etc/same",
    "A /null",
    "C /tmp",
    "C /var",
    "D /var/lib",
    "A /var/libs",
    "A /var/libs/data",
]


def test_written_listed_packed_unpacked_and_seen_again(store: LayerStore, disk: Path) -> None:
    layers = unpack(store, BASE, SECOND)
    create_rw(disk / "rw")
    with mounted(describe(store.root, layers, disk / "rw"), disk / "root") as root:
        write_as_a_container_does(root)
        wanted = facts(root)
        assert listed(disk / "rw/upper", layers) == WRITTEN  # while it is mounted, as `docker diff` of a running one
    out = io.BytesIO()
    write_tar(disk / "rw/upper", out)
    top = unpack(store, BASE, SECOND, out.getvalue())
    with mounted(describe(store.root, top), disk / "root") as root:
        assert facts(root) == wanted
    assert listed(top[-1].path, layers) == WRITTEN


def test_an_untouched_container_has_no_changes(store: LayerStore, disk: Path) -> None:
    layers = unpack(store, BASE, SECOND)
    create_rw(disk / "rw")
    with mounted(describe(store.root, layers, disk / "rw"), disk / "root") as root:
        (root / "etc/hosts").read_text()
        (root / "etc/created").touch()
        (root / "etc/created").unlink()
        os.chmod(root / "etc/hosts", 0o600)
        os.chmod(root / "etc/hosts", 0o640)
    assert listed(disk / "rw/upper", layers) == []


def test_opaque_directories_over_layers(store: LayerStore, disk: Path) -> None:
    opaque = tars.archive(
        tars.directory("etc"),
        tars.directory("etc/apt"),
        tars.member("etc/apt/.wh..wh..opq"),
        tars.member("etc/apt/c", b"c"),
    )
    layers = unpack(store, BASE, opaque)
    create_rw(disk / "rw")
    with mounted(describe(store.root, layers, disk / "rw"), disk / "root") as root:
        assert os.listdir(root / "etc/apt") == ["c"]
        (root / "etc/apt/a").write_text("a")
    assert listed(disk / "rw/upper", layers) == ["C /etc", "C /etc/apt", "A /etc/apt/a"]


def test_a_volatile_mount_is_mounted_again_by_who_knows_that_nothing_is_lost(store: LayerStore, disk: Path) -> None:
    create_rw(disk / "rw")
    description = describe(store.root, unpack(store, BASE), disk / "rw", extra=(*PLAIN, VOLATILE))
    forget_volatile(f"{disk}/rw/work")  # nothing to forget yet
    with mounted(description, disk / "root") as root:
        (root / "kept").write_text("kept")
    with pytest.raises(OSError), mounted(description, disk / "root"):
        pass
    forget_volatile(f"{disk}/rw/work")
    with mounted(description, disk / "root") as root:
        assert (root / "kept").read_text() == "kept"
