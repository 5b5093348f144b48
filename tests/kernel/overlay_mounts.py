"""What the overlayfs tests share: a small file system of their own, and mounts as the runtime makes them."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlayfs.layer import Layer, LayerStore
from overlayfs.mount import OverlayMount

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")


def mount(source: str, target: Path, fstype: str, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (source.encode(), os.fsencode(target), fstype.encode(), ctypes.c_ulong(0), os.fsencode(options))
    if libc.mount(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"mount {fstype} {options[:200]}: {os.strerror(ctypes.get_errno())}")


def umount(target: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(target), 0) != 0:
        raise OSError(ctypes.get_errno(), f"umount {target}: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def tmpfs(target: Path, size: str = "512m") -> Iterator[Path]:
    target.mkdir(exist_ok=True)
    mount("tmpfs", target, "tmpfs", f"size={size}")
    try:
        yield target
    finally:
        umount(target)


@contextlib.contextmanager
def mounted(overlay: OverlayMount, target: Path) -> Iterator[Path]:
    """The overlay on ``target``, the way the runtime goes about it: change to its directory, mount, go back."""
    target.mkdir(exist_ok=True)
    home = os.open(".", os.O_RDONLY)
    try:
        os.chdir(overlay.cwd)
        mount("overlay", target, "overlay", overlay.options())
    finally:
        os.fchdir(home)
        os.close(home)
    try:
        yield target
    finally:
        umount(target)


def unpack(store: LayerStore, *tars: bytes) -> list[Layer]:
    """The layers of these archives on top of each other, bottom to top."""
    layers: list[Layer] = []
    for data in tars:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        parent = layers[-1].chain_id if layers else None
        layers.append(store.unpack(io.BytesIO(data), parent=parent, diff_id=digest))
    return layers


def facts(root: Path, times: bool = True) -> dict[str, object]:
    """Everything that can be told about the files below ``root``: name -> mode, owner, time, content, xattrs, links."""
    found: dict[str, object] = {}
    inodes: dict[tuple[int, int], str] = {}
    for path in sorted(root.rglob("*")):
        info, name = path.lstat(), str(path.relative_to(root))
        content: object = None
        if stat.S_ISLNK(info.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(info.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        }
        same = name if stat.S_ISDIR(info.st_mode) else inodes.setdefault((info.st_dev, info.st_ino), name)
        mtime = info.st_mtime_ns if times else None
        found[name] = (oct(info.st_mode), info.st_uid, info.st_gid, info.st_rdev, mtime, content, xattrs, same)
    return found
