"""Mount options: the words of mount(8) -> flags, propagation, data. Pure, and the calls that apply them.

    parse(("nosuid", "noexec", "mode=755", "rslave"))
    Options(on=MS_NOSUID | MS_NOEXEC, propagation=MS_SLAVE, propagate_below=True, data="mode=755")

A bind mount takes no options when it is made: it is a copy of what the source's mount is. Its attributes are set on the
detached copy, before it is attached, so that there is no moment at which it is visible and still writable.
Source: mount(8); OCI runtime-spec config.md, "Linux mount options".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from minirund.runtime import syscalls as sys

FLAGS = {
    "ro": sys.MS_RDONLY,
    "nosuid": sys.MS_NOSUID,
    "nodev": sys.MS_NODEV,
    "noexec": sys.MS_NOEXEC,
    "sync": sys.MS_SYNCHRONOUS,
    "dirsync": sys.MS_DIRSYNC,
    "noatime": sys.MS_NOATIME,
    "nodiratime": sys.MS_NODIRATIME,
    "relatime": sys.MS_RELATIME,
    "strictatime": sys.MS_STRICTATIME,
    "silent": sys.MS_SILENT,
}
INVERSE = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "async": "sync",
    "atime": "noatime",
    "diratime": "nodiratime",
    "norelatime": "relatime",
    "nostrictatime": "strictatime",
    "loud": "silent",
}
PROPAGATION = {
    "private": sys.MS_PRIVATE,
    "slave": sys.MS_SLAVE,
    "shared": sys.MS_SHARED,
    "unbindable": sys.MS_UNBINDABLE,
}
IGNORED = ("defaults", "nofail", "auto", "noauto", "user", "nouser", "_netdev", "mand", "nomand", "iversion")
ATTRIBUTES = {
    sys.MS_RDONLY: sys.MOUNT_ATTR_RDONLY,
    sys.MS_NOSUID: sys.MOUNT_ATTR_NOSUID,
    sys.MS_NODEV: sys.MOUNT_ATTR_NODEV,
    sys.MS_NOEXEC: sys.MOUNT_ATTR_NOEXEC,
    sys.MS_NODIRATIME: sys.MOUNT_ATTR_NODIRATIME,
}


class Options(NamedTuple):
    """What a mount's options say. ``off`` holds the flags that were asked to be absent."""

    bind: bool = False
    recursive: bool = False
    on: int = 0
    off: int = 0
    propagation: int = 0
    propagate_below: bool = False
    data: str = ""


def parsed(mount: dict[str, Any]) -> dict[str, Any]:
    """A mount of the configuration, its options as those of ``Options``: for init, who should have little to do."""
    return {**mount, "options": tuple(parse(tuple(mount.get("options") or ())))}


@lru_cache(maxsize=64)  # nearly every container has the same
def parse(words: tuple[str, ...]) -> Options:
    """Options in their order: a later word wins over an earlier one."""
    bind = recursive = below = False
    on = off = propagation = 0
    data: list[str] = []
    for word in words:
        kind = word.removeprefix("r") if word.removeprefix("r") in PROPAGATION else word
        if word in ("bind", "rbind"):
            bind, recursive = True, word == "rbind"
        elif kind in PROPAGATION:
            propagation, below = PROPAGATION[kind], word != kind
        elif word in FLAGS:
            on, off = on | FLAGS[word], off & ~FLAGS[word]
        elif word in INVERSE:
            flag = FLAGS[INVERSE[word]]
            on, off = on & ~flag, off | flag
        elif word not in IGNORED:
            data.append(word)
    return Options(bind, recursive, on, off, propagation, below, ",".join(data))


def attributes(flags: int) -> int:
    """MS_* -> MOUNT_ATTR_*, without the access times."""
    return sum(attribute for flag, attribute in ATTRIBUTES.items() if flags & flag)


def times(flags: int) -> int | None:
    """The access time setting that the flags ask for, or None."""
    if flags & sys.MS_NOATIME:
        return sys.MOUNT_ATTR_NOATIME
    if flags & sys.MS_STRICTATIME:
        return sys.MOUNT_ATTR_STRICTATIME
    return 0 if flags & sys.MS_RELATIME else None


def set_attributes(tree: int, options: Options, named: str) -> None:
    """Give a detached mount the attributes and the propagation that its options name."""
    on, off = attributes(options.on), attributes(options.off)
    wanted = times(options.on)
    if wanted is not None:
        on, off = on | wanted, off | sys.MOUNT_ATTR_ATIME
    if on or off:
        sys.mount_setattr(tree, on, off, named=named)
    set_propagation(tree, options, named)


def set_propagation(tree: int, options: Options, named: str) -> None:
    """Whether mounts made later below the source appear below the copy, and the other way round."""
    if options.propagation:
        sys.mount_setattr(tree, propagation=options.propagation, recursive=options.propagate_below, named=named)
