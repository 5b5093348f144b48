"""Layers -> the description of one overlay mount. This module emits it; whoever owns the mount namespace performs it.

The performer changes to ``cwd`` in a private mount namespace, then calls
``mount("overlay", target, "overlay", flags, description.options())``, and is the one to unmount.

mount(2) copies one page of options, so lower directories are named relative to ``cwd``: a directory of short links
that the layer store keeps (``layer.py``). Four bytes a layer then carry as many layers as the kernel stacks (500).
In the options a comma ends an option and a colon ends a lower directory; a backslash takes their meaning away.

Kernel source: Documentation/filesystems/overlayfs.rst. Only the standard library, and little of it: the runtime
imports this module.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from overlayfs.errors import MountTooLong, OverlayError

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4095  # mount(2): one page, less the closing NUL
MOST = 500  # lower directories: OVL_MAX_STACK of the kernel
LINKS = "l"  # in the layer store: the directory of short links
EMPTY = ("empty", "empty2")  # directories in it with nothing inside, where the kernel wants more layers than there are
POINTS = "points"
"""A directory in it, the lowest layer of a container's root: what something is mounted on in every container. An image
need not have them, and to make them in each container's upper directory takes longer than to mount."""
POINT_DIRECTORIES, POINT_FILES = ("dev", "etc", "proc", "sys"), ("etc/hostname", "etc/hosts", "etc/resolv.conf")
# Spelled out, since a kernel may be built with other defaults: the upper directory then holds whole files and
# directories, without references to layers below, so that it can be read and packed by itself.
PLAIN = ("index=off", "metacopy=off", "redirect_dir=off")
VOLATILE = "volatile"
"""An option: nothing is synced, not for fsync(2) inside either. For an upper directory that no power cut need spare."""


class HasLink(Protocol):
    """What ``describe`` needs of a layer: the name of its short link. ``overlayfs.layer.Layer`` has it."""

    @property
    def link(self) -> str:
        """Name in the store's directory of links."""


@dataclass(frozen=True)
class OverlayMount:
    """One overlay mount. ``lower`` is relative to ``cwd``, top first; no ``upper`` and ``work`` means read-only."""

    cwd: str
    lower: tuple[str, ...]
    upper: str | None = None
    work: str | None = None
    extra: tuple[str, ...] = PLAIN

    def options(self) -> str:
        """The option string of mount(2), to be used with ``cwd`` as working directory.

        Raises MountTooLong over one page or 500 lower directories, OverlayError on a path that no option can carry.
        """
        parts = ["lowerdir=" + ":".join(map(escape, self.lower))]
        if self.upper is not None and self.work is not None:
            parts += [f"upperdir={escape(self.upper)}", f"workdir={escape(self.work)}"]
        text = ",".join([*parts, *self.extra])
        length = len(os.fsencode(text))
        if length > PAGE or len(self.lower) > MOST:
            raise MountTooLong(length, PAGE, len(self.lower))
        return text

    def to_json(self) -> dict[str, Any]:
        """As plain JSON data; ``from_json`` reads it back."""
        return {
            "cwd": self.cwd,
            "lower": list(self.lower),
            "upper": self.upper,
            "work": self.work,
            "extra": list(self.extra),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> OverlayMount:
        """The inverse of ``to_json``. Raises KeyError if the lower directories or ``cwd`` are missing."""
        extra = tuple(data.get("extra", PLAIN))
        return cls(data["cwd"], tuple(data["lower"]), data.get("upper"), data.get("work"), extra)


def escape(path: str) -> str:
    """A path as overlayfs reads it back: backslash, comma and colon with a backslash before them."""
    if "\0" in path or not path:
        raise OverlayError(f"no path for a mount option: {path!r}")
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def describe(
    root: str | Path,
    layers: Sequence[HasLink],
    rw: str | Path | None = None,
    readonly: bool = False,
    extra: tuple[str, ...] = PLAIN,
    points: bool = False,
) -> OverlayMount:
    """The mount of ``layers`` (bottom to top, as ``LayerStore.chain`` gives them) of the layer store at ``root``.

    ``rw`` is a directory made by ``create_rw``: its ``upper`` takes what is written. With ``readonly`` nothing can be
    written, and ``upper``, if given, is shown as the topmost layer. No layers at all is an empty root file system.
    ``points`` puts POINTS below, unless the layers are as many as the kernel takes.
    """
    lower = tuple(layer.link for layer in reversed(layers)) + (POINTS,) * (points and len(layers) < MOST)
    if rw is not None and not readonly:
        base = os.path.abspath(rw)
        return OverlayMount(_links(root), lower or EMPTY[:1], f"{base}/upper", f"{base}/work", extra)
    if rw is not None:
        lower = (f"{os.path.abspath(rw)}/upper", *lower)
    # Without an upper directory the kernel wants two lower ones.
    return OverlayMount(_links(root), lower + EMPTY[len(lower) :], extra=extra)


def forget_volatile(work: str) -> None:
    """Take away the mark of an earlier volatile mount, which the kernel leaves so that nobody trusts what was not
    synced. For who knows that there was no power cut since."""
    mark = f"{work}/work/incompat/{VOLATILE}"
    with suppress(FileNotFoundError):
        os.unlink(f"{mark}/dirty")
        os.rmdir(mark)


def create_rw(rw: str | Path) -> None:
    """Make ``rw`` with the directories ``upper`` (the container's /, 0755 root as Docker's) and ``work``. May exist."""
    for path, mode in ((f"{rw}/upper", 0o755), (f"{rw}/work", 0o700)):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)


def _links(root: str | Path) -> str:
    return f"{os.path.abspath(root)}/{LINKS}"
