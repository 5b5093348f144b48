"""Lookups in a stack of layers. Whiteouts and opaque ones need root: tests/kernel/test_overlayfs_mounting.py."""

from __future__ import annotations

import os
from pathlib import Path

from overlayfs.merged import is_opaque, lookup, names, view


def test_lookup(tmp_path: Path) -> None:
    top, middle, bottom = (tmp_path / name for name in ("top", "middle", "bottom"))
    for root in (top, middle, bottom):
        root.mkdir()
    (top / "d").mkdir()
    (top / "d/t").write_text("top")
    (middle / "d").write_text("a file hides the directory below it")
    (bottom / "d").mkdir()
    (bottom / "d/b").write_text("hidden")
    (bottom / "e").mkdir()
    (bottom / "e/f").write_text("bottom")
    (middle / "e").mkdir()
    (middle / "link").symlink_to("e")
    root = view([top, middle, bottom])
    assert root is not None
    assert names(root) == {b"d", b"e", b"link"}
    for path, real in {b"d/t": top / "d/t", b"e/f": bottom / "e/f", b"link": middle / "link"}.items():
        found = lookup(root, path.split(b"/"))
        assert found is not None
        assert found.path == os.fsencode(real)
    for path in (b"d/b", b"nothing", b"e/f/g", b"link/f"):
        assert lookup(root, path.split(b"/")) is None
    directory = lookup(root, [b"e"])
    assert directory is not None
    assert directory.merged == (os.fsencode(middle / "e"), os.fsencode(bottom / "e"))
    assert lookup(root, []) == root


def test_no_layers() -> None:
    assert view([]) is None
    assert lookup(None, [b"x"]) is None


def test_opaque(tmp_path: Path) -> None:
    assert not is_opaque(os.fsencode(tmp_path))
