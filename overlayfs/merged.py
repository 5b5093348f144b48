"""What overlayfs would show for a stack of layers, without mounting it: lookups only, from the top down.

A name is what the topmost layer that has it says. A whiteout says "nothing"; a directory is merged with the
directories of that name below it, unless it is opaque or something else comes between.
The layers are whole and never change; names inside them are real, so no link is followed. Source: overlayfs.rst.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overlayfs.tree import OPAQUE, is_whiteout


@dataclass(frozen=True)
class Found:
    """A name of the merged view: the topmost layer's ``path`` and ``info``; of a directory all paths that merge."""

    path: bytes
    info: os.stat_result
    merged: tuple[bytes, ...] = ()

    @property
    def is_directory(self) -> bool:
        """Whether it is one, and ``merged`` has its parts."""
        return bool(self.merged)


def view(lowers: Sequence[Path]) -> Found | None:
    """The root of the merged view of layer directories, top first. None without any layer."""
    parts = tuple(os.fsencode(path) for path in lowers)
    return Found(parts[0], os.stat(parts[0]), parts) if parts else None


def child(directory: Found, name: bytes) -> Found | None:
    """``name`` in a directory of the view, or None."""
    top: Found | None = None
    merged: list[bytes] = []
    for parent in directory.merged:
        path = parent + b"/" + name
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(info.st_mode):
            return Found(top.path, top.info, tuple(merged)) if top else None if is_whiteout(info) else Found(path, info)
        top = top or Found(path, info)
        merged.append(path)
        if is_opaque(path):
            break
    return Found(top.path, top.info, tuple(merged)) if top else None


def lookup(root: Found | None, parts: Sequence[bytes]) -> Found | None:
    """What is at the path of these components; [] is the root."""
    for part in parts:
        if root is None or not root.is_directory:
            return None
        root = child(root, part)
    return root


def names(directory: Found) -> set[bytes]:
    """All names in a directory of the view."""
    found = {name for path in directory.merged for name in os.listdir(path)}
    return {name for name in found if child(directory, name)}


def is_opaque(path: bytes | int) -> bool:
    """Whether a layer's directory hides those of its name below."""
    try:
        return os.getxattr(path, OPAQUE) == b"y"
    except OSError:
        return False
