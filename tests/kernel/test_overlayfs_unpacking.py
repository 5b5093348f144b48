"""Unpacking as root: owners, devices, whiteouts, capabilities; compared with what GNU tar and umoci make of it."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
import tars
from overlay_mounts import facts, mounted, needs_root, tmpfs, unpack

from overlayfs.content import ContentStore
from overlayfs.errors import BadArchive
from overlayfs.layer import Layer, LayerStore
from overlayfs.merged import is_opaque, lookup, names, view
from overlayfs.mount import describe
from overlayfs.tree import is_whiteout

pytestmark = needs_root

CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)  # cap_net_raw=ep, as setcap writes it


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk") as path:
        yield path


def one(disk: Path, *members: bytes) -> Layer:
    [layer] = unpack(LayerStore(disk / "layers"), tars.archive(*members))
    return layer


def opaque(path: Path) -> bool:
    return is_opaque(os.fsencode(path))


def test_owners_modes_devices(disk: Path) -> None:
    layer = one(
        disk,
        tars.directory("d", 0o2755, uid=1, gid=2),
        tars.member("d/f", b"x", mode=0o6755, uid=70_000, gid=4_000_000_000),
        tars.header("d/null", kind=tars.CHRTYPE, mode=0o666, major=1, minor=3, uid=3),
        tars.header("d/disk", kind=tars.BLKTYPE, mode=0o640, major=259, minor=300_000, gid=6),
        tars.header("d/pipe", kind=tars.FIFOTYPE, mode=0o622, uid=8),
        tars.header("d/link", kind=tars.SYMTYPE, link="f", uid=9, gid=10),
    )
    shown = {}
    for path in (layer.path / "d", *(layer.path / "d").iterdir()):
        info = path.lstat()
        device = (os.major(info.st_rdev), os.minor(info.st_rdev))
        shown[path.name] = (oct(info.st_mode), info.st_uid, info.st_gid, device)
    assert shown == {
        "d": ("0o42755", 1, 2, (0, 0)),
        "f": ("0o106755", 70_000, 4_000_000_000, (0, 0)),
        "null": ("0o20666", 3, 0, (1, 3)),
        "disk": ("0o60640", 0, 6, (259, 300_000)),
        "pipe": ("0o10622", 8, 0, (0, 0)),
        "link": ("0o120777", 9, 10, (0, 0)),
    }


@pytest.mark.parametrize("device", [{"major": 1 << 12}, {"minor": 1 << 20}])
def test_devices_that_can_not_be(disk: Path, device: dict[str, int]) -> None:
    with pytest.raises(BadArchive, match="device"):
        one(disk, tars.header("x", kind=tars.CHRTYPE, **device))  # type: ignore[arg-type]


def test_a_capability_outlives_owner_and_data(disk: Path) -> None:
    record = tars.pax({"SCHILY.xattr.security.capability": CAPABILITY})
    layer = one(disk, record + tars.member("ping", b"x" * 5000, mode=0o755, uid=5, gid=6))
    assert os.getxattr(layer.path / "ping", "security.capability") == CAPABILITY


def test_a_damaged_capability_is_an_error(disk: Path) -> None:
    with pytest.raises(BadArchive, match="Invalid argument"):
        one(disk, tars.pax({"SCHILY.xattr.security.capability": "x"}) + tars.member("ping"))


def test_whiteouts(disk: Path) -> None:
    layer = one(
        disk, tars.directory("d"), tars.member("d/.wh.gone"), tars.member(".wh.top"), tars.member("d/.wh..wh..opq")
    )
    assert is_whiteout((layer.path / "d/gone").lstat())
    assert is_whiteout((layer.path / "top").lstat())
    assert opaque(layer.path / "d")
    assert not opaque(layer.path)
    assert layer.size == 0


@pytest.mark.parametrize("order", [1, -1])
def test_a_whiteout_beside_a_directory_of_its_name_hides_what_is_below(disk: Path, order: int) -> None:
    layer = one(disk, *[tars.member(".wh.d"), tars.directory("d")][::order], tars.member("d/f"))
    assert (layer.path / "d/f").is_file()
    assert opaque(layer.path / "d")


def test_a_whiteout_then_something_in_it(disk: Path) -> None:
    layer = one(disk, tars.member(".wh.d"), tars.member("d/f"))
    assert (layer.path / "d/f").is_file()
    assert opaque(layer.path / "d")


@pytest.mark.parametrize("order", [1, -1])
def test_a_whiteout_beside_a_file_of_its_name_changes_nothing(disk: Path, order: int) -> None:
    layer = one(disk, *[tars.member(".wh.f"), tars.member("f", b"x")][::order])
    assert (layer.path / "f").read_text() == "x"


def test_a_hardlink_to_a_whiteout(disk: Path) -> None:
    with pytest.raises(BadArchive, match="no file"):
        one(disk, tars.member(".wh.f"), tars.hardlink("x", "f"))


def test_whiteouts_in_lookups(disk: Path) -> None:
    store = LayerStore(disk / "layers")
    below = [
        tars.archive(tars.member("d/a"), tars.member("d/b"), tars.member("e/a"), tars.member("f")),
        tars.archive(tars.member("d/.wh.a"), tars.member("e/.wh..wh..opq"), tars.member("e/c"), tars.member(".wh.f")),
    ]
    root = view([layer.path for layer in reversed(unpack(store, *below))])
    assert root is not None
    assert names(root) == {b"d", b"e"}
    seen = {path for path in (b"d/a", b"d/b", b"e/a", b"e/c", b"f") if lookup(root, path.split(b"/"))}
    assert seen == {b"d/b", b"e/c"}
    with pytest.raises(BadArchive, match="nowhere"):
        unpack(store, *below, tars.archive(tars.hardlink("x", "d/a")))


def test_devices_below_are_copied_for_a_hardlink(disk: Path) -> None:
    store = LayerStore(disk / "layers")
    record = tars.pax({"SCHILY.xattr.security.capability": CAPABILITY, "SCHILY.xattr.user.x": "y"})
    layers = unpack(
        store,
        tars.archive(
            tars.header("null", kind=tars.CHRTYPE, major=1, minor=3, mode=0o666, uid=7),
            record + tars.member("f", b"x", uid=8, mode=0o4755),
        ),
        tars.archive(tars.hardlink("n", "null"), tars.hardlink("g", "f")),
    )
    node, file = (layers[1].path / "n").stat(), (layers[1].path / "g").stat()
    assert (node.st_mode, node.st_uid, node.st_rdev) == (stat.S_IFCHR | 0o666, 7, os.makedev(1, 3))
    assert (file.st_mode, file.st_uid) == (0o104755, 8)
    assert os.getxattr(layers[1].path / "g", "security.capability") == CAPABILITY
    assert os.getxattr(layers[1].path / "g", "user.x") == b"y"


def test_as_gnu_tar_does(disk: Path) -> None:
    """A piece of this machine, packed and unpacked by GNU tar, and unpacked by us."""
    packed = disk / "all.tar"
    command = ["tar", "--format=pax", "--xattrs", "--xattrs-include=*", "-C", "/", "-cf", str(packed)]
    subprocess.run([*command, "etc", "usr/lib/python3", "usr/share/perl", "usr/share/zoneinfo"], check=True)
    data = packed.read_bytes()
    [layer] = unpack(LayerStore(disk / "layers"), data)
    (disk / "gnu").mkdir()
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-C", str(disk / "gnu"), "-xpf", str(packed)], check=True)
    ours, theirs = facts(layer.path), facts(disk / "gnu")
    for implicit in ("usr", "usr/lib", "usr/share"):  # no entries: whatever time it is
        del ours[implicit], theirs[implicit]
    assert len(ours) > 1000
    assert ours == theirs


def test_as_umoci_does(disk: Path) -> None:
    umoci = shutil.which("umoci")
    if umoci is None:
        pytest.skip("no umoci")
    image = images.image(
        {
            "etc": images.directory(),
            "etc/passwd": "root",
            "etc/shadow": images.Entry(b"x", mode=0o600, gid=42),
            "bin": images.directory(0o755),
            "bin/sh": images.executable("sh"),
            "bin/bash": images.hardlink("bin/sh"),
            "bin/su": images.Entry(b"su", mode=0o4755),
            "lib": images.symlink("usr/lib"),
            "usr": images.directory(),
            "usr/lib": images.directory(),
            "usr/lib/x": "x",
            "var": images.directory(),
            "var/cache": images.directory(),
            "var/cache/a": "a",
            "var/cache/b": "b",
            "tmp": images.directory(0o1777),
            "dev": images.directory(),
            "dev/null": images.device(1, 3),
        },
        {
            "etc/.wh.passwd": "",
            "var": images.directory(),
            "var/cache": images.directory(0o700),
            "var/cache/.wh..wh..opq": "",
            "var/cache/c": "c",
            "bin/sh": images.executable("new sh"),
            ".wh.tmp": "",
            "opt/deep/er": "implicit",
        },
        {"etc/passwd": "again", "tmp": images.directory(0o755), "var/cache/.wh.c": ""},
    )
    content = ContentStore(disk / "content")
    for blob in (*image.blobs(), image.manifest):
        content.put(blob.data)
    content.write_index([image.manifest.descriptor(annotations={"org.opencontainers.image.ref.name": "x"})])
    command = [umoci, "unpack", "--image", f"{content.root}:x", str(disk / "bundle")]
    subprocess.run(command, check=True, capture_output=True)
    store = LayerStore(disk / "layers")
    layers = unpack(store, *image.tars)
    with mounted(describe(store.root, layers), disk / "root") as root:
        ours, theirs = facts(root, times=False), facts(disk / "bundle/rootfs", times=False)
    assert ours == theirs


# --- a full disk ---


def test_a_full_disk_leaves_the_store_sound(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "4m") as disk:
        store = LayerStore(disk / "layers")
        [kept] = unpack(store, tars.archive(tars.member("f", b"x" * 1000)))
        with pytest.raises(OSError, match="No space left") as caught:
            unpack(store, tars.archive(tars.directory("d"), tars.member("d/big", bytes(8 << 20))))
        assert caught.value.errno == errno.ENOSPC
        assert store.layers() == [kept]
        assert sorted(os.listdir(store.root)) == sorted([kept.path.parent.name, "l"])
        unpack(store, tars.archive(tars.member("after", bytes(2 << 20))))


def test_no_inodes_left(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "16m,nr_inodes=200") as disk:
        store = LayerStore(disk / "layers")
        with pytest.raises(OSError, match="No space left"):
            unpack(store, tars.archive(*(tars.member(f"f{number}") for number in range(500))))
        assert sorted(os.listdir(store.root)) == ["l"]


def test_a_full_disk_under_a_download(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "1m") as disk:
        store = ContentStore(disk)
        kept = store.put(b"kept")
        with pytest.raises(OSError, match="No space left"), store.ingest(images.sha256(bytes(4 << 20))) as ingest:
            for _ in range(64):
                ingest.write(bytes(1 << 16))
        with pytest.raises(OSError, match="No space left"):
            store.put(bytes(2 << 20))
        assert os.listdir(disk / "ingest") == []
        assert list(store.digests()) == [kept]
        assert store.read(store.put(b"x" * 500_000)) == b"x" * 500_000


def test_a_crash_in_the_middle_leaves_nothing_after_a_sweep(disk: Path) -> None:
    """A process that unpacks is killed again and again; what is found is whole, and the sweep takes the rest."""
    data = tars.archive(*(tars.member(f"f{number}", b"x" * 3000) for number in range(3000)))
    digest = images.sha256(data)
    (disk / "x.tar").write_bytes(data)
    code = (
        "import sys; from pathlib import Path; from overlayfs.layer import LayerStore\n"
        "store = LayerStore(Path(sys.argv[1])); print('go', flush=True)\n"
        "store.unpack(open(sys.argv[2], 'rb'), diff_id=sys.argv[3])"
    )
    finished = 0
    for delay in range(8):
        command = [sys.executable, "-c", code, str(disk / "layers"), str(disk / "x.tar"), digest]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(0.02 * delay)
            except subprocess.TimeoutExpired:
                process.kill()
        store = LayerStore(disk / "layers")
        store.sweep()
        if store.has(digest):
            finished += 1
            assert len(os.listdir(store.get(digest).path)) == 3000
            store.remove(digest)
        assert sorted(os.listdir(store.root)) == ["l"]
    again = LayerStore(disk / "layers").unpack(io.BytesIO(data), diff_id=digest)
    assert len(os.listdir(again.path)) == 3000
