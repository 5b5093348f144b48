"""Unpacking: what a good archive becomes, and that a bad one gets nowhere outside its layer and says what is wrong.

What needs root (whiteouts, devices, other owners) is in tests/kernel/test_overlayfs_unpacking.py.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import stat
from pathlib import Path

import pytest
import tars

from overlayfs.errors import BadArchive, LinkTargetMissing, OverlayError, TooLarge
from overlayfs.layer import Layer, LayerStore, chain_id


def diff_id(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Unpacker:
    """A store, with something next to it that must stay as it is."""

    def __init__(self, base: Path) -> None:
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("secret")
        self.store = LayerStore(base / "layers", max_unpacked_size=64 << 20)

    def __call__(self, *members: bytes, parent: Layer | None = None) -> Layer:
        data = tars.archive(*members)
        return self.store.unpack(io.BytesIO(data), parent=parent.chain_id if parent else None, diff_id=diff_id(data))

    def untouched(self) -> bool:
        return os.listdir(self.outside) == ["secret"] and (self.outside / "secret").read_text() == "secret"


@pytest.fixture
def unpack(tmp_path: Path) -> Unpacker:
    return Unpacker(tmp_path)


def shown(layer: Layer) -> dict[str, str]:
    """path -> content, link target, or "/" for a directory."""
    found = {}
    for path in layer.path.rglob("*"):
        name = str(path.relative_to(layer.path))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "/"
        else:
            found[name] = path.read_text()
    return found


def test_files_directories_links(unpack: Unpacker) -> None:
    layer = unpack(
        tars.directory("usr/", 0o1755, mtime=1000),
        tars.member("usr/tool", b"#!", mode=0o755, mtime=2000),
        tars.hardlink("usr/same", "usr/tool"),
        tars.symlink("bin", "usr"),
        tars.symlink("away", "/etc/passwd"),
        tars.header("pipe", kind=tars.FIFOTYPE, mode=0o600),
    )
    usr, tool = (layer.path / "usr").stat(), (layer.path / "usr/tool").stat()
    assert (usr.st_mode, usr.st_mtime_ns) == (0o41755, 1000 * 10**9)
    assert (tool.st_mode, tool.st_mtime_ns, tool.st_nlink) == (0o100755, 2000 * 10**9, 2)
    assert (layer.path / "usr/same").samefile(layer.path / "usr/tool")
    assert os.readlink(layer.path / "away") == "/etc/passwd"
    assert stat.S_ISFIFO((layer.path / "pipe").stat().st_mode)
    assert layer.size == 2


def test_times_to_the_nanosecond_also_of_directories_filled_later(unpack: Unpacker) -> None:
    times: dict[str, str | bytes] = {"mtime": "1700000000.123456789"}
    layer = unpack(
        tars.pax(times) + tars.directory("d"),
        tars.pax(times) + tars.member("f"),
        tars.pax(times) + tars.symlink("s", "f"),
        tars.member("d/later"),
    )
    for name in ("d", "f", "s"):
        assert (layer.path / name).lstat().st_mtime_ns == 1_700_000_000_123_456_789


def test_attributes_of_the_root(unpack: Unpacker) -> None:
    layer = unpack(tars.directory("./", 0o700, mtime=5), tars.member("./f", b"x"))
    assert (layer.path.stat().st_mode, layer.path.stat().st_mtime) == (0o40700, 5)
    assert shown(layer) == {"f": "x"}


def test_xattrs(unpack: Unpacker) -> None:
    records: dict[str, str | bytes] = {
        "SCHILY.xattr.user.kept": b"a\0b",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "x",
    }
    layer = unpack(tars.pax(records) + tars.member("f"), tars.pax(records) + tars.directory("d"))
    for name in ("f", "d"):
        assert os.listxattr(layer.path / name) == ["user.kept"]
        assert os.getxattr(layer.path / name, "user.kept") == b"a\0b"


def test_long_names(unpack: Unpacker) -> None:
    name = "/".join(["n" * 200] * 15)
    layer = unpack(tars.long_name(name.encode()) + tars.member("x", b"y"))
    assert (layer.path / name).read_text() == "y"


def test_sparse_files_stay_sparse(unpack: Unpacker) -> None:
    records: dict[str, str | bytes] = {"GNU.sparse.map": f"0,4,{20 << 20},4", "GNU.sparse.size": str(30 << 20)}
    layer = unpack(tars.pax(records) + tars.member("s", b"headtail"))
    info = (layer.path / "s").stat()
    assert info.st_size == layer.size == 30 << 20
    assert info.st_blocks * 512 < 1 << 20
    data = (layer.path / "s").read_bytes()
    assert (data[:4], data[20 << 20 :][:4], data.count(0)) == (b"head", b"tail", (30 << 20) - 8)


# --- the same name twice ---


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ([tars.member("x", b"1")], [tars.member("x", b"2")], {"x": "2"}),
        ([tars.member("x", b"1")], [tars.symlink("x", "y")], {"x": "-> y"}),
        ([tars.symlink("x", "y")], [tars.member("x", b"2")], {"x": "2"}),
        ([tars.member("x", b"1")], [tars.directory("x"), tars.member("x/y")], {"x": "/", "x/y": ""}),
        ([tars.symlink("x", "/")], [tars.directory("x"), tars.member("x/y")], {"x": "/", "x/y": ""}),
        ([tars.directory("x"), tars.member("x/y")], [tars.member("x", b"2")], {"x": "2"}),
        ([tars.directory("x"), tars.member("x/y/z")], [tars.symlink("x", "z")], {"x": "-> z"}),
        ([tars.directory("x"), tars.member("x/y")], [tars.directory("x", 0o700)], {"x": "/", "x/y": ""}),
        ([tars.member("x", b"1")], [tars.hardlink("x", "x")], {"x": "1"}),
        ([tars.member("x"), tars.member("y", b"2")], [tars.hardlink("x", "y")], {"x": "2", "y": "2"}),
        ([tars.member("y", b"2"), tars.member("x/z")], [tars.hardlink("x", "y")], {"x": "2", "y": "2"}),
    ],
)
def test_the_later_entry_wins(
    unpack: Unpacker, first: list[bytes], second: list[bytes], result: dict[str, str]
) -> None:
    assert shown(unpack(*first, *second)) == result


def test_a_new_file_does_not_write_into_the_old_ones_links(unpack: Unpacker) -> None:
    layer = unpack(tars.member("a", b"old"), tars.hardlink("b", "a"), tars.member("a", b"new"))
    assert shown(layer) == {"a": "new", "b": "old"}


def test_directories_of_a_replaced_tree_are_forgotten(unpack: Unpacker) -> None:
    layer = unpack(
        tars.directory("x/y/z", 0o711, mtime=7),
        tars.member("x"),
        tars.directory("x/"),
        tars.member("x/y/z", b"now a file"),
    )
    assert shown(layer)["x/y/z"] == "now a file"


# --- tricks ---


@pytest.mark.parametrize(
    "name", ["../outside/x", "/../../outside/x", "a/../../outside/x", "./../x", "..", "a/../..", "../" * 30 + "tmp/x"]
)
@pytest.mark.parametrize("make", [tars.member, tars.directory, lambda name: tars.symlink(name, "t")])
def test_names_that_lead_out(unpack: Unpacker, name: str, make: object) -> None:
    with pytest.raises(BadArchive, match=r"\.\.") as caught:
        unpack(make(name))  # type: ignore[operator]
    assert caught.value.entry == name
    assert unpack.untouched()
    assert unpack.store.layers() == []


@pytest.mark.parametrize("name", ["/etc/x", "//etc/x", "./etc//x", "a/../etc/x", "/etc/./x"])
def test_names_that_only_look_odd(unpack: Unpacker, name: str) -> None:
    assert shown(unpack(tars.member(name, b"in"))) == {"etc": "/", "etc/x": "in"}


@pytest.mark.parametrize("target", ["/outside", "../outside", "../../outside", "/../../../outside", "/a/../../outside"])
def test_a_link_on_the_way_ends_at_the_layers_root(unpack: Unpacker, target: str) -> None:
    layer = unpack(tars.symlink("link", target), tars.member("link/secret", b"changed"))
    assert (layer.path / "outside/secret").read_text() == "changed"
    assert unpack.untouched()


def test_a_link_to_the_host(unpack: Unpacker) -> None:
    layer = unpack(tars.symlink("link", str(unpack.outside)), tars.member("link/secret", b"changed"))
    assert (layer.path / str(unpack.outside)[1:] / "secret").read_text() == "changed"
    assert unpack.untouched()


def test_links_through_links(unpack: Unpacker) -> None:
    layer = unpack(
        tars.symlink("one", "two/three"),
        tars.symlink("two", "/real"),
        tars.symlink("real/three", "../four"),
        tars.member("one/file", b"x"),
        tars.directory("one/sub", mtime=9),
        tars.member("one/sub/file", b"y"),
    )
    assert (layer.path / "four/file").read_text() == "x"
    assert (layer.path / "four/sub/file").read_text() == "y"
    assert (layer.path / "four/sub").stat().st_mtime == 9


def test_a_file_is_never_written_through_a_link(unpack: Unpacker) -> None:
    secret = str(unpack.outside / "secret")
    layer = unpack(tars.symlink("x", secret), tars.member("x", b"changed"))
    assert shown(layer) == {"x": "changed"}
    assert unpack.untouched()


def test_attributes_never_go_through_a_link(unpack: Unpacker) -> None:
    secret = str(unpack.outside / "secret")
    before = os.stat(secret)
    unpack(tars.symlink("x", secret), tars.header("x", kind=tars.SYMTYPE, link=secret, mode=0o777, mtime=1))
    assert os.stat(secret) == before


@pytest.mark.parametrize(
    "members",
    [
        [tars.symlink("a", "b"), tars.symlink("b", "a"), tars.member("a/x")],
        [tars.symlink("a", "a"), tars.member("a/x")],
        [tars.symlink("a", "a/a/a/a"), tars.member("a/x")],
        [tars.symlink(f"l{number}", f"l{number + 1}") for number in range(50)] + [tars.member("l0/x")],
    ],
)
def test_circles(unpack: Unpacker, members: list[bytes]) -> None:
    with pytest.raises(BadArchive, match="symbolic links"):
        unpack(*members)


@pytest.mark.parametrize(
    "target",
    ["../outside/secret", "/../outside/secret", "outside/secret", "missing", "d", "/", "", ".", "d/../d", "f/x"],
)
def test_hardlinks_to_what_is_not_there(unpack: Unpacker, target: str) -> None:
    with pytest.raises(BadArchive) as caught:
        unpack(tars.directory("d"), tars.member("f"), tars.hardlink("x", target))
    assert caught.value.entry == "x"
    assert unpack.untouched()


def test_a_hardlink_through_a_link_to_the_host(unpack: Unpacker) -> None:
    with pytest.raises(BadArchive, match="nowhere"):
        unpack(tars.symlink("out", str(unpack.outside)), tars.hardlink("x", "out/secret"))
    assert os.stat(unpack.outside / "secret").st_nlink == 1


def test_a_hardlink_to_a_link_is_a_link(unpack: Unpacker) -> None:
    secret = str(unpack.outside / "secret")
    layer = unpack(tars.symlink("a", secret), tars.hardlink("b", "a"))
    assert os.readlink(layer.path / "b") == secret
    assert os.stat(secret).st_nlink == 1


def test_a_hardlink_over_its_targets_directory(unpack: Unpacker) -> None:
    with pytest.raises(BadArchive, match="takes the place"):
        unpack(tars.member("d/f"), tars.hardlink("d", "d/f"))


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([tars.member("f"), tars.member("f/x")], "a file"),
        ([tars.member("./")], ""),
        ([tars.member(".")], "root"),
        ([tars.symlink("/", "x")], "root"),
        ([tars.member("", b"")], "root"),
        ([tars.symlink("s", "")], "No such file"),
        ([tars.long_link(b"x" * 5000) + tars.symlink("s", "")], "too long"),
        ([tars.long_name(b"x" * 300) + tars.member()], "too long"),
        ([tars.long_name(b"x/" * 3000 + b"x") + tars.member()], "deep"),
        ([tars.symlink(f"l{n}", f"l{n + 1}/" + "d/" * 40) for n in range(8)] + [tars.member("l0/x")], "deep"),
        ([tars.member(".wh.")], "whiteout"),
        ([tars.member("d/.wh..")], "whiteout"),
        ([tars.member(".wh...")], "whiteout"),
        ([tars.member(".wh.x/y")], "whiteout"),
    ],
)
def test_entries_that_can_not_be(unpack: Unpacker, members: list[bytes], why: str) -> None:
    if not why:
        assert shown(unpack(*members)) == {}
        return
    with pytest.raises(BadArchive, match=why):
        unpack(*members)
    assert unpack.store.layers() == []
    assert sorted(os.listdir(unpack.store.root)) == ["l"]


def test_aufs_leftovers_are_left_out(unpack: Unpacker) -> None:
    assert shown(unpack(tars.directory(".wh..wh.plnk"), tars.member(".wh..wh.plnk/1.2", b"x"), tars.member("f"))) == {
        "f": ""
    }


# --- bombs ---


def test_a_bomb(unpack: Unpacker) -> None:
    data = gzip.compress(tars.archive(tars.member("zeros", bytes(100 << 20))), 1)
    assert len(data) < 1 << 20
    with pytest.raises(TooLarge, match=str(64 << 20)):
        unpack.store.unpack(io.BytesIO(data), diff_id=diff_id(b""))
    assert sorted(os.listdir(unpack.store.root)) == ["l"]


def test_a_bomb_of_names(unpack: Unpacker) -> None:
    data = gzip.compress(tars.member("f") * 200_000, 1)
    with pytest.raises(TooLarge):
        unpack.store.unpack(io.BytesIO(data), diff_id=diff_id(b""))


def test_a_bomb_of_headers(unpack: Unpacker) -> None:
    data = gzip.compress(tars.member("x", tars.record("comment", "x" * 1_000_000), kind="g") * 100, 1)
    with pytest.raises(TooLarge):
        unpack.store.unpack(io.BytesIO(data), diff_id=diff_id(b""))


def test_a_bomb_of_holes(unpack: Unpacker) -> None:
    records: dict[str, str | bytes] = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 60)}
    with pytest.raises(TooLarge):
        unpack(tars.pax(records) + tars.member("s"))


def test_a_bomb_behind_the_end(unpack: Unpacker) -> None:
    with pytest.raises(TooLarge):
        unpack.store.unpack(io.BytesIO(gzip.compress(bytes(100 << 20), 1)), diff_id=diff_id(b""))


# --- what leans on the layers below ---


def test_a_hardlink_to_a_file_below_is_a_copy(unpack: Unpacker) -> None:
    below = unpack(
        tars.directory("d", 0o711, mtime=11), tars.member("d/f", b"data", mode=0o640, mtime=5), tars.symlink("s", "t")
    )
    middle = unpack(tars.member("other"), parent=below)
    layer = unpack(tars.hardlink("x", "d/f"), tars.hardlink("y", "/d/f"), tars.hardlink("z", "s"), parent=middle)
    assert shown(layer) == {"d": "/", "d/f": "data", "x": "data", "y": "data", "s": "-> t", "z": "-> t"}
    info = (layer.path / "x").stat()
    assert (info.st_mode, info.st_mtime, info.st_nlink) == (0o100640, 5, 3)
    assert ((layer.path / "d").stat().st_mode, (layer.path / "d").stat().st_mtime) == (0o40711, 11)
    assert layer.size == 4
    assert (below.path / "d/f").stat().st_nlink == 1


def test_a_hardlink_below_needs_the_parent(unpack: Unpacker) -> None:
    data = tars.archive(tars.directory("d"), tars.hardlink("d/x", "d/f"))
    parent_tar = tars.archive(tars.directory("d"), tars.member("d/f", b"data"))
    parent = chain_id(None, diff_id(parent_tar))
    with pytest.raises(LinkTargetMissing, match="'d/x' needs 'd/f'") as caught:
        unpack.store.unpack(io.BytesIO(data), parent=parent, diff_id=diff_id(data))
    assert caught.value.chain_id == parent
    unpack.store.unpack(io.BytesIO(parent_tar), diff_id=diff_id(parent_tar))
    layer = unpack.store.unpack(io.BytesIO(data), parent=parent, diff_id=diff_id(data))
    assert (layer.path / "d/x").read_text() == "data"


def test_directories_without_an_entry(unpack: Unpacker) -> None:
    below = unpack(tars.directory("a", 0o1777, mtime=3), tars.directory("a/b", 0o700, mtime=4))
    layer = unpack(tars.member("a/b/c/f"), tars.member("n/f"), parent=below)
    shown_modes = {name: (layer.path / name).stat() for name in ("a", "a/b", "a/b/c", "n")}
    assert {name: (oct(info.st_mode), info.st_mtime) for name, info in shown_modes.items()} == {
        "a": ("0o41777", 3),
        "a/b": ("0o40700", 4),
        "a/b/c": ("0o40755", 0),
        "n": ("0o40755", 0),
    }


def test_every_error_is_one_line_and_ours(unpack: Unpacker) -> None:
    for members in ([tars.member("../\n\x1b[31mx")], [tars.member(b"../\xff\xfe")], [tars.hardlink("x", "../" * 33)]):
        with pytest.raises(OverlayError) as caught:
            unpack(*members)
        assert str(caught.value).isprintable()


def test_any_order_of_any_entries_stays_inside(unpack: Unpacker) -> None:
    """Archives made by chance from names and links that get in each other's way, on top of each other."""
    chance = random.Random(int(os.environ.get("OVERLAYFS_SEED", "1")))
    outside = str(unpack.outside)
    words = ["a", "b", "a/b", "b/a", "a/b/c", "b/a/c", ".wh.a", "a/.wh.b", "a/.wh..wh..opq", ".", "a/..", "a/../b/c"]
    targets = [*words, "/", "..", "../..", "/a", "/a/b", outside, f"{outside}/secret", "../outside", "../../../outside"]
    before, root = len(os.listdir("/proc/self/fd")), os.geteuid() == 0
    parent: Layer | None = None
    done = 0
    for _ in range(int(os.environ.get("OVERLAYFS_ROUNDS", "300"))):
        members = []
        for _ in range(chance.randrange(1, 12)):
            name, target = chance.choice(words), chance.choice(targets)
            if ".wh." in name and not root:
                continue
            members.append(
                chance.choice(
                    [
                        tars.member(name, b"x" * chance.randrange(3)),
                        tars.directory(name, mtime=chance.randrange(9)),
                        tars.symlink(name, target),
                        tars.hardlink(name, target),
                        tars.header(name, kind=tars.FIFOTYPE),
                    ]
                )
            )
        try:
            layer = unpack(*members, parent=parent)
            done += 1
            parent = layer if chance.random() < 0.5 else None
        except BadArchive as error:
            assert str(error).isprintable()
    assert done > 10
    assert unpack.untouched()
    assert os.stat(unpack.outside / "secret").st_nlink == 1
    assert len(os.listdir("/proc/self/fd")) == before
    assert not [name for name in os.listdir(unpack.store.root) if name.endswith(".tmp")]
