"""Which extended attributes are an image's, and which are the host's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overlayfs.xattrs import belongs, get_xattrs, set_xattrs


def test_belongs() -> None:
    for name in (b"user.x", b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"):
        assert belongs(name)
    for name in (
        b"trusted.overlay.opaque",
        b"trusted.x",
        b"user.overlay.redirect",
        b"security.selinux",
        b"security.ima",
        b"",
    ):
        assert not belongs(name)


def test_set_and_get(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        set_xattrs(file.fileno(), {b"user.b": b"2", b"user.a": b"\0", b"trusted.x": b"3"})
        assert get_xattrs(file.fileno()) == {b"user.a": b"\0", b"user.b": b"2"}
    assert list(get_xattrs(os.fsencode(tmp_path / "f"))) == [b"user.a", b"user.b"]


def test_a_file_system_without_them() -> None:
    with open("/proc/self/comm", "rb") as file:
        set_xattrs(file.fileno(), {b"user.a": b"1"})
        with pytest.raises(OSError, match="not supported"):
            set_xattrs(file.fileno(), {b"security.capability": b"\1\0\0\2" + bytes(16)})


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    os.setxattr(tmp_path / "f", "user.x", b"1")
    (tmp_path / "l").symlink_to("f")
    assert get_xattrs(os.fsencode(tmp_path / "l")) == {}
