"""Packing a written directory and unpacking it gives the same directory; what differs is listed as Docker does.

Whiteouts, opaque directories and a real overlay are in tests/kernel/test_overlayfs_mounting.py.
"""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from overlayfs.diff import Change, changes, write_tar
from overlayfs.errors import OverlayError
from overlayfs.layer import LayerStore


def packed(upper: Path) -> bytes:
    out = io.BytesIO()
    write_tar(upper, out)
    return out.getvalue()


def unpacked(data: bytes, base: Path) -> Path:
    return LayerStore(base).unpack(io.BytesIO(data), diff_id="sha256:" + hashlib.sha256(data).hexdigest()).path


def facts(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    inodes: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        info, name = path.lstat(), str(path.relative_to(root))
        content: object = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        xattrs = {key: os.getxattr(path, key) for key in os.listxattr(path)} if not path.is_symlink() else {}
        same = inodes.setdefault(info.st_ino, name)
        found[name] = (info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, content, xattrs, same)
    return found


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    root = tmp_path / "upper"
    (root / "d/e").mkdir(parents=True)
    (root / "d/f").write_bytes(b"data" * 1000)
    os.link(root / "d/f", root / "a hardlink")
    (root / "d/e/link").symlink_to("x" * 200)
    os.link(root / "d/e/link", root / "link to link", follow_symlinks=False)
    os.mkfifo(root / "pipe")
    (root / ("long" * 60)).mkdir()
    (root / ("long" * 60) / ("long" * 60)).write_text("deep")
    (root / "ümlaut\n").write_text("x")
    os.setxattr(root / "d/f", "user.x", b"\0\n=")
    os.setxattr(root / "d", "user.y", b"")
    os.chmod(root / "d/f", 0o4751)
    os.chmod(root / "d", 0o1770)
    for name, time in {"d": 1, "d/f": -5 * 10**9 - 7, "d/e": 10**18 + 123_456_789, "pipe": 1 << 60}.items():
        os.utime(root / name, ns=(0, time))
    return root


def test_round_trip(upper: Path, tmp_path: Path) -> None:
    assert facts(unpacked(packed(upper), tmp_path / "layers")) == facts(upper)


def test_gnu_tar_and_tarfile_agree(upper: Path, tmp_path: Path) -> None:
    data = packed(upper)
    (tmp_path / "gnu").mkdir()
    command = ["tar", "-C", str(tmp_path / "gnu"), "--xattrs", "--xattrs-include=user.*", "-xpf", "-"]
    subprocess.run(command, input=data, check=True)
    assert facts(tmp_path / "gnu") == facts(upper)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert sorted(tar.getnames()) == sorted(facts(upper))


def test_the_same_tree_gives_the_same_bytes(upper: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(upper))) as tar:
        names = tar.getnames()
    assert packed(upper) == packed(upper)
    assert names == sorted(names, key=lambda name: [os.fsencode(part) for part in name.split("/")])


def test_holes(tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    with (tmp_path / "upper/s").open("wb") as file:
        for at in range(30):
            file.seek(at * (1 << 20))
            file.write(b"%d" % at)
        file.truncate(1 << 30)
    with (tmp_path / "upper/all hole").open("wb") as file:
        file.truncate(1 << 20)
    data = packed(tmp_path / "upper")
    assert len(data) < 1 << 20
    layer = unpacked(data, tmp_path / "layers")
    for name in ("s", "all hole"):
        assert (layer / name).stat().st_size == (tmp_path / "upper" / name).stat().st_size
        subprocess.run(["cmp", layer / name, tmp_path / "upper" / name], check=True)
    (tmp_path / "gnu").mkdir()
    subprocess.run(["tar", "-C", str(tmp_path / "gnu"), "-xf", "-"], input=data, check=True)
    subprocess.run(["cmp", tmp_path / "gnu/s", tmp_path / "upper/s"], check=True)


def test_sockets_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "upper/s"))
        assert packed(tmp_path / "upper") == bytes(1024)


def test_a_name_that_would_be_a_whiteout(tmp_path: Path) -> None:
    (tmp_path / ".wh.passwd").touch()
    with pytest.raises(OverlayError, match=r"\.wh\.passwd"):
        packed(tmp_path)


def test_too_deep(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 300)).mkdir(parents=True)
    for call in (packed, lambda path: list(changes(path, []))):
        with pytest.raises(OverlayError, match="deep"):
            call(tmp_path)


# --- changes ---


def test_changes(tmp_path: Path) -> None:
    upper, one, two = (tmp_path / name for name in ("upper", "one", "two"))
    for root in (one, two, upper):
        (root / "etc/same").mkdir(parents=True)
    (two / "etc/old").write_text("old")
    (one / "etc/mid").write_text("mid")
    (two / "etc/touched").write_text("x")
    (two / "etc/copied").write_text("x")
    (two / "was a file").write_text("x")
    (one / "was a directory").mkdir()
    (upper / "etc/old").write_text("changed")
    (upper / "etc/mid").write_text("changed")
    (upper / "etc/touched").write_text("x")
    (upper / "etc/copied").write_text("x")
    os.utime(upper / "etc/copied", ns=(0, (two / "etc/copied").stat().st_mtime_ns))
    (upper / "etc/new/sub").mkdir(parents=True)
    (upper / "was a file/new").mkdir(parents=True)
    (upper / "was a directory").write_text("x")
    assert [f"{change.kind} {change.path}" for change in changes(upper, [one, two])] == [
        "C /etc",
        "C /etc/mid",
        "A /etc/new",
        "A /etc/new/sub",
        "C /etc/old",
        "C /etc/touched",
        "C /was a directory",
        "C /was a file",
        "A /was a file/new",
    ]


def test_modes_count_and_times_of_directories_do_not(tmp_path: Path) -> None:
    for name in ("upper", "lower"):
        (tmp_path / name / "mode").mkdir(parents=True)
        (tmp_path / name / "time").mkdir()
    os.chmod(tmp_path / "upper/mode", 0o700)
    os.utime(tmp_path / "upper/time", (1, 1))
    assert list(changes(tmp_path / "upper", [tmp_path / "lower"])) == [Change("C", "/mode")]


def test_no_layers_below(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    assert list(changes(tmp_path, [])) == [Change("A", "/d")]


def test_links_in_the_upper_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper/etc").symlink_to("/etc")
    assert list(changes(tmp_path / "upper", [])) == [Change("A", "/etc")]
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path / "upper"))) as tar:
        assert [(info.name, info.linkname) for info in tar] == [("etc", "/etc")]
